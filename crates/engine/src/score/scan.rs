//! The scan: queries on the way through the chunks of the packed users.
//!
//! At every chunk the queries whose threshold it can reach are put together in tiles; whoever the tiles let
//! pass is scored exactly before the next chunk, user by user, so that a vector is read once for all queries
//! it matters to. A query that nothing ahead can change leaves.

use std::sync::atomic::Ordering;

use super::best::Best;
use super::codes::QueryCode;
use super::exact::{TOGETHER, exact_each, prefetch};
use super::kernel::{self, LANES, Lane, Line, PANELS, Passed, QUERIES};
use super::packed::{At, Packed};
use super::{Ranking, Scorer};
use crate::selection::UserSet;

/// From so many users on, the threshold to begin with is guessed from a sample.
const SAMPLED_K_MIN: usize = 256;
/// Of so many chunks one is in the sample.
const SAMPLE_STRIDE: usize = 16;
/// Standard deviations that the guess stays on the safe side of the expected rank.
const SAMPLE_SAFETY: f64 = 4.0;

/// Users whose vectors are asked for ahead of their use.
const VECTORS_AHEAD: usize = 32;

/// Chunks between two looks at which queries may leave.
const CHUNKS_PER_LOOK: usize = 8;

/// The packed users that are scanned.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) scorer: &'a Scorer,
    pub(super) packed: &'a Packed,
}

/// A query and the best users it has met.
pub(super) struct Query<'a> {
    item: u32,
    k: usize,
    pub(super) vector: &'a [f32],
    /// Users who are not scored by the inner product, ascending.
    pub(super) history: &'a [u32],
    /// Only these users, unless all.
    among: Option<&'a UserSet>,
    /// Not these users, ascending.
    pub(super) without: &'a [u32],
    pub(super) best: Best,
}

impl Query<'_> {
    fn takes(&self, user: u32) -> bool {
        self.among.is_none_or(|set| set.contains(user))
            && self.without.binary_search(&user).is_err()
    }

    /// Takes a user who was met, unless their score is known already.
    fn offer(&mut self, user: u32, score: f64) {
        if self.best.wants(score, user)
            && self.without.binary_search(&user).is_err()
            && self.history.binary_search(&user).is_err()
        {
            self.best.offer(score, user);
        }
    }
}

/// A query in the scan.
struct Scanned<'a> {
    query: Query<'a>,
    code: QueryCode,
    at: At,
}

impl Scanned<'_> {
    /// Whoever scores less does not matter.
    fn threshold(&self) -> f64 {
        self.query.best.threshold()
    }
}

