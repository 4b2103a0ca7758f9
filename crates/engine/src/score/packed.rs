//! Users packed in panels, the most promising first, with bounds on what a chunk of them can score.
//!
//! A query is α m + δ with m the direction that items share, and a score is offset + α (m·p) + δ·p. Cauchy
//! and Schwarz bound it by offset + α (m·p) + |δ||p'|, with p' what p has across m: for one user that is linear
//! in α and |δ|. The largest value over the users of a chunk, and over all from it on, is kept for a grid of both;
//! between the points of the grid what lies between their values is a bound, too, because a maximum of linear
//! functions is convex.

use rayon::prelude::*;

use super::codes::{self, Coding, GROUP, QueryCode, USER_CODE_MAX, USER_ZEROS};
use super::direction::{Direction, Parts, Split};
use super::exact::prefetch;
use super::kernel::{self, Codes, EMPTY_CODES, LANES, PANELS, Panel};
use crate::model::Model;
use crate::selection::UserSet;

/// Users whose vectors are asked for ahead of their use.
const VECTORS_AHEAD: usize = 8;
/// Points of each side of the grid.
const SIDE: usize = 6;
/// Points of the grid.
const GRID: usize = SIDE * SIDE;
/// What sums of f64 lose, in bounds and in exact scores, as a part of all that is added.
const SUMS_LOST: f64 = 1e-9;

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
    direction: Direction,
    grid: Grid,
    chunks: Vec<Chunk>,
}

/// Where bounds are known: every query lies between the first and the last of both sides.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Of α, ascending.
    along: [f64; SIDE],
    /// Of |δ|, ascending from zero.
    across: [f64; SIDE],
}

/// What is known about the users of a chunk.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    here: Bounds,
    /// Of the users of this chunk and all after it.
    rest: Bounds,
}

/// What some users can score.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// For each grid point, α by α: no user can score more.
    peaks: [f64; GRID],
    /// The largest norm.
    norm: f64,
    /// The largest absolute offset.
    offset: f64,
}

impl Bounds {
    /// Of no users.
    const NONE: Bounds = Bounds {
        peaks: [f64::NEG_INFINITY; GRID],
        norm: 0.0,
        offset: 0.0,
    };

    fn take(&mut self, grid: &Grid, parts: &Parts, offset: f64) {
        self.norm = self.norm.max(parts.norm);
        self.offset = self.offset.max(offset.abs());
        for (peaks, along) in self.peaks.chunks_exact_mut(SIDE).zip(grid.along) {
            for (peak, across) in peaks.iter_mut().zip(grid.across) {
                let score = offset + along * parts.along + across * parts.across;
                *peak = if score.is_nan() {
                    f64::INFINITY
                } else {
                    peak.max(score)
                };
            }
        }
    }

    fn join(&mut self, other: &Bounds) {
        self.norm = self.norm.max(other.norm);
        self.offset = self.offset.max(other.offset);
        for (peak, other) in self.peaks.iter_mut().zip(other.peaks) {
            *peak = peak.max(other);
        }
    }

    /// No user can score more for the query.
    fn peak(&self, at: &At) -> f64 {
        let Some((along, across)) = &at.place else {
            return f64::INFINITY;
        };
        let side = |along: usize| {
            let peaks = &self.peaks[along * SIDE..(along + 1) * SIDE];
            across.between(peaks[across.low], peaks[across.high])
        };
        let bound = along.between(side(along.low), side(along.high));
        bound + SUMS_LOST * (at.size * self.norm + self.offset)
    }
}

/// Where a query lies in the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// Nothing where it is beyond.
    place: Option<(Step, Step)>,
    /// |α| + |δ| of the farthest of the points around it: what rounding between them is a part of.
    size: f64,
}

/// A number between two points.
#[derive(Clone, Copy, Debug)]
struct Step {
    low: usize,
    high: usize,
    /// How far it is from the one to the other.
    share: f64,
}

impl Step {
    fn find(points: &[f64; SIDE], value: f64) -> Option<Step> {
        let high = points.partition_point(|&point| point < value);
        let low = match high {
            SIDE => return None,
            0 if points[0] == value => 0,
            0 => return None,
            high => high - 1,
        };
        let share = if low == high {
            0.0
        } else {
            (value - points[low]) / (points[high] - points[low])
        };
        Some(Step { low, high, share })
    }

