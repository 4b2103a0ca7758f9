//! Imports CSV files: every row checked, typed and staged as Parquet, or nothing at all.
//!
//! One pass validates and writes, each on a thread of its own; memory stays flat however large the
//! files are. If more rows are
//! invalid than the options allow, the whole input is still checked, so that the reason can give
//! their number, and what was staged is removed. A finished generation has a manifest with
//! checksums and is durable; `data::dataset` reads it back.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kindred_store::Vault;
use kindred_types::schema::{DatasetSchema, DatasetType, Field, STRING_CHARACTERS_MAX};

use super::csv::{self, COLUMNS_MAX, Record};
use super::manifest::{Manifest, Part};
use super::source::{Source, open_unpacked};
use super::value::{Broken, Rule, TEXT_CHARACTERS_MAX, Value};
use super::{Error, dataset};
use crate::progress::Progress;

mod writer;

use writer::{PartWriter, RowBuffer, Rows};

#[cfg(test)]
mod tests;

/// How many invalid rows a failure describes; the others are only counted.
pub const DESCRIBED_ROWS_MAX: usize = 5;
/// Rows between two looks at whether the work should stop.
const PROGRESS_ROWS: u64 = 16_384;
/// Batches that wait for the encoder, which runs beside the reading.
const BATCHES_AHEAD: usize = 2;

/// What an import may be told.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// How many invalid rows are skipped before the import fails.
    pub max_invalid_rows: u64,
    /// What the user gave as the location; named when there is no data.
    pub location: String,
    /// How the files of the generation are kept.
    pub vault: Vault,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportReport {
    /// Rows written.
    pub rows: u64,
    /// Invalid rows skipped.
    pub skipped: u64,
    /// What was changed or skipped on the way, in sentences for the job's log.
    pub warnings: Vec<String>,
    /// The files written into the output directory, the manifest last.
    pub files: Vec<PathBuf>,
    /// Stored bytes of all sources.
    pub bytes_read: u64,
}

/// The whole `failureReason` of an import that ended with `detail`.
pub fn failure_reason(kind: DatasetType, dataset_name: &str, detail: &str) -> String {
    format!(
        "Failed to create a data import job for {} dataset {dataset_name}. {detail}",
        kind.title()
    )
}

/// Imports `sources` in order into `out_dir`, which becomes one generation.
///
/// `out_dir` is created if need be; what an earlier, unfinished try left in it is overwritten. What
/// the user can mend is [`Error::Input`] with the whole failure reason; then `out_dir` is removed.
pub fn import(
    schema: &DatasetSchema,
    dataset_name: &str,
    sources: &[&dyn Source],
    options: &ImportOptions,
    out_dir: &Path,
    progress: &dyn Progress,
) -> Result<ImportReport, Error> {
    dataset::clear(out_dir)?;
    std::fs::create_dir_all(out_dir).map_err(Error::file(out_dir))?;
    let mut job = Job {
        schema,
        sources,
        options,
        progress,
        buffer: RowBuffer::new(schema),
        bytes_read: Arc::new(AtomicU64::new(0)),
        rows: 0,
        invalid: Vec::new(),
        invalid_count: 0,
        milliseconds: 0,
        cut_texts: 0,
    };
    let report = job.run(out_dir);
    if report.is_err() {
        // The reason matters more than the left-overs; the next try clears them.
        let _ = dataset::clear(out_dir);
    }
    report.map_err(|stop| match stop {
        Stop::Detail(detail) => Error::Input(failure_reason(schema.kind, dataset_name, &detail)),
        Stop::Error(error) => error,
        Stop::Unwritten => Error::Stopped,
    })
}

/// Why a job ends early.
enum Stop {
    /// For the user, to be completed with the dataset's name.
    Detail(String),
    Error(Error),
    /// The encoder takes no more, and knows why.
    Unwritten,
}

/// What the encoder is asked for.
enum Order {
    Write(Rows),
    /// There is nothing more, and all of it was good.
    Finish,
}

