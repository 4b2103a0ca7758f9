//! Exact top-k users of items.
//!
//! Users lie packed in panels of sixteen, ordered by how high they can score. Groups of queries scan
//! the panels; a query whose threshold no remaining panel can reach leaves the scan, and queries that
//! will leave at about the same place share a tile. Results are exact: (score descending, user number
//! ascending) over f64 scores, whatever the threads, groups and instruction set. The tile is in
//! `kernel`, the k best of a query in `best`, queries with candidates of their own in `among`.

mod among;
#[cfg(test)]
pub(crate) mod attribute_fixtures;
mod attributes;
mod best;
mod kernel;
mod packed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::error::Error;
use crate::model::Model;
use crate::selection::UserSet;
pub use among::Group as UserGroup;
pub use attributes::{AttributeGroup, AttributeScorer};
pub(crate) use attributes::{BLOCK_USERS, Batch, SignalTile};
use best::Best;
use kernel::{QUERIES, Tile};
use packed::{PANELS_AT_ONCE, Packed};

/// Queries that scan the panels together.
const GROUP_QUERIES: usize = 510;
/// Bytes of candidates a group may hold; a large k makes groups smaller.
const GROUP_BYTES: usize = 64 << 20;
/// Bytes of results the caller's blocks should stay under; see [`Scorer::block_len`].
const BLOCK_BYTES: usize = 128 << 20;

/// The best users of one query, best first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// User numbers.
    pub users: Vec<u32>,
    /// Their scores.
    pub scores: Vec<f32>,
}

/// A model with its users packed for scanning, or some of them.
#[derive(Debug)]
pub struct Scorer {
    model: Arc<Model>,
    packed: Packed,
    tile: Tile,
    tiles_total: AtomicU64,
    tiles_computed: AtomicU64,
}

/// How many score tiles there were, since the scorer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tiles {
    /// That a scan without bounds would have computed.
    pub total: u64,
    /// That were computed.
    pub computed: u64,
}

impl Scorer {
    /// Packs all users, or the `candidates` (user numbers, any order): the only ones that are ranked.
    pub fn new(model: Arc<Model>, candidates: Option<&[u32]>) -> Scorer {
        let packed = Packed::new(&model, candidates);
        Scorer {
            model,
            packed,
            tile: kernel::best(),
            tiles_total: AtomicU64::new(0),
            tiles_computed: AtomicU64::new(0),
        }
    }

    /// Number of users that are ranked.
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Whether no user is ranked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tiles since the scorer was made.
    pub fn tiles(&self) -> Tiles {
        Tiles {
            total: self.tiles_total.load(Ordering::Relaxed),
            computed: self.tiles_computed.load(Ordering::Relaxed),
        }
    }

    /// The model whose users are packed.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Adds to the scores of all pairs of the history.
    pub(crate) fn shift_history(&mut self, by: f32) {
        Arc::make_mut(&mut self.model).shift_history(by);
    }

    /// Gives the model back.
    pub(crate) fn into_model(self) -> Arc<Model> {
        self.model
    }

    /// How many queries a caller should hand over at once so that results stay within a fixed memory,
    /// at least 1.
    pub fn block_len(&self, k: usize) -> usize {
        let each = k.clamp(1, self.packed.len().max(1)) * 8;
        (BLOCK_BYTES / each).clamp(1, 1 << 16)
    }

    /// The `k` best users of each item, in the order of `items`; fewer if there are fewer users.
    pub fn top_users(
        &self,
        items: &[u32],
        k: usize,
        threads: usize,
    ) -> Result<Vec<Ranking>, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build()?;
        Ok(pool.install(|| self.top_users_here(items, k)))
    }

    /// The same in the current thread pool.
    pub(crate) fn top_users_here(&self, items: &[u32], k: usize) -> Vec<Ranking> {
        let k = k.min(self.packed.len());
        if k == 0 {
            return vec![Ranking::default(); items.len()];
        }
        let threads = rayon::current_num_threads();
        let group = (GROUP_BYTES / Best::bytes(k))
            .min(items.len().div_ceil(threads))
            .clamp(1, GROUP_QUERIES);
        let scan = self.scan(&self.packed);
        items
            .par_chunks(group)
            .flat_map_iter(|items| {
                let queries = items.iter().map(|&item| scan.query(item, None, &[], k));
                scan.run(queries.collect())
            })
            .collect()
    }

    fn scan<'a>(&'a self, packed: &'a Packed) -> Scan<'a> {
        Scan {
            scorer: self,
            packed,
        }
    }
}

/// Queries on the way through the panels of some users.
#[derive(Clone, Copy)]
struct Scan<'a> {
    scorer: &'a Scorer,
    packed: &'a Packed,
}

