//! Users packed in panels, the most promising first, with bounds on what a chunk of them can score.
//!
//! Cauchy and Schwarz bound a score by offset + |q||p|, which for one user is linear in |q|. The
//! largest value over the users of a chunk, and over all from it on, is kept for a grid of |q|; between
//! two points of the grid the line through them is a bound, too, because a maximum of lines is convex.

use rayon::prelude::*;

use super::codes::{self, Coding, GROUP, USER_CODE_MAX, USER_ZEROS, norm_above};
use super::exact::prefetch;
use super::kernel::{self, Codes, EMPTY_CODES, LANES, PANELS, Panel};
use crate::model::Model;
use crate::selection::UserSet;

/// Users whose vectors are asked for ahead of their use.
const VECTORS_AHEAD: usize = 8;
/// Points of the grid of query norms.
const GRID: usize = 8;

#[derive(Debug)]
pub(super) struct Packed {
    dimension: usize,
    /// The user in each place, panel by panel.
    users: Vec<u32>,
    /// Groups of codes, panel by panel.
    codes: Vec<Codes>,
    panels: Vec<Panel>,
    /// The users that are packed, unless all are.
    members: Option<UserSet>,
    coding: Coding,
    /// Ascending query norms; every query's norm lies between the first and the last.
    grid: [f64; GRID],
    chunks: Vec<Chunk>,
}

/// What is known about the users of a chunk.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// For each grid point: no user of this chunk can score more.
    peaks: [f64; GRID],
    /// For each grid point: no user from this chunk on can score more.
    rest: [f64; GRID],
    /// The largest norm.
    norm: f64,
    /// The largest absolute offset.
    offset: f64,
}

const NO_CHUNK: Chunk = Chunk {
    peaks: [f64::NEG_INFINITY; GRID],
    rest: [f64::NEG_INFINITY; GRID],
    norm: 0.0,
    offset: 0.0,
};

/// Where a query's norm lies in the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    above: usize,
    share: f64,
}

impl Packed {
    pub(super) fn new(model: &Model, candidates: Option<&[u32]>, coding: Coding) -> Packed {
        let grid = grid(model);
        let typical = grid[GRID / 2];
        let members: Option<UserSet> = candidates.map(|users| users.iter().copied().collect());
        let all: Vec<u32> = match &members {
            None => (0..model.users().len() as u32).collect(),
            Some(members) => members.iter().collect(),
        };
        let mut order: Vec<(f64, u32)> = all
            .into_par_iter()
            .map(|user| {
                let norm = norm_above(model.user_vector(user as usize));
                let offset = f64::from(model.user_offset(user as usize));
                (offset + typical * norm, user)
            })
            .collect();
        order.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let users = order.into_iter().map(|(_, user)| user).collect();
        Packed::in_order(model, users, members, grid, coding)
    }

    /// Those of the packed users that are in `set`.
    pub(super) fn only(&self, model: &Model, set: &UserSet) -> Packed {
        let users = self.users.iter().copied();
        let users = users.filter(|&user| set.contains(user)).collect();
        let members = match &self.members {
            None => set.clone(),
            Some(members) => members & set,
        };
        Packed::in_order(model, users, Some(members), self.grid, self.coding)
    }

    fn in_order(
        model: &Model,
        users: Vec<u32>,
        members: Option<UserSet>,
        grid: [f64; GRID],
        coding: Coding,
    ) -> Packed {
        let groups = codes::groups(model.dimension());
        let count = users.len().div_ceil(LANES);
        let mut codes = vec![EMPTY_CODES; count * groups];
        let mut panels = vec![Panel::EMPTY; count];
        let pack = Pack {
            model,
            coding,
            grid,
            groups,
        };
        let mut chunks: Vec<Chunk> = users
            .par_chunks(PANELS * LANES)
            .zip(codes.par_chunks_mut(PANELS * groups.max(1)))
            .zip(panels.par_chunks_mut(PANELS))
            .map(|((users, codes), panels)| pack.chunk(users, codes, panels))
            .collect();
        let mut rest = [f64::NEG_INFINITY; GRID];
        for chunk in chunks.iter_mut().rev() {
            for (rest, peak) in rest.iter_mut().zip(chunk.peaks) {
                *rest = rest.max(peak);
            }
            chunk.rest = rest;
        }
        Packed {
            dimension: model.dimension(),
            users,
            codes,
            panels,
            members,
            coding,
            grid,
            chunks,
        }
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
        self.chunks.len()
    }

    pub(super) fn panels(&self) -> usize {
        self.panels.len()
    }

    /// The panels of a chunk.
    pub(super) fn panels_of(&self, chunk: usize) -> std::ops::Range<usize> {
        let start = chunk * PANELS;
        start..(start + PANELS).min(self.panels.len())
    }

