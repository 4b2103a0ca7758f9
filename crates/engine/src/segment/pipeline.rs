//! Two passes over the input: find the distinct queries and score each once, then write the lines.
//!
//! Memory does not grow with the number of lines: the first pass (`plan`) keeps the distinct queries
//! (what is asked, and of which users), rankings go to disk in blocks (`rankings`), the second pass
//! (`write`) writes lines in input order as it reads them again. Both passes read stretches of the
//! sources (`chunks`) with many workers (`ordered`); `budget` divides the memory. The selection says who
//! may be in the segments. A stopped or killed run goes on behind its last finished block and ends with
//! the same bytes.

use super::asked::Answerer;
use super::budget::Budget;
use super::plan::plan;
use super::rankings::Ranker;
use super::write::Writer;
use crate::Error;
use crate::data::source::Source;
use crate::progress::Progress;
use crate::selection::Selection;
use kindred_store::Vault;
use kindred_types::parts::Clock;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

/// Where an output goes; it appears when [`Sink::finish`] returns, and not before.
pub trait Sink: Write {
    /// Publishes the output.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// What a run goes by.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// Users per query.
    pub k: usize,
    /// Most records of all sources together; 0 for no limit.
    pub max_records: u64,
    /// Write `recommendedUsers` beside `usersList`.
    pub documented_format: bool,
    /// Write the probability of each user, `scores`, beside the users.
    pub scores: bool,
    /// Memory for everything beside the model and its scorer, see `docs/OPERATING.md`.
    pub memory_bytes: usize,
    /// Most bytes of the rankings of one block, the work that a killed run may have to repeat.
    pub block_bytes: usize,
    /// Threads for reading, scoring and rendering.
    pub threads: usize,
    /// Where finished blocks are kept; the same for every try of a job.
    pub scratch_dir: PathBuf,
    /// How they are kept.
    pub scratch_vault: Vault,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SegmentStatistics {
    /// Lines that are not blank.
    pub lines: u64,
    /// Lines answered with an error.
    pub line_errors: u64,
    /// Different queries among them.
    pub distinct_queries: u64,
    /// Users that were ranked.
    pub users: u64,
    /// Items of the model.
    pub items: u64,
    /// Length of the model's vectors.
    pub dimension: u64,
    /// Users asked for per query.
    pub k: u64,
    /// Seconds spent reading for the first time.
    pub plan_seconds: f64,
    /// Seconds spent scoring, in this try.
    pub score_seconds: f64,
    /// Seconds spent reading again and writing.
    pub render_seconds: f64,
    /// Bytes written to the sinks.
    pub output_bytes: u64,
    /// Score tiles that a scan without bounds would have computed, in this try.
    pub tiles_total: u64,
    /// Score tiles that were computed, in this try.
    pub tiles_computed: u64,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The input is not what it has to be; the sentence is for the user.
    #[error("{0}")]
    Input(String),
    /// A source could not be read.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The source.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A sink could not be written.
    #[error("cannot write the output: {source}")]
    Write {
        /// Why.
        source: io::Error,
    },
    /// Threads could not be started.
    #[error("worker threads could not be started: {source}")]
    Threads {
        /// Why.
        source: io::Error,
    },
    /// The work was told to stop.
    #[error("stopped before the end")]
    Stopped,
    /// Scratch files or the scorer.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Answers every line of `sources` with the scorer's users that the selection leaves in; `sinks` gives the sink for the source
/// of that number.
///
/// # Errors
/// [`SegmentError::Input`] before any scoring when a source is not JSON Lines or the sources have
/// more than `max_records` records.
pub fn run(
    scorer: &dyn Answerer,
    selection: &Selection,
    sources: &[&dyn Source],
    sinks: &mut dyn FnMut(usize) -> io::Result<Box<dyn Sink>>,
    options: &SegmentOptions,
    progress: &dyn Progress,
    clock: &dyn Clock,
) -> Result<SegmentStatistics, SegmentError> {
    let model = scorer.model();
    let mut statistics = SegmentStatistics {
        users: scorer.users() as u64,
        items: model.items().len() as u64,
        dimension: model.dimension() as u64,
        k: options.k as u64,
        ..SegmentStatistics::default()
    };
    let budget = Budget::new(options.memory_bytes, options.block_bytes, options.threads);
    let seconds = |start: u64| clock.monotonic_ms().saturating_sub(start) as f64 / 1000.0;

    let start = clock.monotonic_ms();
    let plan = plan(
        scorer,
        selection,
        sources,
        &budget,
        options,
        progress,
        &mut statistics,
    )?;
    statistics.plan_seconds = seconds(start);

    let start = clock.monotonic_ms();
    let tiles = scorer.tiles();
    let ranker = Ranker {
        scorer,
        selection,
        plan: &plan,
        options,
    };
    let answers = ranker.answers(&budget, progress)?;
    statistics.score_seconds = seconds(start);
    let after = scorer.tiles();
    statistics.tiles_total = after.total - tiles.total;
    statistics.tiles_computed = after.computed - tiles.computed;

    let start = clock.monotonic_ms();
    let writer = Writer {
        member: scorer.member(),
        plan: &plan,
        answers: &answers,
        options,
        budget: &budget,
    };
    writer.write(sources, sinks, progress, &mut statistics)?;
    statistics.render_seconds = seconds(start);
    Ok(statistics)
}

/// Tells how far a step is, and whether the work should stop.
pub(super) fn look(
    progress: &dyn Progress,
    step: &str,
    done: u64,
    total: u64,
) -> Result<(), SegmentError> {
    progress.report(step, done, total, "");
    if progress.stopped() {
        Err(SegmentError::Stopped)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
