//! Second pass over the lines: each is repeated, its answer behind it, in the order of the input.

use super::ahead::LINES_AT_ONCE;
use super::answers::Answers;
use super::asked::{Member, Refused};
use super::blocks::StoredRanking;
use super::budget::Budget;
use super::chunks::{Chunk, Chunks, Place};
use super::ordered::{self, Event, Out, Work};
use super::parse::{Parsed, Query, parse};
use super::pipeline::{SegmentError, SegmentOptions, SegmentStatistics, Sink, look};
use super::plan::{Plan, asked};
use super::render::{push_error_tail, push_input};
use crate::data::source::Source;
use crate::progress::Progress;
use std::io;

/// Where the outputs go: the sink for the source of a number.
pub(crate) type Sinks<'a> = &'a mut dyn FnMut(usize) -> io::Result<Box<dyn Sink>>;

/// Writes the lines of all sources.
pub(crate) struct Writer<'a> {
    pub(crate) member: Member,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) answers: &'a Answers,
    pub(crate) options: &'a SegmentOptions,
    pub(crate) budget: &'a Budget,
}

impl Writer<'_> {
    /// Reads the sources again; counts errors and bytes in `statistics`.
    pub(crate) fn write(
        &self,
        sources: &[&dyn Source],
        sinks: Sinks<'_>,
        progress: &dyn Progress,
        statistics: &mut SegmentStatistics,
    ) -> Result<(), SegmentError> {
        let renderer = |_| Renderer {
            member: self.member,
            plan: self.plan,
            answers: self.answers,
            documented: self.options.documented_format,
            piece_bytes: self.budget.piece_bytes,
            piece: Piece::default(),
            ranking: StoredRanking::default(),
        };
        let renderers = (0..self.options.threads.max(1)).map(renderer).collect();
        let chunks = Chunks::new(sources, self.stretch_bytes(statistics));
        let mut outputs = Outputs {
            sources,
            planned: &self.plan.lines,
            sinks,
            sink: None,
            source: 0,
            source_lines: 0,
            written: 0,
            unplanned: false,
            statistics,
        };
        ordered::run(
            &chunks,
            renderers,
            self.budget.queue_bytes,
            |event| match event {
                Event::Piece(piece) => outputs.add(piece),
                Event::End(place) => outputs.end(place, progress),
            },
        )?;
        Ok(())
    }
}

impl Writer<'_> {
    /// Bytes of a stretch of the sources that becomes a good deal of output.
    fn stretch_bytes(&self, statistics: &SegmentStatistics) -> usize {
        /// Of a line of output beside the input and the lists.
        const FRAME_BYTES: u64 = 64;
        /// Of a probability.
        const SCORE_BYTES: usize = 10;
        let users = self.options.k.min(statistics.users as usize);
        let lists = if self.options.documented_format { 2 } else { 1 };
        let scores = if self.options.scores {
            users * SCORE_BYTES
        } else {
            0
        };
        let list_bytes = self.answers.form.fragments.usual_list_bytes(users);
        let line_bytes = 1 + self.plan.lines_bytes / statistics.lines.max(1);
        let output_bytes = line_bytes + FRAME_BYTES + (lists * list_bytes + scores) as u64;
        let threads = self.options.threads;
        self.budget.stretch_bytes(threads, line_bytes, output_bytes)
    }
}

/// Bytes of output, and what they are.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    /// Lines that end in it.
    lines: u64,
    errors: u64,
    /// A line asks for what no line asked for in the first pass.
    unplanned: bool,
}

/// Renders the lines of stretches.
struct Renderer<'a> {
    member: Member,
    plan: &'a Plan<'a>,
    answers: &'a Answers,
    documented: bool,
    piece_bytes: usize,
    piece: Piece,
    ranking: StoredRanking,
}

impl Work for Renderer<'_> {
    type Piece = Piece;

    fn chunk(&mut self, chunk: &Chunk, out: &mut Out<'_, Piece>) -> Result<(), SegmentError> {
        let mut lines = chunk.lines();
        loop {
            let (mut inputs, mut parsed) = (Vec::with_capacity(LINES_AT_ONCE), Vec::new());
            for line in lines.by_ref().take(LINES_AT_ONCE) {
                parsed.push(parse(&line, self.member));
                inputs.push(line.bytes);
            }
            if parsed.is_empty() {
                return hand_on(&mut self.piece, out);
            }
            self.push_lines(&inputs, &parsed, out)?;
        }
    }
}

