//! Progress of a training, in units that are proportional to time.
//!
//! Every step has a cost, which is estimated from the size of the data before anything is done: floating
//! point operations, or how many could be done in the time. What is left over what was done, times the
//! time since the start, is then about the time that is left. Steps that are not needed in the end
//! (validation may choose before all epochs) are passed over at once.

use kindred_types::parts::Clock;

use super::candidates::{EPOCHS_AGAIN, EPOCHS_MAX, SWEEPS, SWEEPS_AGAIN};
use super::lookback::NEGATIVES;
use super::options::{ModelChoice, TrainOptions};
use crate::error::Error;
use crate::interactions::Interactions;
use crate::progress::Progress;
use crate::recipes::item_affinity::Timings;

/// Operations of one unit.
const UNIT: f64 = 1e6;
/// Operations of a sweep for each event and coordinate; for each user, item and pair of coordinates.
const SWEEP_EVENT: f64 = 100.0;
const SWEEP_USER: f64 = 3.0;
const SWEEP_ITEM: f64 = 5.0;
/// The same of an epoch of the look-back towers for each event, negative and coordinate: half of what
/// the matrix products do is spent around them.
const EPOCH_EVENT: f64 = 12.0;
/// The same of the scores of a model for each event, and for each user and coordinate.
const SCORES_EVENT: f64 = 40_000.0;
const SCORES_USER: f64 = 1_000.0;
/// The same of validation and metrics for each query and user they rank.
const RANKED: f64 = 3_000.0;
/// Queries they rank.
const RANKED_QUERIES: f64 = 400.0;
const METRICS_QUERIES: f64 = 2_000.0;

/// Estimated units of the steps of a training.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    sweep: u64,
    epoch: u64,
    /// Epochs that the budget allows on the validation cut; 0 without look-back towers.
    epochs: u64,
    choices: u64,
    candidates: u64,
    scores: u64,
    metrics: u64,
}

impl Costs {
    /// For a training on all of `data`.
    pub(crate) fn new(data: &Interactions, options: &TrainOptions) -> Costs {
        let (users, items) = (data.users.len() as f64, data.items.len() as f64);
        let (events, d) = (data.len() as f64, options.dimension as f64);
        let units = |operations: f64| (operations / UNIT).ceil().max(1.0) as u64;
        let epoch = 6.0 * events * d * (NEGATIVES as f64).min(items);
        let all = (options.budget_flops / epoch.max(1.0)).min(1e6) as usize;
        let epochs = match options.model {
            ModelChoice::Ials => 0,
            _ => all.saturating_sub(EPOCHS_AGAIN).min(EPOCHS_MAX) as u64,
        };
        let scores = SCORES_EVENT * events + SCORES_USER * users * d;
        let ranked = RANKED * users;
        Costs {
            sweep: units(
                SWEEP_EVENT * events * d + (SWEEP_USER * users + SWEEP_ITEM * items) * d * d,
            ),
            epoch: units(epoch / 6.0 * EPOCH_EVENT),
            epochs,
            choices: units(scores + ranked * RANKED_QUERIES),
            candidates: if epochs > 0 { 2 } else { 1 },
            scores: units(scores),
            metrics: units(ranked * METRICS_QUERIES.min(items)),
        }
    }

    fn validation(&self) -> u64 {
        SWEEPS as u64 * self.sweep + self.epochs * self.epoch + self.candidates * self.choices
    }

    fn towers(&self) -> u64 {
        match self.epochs {
            0 => SWEEPS_AGAIN as u64 * self.sweep,
            _ => EPOCHS_AGAIN as u64 * self.epoch,
        }
    }

    fn fit(&self) -> u64 {
        self.validation() + self.towers() + self.scores
    }
}

/// A step that is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Sweep,
    Epoch,
    /// What validation chooses for one kind of towers.
    Choices,
    Scores,
    Metrics,
    /// Something small.
    Other,
}

