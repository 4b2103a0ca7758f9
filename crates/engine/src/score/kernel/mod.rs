//! The 6 × 16 tile: upper bounds of the scores of six queries with sixteen users, compared with
//! thresholds in registers; and the walk through the tiles of a chunk.
//!
//! Vectors are eight-bit codes (see `codes`); a tile tells which users may reach a query's threshold, and
//! stores nothing else. Whoever passes is scored again by `exact`, so the tile is only a filter, and all
//! variants may differ in what they let pass. Bounds are f32; [`slack`] says how far rounding can take
//! them below the truth.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use super::codes::{Coding, USER_ZEROS};

/// Users of a panel.
pub(super) const LANES: usize = 16;
/// Queries of a tile.
pub(super) const QUERIES: usize = 6;

/// One group of codes of the sixteen users of a panel, four unsigned codes each.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Codes(pub(super) [u32; LANES]);

/// One number of the sixteen users of a panel.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Lane(pub(super) [f32; LANES]);

/// What turns sums of codes of a panel into bounds of scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub(super) scale: Lane,
    pub(super) offset: Lane,
    /// What users have along the direction that items share.
    pub(super) along: Lane,
    /// See [`super::codes::width`].
    pub(super) width: Lane,
}

impl Panel {
    /// Sixteen empty places; they pass only where there is no threshold.
    pub(super) const EMPTY: Panel = Panel {
        scale: Lane([0.0; LANES]),
        offset: Lane([f32::NEG_INFINITY; LANES]),
        along: Lane([0.0; LANES]),
        width: Lane([0.0; LANES]),
    };
}

/// Codes of a place without a user.
pub(super) const EMPTY_CODES: Codes = Codes([USER_ZEROS; LANES]);

/// A query in its place of a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) codes: &'a [u32],
    pub(super) base: i32,
    pub(super) scale: f32,
    pub(super) along: f32,
    pub(super) reach: f32,
    pub(super) threshold: f32,
}

/// Panels of a chunk.
pub(super) const PANELS: usize = 16;

/// Which users of a panel passed, a bit each, for six queries.
pub(super) type Hits = [u16; QUERIES];

/// Whoever passed in a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    /// Panels with a hit, a bit each; the hits of others mean nothing.
    pub(super) panels: u16,
    pub(super) hits: [Hits; PANELS],
}

/// (codes of a chunk, its panels, queries) → who may reach the thresholds. All have the same number of groups
/// in each panel. A bound that is not a number passes.
type Walk = fn(&[Codes], &[Panel], &[Line<'_>; QUERIES], &mut Passed);

/// (codes of a chunk, its panels, queries) → scores as the codes have them, panel by panel and query by query:
/// near enough to guess from.
type Estimate = fn(&[Codes], &[Panel], &[Line<'_>; QUERIES], &mut [[Lane; QUERIES]]);

/// A tile and the queries it can take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    pub(super) walk: Walk,
    pub(super) estimate: Estimate,
    pub(super) coding: Coding,
    pub(super) name: &'static str,
}

/// In plain Rust.
pub(super) const PORTABLE: Kernel = Kernel {
    walk: portable,
    estimate: portable_estimate,
    coding: FINE,
    name: "portable",
};

/// Codes for instructions that add in 32 bits.
const FINE: Coding = Coding {
    limit: 127,
    loss: 1.0 / 128.0,
};

/// All that this processor can run, the fastest first.
pub(super) fn all() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if avx512::detected() {
            kernels.push(avx512::KERNEL);
        }
        if crate::train::kernels::has_avx2() {
            kernels.push(avx2::KERNEL);
        }
    }
    kernels.push(PORTABLE);
    kernels
}

fn portable(codes: &[Codes], panels: &[Panel], lines: &[Line<'_>; QUERIES], passed: &mut Passed) {
    passed.panels = 0;
    let groups = lines[0].codes.len();
    for (number, panel) in panels.iter().enumerate().take(PANELS) {
        let codes = &codes[number * groups..(number + 1) * groups];
        let hits = lines.map(|line| portable_hits(codes, panel, &line));
        passed.panels |= u16::from(hits != [0; QUERIES]) << number;
        passed.hits[number] = hits;
    }
}

fn portable_estimate(
    codes: &[Codes],
    panels: &[Panel],
    lines: &[Line<'_>; QUERIES],
    scores: &mut [[Lane; QUERIES]],
) {
    let groups = lines[0].codes.len();
    for (number, (panel, scores)) in panels.iter().zip(scores).enumerate() {
        let codes = &codes[number * groups..(number + 1) * groups];
        *scores = lines.map(|line| portable_scores(codes, panel, &line));
    }
}

fn portable_hits(codes: &[Codes], panel: &Panel, line: &Line<'_>) -> u16 {
    let scores = portable_scores(codes, panel, line);
    let mut hits = 0;
    for (lane, score) in scores.0.iter().enumerate() {
        let below = score + panel.width.0[lane] * line.reach < line.threshold;
        hits |= u16::from(!below) << lane;
    }
    hits
}

fn portable_scores(codes: &[Codes], panel: &Panel, line: &Line<'_>) -> Lane {
    let mut sums = [line.base; LANES];
    for (users, query) in codes.iter().zip(line.codes) {
        let query = query.to_le_bytes();
        for (sum, user) in sums.iter_mut().zip(users.0) {
            for (user, query) in user.to_le_bytes().into_iter().zip(query) {
                *sum += i32::from(user) * i32::from(query as i8);
            }
        }
    }
    Lane(std::array::from_fn(|lane| {
        // The scales first: sums times one of them could overflow where the score does not.
        let rest = sums[lane] as f32 * (panel.scale.0[lane] * line.scale);
        rest + panel.along.0[lane] * line.along + panel.offset.0[lane]
    }))
}

/// The codes of six queries side by side, as a walk reads them.
#[cfg(target_arch = "x86_64")]
type Side<'a> = [&'a [u32]; QUERIES];

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn beside<'a>(lines: &[Line<'a>; QUERIES], groups: usize) -> Side<'a> {
    let mut all: Side<'a> = [&[]; QUERIES];
    for (codes, line) in all.iter_mut().zip(lines) {
        *codes = &line.codes[..groups];
    }
    all
}

