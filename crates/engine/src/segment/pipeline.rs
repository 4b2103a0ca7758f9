//! Two passes over the input: find the distinct queries and score each once, then write the lines.
//!
//! Memory does not grow with the number of lines: the first pass keeps the distinct queries (what is
//! asked, and of which users), rankings go to disk in blocks, the second pass writes lines in input
//! order as it reads them again. The selection says who may be in the segments. A stopped or killed
//! run goes on behind its last finished block and ends with the same bytes.

use super::asked::{Answerer, Group, Member, Questions, Refused};
use super::audiences::Audiences;
use super::blocks::Blocks;
use super::distinct::Distinct;
use super::lines::Lines;
use super::parse::{Parsed, Query, parse};
use super::render::{UserFragments, push_error_tail, push_input, push_ranking_tail};
use crate::Error;
use crate::data::source::{Source, open_unpacked};
use crate::progress::Progress;
use crate::score::Ranking;
use crate::selection::{Selection, set_bytes};
use kindred_types::parts::Clock;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::PathBuf;

/// Lines between two looks at whether the work should stop.
const LINES_PER_LOOK: u64 = 1 << 16;
/// Bytes collected before they go to a sink.
const WRITE_BYTES: usize = 1 << 18;
/// Form of the files with finished rankings, so that those of an earlier version are scored again.
const BLOCK_FORM: &[u8] = b"kindred blocks 2";
/// Bytes of the sets of users that are scored together.
const AUDIENCE_BYTES_AT_ONCE: usize = 64 << 20;
/// Bytes of the beginning of a source that decide whether it is a JSON array.
const ARRAY_START: u8 = b'[';

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
    /// Memory for the rankings of one block and, in the second pass, for rendered lines.
    pub block_bytes: usize,
    /// Threads for scoring.
    pub threads: usize,
    /// Where finished blocks are kept; the same for every try of a job.
    pub scratch_dir: PathBuf,
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
    let plan = plan(
        scorer,
        selection,
        sources,
        options,
        progress,
        &mut statistics,
    )?;
    let seconds = |start: u64| clock.monotonic_ms().saturating_sub(start) as f64 / 1000.0;

    let start = clock.monotonic_ms();
    let tiles = scorer.tiles();
    let blocks = score(scorer, selection, &plan, options, progress)?;
    statistics.score_seconds = seconds(start);
    let after = scorer.tiles();
    statistics.tiles_total = after.total - tiles.total;
    statistics.tiles_computed = after.computed - tiles.computed;

    let start = clock.monotonic_ms();
    let mut renderer = Renderer::new(scorer, &plan, &blocks, options);
    for (index, source) in sources.iter().enumerate() {
        let sink = sinks(index).map_err(|source| SegmentError::Write { source })?;
        renderer.write_source(*source, plan.lines[index], sink, progress, &mut statistics)?;
    }
    statistics.render_seconds = seconds(start);
    Ok(statistics)
}

/// The distinct queries of a run.
struct Plan<'a> {
    questions: Box<dyn Questions + 'a>,
    audiences: Audiences<'a>,
    /// Which questions are asked of which audiences.
    distinct: Distinct,
    /// Lines of each source that are not blank.
    lines: Vec<u64>,
}

impl Plan<'_> {
    /// The place of a line's answer, or the text of its error.
    fn place(&self, text: &str, filter_values: Option<&str>) -> Result<usize, Refused> {
        let question = self.questions.number(text)?;
        let audience = self.audiences.find(filter_values)?;
        let place = self.distinct.place(question, audience);
        place.ok_or(Refused::Unplanned)
    }
}

/// First pass: counts, checks and collects.
fn plan<'a>(
    scorer: &'a dyn Answerer,
    selection: &'a Selection,
    sources: &[&dyn Source],
    options: &SegmentOptions,
    progress: &dyn Progress,
    statistics: &mut SegmentStatistics,
) -> Result<Plan<'a>, SegmentError> {
    let mut questions = scorer.questions();
    let mut audiences = Audiences::new(selection);
    let mut distinct = Distinct::new(audiences.is_one());
    let bytes: u64 = sources.iter().map(|source| source.size()).sum();
    let mut bytes_done = 0;
    let mut lines_of = Vec::with_capacity(sources.len());
    for source in sources {
        let mut lines = open(*source)?;
        let mut source_lines = 0u64;
        let mut objects = false;
        while let Some(line) = next_line(&mut lines, *source)? {
            if source_lines == 0 && line.bytes.first() == Some(&ARRAY_START) {
                return Err(not_json_lines(*source));
            }
            source_lines += 1;
            statistics.lines += 1;
            if options.max_records > 0 && statistics.lines > options.max_records {
                let reason = format!("Input has more than {} records.", options.max_records);
                return Err(SegmentError::Input(reason));
            }
            let parsed = parse(&line, scorer.member());
            objects |= parsed.query.is_object();
            if let Query::Asked(text) = parsed.query
                && let Some(question) = questions.note(&text)
                && let Some(audience) = audiences.note(parsed.filter_values)
            {
                distinct.note(question, audience);
            }
            if statistics.lines.is_multiple_of(LINES_PER_LOOK) {
                look(progress, "read queries", bytes_done, bytes)?;
            }
        }
        if source_lines > 0 && !objects {
            return Err(not_json_lines(*source));
        }
        bytes_done += source.size();
        lines_of.push(source_lines);
    }
    let numbers = questions.close().map_err(SegmentError::Input)?;
    audiences.close().map_err(SegmentError::Input)?;
    let closed = distinct.close(numbers.as_deref());
    closed.map_err(SegmentError::Input)?;
    statistics.distinct_queries = distinct.len() as u64;
    Ok(Plan {
        questions,
        audiences,
        distinct,
        lines: lines_of,
    })
}

