//! `kindred segment`: the whole job without a server.
//!
//! The same steps on the same engine as the service, so the same bytes: CSV files are imported into
//! a scratch directory, a model is trained (or opened), and the queries are answered.

use crate::CliError;
use crate::inputs::{self, Bar, Scratch, failed, open_file, place};
use crate::output::FileSink;
use clap::{Args, ValueEnum};
use kindred_engine::data::dataset::{Dataset, Generation, Mode};
use kindred_engine::data::source::Source;
use kindred_engine::model::{AnyModel, AttributeModel, Model};
use kindred_engine::segment::asked::{self, Answerer};
use kindred_engine::segment::pipeline::{self, SegmentOptions, Sink};
use kindred_engine::selection::{Selection, SelectionRequest};
use kindred_jobs::training::{self, TrainRequest};
use kindred_jobs::{peak_memory_bytes, statistics};
use kindred_server::{Settings, parts};
use kindred_types::filter::{Dataset as Named, Filter, FilterSchemas, Target};
use kindred_types::interacted::{InteractedRule, NotARule};
use kindred_types::parts::Clock;
use kindred_types::schema::{DatasetSchema, DatasetType};
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};

/// Arguments of `kindred segment`.
#[derive(Debug, Args)]
pub(crate) struct SegmentArgs {
    /// CSV file of interactions (USER_ID, ITEM_ID, TIMESTAMP, ...); `.gz` is expanded. Beside `--model-in`
    /// they are not trained on; `--filter` and `--exclude-interacted` read them.
    #[arg(long, value_name = "FILE", required_unless_present = "model_in")]
    interactions: Option<PathBuf>,
    /// CSV file of items, whose attributes take part in training and can be asked for.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// CSV file of users, whose columns `--filter` can test.
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
    /// JSON Lines file of queries, one `{"itemId": "..."}` or `{"itemAttributes": "..."}` a line.
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
    /// Rank only the users that this filter keeps, for example
    /// `INCLUDE UserID WHERE Users.AGE >= $AGE`; lines give values in `filterValues`.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Leave out users who interacted with what a line asks for: with events of this type (any if none
    /// is given), of the last so many days of the data (all if none are given), for example
    /// `purchase,30d`.
    #[arg(long, value_name = "[TYPE][,DAYSd]", num_args = 0..=1, default_missing_value = "true",
          value_parser = parse_rule)]
    exclude_interacted: Option<InteractedRule>,
    /// Threads; 0 for all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Memory for all but the model: what is read, ranked, rendered and waits to be written, for example
    /// 256MiB or 2GiB [default: the setting segment.memory_mib]. What does not fit goes to disk.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,
    /// Write the run's statistics here, as one JSON object.
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Keep the trained model in this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "model_in")]
    model_out: Option<PathBuf>,
    /// Use the model of this directory instead of training one.
    #[arg(long, value_name = "DIR")]
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
    /// Users who are likely to want items with these attributes; needs `--items` to train.
    ItemAttributeAffinity,
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

fn parse_rule(text: &str) -> Result<InteractedRule, String> {
    let rule: Result<InteractedRule, NotARule> = if text.starts_with([',', ' ']) {
        format!("true{text}").parse()
    } else {
        text.parse()
    };
    rule.map_err(|error| error.to_string())
}

