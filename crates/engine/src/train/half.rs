//! Rows of half-precision numbers (IEEE 754 binary16), for what is gathered at random.
//!
//! Random reads of vectors bound the sweeps of iALS: half the bytes are twice the rows a second, and
//! every row begins at a cache line. Eleven bits are far more than the few conjugate-gradient steps of
//! a row resolve. Conversions round to nearest even on every machine.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::kernels;
use super::pages::Pages;
use crate::error::Error;

/// A number as it lies in memory.
pub(crate) type Half = [u8; 2];
/// Numbers in a cache line.
const LINE: usize = 32;
/// The largest finite number; larger ones are cut to it.
const LARGEST: f32 = 65_504.0;

/// A table of rows, each padded with zeros to whole cache lines.
///
/// It lies in memory of its own in large pages.
#[derive(Debug)]
pub(crate) struct HalfRows {
    pitch: usize,
    len: usize,
    memory: Pages,
}

impl HalfRows {
    /// Zeros: `rows` rows with room for `stride` numbers.
    pub(crate) fn zeros(rows: usize, stride: usize) -> Result<HalfRows, Error> {
        let pitch = stride.next_multiple_of(LINE);
        let len = rows * pitch;
        let memory = Pages::zeros(len * size_of::<Half>())?;
        Ok(HalfRows { pitch, len, memory })
    }

    /// `rows` of `stride` numbers each, rounded.
    pub(crate) fn of(rows: &[f32], stride: usize) -> Result<HalfRows, Error> {
        let mut half = HalfRows::zeros(rows.len() / stride, stride)?;
        let pitch = half.pitch;
        half.par_rows_mut(BLOCK_ROWS)
            .zip(rows.par_chunks(BLOCK_ROWS * stride))
            .for_each(|(half, rows)| {
                for (half, row) in half.chunks_exact_mut(pitch).zip(rows.chunks_exact(stride)) {
                    narrow(row, half);
                }
            });
        Ok(half)
    }

    /// Numbers from one row to the next.
    pub(crate) fn pitch(&self) -> usize {
        self.pitch
    }

    /// All rows, one after the other.
    pub(crate) fn all(&self) -> &[Half] {
        &self.memory.bytes().as_chunks().0[..self.len]
    }

    /// The same in blocks of `rows` rows.
    pub(crate) fn par_rows(&self, rows: usize) -> impl IndexedParallelIterator<Item = &[Half]> {
        self.all().par_chunks(rows * self.pitch)
    }

    /// The same to be written.
    pub(crate) fn par_rows_mut(
        &mut self,
        rows: usize,
    ) -> impl IndexedParallelIterator<Item = &mut [Half]> {
        self.memory.bytes_mut().as_chunks_mut().0[..self.len].par_chunks_mut(rows * self.pitch)
    }
}

/// Rows that one worker rounds at a time.
const BLOCK_ROWS: usize = 512;

/// Rounds `from` into the beginning of `into`.
#[inline(always)]
pub(crate) fn narrow(from: &[f32], into: &mut [Half]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into = narrowed(*from).to_le_bytes();
    }
}

/// Reads as many numbers as `into` has room for. `FAST` may be set where `kernels::has_avx2` holds.
#[inline(always)]
pub(crate) fn widen<const FAST: bool>(from: &[Half], into: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if FAST {
        // SAFETY: the caller runs where the features were detected.
        #[allow(unsafe_code)]
        return unsafe { widen_f16c(from, into) };
    }
    for (into, from) in into.iter_mut().zip(from) {
        *into = widened(u16::from_le_bytes(*from));
    }
}

/// The same by the instruction for it.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn widen_f16c(from: &[Half], into: &mut [f32]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
    let (from, from_rest) = from[..into.len()].as_chunks::<8>();
    let (into, into_rest) = into.as_chunks_mut::<8>();
    for (from, into) in from.iter().zip(into) {
        // SAFETY: eight halves are the 16 bytes that are read, eight floats the 32 that are written.
        #[allow(unsafe_code)]
        unsafe {
            let halves = _mm_loadu_si128(from.as_ptr().cast::<__m128i>());
            _mm256_storeu_ps(into.as_mut_ptr(), _mm256_cvtph_ps(halves));
        }
    }
    for (into, from) in into_rest.iter_mut().zip(from_rest) {
        *into = widened(u16::from_le_bytes(*from));
    }
}

/// Reads all rows of a block, `stride` numbers of each, into `into`.
pub(crate) fn widen_rows(from: &[Half], pitch: usize, stride: usize, into: &mut Vec<f32>) {
    into.resize(from.len() / pitch * stride, 0.0);
    for (from, into) in from.chunks_exact(pitch).zip(into.chunks_exact_mut(stride)) {
        if kernels::has_avx2() {
            widen::<true>(from, into);
        } else {
            widen::<false>(from, into);
        }
    }
}

#[inline(always)]
fn widened(half: u16) -> f32 {
    // The exponent counts from 15 here and from 127 there; the product sets that right, also for
    // subnormal numbers, and is exact.
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(magnitude.to_bits() | u32::from(half & 0x8000) << 16)
}

#[inline(always)]
fn narrowed(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) & 0x8000;
    let magnitude = f32::from_bits(value.to_bits() & 0x7fff_ffff).min(LARGEST);
    // Below 2^-14 the last bit is worth 2^-24: adding 1/2 puts it in the last place of the sum.
    let small = (magnitude + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let bits = magnitude.to_bits();
    let odd = (bits >> 13) & 1;
    let large = (bits.wrapping_sub(112 << 23).wrapping_add(0xfff + odd)) >> 13;
    let half = if magnitude < 6.103_515_6e-5 {
        small
    } else {
        large
    };
    (half | sign) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_and_neighbours_round_to_even() {
        for half in 0..=u16::MAX {
            let value = widened(half);
            if half & 0x7c00 == 0x7c00 {
                continue; // Infinities and what is no number are never stored.
            }
            assert_eq!(narrowed(value), half, "{value}");
            // Half way to the next one upwards: to the even one.
            let next = widened(half + 1);
            if half & 0x7fff < 0x7bff {
                let even = if half % 2 == 0 { half } else { half + 1 };
                assert_eq!(narrowed(0.5 * (value + next)), even, "{value} {next}");
                let nearer = value + 0.49 * (next - value);
                assert_eq!(narrowed(nearer), half);
            }
        }
        assert_eq!(widened(0x3c00), 1.0);
        assert_eq!(widened(0x0001), 2.0f32.powi(-24));
        assert_eq!(narrowed(1e9), 0x7bff);
        assert_eq!(narrowed(-1e9), 0xfbff);
    }

    #[test]
    fn rows_begin_at_lines_and_keep_their_numbers() {
        let rows: Vec<f32> = (0..3 * 40).map(|i| i as f32 * 0.25 - 7.0).collect();
        let half = HalfRows::of(&rows, 40).unwrap();
        assert_eq!((half.pitch(), half.all().len()), (64, 192));
        let mut row = vec![0.0f32; 40];
        for (number, expected) in rows.chunks_exact(40).enumerate() {
            for fast in [false, kernels::has_avx2()] {
                row.fill(0.5);
                match fast {
                    true => widen::<true>(&half.all()[number * 64..], &mut row),
                    false => widen::<false>(&half.all()[number * 64..], &mut row),
                }
                assert_eq!(row, expected);
            }
            assert_eq!(
                half.all()[number * 64 + 40..(number + 1) * 64],
                [[0u8; 2]; 24]
            );
        }
    }
}