/// How far rounding can take a bound below the truth: the bound is a sum of four terms, each not above
/// 1.1 (|q||p| + |offset|) where it matters, with six roundings in all. Infinite where f32 could overflow, and never less than what underflow can lose: a product of scales loses 2⁻¹⁵⁰, and
/// sums of codes are below 2²³. The product is (|α| + |δ|)|p|.
pub(super) fn slack(product_max: f64, offset_max: f64) -> f64 {
    let size = product_max + offset_max;
    if size.is_nan() || size >= 1e37 {
        return f64::INFINITY;
    }
    12.0 * 2f64.powi(-24) * size + 2f64.powi(-120)
}

/// The nearest f32; not a number, which passes, where there is none.
pub(super) fn near(value: f64) -> f32 {
    let near = value as f32;
    if near.is_finite() { near } else { f32::NAN }
}

/// The largest f32 that is not above `value`.
pub(super) fn rounded_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        near.next_down()
    } else {
        near
    }
}

/// The smallest f32 that is not below `value`.
pub(super) fn rounded_up(value: f64) -> f32 {
    -rounded_down(-value)
}

#[cfg(test)]
mod tests {
    use super::super::codes::{self, GROUP, QueryCode, USER_CODE_MAX};
    use super::super::direction::Direction;
    use super::super::exact::exact;
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

    /// Packs up to a panel of users by hand.
    fn panel(
        users: &[Vec<f32>],
        offsets: &[f32],
        direction: &Direction,
        coding: Coding,
    ) -> (Vec<Codes>, Panel) {
        let groups = codes::groups(users[0].len());
        let (mut all, mut panel) = (vec![EMPTY_CODES; groups], Panel::EMPTY);
        for (lane, (vector, offset)) in users.iter().zip(offsets).enumerate() {
            let mut code = vec![0i8; groups * GROUP];
            let (scale, lost) = codes::encode(vector, USER_CODE_MAX, &mut code);
            for (line, four) in all.iter_mut().zip(code.chunks_exact(GROUP)) {
                line.0[lane] = codes::in_one(four) ^ USER_ZEROS;
            }
            panel.scale.0[lane] = scale;
            panel.offset.0[lane] = *offset;
            let parts = direction.parts(vector);
            panel.along.0[lane] = near(parts.along);
            panel.width.0[lane] = rounded_up(codes::width(coding, parts.norm, lost));
        }
        (all, panel)
    }

    fn first_axis(dimension: usize) -> Direction {
        let mut unit = vec![0.0; dimension];
        unit[0] = 1.0;
        Direction::new(unit)
    }

