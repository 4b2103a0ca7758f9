//! The score that counts: q·p + offset in f64, its sum in one fixed order.
//!
//! Products of two f32 are exact in f64, so a fused multiply-add rounds as a multiplication and an
//! addition do, and every kernel and every machine gets the same number.

/// Queries that are scored together: one reading of the user serves all.
pub(super) const TOGETHER: usize = 4;

/// Scores one user for one query.
pub(super) fn exact(query: &[f32], vector: &[f32], offset: f32) -> f64 {
    exact_each([query], vector, offset)[0]
}

/// Scores one user for several queries; all vectors have one length.
pub(super) fn exact_each<const N: usize>(
    queries: [&[f32]; N],
    vector: &[f32],
    offset: f32,
) -> [f64; N] {
    #[cfg(target_arch = "x86_64")]
    if crate::train::kernels::has_avx2() {
        // SAFETY: AVX2 and FMA were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { avx2(queries, vector, offset) };
    }
    portable(queries, vector, offset)
}

/// Partial sums; the component j goes to the sum j mod `SUMS`.
const SUMS: usize = 4;

fn portable<const N: usize>(queries: [&[f32]; N], vector: &[f32], offset: f32) -> [f64; N] {
    queries.map(|query| {
        let mut sums = [0.0f64; SUMS];
        for (query, vector) in query.chunks(SUMS).zip(vector.chunks(SUMS)) {
            for ((sum, query), value) in sums.iter_mut().zip(query).zip(vector) {
                *sum += f64::from(*query) * f64::from(*value);
            }
        }
        total(sums, offset)
    })
}

fn total(sums: [f64; SUMS], offset: f32) -> f64 {
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + f64::from(offset)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<const N: usize>(queries: [&[f32]; N], vector: &[f32], offset: f32) -> [f64; N] {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn wide(four: &[f32; SUMS]) -> __m256d {
        // SAFETY: the array has four floats; an unaligned load reads exactly those.
        #[allow(unsafe_code)]
        let four = unsafe { _mm_loadu_ps(four.as_ptr()) };
        _mm256_cvtps_pd(four)
    }

    let (fours, rest) = vector.as_chunks::<SUMS>();
    let mut sums = [_mm256_setzero_pd(); N];
    let mut heads = [&[] as &[[f32; SUMS]]; N];
    let mut last = [[0.0f32; SUMS]; N];
    for ((head, last), query) in heads.iter_mut().zip(&mut last).zip(queries) {
        let (fours, rest) = query[..vector.len()].as_chunks();
        *head = fours;
        last[..rest.len()].copy_from_slice(rest);
    }
    for (group, four) in fours.iter().enumerate() {
        let four = wide(four);
        for (sum, head) in sums.iter_mut().zip(&heads) {
            *sum = _mm256_fmadd_pd(wide(&head[group]), four, *sum);
        }
    }
    // Zeros beyond the end change no sum: none is a negative zero.
    let mut four = [0.0f32; SUMS];
    four[..rest.len()].copy_from_slice(rest);
    let mut scores = [0.0; N];
    for ((score, last), sum) in scores.iter_mut().zip(&last).zip(sums) {
        let sum = _mm256_fmadd_pd(wide(last), wide(&four), sum);
        let mut sums = [0.0f64; SUMS];
        // SAFETY: the array has room for the four numbers that are stored.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_pd(sums.as_mut_ptr(), sum);
        }
        *score = total(sums, offset);
    }
    scores
}

/// Asks for the vector ahead of its use, as far as the second cache: the first has fewer places for what is
/// on its way, and asking would wait for one.
pub(super) fn prefetch(vector: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        /// Floats of a cache line.
        const LINE: usize = 16;
        for line in vector.chunks(LINE) {
            // SAFETY: a prefetch reads nothing; the address lies inside a live slice.
            #[allow(unsafe_code)]
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = vector;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -2.0f32..2.0,
            1 => Just(0.0),
            1 => Just(-0.0),
            1 => Just(1e-42),
            1 => -1e18f32..1e18,
            1 => Just(3e38f32),
        ]
    }

    proptest! {
        #[test]
        fn all_ways_to_score_give_the_same_bits(
            rows in (1usize..40).prop_flat_map(|d| prop::collection::vec(prop::collection::vec(values(), d), 5)),
            offset in values(),
        ) {
            let (vector, queries) = (&rows[0], &rows[1..]);
            let four: [&[f32]; TOGETHER] = std::array::from_fn(|q| &queries[q][..]);
            let bits = |scores: [f64; TOGETHER]| scores.map(f64::to_bits);
            let expected = bits(portable(four, vector, offset));
            prop_assert_eq!(bits(exact_each(four, vector, offset)), expected);
            prop_assert_eq!(bits(four.map(|query| exact(query, vector, offset))), expected);
        }
    }
}