impl<'a> Scan<'a> {
    fn run(&self, mut queries: Vec<Query<'a>>) -> Vec<Ranking> {
        let panels = self.packed.len().div_ceil(kernel::LANES);
        self.scorer.tiles_total.fetch_add(
            (queries.len().div_ceil(QUERIES) * panels) as u64,
            Ordering::Relaxed,
        );
        let mut tiles: Vec<Group> = Vec::new();
        for chunk in 0..self.packed.chunks() {
            // Regrouped at 0, 1, 2, 4, 8, …: early, when thresholds settle, and rarely later.
            if chunk == 0 || chunk.is_power_of_two() {
                tiles = self.regroup(&queries, chunk);
            }
            if tiles.is_empty() {
                break;
            }
            for tile in &mut tiles {
                self.scan_chunk(chunk, tile, &mut queries);
            }
        }
        queries
            .into_iter()
            .map(|query| query.best.into_ranking())
            .collect()
    }

    /// The query of an item for the packed users, of these only those `among` and not those of
    /// `without` (ascending); its history is already scored.
    fn query(
        &self,
        item: u32,
        among: Option<&'a UserSet>,
        without: &'a [u32],
        k: usize,
    ) -> Query<'a> {
        let model = &self.scorer.model;
        let vector = model.item_vector(item as usize);
        let (users, scores) = model.history().of(item as usize);
        let count = among.map_or(self.packed.len(), |set| self.packed.count(set));
        let mut query = Query {
            norm: packed::norm_above(vector),
            vector,
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

    /// Packs the queries that are still in the scan into tiles, those that leave together together.
    fn regroup(&self, queries: &[Query<'_>], chunk: usize) -> Vec<Group> {
        let mut by_exit: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, query) in queries.iter().enumerate() {
            let exit = self.packed.exit(query.norm, query.best.threshold());
            if exit > chunk {
                by_exit.entry(exit).or_default().push(number);
            }
        }
        let order: Vec<usize> = by_exit.into_values().rev().flatten().collect();
        order
            .chunks(QUERIES)
            .map(|members| {
                let mut vectors = vec![[0.0f32; QUERIES]; self.packed.dimension()];
                for (place, &member) in members.iter().enumerate() {
                    for (row, value) in vectors.iter_mut().zip(queries[member].vector) {
                        row[place] = *value;
                    }
                }
                Group {
                    members: members.to_vec(),
                    vectors,
                }
            })
            .collect()
    }

    fn scan_chunk(&self, chunk: usize, tile: &mut Group, queries: &mut [Query<'_>]) {
        // An empty place never hits; neither does a query that left.
        let mut thresholds = [f32::INFINITY; QUERIES];
        let mut live = false;
        for (place, &member) in tile.members.iter().enumerate() {
            let query = &queries[member];
            if !self
                .packed
                .beyond(chunk, query.norm, query.best.threshold())
            {
                thresholds[place] = self.threshold(chunk, query);
                live = true;
            }
        }
        if !live {
            return;
        }
        let panels = chunk * PANELS_AT_ONCE..self.packed.panels_until(chunk);
        let computed = &self.scorer.tiles_computed;
        computed.fetch_add(panels.len() as u64, Ordering::Relaxed);
        for panel in panels {
            let (vectors, offsets) = self.packed.panel(panel);
            let hits = (self.scorer.tile)(vectors, offsets, &tile.vectors, &thresholds);
            if hits == [0; QUERIES] {
                continue;
            }
            for (place, &member) in tile.members.iter().enumerate() {
                if hits[place] == 0 || thresholds[place] == f32::INFINITY {
                    continue;
                }
                let query = &mut queries[member];
                if self.offer(panel, hits[place], query) {
                    thresholds[place] = self.threshold(chunk, query);
                }
            }
        }
    }

    /// Scores the hits of a panel exactly; says whether the threshold rose.
    fn offer(&self, panel: usize, mut hits: u16, query: &mut Query<'_>) -> bool {
        let (vectors, offsets) = self.packed.panel(panel);
        let before = query.best.threshold();
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let Some(user) = self.packed.user(panel, lane) else {
                continue;
            };
            let score = kernel::exact(query.vector, vectors, lane, offsets.0[lane]);
            // Users with a history have their score already.
            if query.best.wants(score, user)
                && query.takes(user)
                && query.history.binary_search(&user).is_err()
            {
                query.best.offer(score, user);
            }
        }
        query.best.threshold() > before
    }

    fn threshold(&self, chunk: usize, query: &Query<'_>) -> f32 {
        let (norm_max, offset_max) = self.packed.sizes(chunk);
        let slack = kernel::slack(self.packed.dimension(), query.norm * norm_max, offset_max);
        kernel::rounded_down(query.best.threshold() - slack)
    }
}

struct Query<'a> {
    vector: &'a [f32],
    /// Not below |vector|.
    norm: f64,
    /// Users who are not scored by the inner product, ascending.
    history: &'a [u32],
    /// Only these users, unless all.
    among: Option<&'a UserSet>,
    /// Not these users, ascending.
    without: &'a [u32],
    best: Best,
}

impl Query<'_> {
    fn takes(&self, user: u32) -> bool {
        self.among.is_none_or(|set| set.contains(user))
            && self.without.binary_search(&user).is_err()
    }
}

/// Up to six queries and their vectors as the tile wants them.
struct Group {
    members: Vec<usize>,
    vectors: Vec<[f32; QUERIES]>,
}

#[cfg(test)]
mod tests;