    fn line(code: &QueryCode, threshold: f32) -> Line<'_> {
        Line {
            codes: &code.codes,
            base: code.base,
            scale: code.scale,
            along: code.along,
            reach: rounded_up(code.reach),
            threshold,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn every_score_at_or_above_the_threshold_passes_on_all_paths(
            (unit, queries, users, offsets, which) in (1usize..40).prop_flat_map(|d| (
                prop::option::of(0..d),
                prop::collection::vec(prop::collection::vec(values(), d), QUERIES),
                prop::collection::vec(prop::collection::vec(values(), d), LANES),
                prop::collection::vec(values(), LANES),
                0usize..LANES,
            ))
        ) {
            let dimension = users[0].len();
            let direction = match unit {
                Some(axis) => Direction::new((0..dimension).map(|place| f32::from(u8::from(place == axis))).collect()),
                None => Direction::new(vec![(1.0 / dimension as f32).sqrt(); dimension]),
            };
            let norm_max = users.iter().map(|user| direction.parts(user).norm).fold(0.0, f64::max);
            let offset_max = offsets.iter().map(|offset| f64::from(offset.abs())).fold(0.0, f64::max);
            for kernel in all() {
                let (codes, panel) = panel(&users, &offsets, &direction, kernel.coding);
                let queries: Vec<(&[f32], QueryCode)> = queries
                    .iter()
                    .map(|query| (&query[..], QueryCode::new(&direction.split(query), kernel.coding)))
                    .collect();
                let thresholds: Vec<f64> = queries
                    .iter()
                    .map(|(query, _)| exact(query, &users[which], offsets[which]))
                    .collect();
                let lines = std::array::from_fn(|q| {
                    let code = &queries[q].1;
                    let slack = slack((code.reach + f64::from(code.along).abs()) * norm_max, offset_max);
                    line(code, rounded_down(thresholds[q] - slack))
                });
                let mut passed = Passed::default();
                (kernel.walk)(&codes, &[panel], &lines, &mut passed);
                prop_assert_eq!(passed.panels, 1, "{}", kernel.name);
                for (q, (query, _)) in queries.iter().enumerate() {
                    for lane in 0..LANES {
                        if exact(query, &users[lane], offsets[lane]) >= thresholds[q] {
                            prop_assert!(passed.hits[0][q] >> lane & 1 == 1, "{}", kernel.name);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn scores_clearly_below_do_not_pass_and_estimates_are_near() {
        let users = vec![vec![1.0; 10]; LANES];
        let mut offsets = [-100.0; LANES];
        offsets[3] = 0.0;
        let direction = first_axis(users[0].len());
        for kernel in all() {
            let (codes, panel) = panel(&users, &offsets, &direction, kernel.coding);
            let code = QueryCode::new(&direction.split(&[0.5; 10]), kernel.coding);
            let thresholds = [4.8, 5.3, -200.0, 0.0, 0.0, f32::INFINITY];
            let lines = thresholds.map(|threshold| line(&code, threshold));
            let mut passed = Passed::default();
            (kernel.walk)(&codes, &[panel], &lines, &mut passed);
            assert_eq!(passed.hits[0], [8, 0, 0xffff, 8, 8, 0], "{}", kernel.name);
            let mut scores = [[Lane([0.0; LANES]); QUERIES]];
            (kernel.estimate)(&codes, &[panel], &lines, &mut scores);
            for (lane, score) in scores[0][0].0.iter().enumerate() {
                assert!((score - (5.0 + offsets[lane])).abs() < 1e-4, "{score}");
            }
        }
    }

    #[test]
    fn a_bound_that_is_small_passes_though_a_factor_of_it_is_huge() {
        let users = vec![vec![3e38]; LANES];
        let direction = first_axis(users[0].len());
        for kernel in all() {
            let (codes, panel) = panel(&users, &[0.0; LANES], &direction, kernel.coding);
            let code = QueryCode::new(&direction.split(&[-1e-39]), kernel.coding);
            let mut passed = Passed::default();
            let lines = [line(&code, -0.31); QUERIES];
            (kernel.walk)(&codes, &[panel], &lines, &mut passed);
            assert_eq!(passed.hits[0], [0xffff; QUERIES], "{}", kernel.name);
        }
    }

    #[test]
    fn nothing_passes_where_nothing_can() {
        let users = vec![vec![1.0; 3]; LANES];
        let direction = first_axis(users[0].len());
        for kernel in all() {
            let (codes, panel) = panel(&users, &[0.0; LANES], &direction, kernel.coding);
            let code = QueryCode::new(&direction.split(&[1.0; 3]), kernel.coding);
            let mut passed = Passed::default();
            let lines = [line(&code, 3.5); QUERIES];
            (kernel.walk)(&codes, &[panel], &lines, &mut passed);
            assert_eq!(passed.panels, 0, "{}", kernel.name);
        }
    }

    #[test]
    fn rounding_goes_outward() {
        for value in [0.1, -0.1, 1e300, -1e300, 0.5, -1e-50, 1e-50] {
            assert!(f64::from(rounded_down(value)) <= value);
            assert!(f64::from(rounded_up(value)) >= value);
        }
        assert_eq!((rounded_down(0.5), rounded_up(0.5)), (0.5, 0.5));
    }
}
