//! Users packed in panels, the most promising first, with bounds on what the rest can score.
//!
//! Cauchy and Schwarz bound a score by offset + |q||p|, which for one user is linear in |q|. The
//! largest value over all users from a chunk on is kept for a grid of |q|; between two points of the
//! grid the line through them is a bound, too, because a maximum of lines is convex.

use super::kernel::{LANES, Lane};
use crate::model::Model;
use crate::selection::UserSet;

/// Panels of a chunk: about what a second-level cache holds at d = 149.
pub(super) const PANELS_AT_ONCE: usize = 16;
/// Points of the grid of query norms.
const GRID: usize = 8;
/// Norms are rounded up by this factor, more than f64 sums can lose.
const UPWARD: f64 = 1.0 + 1e-9;

#[derive(Debug)]
pub(super) struct Packed {
    dimension: usize,
    /// The user in each place, panel by panel.
    users: Vec<u32>,
    /// One lane per panel and component.
    vectors: Vec<Lane>,
    /// One lane per panel.
    offsets: Vec<Lane>,
    /// The users that are packed, unless all are.
    members: Option<UserSet>,
    /// Ascending query norms; every query's norm lies between the first and the last.
    grid: [f64; GRID],
    /// For each chunk and grid point: no user from this chunk on can score more.
    bounds: Vec<[f64; GRID]>,
    /// For each chunk: the largest norm and the largest absolute offset in it.
    sizes: Vec<(f64, f64)>,
}

/// An upper bound of the vector's norm.
pub(super) fn norm_above(vector: &[f32]) -> f64 {
    let sum: f64 = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    sum.sqrt() * UPWARD
}

impl Packed {
    pub(super) fn new(model: &Model, candidates: Option<&[u32]>) -> Packed {
        let grid = grid(model);
        let typical = grid[GRID / 2];
        let members: Option<UserSet> = candidates.map(|users| users.iter().copied().collect());
        let promise = |user: u32| {
            let norm = norm_above(model.user_vector(user as usize));
            let offset = f64::from(model.user_offset(user as usize));
            (offset + typical * norm, user)
        };
        let mut order: Vec<(f64, u32)> = match &members {
            None => (0..model.users().len() as u32).map(promise).collect(),
            Some(members) => members.iter().map(promise).collect(),
        };
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let users = order.into_iter().map(|(_, user)| user).collect();
        Packed::in_order(model, users, members, grid)
    }

    /// Those of the packed users that are in `set`.
    pub(super) fn only(&self, model: &Model, set: &UserSet) -> Packed {
        let users = self.users.iter().copied();
        let users = users.filter(|&user| set.contains(user)).collect();
        let members = match &self.members {
            None => set.clone(),
            Some(members) => members & set,
        };
        Packed::in_order(model, users, Some(members), self.grid)
    }

