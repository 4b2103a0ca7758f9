//! Numbers of a model: in memory, or where they lie in a file.
//!
//! A large model that is opened is not copied: its vectors are read through a mapping of the file, so that
//! opening costs no second copy and models larger than the memory can be ranked. Model files are never
//! written again once they are in place; a file that somebody cuts short while it is mapped ends the
//! process.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use kindred_store::Vault;
use memmap2::Mmap;

/// The bytes of a file.
#[derive(Clone, Debug)]
pub(super) enum FileBytes {
    Held(Arc<Vec<u8>>),
    Mapped(Arc<Mmap>),
}

impl FileBytes {
    /// Maps the file; a sealed one is opened in memory.
    pub(super) fn open(path: &Path, vault: &Vault) -> io::Result<FileBytes> {
        if vault.is_sealed() {
            return Ok(FileBytes::Held(Arc::new(vault.read(path)?)));
        }
        let file = File::open(path)?;
        // SAFETY: nobody writes model files once they are in place, see above.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file)? };
        Ok(FileBytes::Mapped(Arc::new(map)))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            FileBytes::Held(bytes) => bytes,
            FileBytes::Mapped(map) => map,
        }
    }
}

/// Numbers that are read, not changed.
#[derive(Clone, Debug)]
pub(crate) struct Floats(Kept);

#[derive(Clone, Debug)]
enum Kept {
    Held(Vec<f32>),
    /// Little-endian, aligned, on a little-endian machine.
    InFile(FileBytes, Range<usize>),
}

impl Floats {
    /// The little-endian numbers in a range of a file.
    pub(super) fn in_file(file: &FileBytes, range: Range<usize>) -> Floats {
        let bytes = &file[range.clone()];
        if cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, f32>(bytes).is_ok() {
            return Floats(Kept::InFile(file.clone(), range));
        }
        let fours = bytes.as_chunks().0.iter();
        Floats(Kept::Held(
            fours.map(|four| f32::from_le_bytes(*four)).collect(),
        ))
    }
}

impl From<Vec<f32>> for Floats {
    fn from(values: Vec<f32>) -> Floats {
        Floats(Kept::Held(values))
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Kept::Held(values) => values,
            Kept::InFile(file, range) => bytemuck::cast_slice(&file[range.clone()]),
        }
    }
}

impl PartialEq for Floats {
    fn eq(&self, other: &Floats) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_file_are_read_where_they_lie_or_copied_where_they_lie_askew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("floats");
        let values = [1.5f32, -2.0, 1e-42, f32::INFINITY];
        let mut bytes = vec![7u8; 4];
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes.insert(0, 9);
        std::fs::write(&path, &bytes).unwrap();
        let file = FileBytes::open(&path, &Vault::plain()).unwrap();
        let askew = Floats::in_file(&file, 5..21);
        assert!(matches!(askew.0, Kept::Held(_)));
        assert_eq!(&*askew, &values);
        std::fs::write(&path, &bytes[1..]).unwrap();
        let file = FileBytes::open(&path, &Vault::plain()).unwrap();
        let straight = Floats::in_file(&file, 4..20);
        assert!(matches!(straight.0, Kept::InFile(..)) || cfg!(target_endian = "big"));
        assert_eq!(straight, askew);
        assert!(Floats::in_file(&file, 4..4).is_empty());
    }
}
