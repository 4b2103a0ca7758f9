//! What jobs count for whoever watches the server.
//!
//! Names are documented in `docs/OPERATING.md`. Without a recorder, counting does nothing.

use kindred_catalog::WorkKind;
use std::sync::{Mutex, PoisonError};

/// The step that a job is in, and since when.
#[derive(Debug, Default)]
pub(crate) struct Steps(Mutex<Option<(String, u64)>>);

impl Steps {
    /// The job is in `step` at `now_ms` of the monotonic clock.
    pub(crate) fn enter(&self, kind: WorkKind, step: &str, now_ms: u64) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|(name, _)| name == step) {
            return;
        }
        let left = current.replace((step.to_owned(), now_ms));
        drop(current);
        record(kind, left, now_ms);
    }

    /// The try is over.
    pub(crate) fn end(&self, kind: WorkKind, now_ms: u64) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        record(kind, left, now_ms);
    }
}

fn record(kind: WorkKind, left: Option<(String, u64)>, now_ms: u64) {
    if let Some((step, since_ms)) = left {
        let seconds = now_ms.saturating_sub(since_ms) as f64 / 1000.0;
        metrics::histogram!("kindred_job_step_seconds", "kind" => kind.as_str(), "step" => step)
            .record(seconds);
    }
}

/// A try ended so.
pub(crate) fn tried(kind: WorkKind, outcome: &'static str) {
    metrics::counter!("kindred_job_tries_total", "kind" => kind.as_str(), "outcome" => outcome)
        .increment(1);
}

/// A segment job has answered this many lines.
pub(crate) fn lines_scored(lines: u64) {
    metrics::counter!("kindred_lines_scored_total").increment(lines);
}

/// A job read bytes of an object.
pub(crate) fn bytes_read(bytes: usize) {
    metrics::counter!("kindred_job_bytes_read_total").increment(bytes as u64);
}

/// A job wrote bytes of an object.
pub(crate) fn bytes_written(bytes: usize) {
    metrics::counter!("kindred_job_bytes_written_total").increment(bytes as u64);
}
