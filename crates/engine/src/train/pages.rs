//! Memory in large pages, for what is read at random: with small ones nearly every row would cost a walk
//! through the page tables besides.

use memmap2::MmapMut;

use crate::error::Error;

/// Zeros, until something is written.
#[derive(Debug)]
pub(crate) struct Pages(MmapMut);

impl Pages {
    pub(crate) fn zeros(bytes: usize) -> Result<Pages, Error> {
        let bytes = bytes.max(1);
        let memory = MmapMut::map_anon(bytes).map_err(|source| Error::Memory { bytes, source })?;
        #[cfg(target_os = "linux")]
        if let Err(error) = memory.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no large pages; training is slower");
        }
        Ok(Pages(memory))
    }

    /// A copy of numbers; nothing if there is no memory for it.
    pub(crate) fn copied(values: &[f32]) -> Option<Pages> {
        let mut pages = Pages::zeros(size_of_val(values)).ok()?;
        bytemuck::cast_slice_mut(&mut pages.0[..size_of_val(values)]).copy_from_slice(values);
        Some(pages)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The first of the numbers that were copied.
    pub(crate) fn floats(&self, count: usize) -> &[f32] {
        bytemuck::cast_slice(&self.0[..count * size_of::<f32>()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal() {
        for count in [0, 1, 5000] {
            let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
            let pages = Pages::copied(&values).unwrap();
            assert_eq!(pages.floats(count), values);
        }
        let zeros = Pages::zeros(100).unwrap();
        assert!(zeros.bytes()[..100].iter().all(|&byte| byte == 0));
    }
}
