//! `kindred evaluate`: how good would the segments have been?
//!
//! The data are cut at a point in time, a model is trained on what came before exactly as a job of
//! that day would have trained it, and its segments are compared with who came afterwards, beside
//! simple rankings. Figures are defined in `docs/MODEL.md`, "Metrics", and computed by
//! `kindred_engine::metrics`; the words are in `text`.

mod text;

use crate::CliError;
use crate::inputs::{self, Bar, Scratch, open_file, place};
use clap::{Args, ValueEnum};
use kindred_engine::data::attributes::TrainingData;
use kindred_engine::data::dataset::{Generation, Mode};
use kindred_engine::data::snapshot::{
    SnapshotFacts, SnapshotLimits, TrainingFilter, load_interactions,
};
use kindred_engine::data::source::open_unpacked;
use kindred_engine::data::table::{TableLimits, load_items};
use kindred_engine::metrics::{
    Cut, Evaluation, Protocol, Queries, delivered_item_model, time_split,
};
use kindred_engine::model::Card;
use kindred_engine::recipes::item_affinity::{ModelChoice, TrainOptions, Without};
use kindred_engine::score::Scorer;
use kindred_jobs::training;
use kindred_server::{Settings, parts};
use kindred_types::schema::DatasetType;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DAY: i64 = 86_400;
/// Longest horizon unless one is given: 30 days.
const HORIZON_SECONDS_MAX: i64 = 30 * DAY;
/// The horizon is this part of the span of the data, if that is shorter.
const HORIZON_PARTS: i64 = 10;
/// Largest file of queries.
const QUERIES_BYTES_MAX: u64 = 1 << 30;

/// Arguments of `kindred evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// CSV file of interactions (USER_ID, ITEM_ID, TIMESTAMP, ...); `.gz` is expanded.
    #[arg(long, value_name = "FILE")]
    interactions: PathBuf,
    /// CSV file of items.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// Avro schema of the interactions; inferred from the header if not given.
    #[arg(long, value_name = "FILE")]
    interactions_schema: Option<PathBuf>,
    /// Avro schema of the items; inferred from the header if not given.
    #[arg(long, value_name = "FILE")]
    items_schema: Option<PathBuf>,
    /// How users are ranked [default: every recipe the files are enough for].
    #[arg(long, value_enum)]
    recipe: Option<Recipe>,
    /// The moment that separates what the model sees from what it has to predict: epoch seconds or
    /// YYYY-MM-DD (UTC) [default: one horizon before the end of the data].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    split: Option<i64>,
    /// Days after the split that count [default: 30, but at most a tenth of the data's span].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    horizon_days: Option<u32>,
    /// Leave out users who had the item before: for things that nobody takes twice.
    #[arg(long)]
    first_time_only: bool,
    /// Ask for these items only: JSON Lines, one `{"itemId": "..."}` a line.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Which towers may serve.
    #[arg(long, value_enum, default_value_t = Towers::Auto)]
    model: Towers,
    /// Leave a part of the model out, to see what it earns; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Part>,
    /// Length of the model's vectors.
    #[arg(long, default_value_t = 149, value_parser = clap::value_parser!(u64).range(32..=256))]
    hidden_dimension: u64,
    /// Threads; 0 for all cores. The figures do not depend on it.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Configuration file; its `training.*` and `import.*` keys apply.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object per recipe instead of a table.
    #[arg(long)]
    json: bool,
}

/// The recipes that can be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Recipe {
    /// Users who are likely to want this very item.
    ItemAffinity,
}

/// Names of [`ModelChoice`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Towers {
    /// Whichever validation prefers.
    Auto,
    /// Trained by looking back.
    Lookback,
    /// Implicit alternating least squares.
    Ials,
}

/// Names of the parts of [`Without`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every user is as active as any other.
    Intensity,
    /// Training on the next event instead of on later ones.
    Lookback,
    /// Known items weigh like unknown ones.
    Kappa,
    /// No own history of the item.
    OwnHistory,
}

/// What was found about one recipe.
#[derive(Debug)]
struct Report {
    recipe: &'static str,
    evaluation: Evaluation,
    /// Queries for items that are not known before the split.
    queries_unknown: usize,
    card: Card,
    notes: Vec<String>,
}

impl Report {
    fn json(&self) -> Result<Value, CliError> {
        let failed = |error: serde_json::Error| CliError::failed(error.to_string());
        let mut all = serde_json::to_value(&self.evaluation).map_err(failed)?;
        all["recipe"] = self.recipe.into();
        all["queries_unknown"] = self.queries_unknown.into();
        all["towers"] = self.card.towers.as_str().into();
        all["notes"] = serde_json::to_value(&self.notes).map_err(failed)?;
        Ok(all)
    }
}

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> Result<(), CliError> {
    for report in reports(args)? {
        if args.json {
            println!("{}", report.json()?);
        } else {
            print!("{}", text::table(&report));
        }
    }
    Ok(())
}

fn reports(args: &EvaluateArgs) -> Result<Vec<Report>, CliError> {
    let scratch = Scratch::new(&std::env::temp_dir().join("evaluate"))?;
    let run = Run::new(args, &scratch)?;
    let outcome = run.all();
    run.progress.bar.finish_and_clear();
    outcome
}

