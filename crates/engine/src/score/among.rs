//! Exact top-k users of items, each query with candidates of its own.
//!
//! Queries come in groups that share their candidates. A group is answered in the cheapest of three
//! ways, which give the same bytes: its users are scored one by one; or packed first and scanned; or
//! all packed users are scanned, beside the queries of other groups, and hits of others are dropped.
//! Whoever asks decides how many sets of candidates there are at once.

use rayon::prelude::*;

use super::best::Best;
use super::exact::{exact, prefetch};
use super::kernel::QUERIES;
use super::packed::Packed;
use super::scan::Query;
use super::{GROUP_BYTES, GROUP_QUERIES, Ranking, Scorer};
use crate::error::Error;
use crate::selection::{Interacted, UserSet};

/// Users whose vectors are asked for ahead of their use.
const VECTORS_AHEAD: usize = 8;
/// Packed users up to this size are packed beside those of other groups, more by themselves.
const PACK_BYTES_BESIDE: usize = 8 << 20;

// What the ways cost, in units of the scan's cost for one user and six queries. Measured by
// `examples/among.rs` at d = 149, where the unit is about 5 ns with VNNI and 9 ns with AVX2.
/// Scoring one user for one query in f64, the user's vector fetched from anywhere.
const COST_ONE: f64 = 20.0;
/// Packing one user.
const COST_PACK: f64 = 100.0;
/// Looking whether a packed user is among the candidates.
const COST_LOOK: f64 = 2.5;

/// Queries with the same candidates.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Whom to rank; everyone if `None`.
    pub users: Option<UserSet>,
    /// The items, one query for each.
    pub items: &'a [u32],
}

/// How a group is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    OneByOne,
    Pack,
    Mask,
}

/// The cheapest way to find `k` of `users` of all `packed` users for each of `queries`.
fn way(users: usize, queries: usize, packed: usize, k: usize) -> Way {
    let tiles = (queries as f64 / QUERIES as f64).ceil();
    let (users, queries, packed) = (users as f64, queries as f64, packed as f64);
    let one_by_one = users * queries * COST_ONE;
    let pack = packed * COST_LOOK + users * (COST_PACK + tiles);
    // Tiles are shared with other groups. Until k candidates are found everyone is looked at, then
    // whoever would be among the best k of those so far.
    let k = (k as f64).min(users).max(1.0);
    let looks = packed * k / users.max(1.0) * (1.0 + (users / k).max(1.0).ln());
    let mask = queries * (packed / QUERIES as f64 + looks * COST_LOOK);
    if one_by_one <= pack && one_by_one <= mask {
        Way::OneByOne
    } else if pack <= mask {
        Way::Pack
    } else {
        Way::Mask
    }
}