    fn in_order(
        model: &Model,
        users: Vec<u32>,
        members: Option<UserSet>,
        grid: [f64; GRID],
    ) -> Packed {
        let dimension = model.dimension();
        let panels = users.len().div_ceil(LANES);
        let mut packed = Packed {
            dimension,
            users,
            vectors: vec![Lane([0.0; LANES]); panels * dimension],
            offsets: vec![Lane([f32::NEG_INFINITY; LANES]); panels],
            members,
            grid,
            bounds: vec![[f64::NEG_INFINITY; GRID]; panels.div_ceil(PANELS_AT_ONCE)],
            sizes: vec![(0.0, 0.0); panels.div_ceil(PANELS_AT_ONCE)],
        };
        for (place, &user) in packed.users.iter().enumerate() {
            let (panel, lane) = (place / LANES, place % LANES);
            let vector = model.user_vector(user as usize);
            let norm = norm_above(vector);
            let rows = &mut packed.vectors[panel * dimension..(panel + 1) * dimension];
            for (row, value) in rows.iter_mut().zip(vector) {
                row.0[lane] = *value;
            }
            let offset = model.user_offset(user as usize);
            packed.offsets[panel].0[lane] = offset;
            let chunk = panel / PANELS_AT_ONCE;
            let sizes = &mut packed.sizes[chunk];
            *sizes = (sizes.0.max(norm), sizes.1.max(f64::from(offset).abs()));
            for (bound, q) in packed.bounds[chunk].iter_mut().zip(grid) {
                *bound = bound.max(f64::from(offset) + q * norm);
            }
        }
        for chunk in (1..packed.bounds.len()).rev() {
            for point in 0..GRID {
                let after = packed.bounds[chunk][point];
                let bound = &mut packed.bounds[chunk - 1][point];
                *bound = bound.max(after);
            }
        }
        packed
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn holds(&self, user: u32) -> bool {
        self.members
            .as_ref()
            .is_none_or(|members| members.contains(user))
    }

    /// How many of `set` are packed.
    pub(super) fn count(&self, set: &UserSet) -> usize {
        let count = match &self.members {
            None => set.len(),
            Some(members) => members.intersection_len(set),
        };
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    pub(super) fn chunks(&self) -> usize {
        self.bounds.len()
    }

    /// The first panel after `chunk`.
    pub(super) fn panels_until(&self, chunk: usize) -> usize {
        ((chunk + 1) * PANELS_AT_ONCE).min(self.offsets.len())
    }

    pub(super) fn panel(&self, panel: usize) -> (&[Lane], &Lane) {
        let vectors = &self.vectors[panel * self.dimension..(panel + 1) * self.dimension];
        (vectors, &self.offsets[panel])
    }

    /// The user in a place of a panel; the last panel may have empty ones.
    pub(super) fn user(&self, panel: usize, lane: usize) -> Option<u32> {
        self.users.get(panel * LANES + lane).copied()
    }

    /// The largest norm and absolute offset in a chunk.
    pub(super) fn sizes(&self, chunk: usize) -> (f64, f64) {
        self.sizes[chunk]
    }

    /// Whether no user from `chunk` on can reach `threshold` for a query of this norm.
    pub(super) fn beyond(&self, chunk: usize, norm: f64, threshold: f64) -> bool {
        self.bound(chunk, norm) < threshold
    }

    /// The first chunk that is beyond; bounds never rise from chunk to chunk.
    pub(super) fn exit(&self, norm: f64, threshold: f64) -> usize {
        let (mut low, mut high) = (0, self.chunks());
        while low < high {
            let middle = (low + high) / 2;
            if self.beyond(middle, norm, threshold) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn bound(&self, chunk: usize, norm: f64) -> f64 {
        let bounds = &self.bounds[chunk];
        let above = self.grid.partition_point(|&point| point < norm);
        let bound = if above == 0 {
            bounds[0]
        } else if above == GRID {
            return f64::INFINITY;
        } else {
            let (left, right) = (self.grid[above - 1], self.grid[above]);
            let share = (norm - left) / (right - left);
            bounds[above - 1] * (1.0 - share) + bounds[above] * share
        };
        // Rounding in the lines above and in the exact scores, outward.
        bound + 1e-9 * bounds[GRID - 1].abs().max(bound.abs())
    }
}

/// From 0 to the largest norm of an item, by quantiles.
fn grid(model: &Model) -> [f64; GRID] {
    let mut norms: Vec<f64> = (0..model.items().len())
        .map(|item| norm_above(model.item_vector(item)))
        .collect();
    norms.sort_unstable_by(f64::total_cmp);
    let mut grid = [0.0; GRID];
    if let Some(last) = norms.len().checked_sub(1) {
        for (point, value) in grid.iter_mut().enumerate().skip(1) {
            *value = norms[last * point / (GRID - 1)];
        }
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    #[test]
    fn bounds_hold_and_do_not_rise() {
        let model = Model::generated(1000, 30, 5, 3);
        let packed = Packed::new(&model, None);
        assert!(packed.chunks() > 2);
        for item in 0..30 {
            let query = model.item_vector(item);
            let norm = norm_above(query);
            let mut before = f64::INFINITY;
            for chunk in 0..packed.chunks() {
                let bound = packed.bound(chunk, norm);
                assert!(bound <= before);
                before = bound;
                for place in chunk * PANELS_AT_ONCE * LANES..packed.len() {
                    let (panel, lane) = (place / LANES, place % LANES);
                    let (vectors, offsets) = packed.panel(panel);
                    let score = super::super::kernel::exact(query, vectors, lane, offsets.0[lane]);
                    assert!(score <= bound);
                }
            }
            let threshold = packed.bound(1, norm) - 1e-3;
            let exit = packed.exit(norm, threshold);
            assert!(exit >= 2);
            assert!(exit == packed.chunks() || packed.beyond(exit, norm, threshold));
        }
    }
}