struct Run<'a> {
    args: &'a EvaluateArgs,
    settings: Settings,
    scratch: PathBuf,
    clock: parts::SystemClock,
    progress: Bar,
}

impl Run<'_> {
    fn new<'a>(args: &'a EvaluateArgs, scratch: &Scratch) -> Result<Run<'a>, CliError> {
        let settings = Settings::load(args.config.as_deref(), &[])
            .map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Run {
            args,
            settings,
            scratch: scratch.path.clone(),
            clock: parts::SystemClock::default(),
            progress: Bar::new(),
        })
    }

    fn all(&self) -> Result<Vec<Report>, CliError> {
        let day = self.cut()?;
        let recipes = match self.args.recipe {
            Some(recipe) => vec![recipe],
            None => vec![Recipe::ItemAffinity],
        };
        recipes
            .into_iter()
            .map(|recipe| match recipe {
                Recipe::ItemAffinity => self.item_affinity(&day),
            })
            .collect()
    }

    /// Reads the files and cuts the data at the split.
    fn cut(&self) -> Result<Day, CliError> {
        let (data, facts) = self.load()?;
        let (time, horizon_seconds) = split(self.args, &facts)?;
        let cut = Cut::new(&data, time, horizon_seconds);
        drop(data);
        let known = SnapshotFacts::of(&cut.training.interactions);
        training::minimums(&self.settings.jobs().training)
            .check(&known, &TrainingFilter::default())
            .map_err(|reason| {
                let day = text::time(time);
                CliError::failed(format!("--split {time} ({day}) is too early: {reason}"))
            })?;
        let end = time.saturating_add(horizon_seconds);
        let missing = end.saturating_sub(facts.last_time).saturating_sub(1);
        let short = (missing > 0).then(|| {
            format!(
                "the data end {:.1} days before the horizon does, so some who came are not known",
                missing as f64 / DAY as f64
            )
        });
        Ok(Day {
            cut,
            known,
            notes: short.into_iter().collect(),
        })
    }

    /// All interactions, with the items' attributes if there are any.
    fn load(&self) -> Result<(TrainingData, SnapshotFacts), CliError> {
        let args = self.args;
        let generations = |dir| {
            [Generation {
                dir,
                mode: Mode::Full,
            }]
        };
        let failed = |error: kindred_engine::data::Error| CliError::failed(error.to_string());
        let dir = self.import(
            DatasetType::Interactions,
            &args.interactions,
            args.interactions_schema.as_deref(),
        )?;
        let filter = TrainingFilter::default();
        let limits = SnapshotLimits::default();
        let (interactions, facts) =
            load_interactions(&generations(dir), &filter, &limits, &self.progress)
                .map_err(failed)?;
        let Some(items) = &args.items else {
            return Ok((TrainingData::bare(interactions), facts));
        };
        let dir = self.import(DatasetType::Items, items, args.items_schema.as_deref())?;
        let limits = TableLimits::default();
        let table = load_items(&generations(dir), &limits, &self.progress).map_err(failed)?;
        let data = TrainingData::join(interactions, &table, &BTreeSet::new());
        Ok((data, facts))
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

    fn item_affinity(&self, day: &Day) -> Result<Report, CliError> {
        let asked = self.queries(&day.cut.training.interactions.items)?;
        let protocol = Protocol {
            first_time_only: self.args.first_time_only,
            queries: asked.queries,
        };
        let scorer = self.item_model(day)?;
        let card = scorer.model().card().clone();
        let evaluation =
            time_split(&scorer, &day.cut, &protocol, self.threads()).map_err(engine_failed)?;
        if evaluation.queries == 0 {
            return Err(nobody_came(self.args, &day.cut, &evaluation));
        }
        Ok(Report {
            recipe: "item-affinity",
            evaluation,
            queries_unknown: asked.unknown,
            notes: day.notes.iter().chain(&card.notes).cloned().collect(),
            card,
        })
    }

    /// The model that a job of the day would have delivered.
    fn item_model(&self, day: &Day) -> Result<Scorer, CliError> {
        let options = self.options(&day.known);
        let data = &day.cut.training;
        let model = delivered_item_model(data, &options, &self.progress, &self.clock)
            .map_err(engine_failed)?;
        Ok(Scorer::new(Arc::new(model), None))
    }

    /// The options of a job with the same settings on the data before the split.
    fn options(&self, facts: &SnapshotFacts) -> TrainOptions {
        let without = |part: Part| self.args.without.contains(&part);
        let settings = self.settings.jobs();
        TrainOptions {
            dimension: usize::try_from(self.args.hidden_dimension).unwrap_or(usize::MAX),
            seed: training::seed(settings.training.seed, facts),
            threads: self.threads(),
            model: match self.args.model {
                Towers::Auto => ModelChoice::Auto,
                Towers::Lookback => ModelChoice::Lookback,
                Towers::Ials => ModelChoice::Ials,
            },
            without: Without {
                intensity: without(Part::Intensity),
                lookback: without(Part::Lookback),
                kappa: without(Part::Kappa),
                own_history: without(Part::OwnHistory),
            },
            ..TrainOptions::default()
        }
    }

    fn threads(&self) -> usize {
        match self.args.threads {
            0 => self.settings.jobs().engine_threads(),
            threads => threads,
        }
    }

    /// The queries of `--queries`; `items` are the known ones, ascending.
    fn queries(&self, items: &[String]) -> Result<AskedItems, CliError> {
        let Some(path) = &self.args.queries else {
            return Ok(AskedItems::default());
        };
        let ids = read_queries(path)?;
        let known: Vec<u32> = ids
            .iter()
            .filter_map(|id| items.binary_search(id).ok())
            .map(|item| item as u32)
            .collect();
        if known.is_empty() {
            return Err(CliError::failed(format!(
                "--queries {}: none of its {} items is known before the split",
                path.display(),
                ids.len()
            )));
        }
        Ok(AskedItems {
            unknown: ids.len() - known.len(),
            queries: Some(Queries::of_items(known)),
        })
    }
}

