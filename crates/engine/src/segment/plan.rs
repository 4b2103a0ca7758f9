//! First pass over the lines: counts, checks, and collects what is asked.

use super::ahead::LINES_AT_ONCE;
use super::asked::{Answerer, Member, Questions, Refused};
use super::audiences::Audiences;
use super::budget::Budget;
use super::chunks::{Chunk, Chunks, Place};
use super::distinct::{Distinct, Noted, Pairs};
use super::ordered::{self, Event, Out, Work};
use super::parse::{Parsed, Query, parse};
use super::pipeline::{SegmentError, SegmentOptions, SegmentStatistics, look};
use crate::data::source::Source;
use crate::progress::Progress;
use crate::selection::Selection;

/// What a source must not start with: it would be a JSON array.
const ARRAY_START: u8 = b'[';

/// The distinct queries of a run.
pub(crate) struct Plan<'a> {
    pub(crate) questions: Box<dyn Questions + 'a>,
    pub(crate) audiences: Audiences<'a>,
    /// Which questions are asked of which audiences.
    pub(crate) distinct: Distinct,
    /// Lines of each source that are not blank.
    pub(crate) lines: Vec<u64>,
    /// Bytes of all of them.
    pub(crate) lines_bytes: u64,
}

impl Plan<'_> {
    /// The places of the answers of some lines, by what they ask for and their filter values; or the
    /// text of a line's error.
    pub(crate) fn places(
        &self,
        texts: &[&str],
        filter_values: &[Option<&str>],
    ) -> Vec<Result<usize, Refused>> {
        let questions = self.questions.numbers(texts);
        let known = questions.iter().flatten();
        known.for_each(|question| self.distinct.fetch(*question));
        let each = questions.into_iter().zip(filter_values);
        let places = each.map(|(question, filter_values)| {
            let (question, audience) = (question?, self.audiences.find(*filter_values)?);
            let place = self.distinct.place(question, audience);
            place.ok_or(Refused::Unplanned)
        });
        places.collect()
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.questions.bytes() + self.audiences.bytes() + self.distinct.bytes()
    }
}

/// Makes the plan; counts lines and queries in `statistics`.
pub(crate) fn plan<'a>(
    scorer: &'a dyn Answerer,
    selection: &'a Selection,
    sources: &[&dyn Source],
    budget: &Budget,
    options: &SegmentOptions,
    progress: &dyn Progress,
    statistics: &mut SegmentStatistics,
) -> Result<Plan<'a>, SegmentError> {
    let mut questions = scorer.questions(budget.remembered_bytes / 2);
    let mut audiences = Audiences::new(selection, budget.remembered_bytes / 2);
    let pairs = Pairs::default();
    let reader = |_| Reader {
        member: scorer.member(),
        questions: &*questions,
        audiences: &audiences,
        noted: Noted::new(audiences.is_one(), &pairs),
    };
    let readers = (0..options.threads.max(1)).map(reader).collect();
    let mut checks = Checks::new(sources, options.max_records);
    let chunks = Chunks::new(sources, budget.chunk_bytes);
    let readers = ordered::run(&chunks, readers, budget.queue_bytes, |event| match event {
        Event::Piece(facts) => checks.add(facts),
        Event::End(place) => checks.end(place, progress),
    })?;
    let noted = readers.into_iter().map(|reader| reader.noted).collect();
    let input = SegmentError::Input;
    let new_questions = questions.close().map_err(input)?;
    let new_audiences = audiences.close().map_err(input)?;
    let new_audiences = (!audiences.is_one()).then_some(&*new_audiences);
    let distinct = Distinct::new(noted, &pairs, new_questions.as_deref(), new_audiences);
    let distinct = distinct.map_err(input)?;
    statistics.lines = checks.all_lines;
    statistics.distinct_queries = distinct.len() as u64;
    Ok(Plan {
        questions,
        audiences,
        distinct,
        lines: checks.lines,
        lines_bytes: checks.lines_bytes,
    })
}

/// What a stretch has beside queries.
#[derive(Debug, Default)]
struct Facts {
    lines: u64,
    lines_bytes: u64,
    /// Whether there are JSON objects among them.
    objects: bool,
    /// First byte of the first line; 0 of one that has none.
    first: Option<u8>,
}

