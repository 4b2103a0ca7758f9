//! From dataset generations to a saved model: the steps that the service's training job and
//! `kindred segment` share, so that both give the same bytes.

use crate::failure::Failure;
use crate::settings::TrainingSettings;
use kindred_catalog::records;
use kindred_engine::data::attributes::TrainingData;
use kindred_engine::data::dataset::{Generation, Mode};
use kindred_engine::data::snapshot::{self, EventRule, Minimums, SnapshotLimits, TrainingFilter};
use kindred_engine::data::table::{self, Table, TableLimits};
use kindred_engine::model::RECIPE_ITEM_ATTRIBUTE_AFFINITY;
use kindred_engine::progress::Progress;
use kindred_engine::recipes::item_affinity::{self, TrainOptions};
use kindred_engine::recipes::item_attribute_affinity;
use kindred_store::Vault;
use kindred_types::parts::Clock;
use kindred_types::schema::DatasetType;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// `hidden_dimension` where a solution does not say it.
pub const DIMENSION_DEFAULT: usize = 149;

/// What a model will be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// Items, by their id.
    ItemAffinity,
    /// Items that have certain attributes.
    ItemAttributeAffinity,
}

impl Recipe {
    /// The recipe with this ARN; solutions have no other.
    pub fn of_arn(arn: &str) -> Recipe {
        if arn.ends_with(RECIPE_ITEM_ATTRIBUTE_AFFINITY) {
            Recipe::ItemAttributeAffinity
        } else {
            Recipe::ItemAffinity
        }
    }
}

/// What to train on and how.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    /// What the model will be asked for.
    pub recipe: Recipe,
    /// The interactions' generations: FULL first, then INCREMENTAL in commit order.
    pub generations: Vec<Generation>,
    /// The Items dataset's generations in the same order; none to train without attributes.
    pub items: Vec<Generation>,
    /// Train on this event type only.
    pub event_type: Option<String>,
    /// The `SolutionConfig` of the wire, checked when the solution was created.
    pub config: Option<Value>,
    /// Minimums, seed, final fit.
    pub settings: TrainingSettings,
    /// Threads of the engine.
    pub threads: usize,
    /// How the model's files are kept.
    pub vault: Vault,
}

/// What training reports.
#[derive(Clone, Debug)]
pub struct TrainOutcome {
    /// GetSolutionMetrics.
    pub metrics: BTreeMap<String, f64>,
    /// Sizes and seconds per phase.
    pub statistics: Value,
}

/// Trains the recipe and saves the model's files, synced, in `out_dir`.
pub fn train(
    request: &TrainRequest,
    out_dir: &Path,
    progress: &dyn Progress,
    clock: &dyn Clock,
) -> Result<TrainOutcome, Failure> {
    let start = clock.monotonic_ms();
    let filter = training_filter(request);
    let limits = SnapshotLimits::default();
    let (interactions, facts) =
        snapshot::load_interactions(&request.generations, &filter, &limits, progress)?;
    let minimums = minimums(&request.settings);
    minimums.check(&facts, &filter).map_err(Failure::Input)?;
    let weights = &interactions.event_weights;
    if !weights.is_empty() && weights.iter().all(|weight| *weight == 0.0) {
        return Err(Failure::Input(
            "Dataset has no interactions of an event type with a weight above 0.".to_owned(),
        ));
    }
    let items = table::load_items(&request.items, &TableLimits::default(), progress)?;
    let excluded = excluded_columns(request.config.as_ref(), &items);
    let data = TrainingData::join(interactions, &items, &excluded);
    drop(items);
    let checksum = data.checksum(&facts.checksum);
    let options = TrainOptions {
        dimension: dimension(request.config.as_ref()),
        seed: seed(request.settings.seed, &checksum),
        threads: request.threads,
        final_fit: request.settings.final_fit,
        model: request.settings.model,
        budget_flops: request.settings.budget_flops,
        ..TrainOptions::default()
    };
    let columns = data.attributes.columns.iter();
    let columns: Vec<&str> = columns.map(|column| column.field.name.as_str()).collect();
    let snapshot = json!({
        "checksum": checksum,
        "interactions": facts.rows,
        "rows_read": facts.rows_read,
        "first_timestamp": facts.first_time,
        "last_timestamp": facts.last_time,
        "item_columns": columns,
    });
    let (metrics, timings) = match request.recipe {
        Recipe::ItemAffinity => {
            let mut trained = item_affinity::train(&data, &options, progress, clock)?;
            trained.model.card_mut().snapshot = snapshot;
            trained.model.save_in(out_dir, &request.vault)?;
            (trained.metrics, trained.timings)
        }
        Recipe::ItemAttributeAffinity => {
            let mut trained = item_attribute_affinity::train(&data, &options, progress, clock)?;
            trained.model.card_mut().snapshot = snapshot;
            trained.model.save_in(out_dir, &request.vault)?;
            (trained.metrics, trained.timings)
        }
    };
    let mut statistics = json!({
        "users": data.interactions.users.len(),
        "items": data.interactions.items.len(),
        "interactions": data.interactions.len(),
        "dimension": options.dimension,
        "train_seconds": clock.monotonic_ms().saturating_sub(start) as f64 / 1000.0,
    });
    statistics["sweep_seconds"] = timings.sweep_seconds.into();
    if timings.epoch_seconds > 0.0 {
        statistics["epoch_seconds"] = timings.epoch_seconds.into();
    }
    let metrics = metrics
        .rounded()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Ok(TrainOutcome {
        metrics: metrics.collect(),
        statistics,
    })
}