fn not_json_lines(source: &dyn Source) -> SegmentError {
    let name = source.name();
    SegmentError::Input(format!(
        "Input {name} is not JSON Lines: expected one JSON object per line."
    ))
}

/// Scores the distinct queries in blocks; those that an earlier try finished are taken up.
fn score(
    scorer: &dyn Answerer,
    selection: &Selection,
    plan: &Plan<'_>,
    options: &SegmentOptions,
    progress: &dyn Progress,
) -> Result<Blocks, SegmentError> {
    let ranking_len = options.k.min(scorer.users());
    let by_memory = options.block_bytes / (8 * ranking_len.max(1));
    let block_len = scorer.block_len(options.k).min(by_memory).max(1);
    let lengths = [ranking_len, block_len];
    let fingerprint = fingerprint(scorer, selection, plan, lengths, options.scores);
    let mut blocks = Blocks::new(&options.scratch_dir, fingerprint, block_len, options.scores)?;
    let distinct = plan.distinct.len();
    let total = distinct as u64;
    for from in (0..distinct).step_by(block_len) {
        look(progress, "score queries", from as u64, total)?;
        let places = from..(from + block_len).min(distinct);
        if blocks.take_up(places.len())? {
            continue;
        }
        blocks.push(&rank(selection, plan, places, options)?)?;
    }
    progress.report("score queries", total, total, "");
    Ok(blocks)
}

/// The rankings of the queries in these places.
fn rank(
    selection: &Selection,
    plan: &Plan<'_>,
    places: Range<usize>,
    options: &SegmentOptions,
) -> Result<Vec<Ranking>, Error> {
    let asked: Vec<(u32, u32)> = places.map(|place| plan.distinct.get(place)).collect();
    let questions: Vec<u32> = asked.iter().map(|(question, _)| *question).collect();
    let mut rankings = Vec::with_capacity(asked.len());
    let mut groups: Vec<Group<'_>> = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for same in asked.chunk_by(|a, b| a.1 == b.1) {
        let users = plan.audiences.users(same[0].1);
        bytes += users.as_ref().map_or(0, set_bytes);
        groups.push(Group {
            users,
            questions: &questions[from..from + same.len()],
        });
        from += same.len();
        if bytes >= AUDIENCE_BYTES_AT_ONCE || from == asked.len() {
            let (k, threads) = (options.k, options.threads);
            let ranked = plan
                .questions
                .rank(&groups, selection.interacted(), k, threads)?;
            rankings.extend(ranked);
            groups.clear();
            bytes = 0;
        }
    }
    Ok(rankings)
}