/// Runs the command.
pub(crate) fn run(args: &SegmentArgs) -> Result<(), CliError> {
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

/// The generations of the files that are given.
struct Imported {
    interactions: Vec<Generation>,
    items: Vec<Generation>,
    users: Vec<Generation>,
}

/// The schema that an import went by, if there was one.
fn schema_of(
    kind: DatasetType,
    generations: &[Generation],
) -> Result<Option<DatasetSchema>, CliError> {
    if generations.is_empty() {
        return Ok(None);
    }
    let dataset =
        Dataset::open(kind, generations).map_err(|error| CliError::failed(error.to_string()))?;
    let fields = dataset.fields().to_vec();
    Ok(Some(DatasetSchema { kind, fields }))
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
        self.check_arguments()?;
        let data = self.import_all()?;
        let filter = self.filter(&data)?;
        if self.args.interactions.is_some() {
            figures["import_seconds"] = self.seconds_since(start).into();
        }
        let model_dir = match &self.args.model_in {
            Some(model) => model.clone(),
            None => self.train(&data, &mut figures)?,
        };
        let model = match self.args.recipe {
            Recipe::ItemAffinity => {
                Model::open(&model_dir).map(|model| AnyModel::Items(model.into()))
            }
            Recipe::ItemAttributeAffinity => {
                AttributeModel::open(&model_dir).map(|model| AnyModel::Attributes(model.into()))
            }
        };
        let model =
            model.map_err(|error| CliError::failed(format!("{}: {error}", model_dir.display())))?;
        let request = SelectionRequest {
            filter,
            exclude_interacted: self.args.exclude_interacted.as_ref(),
            users: &data.users,
            interactions: &data.interactions,
        };
        let selection = Selection::load(request, model.towers(), &self.progress)
            .map_err(|error| CliError::failed(error.to_string()))?;
        self.answer(&*asked::scorer(model, &selection), &selection, &mut figures)?;
        statistics::complete(&mut figures, None, peak_memory_bytes());
        figures["wall_seconds"] = self.seconds_since(start).into();
        if let Some(path) = &self.args.stats {
            std::fs::write(path, format!("{figures}\n")).map_err(|error| place(path, &error))?;
        }
        Ok(())
    }

    /// What the declarations of the arguments cannot say.
    fn check_arguments(&self) -> Result<(), CliError> {
        let args = self.args;
        let usage = |text: &str| Err(CliError::Usage(text.into()));
        match (&args.model_in, &args.interactions) {
            (None, None) => usage("--interactions or --model-in is needed"),
            (Some(_), Some(_)) if args.exclude_interacted.is_none() && args.filter.is_none() => {
                usage(
                    "beside --model-in nothing is trained: --interactions is of use with --filter or --exclude-interacted only",
                )
            }
            (Some(_), None) if args.exclude_interacted.is_some() => {
                usage("--exclude-interacted needs --interactions")
            }
            _ => Ok(()),
        }
    }

    /// Imports the files that are given, as the service does.
    fn import_all(&self) -> Result<Imported, CliError> {
        let args = self.args;
        let import = |kind, file: &Option<PathBuf>, schema: &Option<PathBuf>| {
            let Some(file) = file else {
                return Ok(Vec::new());
            };
            let dir = self.import(kind, file, schema.as_deref())?;
            Ok::<_, CliError>(vec![Generation {
                dir,
                vault: Default::default(),
                mode: Mode::Full,
            }])
        };
        let interactions = &args.interactions;
        Ok(Imported {
            interactions: import(
                DatasetType::Interactions,
                interactions,
                &args.interactions_schema,
            )?,
            items: import(DatasetType::Items, &args.items, &args.items_schema)?,
            users: import(DatasetType::Users, &args.users, &args.users_schema)?,
        })
    }

    /// The filter, typed against the data as it was imported.
    fn filter(&self, data: &Imported) -> Result<Option<Filter>, CliError> {
        let Some(text) = &self.args.filter else {
            return Ok(None);
        };
        let users = schema_of(DatasetType::Users, &data.users)?;
        let interactions = schema_of(DatasetType::Interactions, &data.interactions)?;
        let items = schema_of(DatasetType::Items, &data.items)?;
        let schemas = FilterSchemas {
            users: users.as_ref(),
            interactions: interactions.as_ref(),
            items: items.as_ref(),
        };
        let usage = |text: String| Err(CliError::Usage(format!("--filter: {text}")));
        match Filter::parse(text, &schemas) {
            Err(error) => usage(error.to_string()),
            Ok(filter) if filter.target != Target::Users => {
                usage("only filters about UserID can be applied to segments".to_owned())
            }
            Ok(filter)
                if matches!(self.args.recipe, Recipe::ItemAttributeAffinity)
                    && filter.uses(Named::Interactions) =>
            {
                usage(
                    "conditions on Interactions cannot be used with item-attribute-affinity"
                        .to_owned(),
                )
            }
            Ok(filter) => Ok(Some(filter)),
        }
    }

    /// Trains; gives the model's directory.
    fn train(&self, data: &Imported, figures: &mut Value) -> Result<PathBuf, CliError> {
        let args = self.args;
        let out = args
            .model_out
            .clone()
            .unwrap_or_else(|| self.scratch.join("model"));
        std::fs::create_dir_all(&out).map_err(|error| place(&out, &error))?;
        let settings = self.settings.jobs();
        let request = TrainRequest {
            recipe: match args.recipe {
                Recipe::ItemAffinity => training::Recipe::ItemAffinity,
                Recipe::ItemAttributeAffinity => training::Recipe::ItemAttributeAffinity,
            },
            generations: data.interactions.clone(),
            items: data.items.clone(),
            event_type: None,
            config: Some(json!({"algorithmHyperParameters":
                {"hidden_dimension": args.hidden_dimension.to_string()}})),
            settings: settings.training.clone(),
            threads: self.threads(),
            vault: Default::default(),
        };
        let trained =
            training::train(&request, &out, &self.progress, &self.clock).map_err(failed)?;
        statistics::complete(figures, Some(&trained.statistics), None);
        Ok(out)
    }

    fn import(
        &self,
        kind: DatasetType,
        file: &Path,
        schema: Option<&Path>,
    ) -> Result<PathBuf, CliError> {
        let invalid_max = self.settings.jobs().import_max_invalid_rows;
        inputs::import(
            kind,
            file,
            schema,
            &self.scratch,
            invalid_max,
            &self.progress,
        )
    }

    fn answer(
        &self,
        scorer: &dyn Answerer,
        selection: &Selection,
        figures: &mut Value,
    ) -> Result<(), CliError> {
        let settings = self.settings.jobs().segment;
        let options = SegmentOptions {
            k: usize::try_from(self.args.num_results).unwrap_or(1),
            max_records: settings.max_records,
            documented_format: settings.documented_format,
            scores: self.args.scores || self.settings.segment.scores,
            memory_bytes: self.args.memory.unwrap_or(settings.memory_bytes),
            block_bytes: settings.block_bytes,
            threads: self.threads(),
            scratch_dir: self.scratch.join("blocks"),
            scratch_vault: Default::default(),
        };
        let input = &self.args.input;
        let source = open_file(input)?;
        let output = self.args.output.clone();
        let mut sinks =
            |_: usize| -> io::Result<Box<dyn Sink>> { Ok(Box::new(FileSink::new(&output)?)) };
        let answered = pipeline::run(
            scorer,
            selection,
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
