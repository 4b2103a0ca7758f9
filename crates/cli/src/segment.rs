//! `kindred segment`: the whole job without a server.
//!
//! The same steps on the same engine as the service, so the same bytes: CSV files are imported into
//! a scratch directory, a model is trained (or opened), and the queries are answered.

use crate::CliError;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use kindred_engine::data::csv;
use kindred_engine::data::dataset::{Generation, Mode};
use kindred_engine::data::import::{self, ImportOptions};
use kindred_engine::data::source::{FileSource, Source, open_unpacked};
use kindred_engine::model::Model;
use kindred_engine::progress::Progress;
use kindred_engine::score::Scorer;
use kindred_engine::segment::pipeline::{self, SegmentOptions, Sink};
use kindred_jobs::training::{self, TrainRequest};
use kindred_jobs::{Failure, statistics};
use kindred_server::{Settings, parts};
use kindred_types::parts::{Clock, Random, random_hex};
use kindred_types::schema::{self, DatasetSchema, DatasetType};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows below the header that decide about the type of a column.
const INFERENCE_ROWS: usize = 1000;

/// Arguments of `kindred segment`.
#[derive(Debug, Args)]
pub(crate) struct SegmentArgs {
    /// CSV file of interactions (USER_ID, ITEM_ID, TIMESTAMP, ...); `.gz` is expanded.
    #[arg(long, value_name = "FILE", required_unless_present = "model_in")]
    interactions: Option<PathBuf>,
    /// CSV file of items, whose attributes take part in training.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// CSV file of users; it is checked as the service checks it.
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Avro schema of the interactions; inferred from the header if not given.
    #[arg(long, value_name = "FILE")]
    interactions_schema: Option<PathBuf>,
    /// Avro schema of the items; inferred from the header if not given.
    #[arg(long, value_name = "FILE")]
    items_schema: Option<PathBuf>,
    /// Avro schema of the users; inferred from the header if not given.
    #[arg(long, value_name = "FILE")]
    users_schema: Option<PathBuf>,
    /// How users are ranked.
    #[arg(long, value_enum, default_value_t = Recipe::ItemAffinity)]
    recipe: Recipe,
    /// JSON Lines file of queries, one `{"itemId": "..."}` a line.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the segments go.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Users per query.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    num_results: u64,
    /// Length of the model's vectors.
    #[arg(long, default_value_t = 149, value_parser = clap::value_parser!(u64).range(32..=256))]
    hidden_dimension: u64,
    /// Write the probability of each user beside the users.
    #[arg(long)]
    scores: bool,
    /// Threads; 0 for all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Memory for finished rankings before they go to disk, for example 64MiB or 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,
    /// Write the run's statistics here, as one JSON object.
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Keep the trained model in this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "model_in")]
    model_out: Option<PathBuf>,
    /// Use the model of this directory instead of training one.
    #[arg(long, value_name = "DIR", conflicts_with = "interactions")]
    model_in: Option<PathBuf>,
    /// Configuration file; its `training.*`, `segment.*` and `import.*` keys apply.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The recipes of this version.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Recipe {
    /// Users who are likely to want this very item.
    ItemAffinity,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: usize = number
        .parse()
        .map_err(|_| format!("{text}: expected a size such as 64MiB"))?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("{text}: unknown unit, use KiB, MiB or GiB")),
    };
    number
        .checked_shl(shift)
        .filter(|bytes| bytes >> shift == number && *bytes > 0)
        .ok_or_else(|| format!("{text}: not a sensible size"))
}

/// Runs the command.
pub(crate) fn run(args: &SegmentArgs) -> Result<(), CliError> {
    let Recipe::ItemAffinity = args.recipe;
    let settings = Settings::load(args.config.as_deref(), &[])
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let scratch = Scratch::new(&args.output)?;
    let run = Run {
        args,
        settings,
        scratch: scratch.path.clone(),
        clock: parts::SystemClock::default(),
        progress: Bar::new(),
    };
    let outcome = run.all();
    run.progress.bar.finish_and_clear();
    outcome
}

struct Run<'a> {
    args: &'a SegmentArgs,
    settings: Settings,
    scratch: PathBuf,
    clock: parts::SystemClock,
    progress: Bar,
}