impl Scorer {
    /// The `k` best users of each query, groups and their items in order; without those who `interacted`
    /// with the item, if given. A ranking is shorter where there are fewer users.
    pub fn top_users_among(
        &self,
        groups: &[Group<'_>],
        interacted: Option<&Interacted>,
        k: usize,
        threads: usize,
    ) -> Result<Vec<Ranking>, Error> {
        self.top_users_by(groups, interacted, k, threads, None)
    }

    /// On one thread, for measurements: as it chooses, or one by one (0), packed (1), masked (2).
    #[doc(hidden)]
    pub fn top_users_in_way(
        &self,
        groups: &[Group<'_>],
        k: usize,
        way: Option<usize>,
    ) -> Result<Vec<Ranking>, Error> {
        let ways = [Way::OneByOne, Way::Pack, Way::Mask];
        let way = way.and_then(|way| ways.get(way).copied());
        self.top_users_by(groups, None, k, 1, way)
    }

    /// The same; every group that has a choice in this way.
    pub(super) fn top_users_by(
        &self,
        groups: &[Group<'_>],
        interacted: Option<&Interacted>,
        k: usize,
        threads: usize,
        by: Option<Way>,
    ) -> Result<Vec<Ranking>, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build()?;
        let run = Run {
            scorer: self,
            interacted,
            k,
        };
        Ok(pool.install(|| run.all(groups, by)))
    }
}

struct Run<'a> {
    scorer: &'a Scorer,
    interacted: Option<&'a Interacted>,
    k: usize,
}

impl Run<'_> {
    fn all(&self, groups: &[Group<'_>], by: Option<Way>) -> Vec<Ranking> {
        let mut masked: Vec<(usize, u32, Option<&UserSet>)> = Vec::new();
        let mut beside: Vec<(usize, &Group<'_>, &UserSet, Way)> = Vec::new();
        let mut alone: Vec<(usize, &Group<'_>, &UserSet, Way)> = Vec::new();
        let mut place = 0;
        for group in groups {
            let packed = &self.scorer.packed;
            let way = match &group.users {
                Some(users) => {
                    let count = packed.count(users);
                    let way =
                        by.unwrap_or_else(|| way(count, group.items.len(), packed.len(), self.k));
                    let bytes = 4 * count * packed.dimension();
                    Some((users, way, way != Way::Pack || bytes <= PACK_BYTES_BESIDE))
                }
                None => None,
            };
            match way {
                Some((users, way, true)) if way != Way::Mask => {
                    beside.push((place, group, users, way));
                }
                Some((users, way @ Way::Pack, _)) => alone.push((place, group, users, way)),
                _ => masked.extend(
                    (place..)
                        .zip(group.items)
                        .map(|(place, &item)| (place, item, group.users.as_ref())),
                ),
            }
            place += group.items.len();
        }
        let mut rankings = vec![Ranking::default(); place];
        let mut put = |place: usize, found: Vec<Ranking>| {
            for (slot, ranking) in rankings[place..].iter_mut().zip(found) {
                *slot = ranking;
            }
        };
        let threads = rayon::current_num_threads();
        // Groups enough for all threads are not split: queries of one tile share its products.
        let each = threads.div_ceil(beside.len().max(1));
        let found: Vec<Vec<Ranking>> = beside
            .par_iter()
            .map(|(_, group, users, way)| self.group(group.items, users, *way, each))
            .collect();
        for ((place, ..), found) in beside.iter().zip(found) {
            put(*place, found);
        }
        for (place, group, users, way) in alone {
            put(place, self.group(group.items, users, way, threads));
        }
        let found = self.scan(&self.scorer.packed, &masked, threads);
        for ((place, ..), ranking) in masked.iter().zip(found) {
            put(*place, vec![ranking]);
        }
        rankings
    }

    fn group(&self, items: &[u32], users: &UserSet, way: Way, threads: usize) -> Vec<Ranking> {
        if way == Way::OneByOne {
            let each = items.par_iter();
            return each.map(|&item| self.one_by_one(item, users)).collect();
        }
        let packed = self.scorer.packed.only(&self.scorer.model, users);
        let queries: Vec<_> = items.iter().map(|&item| (0, item, None)).collect();
        self.scan(&packed, &queries, threads)
    }

    /// Scans for all queries, in parts for so many threads.
    fn scan(
        &self,
        packed: &Packed,
        queries: &[(usize, u32, Option<&UserSet>)],
        threads: usize,
    ) -> Vec<Ranking> {
        let k = self.k.min(packed.len());
        if k == 0 {
            return vec![Ranking::default(); queries.len()];
        }
        let at_once = (GROUP_BYTES / Best::bytes(k))
            .min(queries.len().div_ceil(threads.max(1)))
            .clamp(1, GROUP_QUERIES);
        let scan = self.scorer.scan(packed);
        queries
            .par_chunks(at_once)
            .flat_map_iter(|queries| {
                let queries = queries.iter();
                let queries =
                    queries.map(|&(_, item, among)| scan.query(item, among, self.without(item), k));
                scan.run(queries.collect())
            })
            .collect()
    }

    fn one_by_one(&self, item: u32, users: &UserSet) -> Ranking {
        let Scorer { model, packed, .. } = self.scorer;
        let k = self.k.min(packed.count(users));
        if k == 0 {
            return Ranking::default();
        }
        let scan = self.scorer.scan(packed);
        let mut query: Query<'_> = scan.query(item, Some(users), self.without(item), k);
        let held = || users.iter().filter(|&user| packed.holds(user));
        let mut ahead = held().skip(VECTORS_AHEAD);
        for user in held() {
            if let Some(next) = ahead.next() {
                prefetch(model.user_vector(next as usize));
            }
            let vector = model.user_vector(user as usize);
            let offset = model.user_offset(user as usize);
            let score = exact(query.vector, vector, offset);
            if query.best.wants(score, user)
                && query.without.binary_search(&user).is_err()
                && query.history.binary_search(&user).is_err()
            {
                query.best.offer(score, user);
            }
        }
        query.best.into_ranking()
    }

    fn without(&self, item: u32) -> &[u32] {
        self.interacted
            .map_or(&[], |interacted| interacted.of(item))
    }
}

#[cfg(test)]
mod tests;