fn order(encoder: &SyncSender<Order>, order: Order) -> Result<(), Stop> {
    encoder.send(order).map_err(|_| Stop::Unwritten)
}

/// Writes what comes, on a thread of its own; without the order to finish nothing is made durable.
fn encode(mut writer: PartWriter, orders: &Receiver<Order>) -> Result<Vec<Part>, Error> {
    for order in orders {
        match order {
            Order::Write(rows) => writer.write(rows)?,
            Order::Finish => return writer.finish(),
        }
    }
    Ok(Vec::new())
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

struct Job<'a> {
    schema: &'a DatasetSchema,
    sources: &'a [&'a dyn Source],
    options: &'a ImportOptions,
    progress: &'a dyn Progress,
    buffer: RowBuffer,
    bytes_read: Arc<AtomicU64>,
    rows: u64,
    invalid: Vec<String>,
    invalid_count: u64,
    milliseconds: u64,
    cut_texts: u64,
}

impl Job<'_> {
    fn run(&mut self, dir: &Path) -> Result<ImportReport, Stop> {
        let writer = PartWriter::new(self.schema, dir, &self.options.vault);
        let (send, orders) = sync_channel(BATCHES_AHEAD);
        let parts = std::thread::scope(|scope| {
            let encoder = scope.spawn(move || encode(writer, &orders));
            let read = self.read_all(&send);
            drop(send);
            let written = encoder
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (read, written) {
                // What could not be written is why the reading ended.
                (Err(Stop::Unwritten) | Ok(()), written) => Ok(written?),
                (Err(stop), _) => Err(stop),
            }
        })?;
        let manifest = Manifest::new(self.schema.clone(), parts);
        manifest.write(dir, &self.options.vault)?;
        let mut files: Vec<PathBuf> = manifest
            .parts
            .iter()
            .map(|part| dir.join(&part.name))
            .collect();
        files.push(dir.join(super::manifest::FILE_NAME));
        self.tell_progress();
        Ok(ImportReport {
            rows: self.rows,
            skipped: self.invalid_count,
            warnings: self.warnings(),
            files,
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
        })
    }

    /// Reads and checks everything; what is good goes to the encoder, and the order to finish last.
    fn read_all(&mut self, encoder: &SyncSender<Order>) -> Result<(), Stop> {
        if self.sources.is_empty() {
            return Err(self.no_data());
        }
        for source in self.sources {
            self.read_source(*source, encoder)?;
        }
        if self.invalid_count > self.options.max_invalid_rows {
            return Err(Stop::Detail(self.describe_invalid()));
        }
        if self.rows == 0 {
            return Err(self.no_data());
        }
        let rest = self.buffer.take();
        order(encoder, Order::Write(rest))?;
        order(encoder, Order::Finish)
    }

    fn read_source(
        &mut self,
        source: &dyn Source,
        encoder: &SyncSender<Order>,
    ) -> Result<(), Stop> {
        let name = source.name();
        let counted = Counted {
            source,
            bytes: Arc::clone(&self.bytes_read),
        };
        let input = open_unpacked(&counted).map_err(|error| reading(name, error))?;
        let mut reader = csv::Reader::new(input);
        let columns = match reader.next_record() {
            Ok(Some(header)) => self.match_header(name, &header)?,
            Ok(None) => return Err(self.missing(name, self.schema.fields.iter())),
            Err(error) => return Err(self.unreadable(name, error)),
        };
        loop {
            match reader.next_record() {
                Ok(Some(record)) => self.read_row(name, &columns, &record, encoder)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.unreadable(name, error)),
            }
        }
    }

    fn read_row(
        &mut self,
        name: &str,
        columns: &Columns,
        record: &Record<'_>,
        encoder: &SyncSender<Order>,
    ) -> Result<(), Stop> {
        match read_values(columns, record) {
            Ok(values) => {
                for value in &values {
                    match value {
                        Value::Milliseconds(_) => self.milliseconds += 1,
                        Value::CutText(_) => self.cut_texts += 1,
                        _ => {}
                    }
                }
                self.rows += 1;
                // Past the limit nothing will be kept, only the count of bad rows matters.
                if self.invalid_count <= self.options.max_invalid_rows
                    && let Some(rows) = self.buffer.push(&values)
                {
                    order(encoder, Order::Write(rows))?;
                }
            }
            Err(rule) => {
                self.invalid_count += 1;
                if self.invalid.len() < DESCRIBED_ROWS_MAX {
                    self.invalid
                        .push(describe(self.schema, &rule, name, record.line));
                }
            }
        }
        if (self.rows + self.invalid_count).is_multiple_of(PROGRESS_ROWS) {
            if self.progress.stopped() {
                return Err(Error::Stopped.into());
            }
            self.tell_progress();
        }
        Ok(())
    }

    fn tell_progress(&self) {
        let total = self.sources.iter().map(|source| source.size()).sum();
        let done = self.bytes_read.load(Ordering::Relaxed).min(total);
        let detail = format!("{} rows", self.rows);
        self.progress.report("import", done, total, &detail);
    }

    /// Where each field of the schema stands in this file.
    fn match_header(&self, name: &str, header: &Record<'_>) -> Result<Columns, Stop> {
        if header.columns > COLUMNS_MAX {
            return Err(Stop::Detail(format!(
                "Input CSV {name} has more than {COLUMNS_MAX} columns"
            )));
        }
        if !header.well_formed {
            return Err(Stop::Detail(format!(
                "Input CSV {name} has text after a closing quote in its header"
            )));
        }
        let names: Vec<&[u8]> = (0..header.columns)
            .filter_map(|column| header.get(column))
            .collect();
        let mut fields = Vec::with_capacity(self.schema.fields.len());
        let mut missing = Vec::new();
        for field in &self.schema.fields {
            let wanted = field.name.as_bytes();
            let places = |same: &dyn Fn(&[u8]) -> bool| -> Vec<usize> {
                (0..names.len()).filter(|&at| same(names[at])).collect()
            };
            let exact = places(&|name| name == wanted);
            let place = match exact.as_slice() {
                [place] => Some(*place),
                [] => match places(&|name| name.eq_ignore_ascii_case(wanted)).as_slice() {
                    [place] => Some(*place),
                    _ => None,
                },
                _ => {
                    return Err(Stop::Detail(format!(
                        "Input CSV {name} has more than one column {}",
                        field.name
                    )));
                }
            };
            match place {
                Some(place) => fields.push(Column {
                    place,
                    rule: Rule::of(field),
                    nullable: field.nullable,
                }),
                None => missing.push(field),
            }
        }
        if missing.is_empty() {
            Ok(Columns {
                fields,
                width: header.columns,
            })
        } else {
            Err(self.missing(name, missing.into_iter()))
        }
    }

    fn missing<'f>(&self, name: &str, fields: impl Iterator<Item = &'f Field>) -> Stop {
        let names: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
        let mut detail = format!(
            "Input CSV is missing the following columns: [{}]",
            names.join(", ")
        );
        if self.sources.len() > 1 {
            detail.push_str(" in ");
            detail.push_str(name);
        }
        Stop::Detail(detail)
    }

    fn no_data(&self) -> Stop {
        Stop::Detail(format!("No data found at {}", self.options.location))
    }

    /// A file whose records cannot be told apart any more: nothing after that place can be trusted.
    fn unreadable(&self, name: &str, error: csv::Error) -> Stop {
        let (line, rule) = match error {
            csv::Error::Read(error) => return reading(name, error),
            csv::Error::OpenQuote { line } => (line, "a quoted value is not closed".to_owned()),
            csv::Error::TooLong { line } => (
                line,
                format!(
                    "the record is longer than {} bytes, perhaps a quote is not closed",
                    csv::RECORD_BYTES_MAX
                ),
            ),
        };
        let mut sentences = self.invalid.clone();
        sentences.truncate(DESCRIBED_ROWS_MAX - 1);
        sentences.push(format!("Invalid row in {name} line {line}: {rule}"));
        Stop::Detail(sentences.join("; "))
    }

    fn describe_invalid(&self) -> String {
        let mut detail = self.invalid.join("; ");
        if self.invalid_count > 1 {
            detail.push_str(&format!("; {} invalid rows in total", self.invalid_count));
        }
        detail
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.invalid_count > 0 {
            warnings.push(format!(
                "{} invalid rows were skipped: {}",
                self.invalid_count,
                self.invalid.join("; ")
            ));
        }
        if self.milliseconds > 0 {
            warnings.push(format!(
                "{} time stamps were taken as milliseconds and divided by 1000",
                self.milliseconds
            ));
        }
        if self.cut_texts > 0 {
            warnings.push(format!(
                "{} texts were cut at {TEXT_CHARACTERS_MAX} characters",
                self.cut_texts
            ));
        }
        warnings
    }
}

