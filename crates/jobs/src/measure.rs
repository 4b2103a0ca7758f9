//! What jobs count for whoever watches the server.
//!
//! Names are documented in `docs/OPERATING.md`. Without a recorder, counting does nothing.

use kindred_catalog::WorkKind;
use std::sync::{Mutex, PoisonError};

/// The step that a job is in, and since when.
#[derive(Debug, Default)]
pub(crate) struct Steps(Mutex<Option<Step>>);

#[derive(Debug)]
struct Step {
    name: String,
    since_ms: u64,
    /// How much was done when it was entered: what an earlier try did.
    done: u64,
}

/// How fast a step is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Seconds since the step was entered.
    pub(crate) step_seconds: f64,
    /// Seconds it will take if it goes on like that; `None` as long as nothing was done.
    pub(crate) eta_seconds: Option<f64>,
}

impl Step {
    fn pace(&self, done: u64, total: u64, now_ms: u64) -> Pace {
        let step_seconds = now_ms.saturating_sub(self.since_ms) as f64 / 1000.0;
        let here = done.checked_sub(self.done).filter(|here| *here > 0);
        let left = total.saturating_sub(done) as f64;
        Pace {
            step_seconds,
            eta_seconds: here.map(|here| step_seconds * left / here as f64),
        }
    }
}

impl Steps {
    /// The job has done so much of `step` at `now_ms` of the monotonic clock.
    pub(crate) fn enter(
        &self,
        kind: WorkKind,
        step: &str,
        (done, total): (u64, u64),
        now_ms: u64,
    ) -> Pace {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref().filter(|current| current.name == step) {
            return current.pace(done, total, now_ms);
        }
        let entered = Step {
            name: step.to_owned(),
            since_ms: now_ms,
            done,
        };
        let pace = entered.pace(done, total, now_ms);
        let left = current.replace(entered);
        drop(current);
        record(kind, left, now_ms);
        pace
    }

    /// The try is over.
    pub(crate) fn end(&self, kind: WorkKind, now_ms: u64) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        record(kind, left, now_ms);
    }
}

fn record(kind: WorkKind, left: Option<Step>, now_ms: u64) {
    if let Some(step) = left {
        let seconds = now_ms.saturating_sub(step.since_ms) as f64 / 1000.0;
        metrics::histogram!("kindred_job_step_seconds", "kind" => kind.as_str(), "step" => step.name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_try_did_says_nothing_about_the_pace() {
        let steps = Steps::default();
        let enter = |step: &str, done, now_ms| {
            let pace = steps.enter(WorkKind::Segment, step, (done, 100), now_ms);
            (pace.step_seconds, pace.eta_seconds)
        };
        assert_eq!(enter("score", 60, 1_000), (0.0, None));
        assert_eq!(enter("score", 60, 3_000), (2.0, None));
        assert_eq!(enter("score", 70, 5_000), (4.0, Some(12.0)));
        assert_eq!(enter("score", 100, 9_000), (8.0, Some(0.0)));
        assert_eq!(enter("write", 0, 9_500), (0.0, None));
        assert_eq!(enter("write", 50, 10_500), (1.0, Some(1.0)));
    }
}