impl Run<'_> {
    fn all(&self) -> Result<(), CliError> {
        let start = self.clock.monotonic_ms();
        let mut figures = json!({});
        let model_dir = match (&self.args.model_in, &self.args.interactions) {
            (Some(model), _) => model.clone(),
            (None, Some(interactions)) => self.train(interactions, &mut figures)?,
            (None, None) => {
                return Err(CliError::Usage(
                    "--interactions or --model-in is needed".into(),
                ));
            }
        };
        let model = Model::open(&model_dir)
            .map_err(|error| CliError::failed(format!("{}: {error}", model_dir.display())))?;
        let scorer = Scorer::new(Arc::new(model), None);
        self.answer(&scorer, &mut figures)?;
        statistics::complete(&mut figures, None);
        figures["wall_seconds"] = self.seconds_since(start).into();
        if let Some(path) = &self.args.stats {
            std::fs::write(path, format!("{figures}\n")).map_err(|error| place(path, &error))?;
        }
        Ok(())
    }

    /// Imports the files and trains; gives the model's directory.
    fn train(&self, interactions: &Path, figures: &mut Value) -> Result<PathBuf, CliError> {
        let start = self.clock.monotonic_ms();
        let args = self.args;
        let generation = self.import(
            DatasetType::Interactions,
            interactions,
            args.interactions_schema.as_deref(),
        )?;
        let mut items = Vec::new();
        if let Some(file) = &args.items {
            let dir = self.import(DatasetType::Items, file, args.items_schema.as_deref())?;
            let mode = Mode::Full;
            items.push(Generation { dir, mode });
        }
        if let Some(file) = &args.users {
            self.import(DatasetType::Users, file, args.users_schema.as_deref())?;
        }
        figures["import_seconds"] = self.seconds_since(start).into();
        let out = args
            .model_out
            .clone()
            .unwrap_or_else(|| self.scratch.join("model"));
        std::fs::create_dir_all(&out).map_err(|error| place(&out, &error))?;
        let settings = self.settings.jobs();
        let request = TrainRequest {
            generations: vec![Generation {
                dir: generation,
                mode: Mode::Full,
            }],
            items,
            event_type: None,
            config: Some(json!({"algorithmHyperParameters":
                {"hidden_dimension": args.hidden_dimension.to_string()}})),
            settings: settings.training.clone(),
            threads: self.threads(),
        };
        let trained =
            training::train(&request, &out, &self.progress, &self.clock).map_err(failed)?;
        statistics::complete(figures, Some(&trained.statistics));
        Ok(out)
    }

    fn import(
        &self,
        kind: DatasetType,
        file: &Path,
        schema: Option<&Path>,
    ) -> Result<PathBuf, CliError> {
        let source = open_file(file)?;
        let schema = match schema {
            Some(path) => read_schema(path, kind)?,
            None => infer_schema(kind, &source)?,
        };
        let out = self.scratch.join(kind.title());
        std::fs::create_dir_all(&out).map_err(|error| place(&out, &error))?;
        let options = ImportOptions {
            max_invalid_rows: self.settings.jobs().import_max_invalid_rows,
            location: file.display().to_string(),
        };
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        import::import(
            &schema,
            &name,
            &[&source as &dyn Source],
            &options,
            &out,
            &self.progress,
        )
        .map_err(|error| CliError::failed(error.to_string()))?;
        Ok(out)
    }

    fn answer(&self, scorer: &Scorer, figures: &mut Value) -> Result<(), CliError> {
        let settings = self.settings.jobs().segment;
        let options = SegmentOptions {
            k: usize::try_from(self.args.num_results).unwrap_or(1),
            max_records: settings.max_records,
            documented_format: settings.documented_format,
            scores: self.args.scores || self.settings.segment.scores,
            block_bytes: self.args.memory.unwrap_or(settings.block_bytes),
            threads: self.threads(),
            scratch_dir: self.scratch.join("blocks"),
        };
        let input = &self.args.input;
        let source = open_file(input)?;
        let output = self.args.output.clone();
        let mut sinks =
            |_: usize| -> io::Result<Box<dyn Sink>> { Ok(Box::new(FileSink::new(&output)?)) };
        let answered = pipeline::run(
            scorer,
            &[&source as &dyn Source],
            &mut sinks,
            &options,
            &self.progress,
            &self.clock,
        )
        .map_err(|error| CliError::failed(error.to_string()))?;
        let answered =
            serde_json::to_value(&answered).map_err(|error| CliError::failed(error.to_string()))?;
        if let (Value::Object(all), Value::Object(more)) = (figures, answered) {
            all.extend(more);
        }
        Ok(())
    }

    fn threads(&self) -> usize {
        match self.args.threads {
            0 => self.settings.jobs().engine_threads(),
            threads => threads,
        }
    }

    fn seconds_since(&self, start: u64) -> f64 {
        self.clock.monotonic_ms().saturating_sub(start) as f64 / 1000.0
    }
}