/// The columns of the schema, as they stand in one file.
struct Columns {
    fields: Vec<Column>,
    width: usize,
}

struct Column {
    place: usize,
    rule: Rule,
    nullable: bool,
}

/// What is wrong with a row.
enum RowRule {
    Value { field: usize, broken: Broken },
    Width { expected: usize, found: usize },
    TextAfterQuote,
}

fn read_values<'r>(columns: &Columns, record: &'r Record<'_>) -> Result<Vec<Value<'r>>, RowRule> {
    if record.columns != columns.width {
        return Err(RowRule::Width {
            expected: columns.width,
            found: record.columns,
        });
    }
    if !record.well_formed {
        return Err(RowRule::TextAfterQuote);
    }
    let mut values = Vec::with_capacity(columns.fields.len());
    for (field, column) in columns.fields.iter().enumerate() {
        let raw = record.get(column.place).unwrap_or_default();
        match column.rule.read(raw, column.nullable) {
            Ok(value) => values.push(value),
            Err(broken) => return Err(RowRule::Value { field, broken }),
        }
    }
    Ok(values)
}

fn describe(schema: &DatasetSchema, rule: &RowRule, name: &str, line: u64) -> String {
    match rule {
        RowRule::Value { field, broken } => {
            let column = &schema.fields[*field].name;
            match broken {
                Broken::Type(expected) => format!(
                    "Invalid value for column {column} in {name} line {line}: expected {expected}"
                ),
                Broken::Missing(expected) => format!(
                    "Invalid value for column {column} in {name} line {line}: expected {expected}, the value is missing"
                ),
                Broken::Length => format!(
                    "Length cannot be more than {STRING_CHARACTERS_MAX} characters for {column} in {name} line {line}"
                ),
            }
        }
        RowRule::Width { expected, found } => {
            format!("Invalid row in {name} line {line}: expected {expected} columns, found {found}")
        }
        RowRule::TextAfterQuote => {
            format!("Invalid row in {name} line {line}: text after a closing quote")
        }
    }
}

/// Bad packed data is the user's to mend; everything else is the store's.
fn reading(name: &str, error: io::Error) -> Stop {
    if error.kind() == io::ErrorKind::InvalidData {
        Stop::Detail(format!("Input CSV {name} cannot be unpacked: {error}"))
    } else {
        Stop::Error(Error::Source {
            name: name.to_owned(),
            source: error,
        })
    }
}

/// Counts the stored bytes of a source as they are read.
struct Counted<'a> {
    source: &'a dyn Source,
    bytes: Arc<AtomicU64>,
}

impl Source for Counted<'_> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    fn gzip(&self) -> bool {
        self.source.gzip()
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(CountedRead {
            inner: self.source.open()?,
            bytes: Arc::clone(&self.bytes),
        }))
    }
}

struct CountedRead {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for CountedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Makes a directory's entries durable.
fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|file| file.sync_all())
        .map_err(Error::file(dir))
}
