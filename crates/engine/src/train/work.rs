//! Progress of a training, in units of about the same length.

use kindred_types::parts::Clock;

use crate::error::Error;
use crate::progress::Progress;
use crate::recipes::item_affinity::Timings;

/// Units of a sweep, an epoch of the look-back towers, validation choices, and the final scores.
pub(crate) const SWEEP: u64 = 1;
pub(crate) const EPOCH: u64 = 2;
pub(crate) const CHOICES: u64 = 1;
pub(crate) const SCORES: u64 = 1;
/// Units of everything on the validation cut, and of the towers on all data.
pub(crate) const VALIDATION: u64 = 8 * SWEEP + 8 * EPOCH + 2 * CHOICES;
pub(crate) const FINAL: u64 = 4;

/// Reports and times the steps of a training, and stops it when asked to.
pub(crate) struct Work<'a> {
    progress: &'a dyn Progress,
    clock: &'a dyn Clock,
    fit: u64,
    done: u64,
    total: u64,
    /// Seconds of each sweep.
    pub(crate) sweeps: Vec<f64>,
    /// Seconds and floating point operations of each epoch.
    pub(crate) epochs: Vec<(f64, f64)>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, clock: &'a dyn Clock, fits: u64) -> Work<'a> {
        Work {
            progress,
            clock,
            fit: 0,
            done: 0,
            total: fits * (VALIDATION + FINAL + SCORES),
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

    /// Units are done; steps that were skipped are made up for by `validated` and `trained`.
    pub(crate) fn finished(&mut self, units: u64, detail: &str) -> Result<(), Error> {
        self.done = (self.done + units).min(self.total);
        self.progress.report("train", self.done, self.total, detail);
        if self.progress.stopped() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// Validation of the current fit is over.
    pub(crate) fn skip_validation(&mut self) -> Result<(), Error> {
        let until = self.fit + VALIDATION;
        self.finished(until.saturating_sub(self.done), "validation")
    }

    /// The towers of the current fit are trained.
    pub(crate) fn skip_towers(&mut self) -> Result<(), Error> {
        let until = self.fit + VALIDATION + FINAL;
        self.fit += VALIDATION + FINAL + SCORES;
        self.finished(until.saturating_sub(self.done), "towers")
    }
}