/// The day of the split: what is known, and what comes.
struct Day {
    cut: Cut,
    /// About the interactions before the split.
    known: SnapshotFacts,
    notes: Vec<String>,
}

/// What `--queries` asks for; no queries stand for all.
#[derive(Default)]
struct AskedItems {
    queries: Option<Queries>,
    unknown: usize,
}

fn engine_failed(error: kindred_engine::Error) -> CliError {
    CliError::failed(error.to_string())
}

/// Split time and horizon in seconds, from the flags or the data's span.
fn split(args: &EvaluateArgs, facts: &SnapshotFacts) -> Result<(i64, i64), CliError> {
    let (first, last) = (facts.first_time, facts.last_time);
    let span = last.saturating_sub(first).saturating_add(1);
    let horizon = match args.horizon_days {
        Some(days) => i64::from(days) * DAY,
        None => (span / HORIZON_PARTS).clamp(1, HORIZON_SECONDS_MAX),
    };
    let default = last.saturating_add(1).saturating_sub(horizon);
    let time = args.split.unwrap_or(default);
    let range = || {
        format!(
            "the data run from {} to {}",
            text::time(first),
            text::time(last)
        )
    };
    if facts.rows == 0 {
        return Err(CliError::failed(format!(
            "{}: there are no interactions",
            args.interactions.display()
        )));
    }
    if time <= first {
        let what = match args.split {
            Some(split) => format!("--split {split}"),
            None => format!("--horizon-days {}", horizon / DAY),
        };
        return Err(CliError::Usage(format!(
            "{what}: nothing happened before {}; {}",
            text::time(time),
            range()
        )));
    }
    if time > last {
        return Err(CliError::Usage(format!(
            "--split {time}: nothing happened from {} on; {}",
            text::time(time),
            range()
        )));
    }
    Ok((time, horizon))
}

fn nobody_came(args: &EvaluateArgs, cut: &Cut, found: &Evaluation) -> CliError {
    let of = match &args.queries {
        Some(path) => format!("--queries {}", path.display()),
        None => "--horizon-days".to_owned(),
    };
    let split = text::time(cut.time);
    if found.queries_asked == 0 {
        return CliError::failed(format!("{of}: nobody had any of the items before {split}"));
    }
    let how = if args.first_time_only {
        " for the first time"
    } else {
        ""
    };
    CliError::failed(format!(
        "{of}: for none of the {} items asked a known user came{how} within {:.1} days of {split}",
        found.queries_asked,
        cut.horizon_seconds as f64 / DAY as f64,
    ))
}

/// The distinct item ids of a file of queries, ascending.
fn read_queries(path: &Path) -> Result<BTreeSet<String>, CliError> {
    let source = open_file(path)?;
    let reader = open_unpacked(&source)
        .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    let mut content = String::new();
    reader
        .take(QUERIES_BYTES_MAX + 1)
        .read_to_string(&mut content)
        .map_err(|error| place(path, &error))?;
    let wrong = |line: usize, what: &str| {
        CliError::Usage(format!("--queries {}, line {line}: {what}", path.display()))
    };
    if content.len() as u64 > QUERIES_BYTES_MAX {
        return Err(wrong(1, "the file is larger than 1 GiB"));
    }
    let mut ids = BTreeSet::new();
    for (number, line) in content.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let query: Value = serde_json::from_str(line)
            .map_err(|error| wrong(number + 1, &format!("not a JSON object: {error}")))?;
        let id = match &query["itemId"] {
            Value::String(id) => id.clone(),
            Value::Number(id) if id.is_i64() || id.is_u64() => id.to_string(),
            _ => return Err(wrong(number + 1, "expected {\"itemId\": \"...\"}")),
        };
        ids.insert(id);
    }
    Ok(ids)
}

/// Epoch seconds, or midnight UTC of a day.
fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    let form = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(text, form)
        .map(|date| date.midnight().assume_utc().unix_timestamp())
        .map_err(|_| format!("{text}: expected epoch seconds or YYYY-MM-DD"))
}

#[cfg(test)]
mod tests;
