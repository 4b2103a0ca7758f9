//! Exact top-k users of items.
//!
//! Users lie packed in panels of sixteen as eight-bit codes, ordered by how high they can score. Groups of
//! queries scan them by upper bounds, and whoever may matter is scored exactly. Results are exact: (score
//! descending, user number ascending) over f64 scores, whatever the threads, groups and instruction set.
//! `codes` codes vectors, `packed` bounds what users can score, `kernel` compares bounds with thresholds,
//! `scan` leads queries through the users, `exact` has the score that counts, `best` the k best of a query;
//! queries with candidates of their own are in `among`.

mod among;
#[cfg(test)]
pub(crate) mod attribute_fixtures;
mod attributes;
mod best;
mod codes;
mod direction;
mod exact;
mod kernel;
mod packed;
mod scan;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::error::Error;
use crate::model::Model;
pub use among::Group as UserGroup;
pub use attributes::{AttributeGroup, AttributeScorer};
pub(crate) use attributes::{BLOCK_USERS, Batch, SignalTile};
use best::Best;
use kernel::Kernel;
use packed::Packed;
use scan::Scan;

/// Queries that scan the panels together.
const GROUP_QUERIES: usize = 510;
/// Bytes of candidates a group may hold; a large k makes groups smaller.
const GROUP_BYTES: usize = 128 << 20;
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
    kernel: Kernel,
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
        Scorer::with_kernel(model, candidates, kernel::all()[0])
    }

    /// The instruction sets that this processor can scan with, the one that is used first.
    pub fn instruction_sets() -> Vec<&'static str> {
        kernel::all().iter().map(|kernel| kernel.name).collect()
    }

    /// Packs all users for an instruction set of [`Scorer::instruction_sets`]; another one is an error. Rankings
    /// are the same with all.
    pub fn with_instruction_set(model: Arc<Model>, name: &str) -> Result<Scorer, Error> {
        let kernel = kernel::all().into_iter().find(|kernel| kernel.name == name);
        let kernel = kernel
            .ok_or_else(|| Error::Input(format!("this processor cannot scan with {name}")))?;
        Ok(Scorer::with_kernel(model, None, kernel))
    }

    fn with_kernel(model: Arc<Model>, candidates: Option<&[u32]>, kernel: Kernel) -> Scorer {
        let packed = Packed::new(&model, candidates, kernel.coding);
        Scorer {
            model,
            packed,
            kernel,
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

#[cfg(test)]
mod tests;