impl<'a> Scan<'a> {
    /// The query of an item for the packed users, of these only those `among` and not those of
    /// `without` (ascending); its history is already scored.
    pub(super) fn query(
        &self,
        item: u32,
        among: Option<&'a UserSet>,
        without: &'a [u32],
        k: usize,
    ) -> Query<'a> {
        let model = &self.scorer.model;
        let (users, scores) = model.history().of(item as usize);
        let count = among.map_or(self.packed.len(), |set| self.packed.count(set));
        let mut query = Query {
            item,
            k,
            vector: model.item_vector(item as usize),
            history: users,
            among,
            without,
            best: Best::new(k, count),
        };
        for (&user, &score) in users.iter().zip(scores) {
            if self.packed.holds(user) && query.takes(user) {
                query.best.offer(f64::from(score), user);
            }
        }
        query
    }

    /// The rankings of the queries, in their order.
    pub(super) fn run(&self, queries: Vec<Query<'a>>) -> Vec<Ranking> {
        let total = queries.len().div_ceil(QUERIES) * self.packed.panels();
        let counts = &self.scorer.tiles_total;
        counts.fetch_add(total as u64, Ordering::Relaxed);
        let mut queries: Vec<Scanned<'a>> = queries
            .into_iter()
            .map(|query| {
                let (code, at) = self.packed.query(query.vector);
                Scanned { query, code, at }
            })
            .collect();
        self.guess(&mut queries);
        let mut all = Vec::from_iter(0..queries.len());
        self.all_chunks(all.clone(), &mut queries);
        all.retain(|&number| queries[number].query.best.lacks());
        // The guess was too high for these; without one they cannot fail.
        for &number in &all {
            let again = &mut queries[number];
            let Query {
                item,
                among,
                without,
                k,
                ..
            } = again.query;
            again.query = self.query(item, among, without, k);
        }
        self.all_chunks(all, &mut queries);
        queries
            .into_iter()
            .map(|scanned| scanned.query.best.into_ranking())
            .collect()
    }

    /// Guesses where the thresholds of queries for many users will be, so that few users are scored who do
    /// not matter.
    fn guess(&self, queries: &mut [Scanned<'a>]) {
        let guessed: Vec<usize> = (0..queries.len())
            .filter(|&number| {
                let query = &queries[number].query;
                query.k >= SAMPLED_K_MIN && query.among.is_none() && query.without.is_empty()
            })
            .collect();
        let mut scores = vec![Vec::new(); QUERIES];
        for members in guessed.chunks(QUERIES) {
            scores.iter_mut().for_each(Vec::clear);
            self.sample(members, queries, &mut scores);
            for (&number, scores) in members.iter().zip(&mut scores) {
                let share = scores.len() as f64 / self.packed.len() as f64;
                let expected = queries[number].query.k as f64 * share;
                let rank = (expected + SAMPLE_SAFETY * (expected.sqrt() + 1.0)) as usize;
                if rank < scores.len() {
                    let (_, start, _) = scores.select_nth_unstable_by(rank, |a, b| b.total_cmp(a));
                    queries[number].query.best.start_from(f64::from(*start));
                }
            }
        }
    }

    /// What the codes say about the scores of every so many chunks.
    fn sample(&self, members: &[usize], queries: &[Scanned<'a>], scores: &mut [Vec<f32>]) {
        let lines = self.lines(0, members, queries);
        let mut found = [[Lane([0.0; LANES]); QUERIES]; PANELS];
        // Not the first chunk, whose users are the best: the middle of each stretch.
        for chunk in (SAMPLE_STRIDE / 2..self.packed.chunks()).step_by(SAMPLE_STRIDE) {
            let (codes, panels) = self.packed.chunk(chunk);
            (self.scorer.kernel.estimate)(codes, panels, &lines, &mut found);
            let mut left = self.packed.len() - self.packed.panels_of(chunk).start * LANES;
            for found in &found[..panels.len()] {
                let users = left.min(LANES);
                left -= users;
                for (scores, found) in scores.iter_mut().zip(found) {
                    scores.extend_from_slice(&found.0[..users]);
                }
            }
        }
    }

    fn all_chunks(&self, mut staying: Vec<usize>, queries: &mut [Scanned<'a>]) {
        let mut live = Vec::with_capacity(queries.len());
        let mut met = Mets::new();
        let mut computed = 0;
        for chunk in 0..self.packed.chunks() {
            if chunk % CHUNKS_PER_LOOK == 0 {
                staying.retain(|&number| {
                    let query = &queries[number];
                    let beyond = self.packed.rest(chunk, &query.at) < query.threshold();
                    !beyond
                });
                if staying.is_empty() {
                    break;
                }
            }
            live.clear();
            live.extend(staying.iter().copied().filter(|&number| {
                let query = &queries[number];
                let beyond = self.packed.peak(chunk, &query.at) < query.threshold();
                !beyond
            }));
            for members in live.chunks(QUERIES) {
                self.scan_chunk(chunk, members, queries, &mut met);
            }
            if !met.all.is_empty() {
                met.by_place();
                self.score(chunk, &met, queries);
                met.all.clear();
            }
            computed += live.len().div_ceil(QUERIES) * self.packed.panels_of(chunk).len();
        }
        let counts = &self.scorer.tiles_computed;
        counts.fetch_add(computed as u64, Ordering::Relaxed);
    }

    /// Scans a chunk for up to six queries and adds whoever may reach their thresholds.
    fn scan_chunk(&self, chunk: usize, members: &[usize], queries: &[Scanned<'a>], met: &mut Mets) {
        let lines = self.lines(chunk, members, queries);
        let (codes, panels) = self.packed.chunk(chunk);
        let mut passed = Passed::default();
        (self.scorer.kernel.walk)(codes, panels, &lines, &mut passed);
        // The last panel may have empty places.
        let users = &self.packed.users()[self.packed.panels_of(chunk).start * LANES..];
        for panel in bits(passed.panels) {
            for (&number, hits) in members.iter().zip(passed.hits[panel]) {
                let query = &queries[number].query;
                for place in bits(hits).map(|lane| panel * LANES + lane) {
                    let user = users.get(place);
                    if user.is_some_and(|&user| query.among.is_none_or(|set| set.contains(user))) {
                        met.push(place, number);
                    }
                }
            }
        }
    }

    /// Scores the users of a chunk who were met, exactly.
    fn score(&self, chunk: usize, met: &Mets, queries: &mut [Scanned<'a>]) {
        let first = self.packed.panels_of(chunk).start;
        let model = &self.scorer.model;
        let users = &self.packed.users()[first * LANES..];
        let vector = |user: u32| model.user_vector(user as usize);
        let mut ahead = met.places();
        let ask = |place| prefetch(vector(users[place]));
        ahead.by_ref().take(VECTORS_AHEAD).for_each(ask);
        for place in met.places() {
            ahead.next().into_iter().for_each(ask);
            let user = users[place];
            let (vector, offset) = (vector(user), self.packed.offset(first, place));
            for numbers in met.of(place).chunks(TOGETHER) {
                match *numbers {
                    [a] => offer_each([a], user, vector, offset, queries),
                    [a, b] => offer_each([a, b], user, vector, offset, queries),
                    [a, b, c] => offer_each([a, b, c], user, vector, offset, queries),
                    [a, b, c, d] => offer_each([a, b, c, d], user, vector, offset, queries),
                    _ => {}
                }
            }
        }
    }

    /// The queries as a tile takes them.
    fn lines<'b>(
        &self,
        chunk: usize,
        members: &[usize],
        queries: &'b [Scanned<'a>],
    ) -> [Line<'b>; QUERIES] {
        std::array::from_fn(|place| {
            // An empty place is a query that nobody reaches.
            let number = members.get(place).unwrap_or(&members[0]);
            let query = &queries[*number];
            let code = &query.code;
            Line {
                codes: &code.codes,
                base: code.base,
                scale: code.scale,
                along: code.along,
                reach: kernel::rounded_up(code.reach),
                threshold: match place < members.len() {
                    true => {
                        let slack = self.packed.slack(chunk, code);
                        kernel::rounded_down(query.threshold() - slack)
                    }
                    false => f32::INFINITY,
                },
            }
        })
    }
}

/// Scores a user for some queries and offers the user to each.
fn offer_each<const N: usize>(
    numbers: [u16; N],
    user: u32,
    vector: &[f32],
    offset: f32,
    queries: &mut [Scanned<'_>],
) {
    let vectors = numbers.map(|number| queries[usize::from(number)].query.vector);
    for (number, score) in numbers.into_iter().zip(exact_each(vectors, vector, offset)) {
        queries[usize::from(number)].query.offer(user, score);
    }
}

/// The users of a chunk whom queries may want; each query may choose from them.
struct Mets {
    /// (place in the chunk, number of the query), as they were met.
    all: Vec<(u16, u16)>,
    /// Where the queries of each place start in `queries`, and the end of the last.
    starts: [usize; PLACES + 1],
    queries: Vec<u16>,
}

/// Places of a chunk.
const PLACES: usize = PANELS * LANES;

impl Mets {
    fn new() -> Mets {
        Mets {
            all: Vec::new(),
            starts: [0; PLACES + 1],
            queries: Vec::new(),
        }
    }

    fn push(&mut self, place: usize, query: usize) {
        self.all.push((place as u16, query as u16));
    }

    /// Brings the queries of each place together.
    fn by_place(&mut self) {
        let mut next = [0; PLACES];
        for &(place, _) in &self.all {
            next[usize::from(place)] += 1;
        }
        let mut start = 0;
        for (next, from) in next.iter_mut().zip(&mut self.starts) {
            *from = start;
            start += std::mem::replace(next, start);
        }
        self.starts[PLACES] = start;
        self.queries.resize(start, 0);
        for &(place, query) in &self.all {
            let next = &mut next[usize::from(place)];
            self.queries[*next] = query;
            *next += 1;
        }
    }

    /// The places that were met, ascending.
    fn places(&self) -> impl Iterator<Item = usize> {
        (0..PLACES).filter(|&place| self.starts[place] < self.starts[place + 1])
    }

    fn of(&self, place: usize) -> &[u16] {
        &self.queries[self.starts[place]..self.starts[place + 1]]
    }
}

/// The numbers of the bits that are set.
fn bits(mut mask: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros() as usize;
        let found = mask != 0;
        mask &= mask.wrapping_sub(1);
        found.then_some(bit)
    })
}
