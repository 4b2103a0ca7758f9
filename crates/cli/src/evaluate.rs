//! `kindred evaluate`: how good would the segments have been?
//!
//! The data are cut at a point in time, a model is trained on what came before exactly as a job of
//! that day would have trained it, and its segments are compared with who came afterwards, beside
//! simple rankings. Figures are defined in `docs/MODEL.md`, "Metrics", and computed by
//! `kindred_engine::metrics`; the words are in `text`.

mod args;
mod asked;
mod text;

use crate::CliError;
use crate::inputs::{self, Bar, Scratch};
use args::{Part, Recipe, Towers};
use asked::Asked;
use kindred_engine::data::attributes::TrainingData;
use kindred_engine::data::dataset::{Generation, Mode};
use kindred_engine::data::snapshot::{
    SnapshotFacts, SnapshotLimits, TrainingFilter, load_interactions,
};
use kindred_engine::data::table::{Table, TableLimits, load_items};
use kindred_engine::interactions::Interactions;
use kindred_engine::metrics::{
    Cut, Evaluation, Protocol, Queries, Ranks, delivered_item_model, time_split,
};
use kindred_engine::model::Card;
use kindred_engine::recipes::item_affinity::{ModelChoice, TrainOptions, Without};
use kindred_engine::recipes::item_attribute_affinity;
use kindred_engine::score::{AttributeScorer, Scorer};
use kindred_jobs::training;
use kindred_server::{Settings, parts};
use kindred_types::schema::DatasetType;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use args::EvaluateArgs;

const DAY: i64 = 86_400;
/// Longest horizon unless one is given: 30 days.
const HORIZON_SECONDS_MAX: i64 = 30 * DAY;
/// The horizon is this part of the span of the data, if that is shorter.
const HORIZON_PARTS: i64 = 10;
/// What was found about one recipe.
#[derive(Debug)]
struct Report {
    recipe: Recipe,
    evaluation: Evaluation,
    /// Named queries for what is not known before the split.
    queries_unknown: usize,
    card: Card,
    notes: Vec<String>,
}

impl Report {
    fn json(&self) -> Result<Value, CliError> {
        let failed = |error: serde_json::Error| CliError::failed(error.to_string());
        let mut all = serde_json::to_value(&self.evaluation).map_err(failed)?;
        all["recipe"] = self.recipe.name().into();
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
        let asked = self.args.queries.as_deref().map(Asked::read).transpose()?;
        let recipes = self.recipes(asked.as_ref())?;
        let day = self.cut()?;
        recipes
            .into_iter()
            .map(|recipe| match recipe {
                Recipe::ItemAffinity => self.item_affinity(&day, asked.as_ref()),
                Recipe::ItemAttributeAffinity => self.item_attribute_affinity(&day, asked.as_ref()),
            })
            .collect()
    }

    /// The recipe asked for, or those that files and queries are there for.
    fn recipes(&self, asked: Option<&Asked>) -> Result<Vec<Recipe>, CliError> {
        let has_items = self.args.items.is_some();
        let wanted = |recipe: &Recipe| match recipe {
            Recipe::ItemAffinity => asked.is_none_or(|asked| !asked.items.is_empty()),
            Recipe::ItemAttributeAffinity => {
                has_items && asked.is_none_or(|asked| !asked.attributes.is_empty())
            }
        };
        let all = [Recipe::ItemAffinity, Recipe::ItemAttributeAffinity];
        let recipes: Vec<Recipe> = match self.args.recipe {
            Some(recipe) => vec![recipe],
            None => all.into_iter().filter(wanted).collect(),
        };
        if recipes.contains(&Recipe::ItemAttributeAffinity) && !has_items {
            let text = "--recipe item-attribute-affinity needs the attributes of --items FILE";
            return Err(CliError::Usage(text.into()));
        }
        if let Some(recipe) = recipes.iter().find(|recipe| !wanted(recipe)) {
            return Err(CliError::Usage(format!(
                "--queries: no line has an {}, which {} needs",
                recipe.member(),
                recipe.name()
            )));
        }
        if recipes.is_empty() {
            return Err(CliError::Usage(
                "--queries asks for nothing, or for attributes without --items FILE".into(),
            ));
        }
        Ok(recipes)
    }