/// Reports and times the steps of a training, and stops it when asked to.
pub(crate) struct Work<'a> {
    progress: &'a dyn Progress,
    clock: &'a dyn Clock,
    costs: Costs,
    /// Where the current fit begins.
    fit: u64,
    done: u64,
    total: u64,
    /// Seconds of each sweep.
    pub(crate) sweeps: Vec<f64>,
    /// Seconds and floating point operations of each epoch.
    pub(crate) epochs: Vec<(f64, f64)>,
}

impl<'a> Work<'a> {
    /// A training of `fits` models, of which the first is measured if `metrics`.
    pub(crate) fn new(
        progress: &'a dyn Progress,
        clock: &'a dyn Clock,
        costs: Costs,
        fits: u64,
        metrics: bool,
    ) -> Work<'a> {
        let metrics = if metrics { costs.metrics } else { 0 };
        Work::of(progress, clock, costs, fits * costs.fit() + metrics)
    }

    /// Sweeps and nothing else.
    pub(crate) fn of_sweeps(
        progress: &'a dyn Progress,
        clock: &'a dyn Clock,
        costs: Costs,
        sweeps: u64,
    ) -> Work<'a> {
        Work::of(progress, clock, costs, sweeps * costs.sweep)
    }

    fn of(progress: &'a dyn Progress, clock: &'a dyn Clock, costs: Costs, total: u64) -> Work<'a> {
        Work {
            progress,
            clock,
            costs,
            fit: 0,
            done: 0,
            total,
            sweeps: Vec::new(),
            epochs: Vec::new(),
        }
    }

    /// Seconds since an arbitrary start.
    pub(crate) fn seconds(&self) -> f64 {
        self.clock.monotonic_ms() as f64 / 1000.0
    }

    /// What the sweeps and epochs took; the other parts are the caller's.
    pub(crate) fn timings(&self) -> Timings {
        let mut sweeps = self.sweeps.clone();
        sweeps.sort_unstable_by(f64::total_cmp);
        let epoch_seconds: f64 = self.epochs.iter().map(|epoch| epoch.0).sum();
        let flops: f64 = self.epochs.iter().map(|epoch| epoch.1).sum();
        Timings {
            sweep_seconds: sweeps.get(sweeps.len() / 2).copied().unwrap_or(0.0),
            epoch_seconds,
            epoch_gflops: flops / epoch_seconds.max(1e-3) / 1e9,
            ..Timings::default()
        }
    }

    /// A step is done; steps that were skipped are made up for by `validated` and `trained`.
    pub(crate) fn finished(&mut self, step: Step, detail: &str) -> Result<(), Error> {
        let units = match step {
            Step::Sweep => self.costs.sweep,
            Step::Epoch => self.costs.epoch,
            Step::Choices => self.costs.choices,
            Step::Scores => self.costs.scores,
            Step::Metrics => self.costs.metrics,
            Step::Other => 0,
        };
        self.reach(self.done + units, detail)
    }

    /// Validation of the current fit is over.
    pub(crate) fn validated(&mut self) -> Result<(), Error> {
        self.reach(self.fit + self.costs.validation(), "validation")
    }

    /// The towers of the current fit are trained.
    pub(crate) fn trained(&mut self) -> Result<(), Error> {
        let until = self.fit + self.costs.validation() + self.costs.towers();
        self.fit += self.costs.fit();
        self.reach(until, "towers")
    }

    /// The model was measured; the next fit begins.
    pub(crate) fn measured(&mut self) -> Result<(), Error> {
        self.fit += self.costs.metrics;
        self.finished(Step::Metrics, "metrics")
    }

    fn reach(&mut self, units: u64, detail: &str) -> Result<(), Error> {
        self.done = units.clamp(self.done, self.total.max(self.done));
        self.progress.report("train", self.done, self.total, detail);
        if self.progress.stopped() {
            return Err(Error::Stopped);
        }
        Ok(())
    }
}