/// Notes what the lines of stretches ask for.
struct Reader<'p, 'n> {
    member: Member,
    questions: &'p dyn Questions,
    audiences: &'p Audiences<'p>,
    noted: Noted<'n>,
}

impl Work for Reader<'_, '_> {
    type Piece = Facts;

    fn chunk(&mut self, chunk: &Chunk, out: &mut Out<'_, Facts>) -> Result<(), SegmentError> {
        let mut facts = Facts::default();
        let mut lines = chunk.lines();
        loop {
            let some = lines.by_ref().take(LINES_AT_ONCE);
            let parsed = some.map(|line| {
                facts.first = facts
                    .first
                    .or(Some(line.bytes.first().copied().unwrap_or(0)));
                facts.lines_bytes += line.bytes.len() as u64;
                parse(&line, self.member)
            });
            let parsed: Vec<Parsed<'_>> = parsed.collect();
            if parsed.is_empty() {
                return out.put(facts, size_of::<Facts>());
            }
            facts.lines += parsed.len() as u64;
            facts.objects |= parsed.iter().any(|line| line.query.is_object());
            self.note(&parsed);
        }
    }
}

impl Reader<'_, '_> {
    fn note(&mut self, lines: &[Parsed<'_>]) {
        let (texts, filter_values) = asked(lines);
        let mut questions = Vec::with_capacity(texts.len());
        self.questions.note(&texts, &mut questions);
        for (question, values) in questions.into_iter().zip(filter_values) {
            if let Some(question) = question
                && let Some(audience) = self.audiences.note(values)
            {
                self.noted.note(question, audience);
            }
        }
    }
}

/// What those of the lines that ask for something ask for, and their filter values.
pub(crate) fn asked<'l>(lines: &'l [Parsed<'_>]) -> (Vec<&'l str>, Vec<Option<&'l str>>) {
    let asked = lines.iter().filter_map(|line| match &line.query {
        Query::Asked(text) => Some((&**text, line.filter_values)),
        _ => None,
    });
    asked.unzip()
}

/// Looks at the sources stretch by stretch.
struct Checks<'s> {
    sources: &'s [&'s dyn Source],
    max_records: u64,
    /// Bytes of all sources, and of those that are done.
    bytes: u64,
    bytes_done: u64,
    all_lines: u64,
    lines_bytes: u64,
    /// Of the sources that are done.
    lines: Vec<u64>,
    /// Of the source that is being read.
    source_lines: u64,
    objects: bool,
}

impl<'s> Checks<'s> {
    fn new(sources: &'s [&'s dyn Source], max_records: u64) -> Self {
        Checks {
            sources,
            max_records,
            bytes: sources.iter().map(|source| source.size()).sum(),
            bytes_done: 0,
            all_lines: 0,
            lines_bytes: 0,
            lines: Vec::with_capacity(sources.len()),
            source_lines: 0,
            objects: false,
        }
    }

    fn add(&mut self, facts: &Facts) -> Result<(), SegmentError> {
        if self.source_lines == 0 && facts.first == Some(ARRAY_START) {
            return Err(self.not_json_lines());
        }
        self.source_lines += facts.lines;
        self.all_lines += facts.lines;
        self.lines_bytes += facts.lines_bytes;
        self.objects |= facts.objects;
        if self.max_records > 0 && self.all_lines > self.max_records {
            let reason = format!("Input has more than {} records.", self.max_records);
            return Err(SegmentError::Input(reason));
        }
        Ok(())
    }

    fn end(&mut self, place: Place, progress: &dyn Progress) -> Result<(), SegmentError> {
        let bytes_done = self.bytes_done + place.bytes_done;
        look(progress, "read queries", bytes_done, self.bytes)?;
        if !place.last {
            return Ok(());
        }
        if self.source_lines > 0 && !self.objects {
            return Err(self.not_json_lines());
        }
        self.bytes_done += self.sources[place.source].size();
        self.lines.push(self.source_lines);
        self.source_lines = 0;
        self.objects = false;
        Ok(())
    }

    fn not_json_lines(&self) -> SegmentError {
        let name = self.sources[self.lines.len()].name();
        SegmentError::Input(format!(
            "Input {name} is not JSON Lines: expected one JSON object per line."
        ))
    }
}
