//! Which solution settings are accepted.
//!
//! Nothing is accepted and ignored: a setting that training does not honour is refused with the
//! reason. Honoured are the event type, the event value threshold, event rules with their weights,
//! `hidden_dimension`, and column choices: what is left out of the Items dataset takes no part in
//! training, the columns of Users never do, and of Interactions only those that choose events can
//! matter, which therefore cannot be left out. What needs the group's schemas is checked when the
//! solution is made, as far as datasets are there, and again when a version is made: see
//! [`check_columns`].

use super::recipe::{HIDDEN_DIMENSION_MAX, HIDDEN_DIMENSION_MIN};
use crate::error::Exception;
use kindred_types::schema::{DatasetSchema, DatasetType};
use kindred_types::shapes::{EventsConfig, HPOConfig, SolutionConfig, TrainingDataConfig};
use std::collections::{BTreeMap, BTreeSet};

/// Columns that every model needs.
const NEVER_EXCLUDED: [&str; 3] = ["USER_ID", "ITEM_ID", "TIMESTAMP"];

/// Checks everything that the request alone can tell.
pub(crate) fn check(event_type: Option<&str>, config: &SolutionConfig) -> Result<(), Exception> {
    if event_type == Some("") {
        return refuse("eventType must not be empty. Leave it out to train on all event types.");
    }
    if let Some(threshold) = &config.event_value_threshold {
        parse_threshold(threshold)?;
    }
    check_hyper_parameters(config.algorithm_hyper_parameters.as_ref())?;
    if config
        .feature_transformation_parameters
        .as_ref()
        .is_some_and(|map| !map.is_empty())
    {
        return refuse(
            "solutionConfig.featureTransformationParameters: user segmentation recipes have none. Leave it out.",
        );
    }
    if config
        .hpo_config
        .as_ref()
        .is_some_and(|hpo| *hpo != HPOConfig::default())
    {
        return refuse(
            "solutionConfig.hpoConfig: user segmentation recipes do not support hyperparameter optimization. Leave it out.",
        );
    }
    if config.auto_ml_config.is_some() {
        return refuse(
            "solutionConfig.autoMLConfig: AutoML does not choose user segmentation recipes. Leave it out.",
        );
    }
    if config.optimization_objective.is_some() {
        return refuse(
            "solutionConfig.optimizationObjective is not supported by user segmentation recipes. Leave it out.",
        );
    }
    if config.auto_training_config.is_some() {
        return refuse_auto_training("solutionConfig.autoTrainingConfig");
    }
    if let Some(events) = &config.events_config {
        check_events(event_type, config.event_value_threshold.as_deref(), events)?;
    }
    config
        .training_data_config
        .as_ref()
        .map_or(Ok(()), check_column_choice)
}

/// The answer to every request for automatic training.
pub(crate) fn refuse_auto_training(member: &str) -> Result<(), Exception> {
    refuse(format!(
        "{member}: automatic training is not supported by this server yet. Leave it out and create solution versions yourself."
    ))
}

/// Checks the rules that choose and limit training events.
pub(crate) fn check_events(
    event_type: Option<&str>,
    event_value_threshold: Option<&str>,
    events: &EventsConfig,
) -> Result<(), Exception> {
    let rules = events.event_parameters_list.as_deref().unwrap_or_default();
    if rules.is_empty() {
        return Ok(());
    }
    if event_type.is_some() || event_value_threshold.is_some() {
        return refuse(
            "eventsConfig cannot be combined with eventType or eventValueThreshold. Use one of them.",
        );
    }
    let mut seen = BTreeSet::new();
    for rule in rules {
        let Some(name) = rule.event_type.as_deref().filter(|name| !name.is_empty()) else {
            return refuse("eventsConfig: every entry needs an eventType.");
        };
        if !seen.insert(name.to_lowercase()) {
            return refuse(format!(
                "eventsConfig names event type {name} more than once; event types are compared ignoring case."
            ));
        }
        if rule
            .event_value_threshold
            .is_some_and(|threshold| !threshold.is_finite())
        {
            return refuse(format!(
                "eventsConfig: the threshold of {name} must be a number."
            ));
        }
    }
    if rules.iter().all(|rule| rule.weight == Some(0.0)) {
        return refuse("eventsConfig: at least one event type needs a weight above 0.");
    }
    Ok(())
}