/// A file that can be read more than once, as the engine does.
fn open_file(path: &Path) -> Result<FileSource, CliError> {
    let about = std::fs::metadata(path).map_err(|error| place(path, &error))?;
    if !about.is_file() {
        return Err(CliError::failed(format!(
            "{}: not a regular file; it is read twice, so a pipe will not do",
            path.display()
        )));
    }
    FileSource::new(path).map_err(|error| place(path, &error))
}

/// A schema from the header and the first rows of a file.
fn infer_schema(kind: DatasetType, source: &dyn Source) -> Result<DatasetSchema, CliError> {
    let failed = |reason: String| CliError::failed(format!("{}: {reason}", source.name()));
    let reader = open_unpacked(source).map_err(|error| failed(error.to_string()))?;
    let mut records = csv::Reader::new(reader);
    let mut rows = Vec::new();
    while rows.len() <= INFERENCE_ROWS {
        let record = records
            .next_record()
            .map_err(|error| failed(error.to_string()))?;
        let Some(record) = record else { break };
        let fields = (0..).map_while(|column| record.get(column));
        rows.push(
            fields
                .map(|field| String::from_utf8_lossy(field).into_owned())
                .collect(),
        );
    }
    if rows.is_empty() {
        return Err(failed("the file is empty".to_owned()));
    }
    let header: Vec<String> = rows.remove(0);
    schema::infer(kind, &header, &rows).map_err(|error| failed(error.to_string()))
}

fn read_schema(path: &Path, kind: DatasetType) -> Result<DatasetSchema, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| place(path, &error))?;
    let schema = schema::parse(&text, None)
        .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    if schema.kind != kind {
        return Err(CliError::failed(format!(
            "{}: a schema named {} was given for {}",
            path.display(),
            schema.kind.title(),
            kind.title()
        )));
    }
    Ok(schema)
}

fn place(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

fn failed(failure: Failure) -> CliError {
    CliError::failed(failure.to_string())
}

/// The output file: written beside its place, renamed into it when it is complete.
struct FileSink {
    file: BufWriter<File>,
    part: PathBuf,
    target: PathBuf,
}

impl FileSink {
    fn new(target: &Path) -> io::Result<Self> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let part = target.with_file_name(name);
        let file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
        Ok(FileSink {
            file,
            part,
            target: target.to_owned(),
        })
    }
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for FileSink {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.part, &self.target)
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        // Gone after a success; after a failure nothing half-done stays.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// A scratch directory beside the output, removed at the end.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(output: &Path) -> Result<Self, CliError> {
        let parent = output.parent().filter(|path| !path.as_os_str().is_empty());
        let name = format!(
            ".kindred-{}",
            random_hex(&parts::SystemRandom as &dyn Random, 6)
        );
        let path = parent.unwrap_or(Path::new(".")).join(name);
        std::fs::create_dir_all(&path).map_err(|error| place(&path, &error))?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Progress on standard error.
struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("  {msg:28} {wide_bar} {percent:>3} %  {eta}")
        {
            bar.set_style(style);
        }
        Bar { bar }
    }
}

impl Progress for Bar {
    fn report(&self, step: &str, done: u64, total: u64, detail: &str) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(format!("{step} {detail}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        assert_eq!(parse_size("512"), Ok(512));
        for bad in ["", "0", "MiB", "12 parsecs", "99999999999999999999g"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