/// A generation of the catalog as the engine reads it.
pub fn generation(directory: &Path, vault: Vault, record: &records::Generation) -> Generation {
    let mode = if record.mode == "INCREMENTAL" {
        Mode::Incremental
    } else {
        Mode::Full
    };
    Generation {
        dir: directory.to_owned(),
        vault,
        mode,
    }
}

/// What the settings ask of the data.
pub fn minimums(settings: &TrainingSettings) -> Minimums {
    Minimums {
        interactions: settings.min_interactions,
        users_with_two: settings.min_users,
        users_with_two_percent: settings.min_user_share_percent,
    }
}

fn training_filter(request: &TrainRequest) -> TrainingFilter {
    let config = request.config.as_ref().unwrap_or(&Value::Null);
    let rules = config["eventsConfig"]["eventParametersList"].as_array();
    TrainingFilter {
        event_type: request.event_type.clone(),
        event_value_threshold: config["eventValueThreshold"]
            .as_str()
            .and_then(|text| text.parse().ok()),
        events: rules
            .into_iter()
            .flatten()
            .map(|rule| EventRule {
                event_type: rule["eventType"].as_str().unwrap_or_default().to_owned(),
                threshold: rule["eventValueThreshold"].as_f64(),
                weight: rule["weight"].as_f64().map_or(1.0, |weight| weight as f32),
            })
            .collect(),
    }
}

/// Columns of the Items dataset that `trainingDataConfig` leaves out: those it excludes, or all that
/// it does not include. A dataset that it does not name keeps all its columns.
fn excluded_columns(config: Option<&Value>, items: &Table) -> BTreeSet<String> {
    let choice = config.map_or(&Value::Null, |config| &config["trainingDataConfig"]);
    let named = |member: &str| -> Option<BTreeSet<&str>> {
        let (_, names) = choice[member].as_object()?.iter().find(|(dataset, _)| {
            DatasetType::from_name_ignore_case(dataset) == Some(DatasetType::Items)
        })?;
        Some(names.as_array()?.iter().filter_map(Value::as_str).collect())
    };
    let excluded = named("excludedDatasetColumns").unwrap_or_default();
    let included = named("includedDatasetColumns");
    let names = items.columns.iter().map(|column| &column.field.name);
    names
        .filter(|name| {
            excluded.contains(name.as_str())
                || included
                    .as_ref()
                    .is_some_and(|included| !included.contains(name.as_str()))
        })
        .cloned()
        .collect()
}

fn dimension(config: Option<&Value>) -> usize {
    config
        .and_then(|config| config["algorithmHyperParameters"]["hidden_dimension"].as_str())
        .and_then(|text| text.parse().ok())
        .unwrap_or(DIMENSION_DEFAULT)
}

/// The seed of a training: the configured one plus the data's share, the first eight bytes of the
/// snapshot's checksum.
pub fn seed(configured: u64, checksum: &str) -> u64 {
    let digits = checksum.get(..16).unwrap_or_default();
    configured.wrapping_add(u64::from_str_radix(digits, 16).unwrap_or_default())
}