/// Checks what is said about columns against the schemas of the group's datasets. `schema_of`
/// gives `None` for a dataset that does not exist; what concerns it is then not checked.
pub(crate) fn check_columns(
    event_type: Option<&str>,
    config: &SolutionConfig,
    mut schema_of: impl FnMut(DatasetType) -> Result<Option<DatasetSchema>, Exception>,
) -> Result<(), Exception> {
    let interactions = schema_of(DatasetType::Interactions)?;
    let events = config.events_config.as_ref();
    let rules = events
        .and_then(|events| events.event_parameters_list.as_deref())
        .unwrap_or_default();
    let by_type = event_type.is_some() || !rules.is_empty();
    let by_value = config.event_value_threshold.is_some()
        || rules
            .iter()
            .any(|rule| rule.event_value_threshold.is_some());
    let choice = config.training_data_config.as_ref();
    for (asked, column) in [(by_type, "EVENT_TYPE"), (by_value, "EVENT_VALUE")] {
        if !asked {
            continue;
        }
        if let Some(schema) = &interactions
            && schema.field(column).is_none()
        {
            return refuse(format!(
                "The solution chooses events by {column}, but the schema of the group's Interactions dataset has no {column} field."
            ));
        }
        if let Some(member) = choice.and_then(|choice| leaves_out(choice, column)) {
            return refuse(format!(
                "The solution chooses events by {column}, but trainingDataConfig.{member} leaves {column} out of the Interactions dataset."
            ));
        }
    }
    let Some(choice) = choice else {
        return Ok(());
    };
    for (member, columns) in choices(choice) {
        for (dataset, names) in columns {
            let kind = super::dataset::type_of(dataset)?;
            let Some(schema) = schema_of(kind)? else {
                continue;
            };
            if let Some(unknown) = names.iter().find(|name| schema.field(name).is_none()) {
                return refuse(format!(
                    "trainingDataConfig.{member}: the schema of the group's {} dataset has no field {unknown}.",
                    kind.title()
                ));
            }
        }
    }
    Ok(())
}

/// The datasets whose columns the settings name.
pub(crate) fn datasets_named(config: &SolutionConfig) -> Result<Vec<DatasetType>, Exception> {
    let choice = config.training_data_config.as_ref();
    let named = choice
        .into_iter()
        .flat_map(choices)
        .flat_map(|(_, columns)| columns.keys());
    named
        .map(|dataset| super::dataset::type_of(dataset))
        .collect()
}

/// The member that keeps a column of the Interactions dataset from training, if one does.
fn leaves_out(choice: &TrainingDataConfig, column: &str) -> Option<&'static str> {
    choices(choice).find_map(|(member, columns)| {
        let (_, names) = columns.iter().find(|(dataset, _)| {
            DatasetType::from_name_ignore_case(dataset) == Some(DatasetType::Interactions)
        })?;
        let named = names.iter().any(|name| name == column);
        (named == (member == "excludedDatasetColumns")).then_some(member)
    })
}

fn check_column_choice(choice: &TrainingDataConfig) -> Result<(), Exception> {
    if choices(choice).all(|(_, columns)| !columns.is_empty()) && choices(choice).count() == 2 {
        return refuse(
            "trainingDataConfig: use excludedDatasetColumns or includedDatasetColumns, not both.",
        );
    }
    for (member, columns) in choices(choice) {
        let mut seen = BTreeSet::new();
        for (dataset, names) in columns {
            let kind = super::dataset::type_of(dataset)?;
            if !seen.insert(kind.as_upper()) {
                return refuse(format!(
                    "trainingDataConfig.{member} names the {} dataset more than once.",
                    kind.title()
                ));
            }
            let needed = names
                .iter()
                .find(|name| NEVER_EXCLUDED.contains(&name.as_str()));
            if let (Some(needed), "excludedDatasetColumns") = (needed, member) {
                return refuse(format!(
                    "trainingDataConfig.excludedDatasetColumns: {needed} is needed for training and cannot be excluded."
                ));
            }
        }
    }
    Ok(())
}

fn choices(
    choice: &TrainingDataConfig,
) -> impl Iterator<Item = (&'static str, &BTreeMap<String, Vec<String>>)> {
    let excluded = choice.excluded_dataset_columns.as_ref();
    let included = choice.included_dataset_columns.as_ref();
    excluded
        .map(|columns| ("excludedDatasetColumns", columns))
        .into_iter()
        .chain(included.map(|columns| ("includedDatasetColumns", columns)))
}

fn check_hyper_parameters(map: Option<&BTreeMap<String, String>>) -> Result<(), Exception> {
    for (key, value) in map.into_iter().flatten() {
        if key != "hidden_dimension" {
            return refuse(format!(
                "solutionConfig.algorithmHyperParameters: unknown hyperparameter {key}. Only hidden_dimension can be set."
            ));
        }
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let parsed = value.parse::<i32>().ok().filter(|_| digits);
        if !parsed.is_some_and(|n| (HIDDEN_DIMENSION_MIN..=HIDDEN_DIMENSION_MAX).contains(&n)) {
            return refuse(format!(
                "solutionConfig.algorithmHyperParameters: hidden_dimension must be an integer from {HIDDEN_DIMENSION_MIN} to {HIDDEN_DIMENSION_MAX}, got {value}."
            ));
        }
    }
    Ok(())
}

/// A decimal number, as text; names such as `inf` are no numbers here.
fn parse_threshold(text: &str) -> Result<f64, Exception> {
    let decimal = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match text.parse::<f64>() {
        Ok(threshold) if decimal && threshold.is_finite() => Ok(threshold),
        _ => Err(Exception::invalid_input(format!(
            "solutionConfig.eventValueThreshold must be a decimal number, got {text}."
        ))),
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Exception> {
    Err(Exception::invalid_input(message.into()))
}