/// Stands for all that decides the bytes of the blocks: model, users, queries, lengths, form.
fn fingerprint(
    scorer: &dyn Answerer,
    selection: &Selection,
    plan: &Plan<'_>,
    [ranking_len, block_len]: [usize; 2],
    scores: bool,
) -> u64 {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(BLOCK_FORM);
    for (name, checksum) in &scorer.model().card().checksums {
        hash.update(name.as_bytes());
        hash.update(checksum.as_bytes());
    }
    for number in [scorer.users(), ranking_len, block_len, usize::from(scores)] {
        hash.update((number as u64).to_le_bytes());
    }
    selection.add_to(&mut hash);
    plan.questions.add_to(&mut hash);
    plan.audiences.add_to(&mut hash);
    for key in plan.distinct.keys() {
        hash.update(key.to_le_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

/// Second pass.
struct Renderer<'a> {
    member: Member,
    plan: &'a Plan<'a>,
    blocks: &'a Blocks,
    fragments: UserFragments,
    documented: bool,
    /// Rendered ends of lines by place, as long as there is room.
    tails: Vec<Option<Box<[u8]>>>,
    tail_bytes_left: usize,
    buffer: Vec<u8>,
    /// A line asked for what no line asked for in the first pass.
    unplanned: bool,
}

impl<'a> Renderer<'a> {
    fn new(
        scorer: &dyn Answerer,
        plan: &'a Plan<'a>,
        blocks: &'a Blocks,
        options: &SegmentOptions,
    ) -> Self {
        Renderer {
            member: scorer.member(),
            plan,
            blocks,
            fragments: UserFragments::new(scorer.model().users()),
            documented: options.documented_format,
            tails: vec![None; plan.distinct.len()],
            tail_bytes_left: options.block_bytes,
            buffer: Vec::with_capacity(2 * WRITE_BYTES),
            unplanned: false,
        }
    }

    fn write_source(
        &mut self,
        source: &dyn Source,
        planned_lines: u64,
        mut sink: Box<dyn Sink>,
        progress: &dyn Progress,
        statistics: &mut SegmentStatistics,
    ) -> Result<(), SegmentError> {
        let mut lines = open(source)?;
        let mut written = 0u64;
        while let Some(line) = next_line(&mut lines, source)? {
            let parsed = parse(&line, self.member);
            push_input(&mut self.buffer, line.bytes, parsed.query.is_object());
            if let Err(error) = self.push_answer(&parsed) {
                push_error_tail(&mut self.buffer, &error, self.documented);
                statistics.line_errors += 1;
            }
            written += 1;
            if self.buffer.len() >= WRITE_BYTES {
                self.flush(&mut *sink, statistics)?;
            }
            if written.is_multiple_of(LINES_PER_LOOK) {
                look(progress, "write segments", written, statistics.lines)?;
            }
        }
        // An input that was replaced under the job would be answered with errors it does not deserve.
        if self.unplanned || written != planned_lines {
            let name = source.name().to_owned();
            let source = io::Error::other("it changed while it was being read");
            return Err(SegmentError::Read { name, source });
        }
        self.flush(&mut *sink, statistics)?;
        sink.finish()
            .map_err(|source| SegmentError::Write { source })
    }

    /// Adds the end of the line; gives the error text if it has no answer.
    fn push_answer(&mut self, line: &Parsed<'_>) -> Result<(), String> {
        let text = match &line.query {
            Query::Asked(text) => text,
            Query::Nothing => {
                return Err(format!(
                    "User error: Required fields for the provided recipe are {}",
                    self.member.name()
                ));
            }
            Query::NotObject => {
                return Err("User error: Input line is not a valid JSON object".to_owned());
            }
        };
        let place = match self.plan.place(text, line.filter_values) {
            Ok(place) => place,
            Err(Refused::Line(error)) => return Err(error),
            Err(Refused::Unplanned) => {
                self.unplanned = true;
                return Err("Internal error".to_owned());
            }
        };
        if let Some(tail) = &self.tails[place] {
            self.buffer.extend_from_slice(tail);
            return Ok(());
        }
        let start = self.buffer.len();
        let users = self.blocks.ranking(place);
        // The score leaves out what all users of the item share.
        let (question, _) = self.plan.distinct.get(place);
        let shared = self.plan.questions.log_constant(question);
        let scores = self.blocks.scores(place);
        let log_rates = scores.map(|scores| scores.map(|score| f64::from(score) + shared));
        push_ranking_tail(
            &mut self.buffer,
            users,
            log_rates,
            &self.fragments,
            self.documented,
        );
        let tail = &self.buffer[start..];
        if tail.len() <= self.tail_bytes_left {
            self.tail_bytes_left -= tail.len();
            self.tails[place] = Some(tail.into());
        }
        Ok(())
    }

    fn flush(
        &mut self,
        sink: &mut dyn Sink,
        statistics: &mut SegmentStatistics,
    ) -> Result<(), SegmentError> {
        sink.write_all(&self.buffer)
            .map_err(|source| SegmentError::Write { source })?;
        statistics.output_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

type SourceLines = Lines<Box<dyn Read + Send>>;

fn open(source: &dyn Source) -> Result<SourceLines, SegmentError> {
    let reader = open_unpacked(source).map_err(|error| SegmentError::Read {
        name: source.name().to_owned(),
        source: error,
    })?;
    Ok(Lines::new(reader))
}

fn next_line<'l>(
    lines: &'l mut SourceLines,
    source: &dyn Source,
) -> Result<Option<super::lines::Line<'l>>, SegmentError> {
    lines.next_line().map_err(|error| {
        let name = source.name().to_owned();
        // Gzip data that cannot be unpacked is the user's to mend; a store's error is not.
        if error.kind() == io::ErrorKind::InvalidData {
            SegmentError::Input(format!("Input {name} cannot be unpacked: {error}."))
        } else {
            SegmentError::Read {
                name,
                source: error,
            }
        }
    })
}

fn look(progress: &dyn Progress, step: &str, done: u64, total: u64) -> Result<(), SegmentError> {
    progress.report(step, done, total, "");
    if progress.stopped() {
        Err(SegmentError::Stopped)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
