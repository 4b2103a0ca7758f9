//! Plain iALS: the vectors alone, without what makes probabilities of them.
//!
//! This is what other libraries call a trained model. It serves to measure: sweeps beside theirs, and
//! scoring on the same factors. Nothing that a recipe delivers comes from here.

use super::TrainOptions;
use super::candidates;
use super::events::{Pairs, Prefix};
use super::ials::Towers;
use super::work::{Costs, Work};
use crate::error::Error;
use crate::interactions::Interactions;
use crate::progress::Progress;
use kindred_types::parts::Clock;

/// Vectors of both sides, row-major.
#[derive(Clone, Debug)]
pub struct Factors {
    /// Length of a vector.
    pub dimension: usize,
    /// Length of a row; zeros follow the vector.
    pub stride: usize,
    /// users × stride.
    pub users: Vec<f32>,
    /// items × stride.
    pub items: Vec<f32>,
}

/// Trains `sweeps` sweeps from a random start on all pairs of `data`; each is reported with its loss.
pub fn factors(
    data: &Interactions,
    options: &TrainOptions,
    sweeps: usize,
    progress: &dyn Progress,
    clock: &dyn Clock,
) -> Result<Factors, Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.max(1))
        .build()?;
    pool.install(|| {
        let prefix = Prefix::whole(data);
        let pairs = Pairs::new(&prefix);
        let costs = Costs::new(data, options);
        let mut work = Work::of_sweeps(progress, clock, costs, sweeps as u64);
        let mut towers = Towers::random(prefix.items(), options.dimension, options.seed);
        candidates::sweep(&mut towers, &pairs, sweeps, "sweep", &mut work)?;
        let basis = towers.turn()?;
        Ok(Factors {
            dimension: towers.dimension,
            stride: towers.stride,
            users: towers.users(&pairs, &basis),
            items: towers.items,
        })
    })
}
