//! The 6 × 16 tile: scores of six queries with sixteen users, compared with thresholds in registers.
//!
//! A tile tells which scores are not below their query's threshold; no score is stored. The scores
//! are f32 and only a filter: whoever passes is scored again in f64 by [`exact`], in one fixed order.
//! [`slack`] bounds how far the two can be apart.

/// Users of a panel.
pub(crate) const LANES: usize = 16;
/// Queries of a tile.
pub(crate) const QUERIES: usize = 6;

/// One component, or the offset, of the sixteen users of a panel.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [f32; LANES]);

/// Which users of a panel passed, a bit each, for six queries.
pub(crate) type Hits = [u16; QUERIES];

/// Computes a tile: (panel, offsets, queries as d rows of six, thresholds) → hits. A score that is not
/// a number passes.
pub(crate) type Tile = fn(&[Lane], &Lane, &[[f32; QUERIES]], &[f32; QUERIES]) -> Hits;

/// The fastest tile this processor can run.
pub(crate) fn best() -> Tile {
    #[cfg(target_arch = "x86_64")]
    if crate::train::kernels::has_avx2() {
        return avx2::tile;
    }
    portable
}

/// The tile in plain Rust.
pub(crate) fn portable(
    panel: &[Lane],
    offsets: &Lane,
    queries: &[[f32; QUERIES]],
    thresholds: &[f32; QUERIES],
) -> Hits {
    let mut sums = [[0.0f32; LANES]; QUERIES];
    for (users, query) in panel.iter().zip(queries) {
        for (sums, value) in sums.iter_mut().zip(query) {
            for (sum, user) in sums.iter_mut().zip(&users.0) {
                *sum += value * user;
            }
        }
    }
    let mut hits = [0u16; QUERIES];
    for ((hits, sums), threshold) in hits.iter_mut().zip(&sums).zip(thresholds) {
        for (lane, (sum, offset)) in sums.iter().zip(&offsets.0).enumerate() {
            let below = sum + offset < *threshold;
            *hits |= u16::from(!below) << lane;
        }
    }
    hits
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Hits, LANES, Lane, QUERIES};
    use std::arch::x86_64::*;

    pub(super) fn tile(
        panel: &[Lane],
        offsets: &Lane,
        queries: &[[f32; QUERIES]],
        thresholds: &[f32; QUERIES],
    ) -> Hits {
        debug_assert_eq!(panel.len(), queries.len());
        // SAFETY: `best` hands this function out only after AVX2 and FMA were detected.
        #[allow(unsafe_code)]
        unsafe {
            body(panel, offsets, queries, thresholds)
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn body(
        panel: &[Lane],
        offsets: &Lane,
        queries: &[[f32; QUERIES]],
        thresholds: &[f32; QUERIES],
    ) -> Hits {
        let mut sums = [[_mm256_setzero_ps(); 2]; QUERIES];
        for (users, query) in panel.iter().zip(queries) {
            let low = load(users, 0);
            let high = load(users, LANES / 2);
            for (sums, value) in sums.iter_mut().zip(query) {
                let value = _mm256_set1_ps(*value);
                sums[0] = _mm256_fmadd_ps(value, low, sums[0]);
                sums[1] = _mm256_fmadd_ps(value, high, sums[1]);
            }
        }
        let offsets = [load(offsets, 0), load(offsets, LANES / 2)];
        let mut hits = [0u16; QUERIES];
        for ((hits, sums), threshold) in hits.iter_mut().zip(&sums).zip(thresholds) {
            let threshold = _mm256_set1_ps(*threshold);
            let mut mask = [0u16; 2];
            for half in 0..2 {
                let score = _mm256_add_ps(sums[half], offsets[half]);
                // "Not less than, or unordered": a score that is not a number is looked at again.
                let passed = _mm256_cmp_ps::<_CMP_NLT_UQ>(score, threshold);
                mask[half] = _mm256_movemask_ps(passed) as u16;
            }
            *hits = mask[0] | (mask[1] << (LANES / 2));
        }
        hits
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn load(lane: &Lane, at: usize) -> __m256 {
        let half = &lane.0[at..at + LANES / 2];
        // SAFETY: the slice above has eight floats; an unaligned load reads exactly those.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_loadu_ps(half.as_ptr())
        }
    }
}

/// The score that counts: q·p + offset in f64. Products of two f32 are exact in f64, and the order of
/// the sum is fixed here, so every kernel and every machine gets the same number.
pub(crate) fn exact(query: &[f32], panel: &[Lane], lane: usize, offset: f32) -> f64 {
    let mut sums = [0.0f64; 4];
    let mut values = query.chunks_exact(4).zip(panel.chunks_exact(4));
    for (query, panel) in &mut values {
        for part in 0..4 {
            sums[part] += f64::from(query[part]) * f64::from(panel[part].0[lane]);
        }
    }
    let done = query.len() / 4 * 4;
    for (part, (query, panel)) in query[done..].iter().zip(&panel[done..]).enumerate() {
        sums[part] += f64::from(*query) * f64::from(panel.0[lane]);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + f64::from(offset)
}

/// The same number for a user whose vector lies in one piece.
pub(crate) fn exact_of(query: &[f32], vector: &[f32], offset: f32) -> f64 {
    let mut sums = [0.0f64; 4];
    let mut values = query.chunks_exact(4).zip(vector.chunks_exact(4));
    for (query, vector) in &mut values {
        for part in 0..4 {
            sums[part] += f64::from(query[part]) * f64::from(vector[part]);
        }
    }
    let done = query.len() / 4 * 4;
    for (part, (query, value)) in query[done..].iter().zip(&vector[done..]).enumerate() {
        sums[part] += f64::from(*query) * f64::from(*value);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + f64::from(offset)
}

/// How far a tile's score can be from the exact one: 2 (d + 2) 2⁻²⁴ (|q||p| + |offset|), infinite where
/// f32 could overflow, and never less than what underflow can lose.
pub(crate) fn slack(dimension: usize, product_max: f64, offset_max: f64) -> f64 {
    let size = product_max + offset_max;
    if size.is_nan() || size >= 1e37 {
        return f64::INFINITY;
    }
    let terms = (dimension + 2) as f64;
    2.0 * terms * 2f64.powi(-24) * size + terms * 2f64.powi(-148)
}

/// The largest f32 that is not above `value`.
pub(crate) fn rounded_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        near.next_down()
    } else {
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -2.0f32..2.0,
            1 => Just(0.0),
            1 => Just(1e-42),
            1 => Just(-1e-39),
            1 => -1e18f32..1e18,
            1 => Just(3e38f32),
        ]
    }

    proptest! {
        #[test]
        fn every_score_at_or_above_the_threshold_hits_on_both_paths(
            (queries, users, offsets, which) in (1usize..40).prop_flat_map(|d| (
                prop::collection::vec(prop::array::uniform6(values()), d),
                prop::collection::vec(prop::array::uniform16(values()), d),
                prop::array::uniform16(values()),
                0usize..LANES,
            ))
        ) {
            let panel: Vec<Lane> = users.iter().map(|row| Lane(*row)).collect();
            let norm = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
            };
            let mut thresholds = [0.0f32; QUERIES];
            let mut scores = [[0.0f64; LANES]; QUERIES];
            for q in 0..QUERIES {
                let query: Vec<f32> = queries.iter().map(|row| row[q]).collect();
                let query_norm = norm(&mut query.iter().copied());
                let mut product_max = 0.0f64;
                let mut offset_max = 0.0f64;
                for lane in 0..LANES {
                    scores[q][lane] = exact(&query, &panel, lane, offsets[lane]);
                    product_max = product_max.max(query_norm * norm(&mut panel.iter().map(|row| row.0[lane])));
                    offset_max = offset_max.max(f64::from(offsets[lane]).abs());
                }
                let slack = slack(queries.len(), product_max * (1.0 + 1e-9), offset_max);
                thresholds[q] = rounded_down(scores[q][which] - slack);
            }
            for tile in [portable as Tile, best()] {
                let hits = tile(&panel, &Lane(offsets), &queries, &thresholds);
                for q in 0..QUERIES {
                    for lane in 0..LANES {
                        if scores[q][lane] >= scores[q][which] {
                            prop_assert!(hits[q] >> lane & 1 == 1);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn scores_clearly_below_do_not_hit() {
        let panel = vec![Lane([1.0; LANES]); 10];
        let mut offsets = Lane([-100.0; LANES]);
        offsets.0[3] = 0.0;
        let queries = vec![[0.5; QUERIES]; 10];
        for tile in [portable as Tile, best()] {
            let hits = tile(
                &panel,
                &offsets,
                &queries,
                &[4.9, 5.1, -200.0, 0.0, 0.0, f32::INFINITY],
            );
            assert_eq!(hits, [8, 0, 0xffff, 8, 8, 0]);
        }
    }

    #[test]
    fn rounding_goes_down() {
        for value in [0.1, -0.1, 1e300, -1e300, 0.5, -1e-50, 1e-50] {
            assert!(f64::from(rounded_down(value)) <= value);
        }
        assert_eq!(rounded_down(0.5), 0.5);
    }
}