    fn between(&self, low: f64, high: f64) -> f64 {
        // At the point itself the other one does not matter, which may be infinite.
        if self.share == 0.0 {
            low
        } else {
            low * (1.0 - self.share) + high * self.share
        }
    }
}

impl Packed {
    pub(super) fn new(model: &Model, candidates: Option<&[u32]>, coding: Coding) -> Packed {
        let direction = Direction::of_items(model);
        let grid = Grid::of_items(model, &direction);
        let (along, across) = (grid.along[SIDE / 2], grid.across[SIDE / 2]);
        let members: Option<UserSet> = candidates.map(|users| users.iter().copied().collect());
        let all: Vec<u32> = match &members {
            None => (0..model.users().len() as u32).collect(),
            Some(members) => members.iter().collect(),
        };
        let mut order: Vec<(f64, u32)> = all
            .into_par_iter()
            .map(|user| {
                let parts = direction.parts(model.user_vector(user as usize));
                let offset = f64::from(model.user_offset(user as usize));
                (offset + along * parts.along + across * parts.across, user)
            })
            .collect();
        order.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let users = order.into_iter().map(|(_, user)| user).collect();
        Packed::in_order(model, users, members, direction, grid, coding)
    }

    /// Those of the packed users that are in `set`.
    pub(super) fn only(&self, model: &Model, set: &UserSet) -> Packed {
        let users = self.users.iter().copied();
        let users = users.filter(|&user| set.contains(user)).collect();
        let members = match &self.members {
            None => set.clone(),
            Some(members) => members & set,
        };
        let direction = self.direction.clone();
        Packed::in_order(
            model,
            users,
            Some(members),
            direction,
            self.grid,
            self.coding,
        )
    }