    /// The codes and the panels of a chunk.
    pub(super) fn chunk(&self, chunk: usize) -> (&[Codes], &[Panel]) {
        let panels = self.panels_of(chunk);
        let groups = codes::groups(self.dimension);
        let codes = &self.codes[panels.start * groups..panels.end * groups];
        (codes, &self.panels[panels])
    }

    /// The users in their places; the last panel may have empty ones.
    pub(super) fn users(&self) -> &[u32] {
        &self.users
    }

    /// The offset of the user in a place of the panels from `first` on.
    pub(super) fn offset(&self, first: usize, place: usize) -> f32 {
        self.panels[first + place / LANES].offset.0[place % LANES]
    }

    /// How far below the truth the bound of a score in this chunk can be, for a query that reaches so far.
    pub(super) fn slack(&self, chunk: usize, reach: f64) -> f64 {
        let chunk = &self.chunks[chunk];
        kernel::slack(reach * chunk.norm, chunk.offset)
    }

    /// Where a norm lies in the grid.
    pub(super) fn at(&self, norm: f64) -> At {
        let above = self.grid.partition_point(|&point| point < norm);
        let share = if above == 0 || above == GRID {
            0.0
        } else {
            let (left, right) = (self.grid[above - 1], self.grid[above]);
            (norm - left) / (right - left)
        };
        At { above, share }
    }

    /// No user of the chunk can score more for a query of this norm.
    pub(super) fn peak(&self, chunk: usize, at: At) -> f64 {
        bound(&self.chunks[chunk].peaks, at)
    }

    /// No user from the chunk on can score more for a query of this norm. Does not rise from chunk to
    /// chunk.
    pub(super) fn rest(&self, chunk: usize, at: At) -> f64 {
        bound(&self.chunks[chunk].rest, at)
    }
}

fn bound(bounds: &[f64; GRID], at: At) -> f64 {
    let bound = if at.above == 0 {
        bounds[0]
    } else if at.above == GRID {
        return f64::INFINITY;
    } else {
        bounds[at.above - 1] * (1.0 - at.share) + bounds[at.above] * at.share
    };
    // Rounding in the lines above and in the exact scores, outward.
    bound + 1e-9 * bounds[GRID - 1].abs().max(bound.abs())
}

/// What packing goes by.
struct Pack<'a> {
    model: &'a Model,
    coding: Coding,
    grid: [f64; GRID],
    groups: usize,
}

impl Pack<'_> {
    fn chunk(&self, users: &[u32], codes: &mut [Codes], panels: &mut [Panel]) -> Chunk {
        let mut chunk = NO_CHUNK;
        let mut code = vec![0i8; self.groups * GROUP];
        for (place, &user) in users.iter().enumerate() {
            if let Some(&next) = users.get(place + VECTORS_AHEAD) {
                prefetch(self.model.user_vector(next as usize));
            }
            let (number, lane) = (place / LANES, place % LANES);
            let vector = self.model.user_vector(user as usize);
            let offset = self.model.user_offset(user as usize);
            let norm = norm_above(vector);
            let (scale, lost) = codes::encode(vector, USER_CODE_MAX, &mut code);
            let lines = &mut codes[number * self.groups..(number + 1) * self.groups];
            for (line, four) in lines.iter_mut().zip(code.chunks_exact(GROUP)) {
                // Adds the shift to each of the four bytes.
                line.0[lane] = codes::in_one(four) ^ USER_ZEROS;
            }
            let panel = &mut panels[number];
            panel.scale.0[lane] = scale;
            panel.offset.0[lane] = offset;
            panel.width.0[lane] = kernel::rounded_up(codes::width(self.coding, norm, lost));
            chunk.norm = chunk.norm.max(norm);
            chunk.offset = chunk.offset.max(f64::from(offset).abs());
            for (peak, q) in chunk.peaks.iter_mut().zip(self.grid) {
                let score = f64::from(offset) + q * norm;
                *peak = if score.is_nan() {
                    f64::INFINITY
                } else {
                    peak.max(score)
                };
            }
        }
        chunk
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
    use crate::score::exact::exact;

    #[test]
    fn bounds_hold_and_the_rest_does_not_rise() {
        let model = Model::generated(1000, 30, 5, 3);
        let packed = Packed::new(&model, None, kernel::PORTABLE.coding);
        assert!(packed.chunks() > 2);
        for item in 0..30 {
            let query = model.item_vector(item);
            let at = packed.at(norm_above(query));
            let mut before = f64::INFINITY;
            for chunk in 0..packed.chunks() {
                let (peak, rest) = (packed.peak(chunk, at), packed.rest(chunk, at));
                assert!(peak <= rest && rest <= before);
                before = rest;
                let places = packed.panels_of(chunk);
                let places = places.start * LANES..(places.end * LANES).min(packed.len());
                for &user in &packed.users()[places] {
                    let user = user as usize;
                    let score = exact(query, model.user_vector(user), model.user_offset(user));
                    assert!(score <= peak);
                }
            }
        }
    }
}
