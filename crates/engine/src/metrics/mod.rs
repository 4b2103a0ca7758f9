//! Offline metrics: how many of the users a segment names come to be right.
//!
//! `held_out` measures what the service reports, `time_split` what a marketer asks: who comes in the
//! weeks after the model was made. Both take any ranking ([`Ranks`]) and any sets of items
//! ([`Queries`]), and compare with simple rankings on the same queries. Definitions: `docs/MODEL.md`.

pub(crate) mod baselines;
pub(crate) mod calibration;
mod cold;
mod cut;
pub(crate) mod held_out;
pub(crate) mod overlap;
pub(crate) mod queries;
pub(crate) mod tally;
mod time_split;

use crate::score::{AttributeScorer, Ranking, Scorer};

pub use calibration::{Bin, Calibration};
pub use cold::{ColdItems, ColdModel};
pub use cut::Cut;
pub use queries::Queries;
pub(crate) use time_split::LIFT_SIZES;
pub use time_split::{
    Evaluation, Figures, LiftPoint, Named, Protocol, delivered_item_model, time_split,
};

/// A model as the metrics see it.
pub trait Ranks: Sync {
    /// How many queries to hand over at once when `k` users are wanted for each, so that the results
    /// stay within a fixed memory; at least 1.
    fn block_len(&self, k: usize) -> usize;

    /// The `k` best users for each set of items, in the order of `queries`, best first. Runs in the
    /// current thread pool.
    fn top(&self, queries: &[&[u32]], k: usize) -> Vec<Ranking>;

    /// What to add to a score of the query to have log μ, where the user comes with probability
    /// 1 − exp(−μ) within the model's horizon.
    fn log_constant(&self, query: &[u32]) -> f64;

    /// Multiply-adds that a user costs a query, about.
    fn query_cost(&self) -> usize;

    /// Seconds that the model's probabilities are about, if it was fitted on a horizon at all.
    fn horizon_seconds(&self) -> Option<i64>;
}

/// `aws-item-affinity`: every query is one item.
impl Ranks for Scorer {
    fn block_len(&self, k: usize) -> usize {
        Scorer::block_len(self, k)
    }

    fn top(&self, queries: &[&[u32]], k: usize) -> Vec<Ranking> {
        debug_assert!(queries.iter().all(|items| items.len() == 1));
        let items: Vec<u32> = queries.iter().map(|items| items[0]).collect();
        self.top_users_here(&items, k)
    }

    fn log_constant(&self, query: &[u32]) -> f64 {
        f64::from(self.model().item_offset(query[0] as usize))
    }

    fn query_cost(&self) -> usize {
        self.model().dimension()
    }

    fn horizon_seconds(&self) -> Option<i64> {
        let choices = self.model().card().choices.as_ref()?;
        Some(choices.horizon_seconds)
    }
}

/// `aws-item-attribute-affinity`: a query is the items that have the attributes.
impl Ranks for AttributeScorer {
    fn block_len(&self, k: usize) -> usize {
        AttributeScorer::block_len(self, k)
    }

    fn top(&self, queries: &[&[u32]], k: usize) -> Vec<Ranking> {
        self.top_users_of(queries, k)
    }

    fn log_constant(&self, _: &[u32]) -> f64 {
        0.0
    }

    fn query_cost(&self) -> usize {
        // Queries share the products; what each adds is its incidence and the exponentials.
        1
    }

    fn horizon_seconds(&self) -> Option<i64> {
        let choices = self.model().card().choices.as_ref()?;
        Some(choices.horizon_seconds)
    }
}