    fn in_order(
        model: &Model,
        users: Vec<u32>,
        members: Option<UserSet>,
        direction: Direction,
        grid: Grid,
        coding: Coding,
    ) -> Packed {
        let groups = codes::groups(model.dimension());
        let count = users.len().div_ceil(LANES);
        let mut codes = vec![EMPTY_CODES; count * groups];
        let mut panels = vec![Panel::EMPTY; count];
        let pack = Pack {
            model,
            coding,
            direction: &direction,
            grid: &grid,
            groups,
        };
        let mut chunks: Vec<Chunk> = users
            .par_chunks(PANELS * LANES)
            .zip(codes.par_chunks_mut(PANELS * groups.max(1)))
            .zip(panels.par_chunks_mut(PANELS))
            .map(|((users, codes), panels)| {
                let here = pack.chunk(users, codes, panels);
                Chunk { here, rest: here }
            })
            .collect();
        let mut rest = Bounds::NONE;
        for chunk in chunks.iter_mut().rev() {
            rest.join(&chunk.here);
            chunk.rest = rest;
        }
        Packed {
            dimension: model.dimension(),
            users,
            codes,
            panels,
            members,
            coding,
            direction,
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

    /// How far below the truth the bound of a score in this chunk can be.
    pub(super) fn slack(&self, chunk: usize, query: &QueryCode) -> f64 {
        let chunk = &self.chunks[chunk].here;
        let product = (query.reach + f64::from(query.along).abs()) * chunk.norm;
        kernel::slack(product, chunk.offset)
    }

    /// A query as the scan wants it, and where it lies in the grid.
    pub(super) fn query(&self, vector: &[f32]) -> (QueryCode, At) {
        let split = self.direction.split(vector);
        (QueryCode::new(&split, self.coding), self.grid.at(&split))
    }

    /// No user of the chunk can score more for the query.
    pub(super) fn peak(&self, chunk: usize, at: &At) -> f64 {
        self.chunks[chunk].here.peak(at)
    }

    /// No user from the chunk on can score more for the query. Does not rise from chunk to chunk.
    pub(super) fn rest(&self, chunk: usize, at: &At) -> f64 {
        self.chunks[chunk].rest.peak(at)
    }
}

impl Grid {
    /// By quantiles of what a model's items have along a direction and across it.
    fn of_items(model: &Model, direction: &Direction) -> Grid {
        let (mut along, mut across): (Vec<f64>, Vec<f64>) = (0..model.items().len())
            .into_par_iter()
            .map(|item| {
                let split = direction.split(model.item_vector(item));
                (split.whole_along, split.across)
            })
            .unzip();
        across.push(0.0);
        Grid {
            along: quantiles(&mut along),
            across: quantiles(&mut across),
        }
    }

    fn at(&self, split: &Split) -> At {
        let along = Step::find(&self.along, split.whole_along);
        let place = along.zip(Step::find(&self.across, split.across));
        let size = place.map_or(f64::INFINITY, |(along, across)| {
            let (low, high) = (self.along[along.low], self.along[along.high]);
            low.abs().max(high.abs()) + self.across[across.high]
        });
        At { place, size }
    }
}

/// From the least to the largest; zeros if there are none.
fn quantiles(values: &mut [f64]) -> [f64; SIDE] {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    std::array::from_fn(|point| {
        values
            .get(last * point / (SIDE - 1))
            .copied()
            .unwrap_or(0.0)
    })
}

/// What packing goes by.
struct Pack<'a> {
    model: &'a Model,
    coding: Coding,
    direction: &'a Direction,
    grid: &'a Grid,
    groups: usize,
}

impl Pack<'_> {
    fn chunk(&self, users: &[u32], codes: &mut [Codes], panels: &mut [Panel]) -> Bounds {
        let mut bounds = Bounds::NONE;
        let mut code = vec![0i8; self.groups * GROUP];
        for (place, &user) in users.iter().enumerate() {
            if let Some(&next) = users.get(place + VECTORS_AHEAD) {
                prefetch(self.model.user_vector(next as usize));
            }
            let (number, lane) = (place / LANES, place % LANES);
            let vector = self.model.user_vector(user as usize);
            let offset = self.model.user_offset(user as usize);
            let parts = self.direction.parts(vector);
            let (scale, lost) = codes::encode(vector, USER_CODE_MAX, &mut code);
            let lines = &mut codes[number * self.groups..(number + 1) * self.groups];
            for (line, four) in lines.iter_mut().zip(code.chunks_exact(GROUP)) {
                // Adds the shift to each of the four bytes.
                line.0[lane] = codes::in_one(four) ^ USER_ZEROS;
            }
            let panel = &mut panels[number];
            panel.scale.0[lane] = scale;
            panel.offset.0[lane] = offset;
            panel.along.0[lane] = kernel::near(parts.along);
            panel.width.0[lane] = kernel::rounded_up(codes::width(self.coding, parts.norm, lost));
            bounds.take(self.grid, &parts, f64::from(offset));
        }
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::score::exact::exact;

    #[test]
    fn bounds_hold_between_points_that_are_far_apart() {
        // Many items far out on both sides, one near zero between them, and users who are all alike, so that
        // the bound is as near to the score as it can be.
        let (far, near) = (3e12, 0.37);
        let along = (0..60).map(|item| if item % 2 == 0 { far } else { -far });
        let vectors = along.chain([near]).flat_map(|along| [along, 0.1, -0.2]);
        let users = [0.7, 0.3, -0.9].repeat(300);
        let model = Model::from_vectors(3, users, vectors.collect()).unwrap();
        let packed = Packed::new(&model, None, kernel::PORTABLE.coding);
        let query = model.item_vector(60);
        let (_, at) = packed.query(query);
        assert!(at.place.is_some());
        let score = exact(query, model.user_vector(0), 0.0);
        assert!((0..packed.chunks()).all(|chunk| packed.peak(chunk, &at) >= score));
    }

    #[test]
    fn bounds_hold_and_the_rest_does_not_rise() {
        let model = Model::generated(1000, 30, 5, 3);
        let packed = Packed::new(&model, None, kernel::PORTABLE.coding);
        assert!(packed.chunks() > 2);
        for item in 0..30 {
            let query = model.item_vector(item);
            let (_, at) = packed.query(query);
            let mut before = f64::INFINITY;
            for chunk in 0..packed.chunks() {
                let (peak, rest) = (packed.peak(chunk, &at), packed.rest(chunk, &at));
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