impl Renderer<'_> {
    fn push_lines(
        &mut self,
        inputs: &[&[u8]],
        lines: &[Parsed<'_>],
        out: &mut Out<'_, Piece>,
    ) -> Result<(), SegmentError> {
        let (texts, filter_values) = asked(lines);
        let places = self.plan.places(&texts, &filter_values);
        let known = places.iter().flatten().copied();
        self.answers.tails.fetch(known);
        let mut places = places.into_iter();
        for (input, line) in inputs.iter().zip(lines) {
            let bytes = &mut self.piece.bytes;
            push_input(bytes, input, line.query.is_object());
            let place = match line.query {
                Query::Asked(_) => places.next().unwrap_or(Err(Refused::Unplanned)),
                Query::Nothing => Err(Refused::Line(format!(
                    "User error: Required fields for the provided recipe are {}",
                    self.member.name()
                ))),
                Query::NotObject => Err(Refused::Line(
                    "User error: Input line is not a valid JSON object".to_owned(),
                )),
            };
            self.push_answer(place, out)?;
            self.piece.lines += 1;
            if self.piece.bytes.len() >= self.piece_bytes {
                hand_on(&mut self.piece, out)?;
            }
        }
        Ok(())
    }

    /// Adds the end of the line.
    fn push_answer(
        &mut self,
        place: Result<usize, Refused>,
        out: &mut Out<'_, Piece>,
    ) -> Result<(), SegmentError> {
        let error = match place {
            Ok(place) => return self.push_ranking(place, out),
            Err(Refused::Line(error)) => error,
            Err(Refused::Unplanned) => {
                self.piece.unplanned = true;
                "Internal error".to_owned()
            }
        };
        push_error_tail(&mut self.piece.bytes, &error, self.documented);
        self.piece.errors += 1;
        Ok(())
    }

    fn push_ranking(&mut self, place: usize, out: &mut Out<'_, Piece>) -> Result<(), SegmentError> {
        let Renderer { piece, ranking, .. } = self;
        let mut bytes = std::mem::take(&mut piece.bytes);
        let pushed = self
            .answers
            .push(self.plan, place, &mut bytes, ranking, |bytes| {
                if bytes.len() < self.piece_bytes {
                    return Ok(());
                }
                piece.bytes = std::mem::take(bytes);
                hand_on(piece, out)?;
                *bytes = std::mem::take(&mut piece.bytes);
                Ok(())
            });
        piece.bytes = bytes;
        pushed
    }
}

/// Hands the piece over and goes on with an empty one.
fn hand_on(piece: &mut Piece, out: &mut Out<'_, Piece>) -> Result<(), SegmentError> {
    let mut next = out.spare().unwrap_or_default();
    next.bytes.clear();
    let full = std::mem::replace(
        piece,
        Piece {
            bytes: next.bytes,
            ..Piece::default()
        },
    );
    let bytes = full.bytes.capacity();
    out.put(full, bytes)
}

/// The sinks, one after another.
struct Outputs<'a> {
    sources: &'a [&'a dyn Source],
    /// Lines of each source in the first pass.
    planned: &'a [u64],
    sinks: Sinks<'a>,
    /// Of the source whose lines come.
    sink: Option<Box<dyn Sink>>,
    source: usize,
    source_lines: u64,
    written: u64,
    unplanned: bool,
    statistics: &'a mut SegmentStatistics,
}

impl Outputs<'_> {
    fn add(&mut self, piece: &Piece) -> Result<(), SegmentError> {
        self.source_lines += piece.lines;
        self.written += piece.lines;
        self.unplanned |= piece.unplanned;
        self.statistics.line_errors += piece.errors;
        self.statistics.output_bytes += piece.bytes.len() as u64;
        let write = |source| SegmentError::Write { source };
        let mut sink = self.take_sink()?;
        sink.write_all(&piece.bytes).map_err(write)?;
        self.sink = Some(sink);
        Ok(())
    }

    fn end(&mut self, place: Place, progress: &dyn Progress) -> Result<(), SegmentError> {
        look(
            progress,
            "write segments",
            self.written,
            self.statistics.lines,
        )?;
        if !place.last {
            return Ok(());
        }
        // An input that was replaced under the job would be answered with errors it does not deserve.
        if self.unplanned || self.source_lines != self.planned[self.source] {
            let name = self.sources[self.source].name().to_owned();
            let source = io::Error::other("it changed while it was being read");
            return Err(SegmentError::Read { name, source });
        }
        let sink = self.take_sink()?;
        sink.finish()
            .map_err(|source| SegmentError::Write { source })?;
        self.source += 1;
        self.source_lines = 0;
        Ok(())
    }

    /// The sink of the source, opened if it is not yet.
    fn take_sink(&mut self) -> Result<Box<dyn Sink>, SegmentError> {
        let sink = self
            .sink
            .take()
            .map_or_else(|| (self.sinks)(self.source), Ok);
        sink.map_err(|source| SegmentError::Write { source })
    }
}