    /// Reads the files and cuts the data at the split.
    fn cut(&self) -> Result<Day, CliError> {
        let (interactions, facts) = self.interactions()?;
        let (time, horizon_seconds) = split(self.args, &facts)?;
        // The facts that make the seed are those of the interactions alone.
        let bare = TrainingData::bare(interactions);
        let mut cut = Cut::new(&bare, time, horizon_seconds);
        let known = SnapshotFacts::of(&cut.training.interactions);
        if let Some(items) = self.items()? {
            let data = TrainingData::join(bare.interactions, &items, &BTreeSet::new());
            cut = Cut::new(&data, time, horizon_seconds);
        }
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

    fn interactions(&self) -> Result<(Interactions, SnapshotFacts), CliError> {
        let file = &self.args.interactions;
        let schema = self.args.interactions_schema.as_deref();
        let generation = self.import(DatasetType::Interactions, file, schema)?;
        let filter = TrainingFilter::default();
        let limits = SnapshotLimits::default();
        load_interactions(&[generation], &filter, &limits, &self.progress).map_err(data_failed)
    }

    fn items(&self) -> Result<Option<Table>, CliError> {
        let Some(file) = &self.args.items else {
            return Ok(None);
        };
        let schema = self.args.items_schema.as_deref();
        let generation = self.import(DatasetType::Items, file, schema)?;
        let limits = TableLimits::default();
        load_items(&[generation], &limits, &self.progress)
            .map(Some)
            .map_err(data_failed)
    }

    fn import(
        &self,
        kind: DatasetType,
        file: &Path,
        schema: Option<&Path>,
    ) -> Result<Generation, CliError> {
        let invalid_max = self.settings.jobs().import_max_invalid_rows;
        let (scratch, progress) = (&self.scratch, &self.progress);
        let dir = inputs::import(kind, file, schema, scratch, invalid_max, progress)?;
        Ok(Generation {
            dir,
            vault: Default::default(),
            mode: Mode::Full,
        })
    }

    fn item_affinity(&self, day: &Day, asked: Option<&Asked>) -> Result<Report, CliError> {
        let items = &day.cut.training.interactions.items;
        let (queries, unknown) = match asked {
            Some(asked) => {
                let numbers: Vec<u32> = asked
                    .items
                    .iter()
                    .filter_map(|id| items.binary_search(id).ok())
                    .map(|item| item as u32)
                    .collect();
                let unknown = asked.items.len() - numbers.len();
                (Some(Queries::of_items(numbers)), unknown)
            }
            None => (None, 0),
        };
        let scorer = self.item_model(day)?;
        let card = scorer.model().card().clone();
        let protocol = Protocol {
            first_time_only: self.args.first_time_only,
            queries,
            without_past: None,
        };
        self.report(Recipe::ItemAffinity, day, &scorer, card, &protocol, unknown)
    }

    fn item_attribute_affinity(
        &self,
        day: &Day,
        asked: Option<&Asked>,
    ) -> Result<Report, CliError> {
        let scorer = self.attribute_model(day)?;
        let index = scorer.model().index();
        let (queries, unknown) = match asked {
            Some(asked) => {
                let answerable = asked.attributes.iter();
                let values: BTreeSet<Box<[u32]>> = answerable
                    .filter_map(|query| index.resolve(query).ok())
                    .collect();
                let unknown = asked.attributes.iter();
                let unknown = unknown
                    .filter(|query| index.resolve(query).is_err())
                    .count();
                let sets: Vec<Vec<u32>> = values.iter().map(|v| index.items_with_all(v)).collect();
                (sets.iter().map(Vec::as_slice).collect(), unknown)
            }
            None => {
                let listed: Vec<u32> = index.listed();
                let sets: Queries = listed.iter().map(|&v| index.items_with(v)).collect();
                (sets, 0)
            }
        };
        let card = scorer.model().card().clone();
        let protocol = Protocol {
            first_time_only: self.args.first_time_only,
            without_past: Some(queries.clone()),
            queries: Some(queries),
        };
        let recipe = Recipe::ItemAttributeAffinity;
        self.report(recipe, day, &scorer, card, &protocol, unknown)
    }

    fn report(
        &self,
        recipe: Recipe,
        day: &Day,
        ranks: &dyn Ranks,
        card: Card,
        protocol: &Protocol,
        queries_unknown: usize,
    ) -> Result<Report, CliError> {
        let evaluation =
            time_split(ranks, &day.cut, protocol, self.threads()).map_err(engine_failed)?;
        if evaluation.queries == 0 {
            return Err(nobody_came(self.args, &day.cut, &evaluation));
        }
        Ok(Report {
            recipe,
            evaluation,
            queries_unknown,
            notes: day.notes.iter().chain(&card.notes).cloned().collect(),
            card,
        })
    }

    /// The attribute model that a job of the day would have delivered.
    fn attribute_model(&self, day: &Day) -> Result<AttributeScorer, CliError> {
        let options = self.options(day);
        let data = &day.cut.training;
        let model = item_attribute_affinity::train_on(data, &options, &self.progress, &self.clock)
            .map_err(engine_failed)?;
        Ok(AttributeScorer::new(Arc::new(model), None))
    }

    /// The same for `aws-item-affinity`.
    fn item_model(&self, day: &Day) -> Result<Scorer, CliError> {
        let options = self.options(day);
        let data = &day.cut.training;
        let model = delivered_item_model(data, &options, &self.progress, &self.clock)
            .map_err(engine_failed)?;
        Ok(Scorer::new(Arc::new(model), None))
    }

    /// The options of a job with the same settings on the data before the split.
    fn options(&self, day: &Day) -> TrainOptions {
        let checksum = day.cut.training.checksum(&day.known.checksum);
        let without = |part: Part| self.args.without.contains(&part);
        let settings = self.settings.jobs();
        TrainOptions {
            dimension: usize::try_from(self.args.hidden_dimension).unwrap_or(usize::MAX),
            seed: training::seed(settings.training.seed, &checksum),
            threads: self.threads(),
            model: match self.args.model {
                Some(Towers::Auto) => ModelChoice::Auto,
                Some(Towers::Lookback) => ModelChoice::Lookback,
                Some(Towers::Ials) => ModelChoice::Ials,
                None => settings.training.model,
            },
            budget_flops: settings.training.budget_flops,
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
}

/// The day of the split: what is known, and what comes.
struct Day {
    cut: Cut,
    /// About the interactions before the split.
    known: SnapshotFacts,
    notes: Vec<String>,
}

fn data_failed(error: kindred_engine::data::Error) -> CliError {
    CliError::failed(error.to_string())
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
        let what = "nothing that is asked for was known and used";
        return CliError::failed(format!("{of}: {what} before {split}"));
    }
    let how = if args.first_time_only {
        " for the first time"
    } else {
        ""
    };
    CliError::failed(format!(
        "{of}: for none of the {} queries a known user came{how} within {:.1} days of {split}",
        found.queries_asked,
        cut.horizon_seconds as f64 / DAY as f64,
    ))
}

#[cfg(test)]
mod tests;
