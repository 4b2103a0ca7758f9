//! `aws-item-attribute-affinity`: which users will interact with items that have these attributes?
//!
//! The towers, κ and λ are those of `item_affinity`. On top sits a head that turns what they and the
//! user's own history say about a set of items into one score; it is fitted on events that a model of
//! the time before has to predict (`attributes::fit`). As in the other recipe everything is done on the
//! oldest four fifths of every user's events, to measure, and on all of them, to deliver.

use std::sync::Arc;

use kindred_types::parts::Clock;

use super::item_affinity::{self, Timings, TrainOptions, pool};
use crate::attributes::head::RECENT_TAU_DAYS;
use crate::attributes::{self, AttributeIndex, Lesson};
use crate::data::attributes::{ItemAttributes, TrainingData};
use crate::error::Error;
use crate::metrics::queries::users_of_any;
use crate::metrics::{Queries, held_out};
use crate::model::{AttributeModel, Counts, Metrics, Model, RECIPE_ITEM_ATTRIBUTE_AFFINITY};
use crate::progress::Progress;
use crate::score::AttributeScorer;
use crate::train::events::Prefix;
use crate::train::{Costs, Question, Step, Work};

/// Shown where no column can be asked for.
const NO_COLUMN: &str = "The recipe aws-item-attribute-affinity needs an Items dataset with at least \
     one column that is categorical, a string without textual, or a number, and has values.";

/// A trained model and what was learned on the way.
#[derive(Debug)]
pub struct Trained {
    /// The model, its card filled in but for the snapshot.
    pub model: AttributeModel,
    /// Metrics on held-back events; the card has them, too.
    pub metrics: Metrics,
    /// How long the parts took.
    pub timings: Timings,
}

/// Trains the recipe.
///
/// # Errors
/// [`Error::Data`] where the items have no usable attribute.
pub fn train(
    data: &TrainingData,
    options: &TrainOptions,
    progress: &dyn Progress,
    clock: &dyn Clock,
) -> Result<Trained, Error> {
    let costs = Costs::new(&data.interactions, options);
    let fits = 1 + u64::from(options.final_fit);
    let mut work = Work::new(progress, clock, costs, fits, true);
    let start = work.seconds();
    let index = AttributeIndex::new(&data.attributes).map_err(Error::Data)?;
    if index.is_empty() {
        return Err(Error::Data(NO_COLUMN.into()));
    }
    let whole = Prefix::whole(&data.interactions);
    let oldest = whole.oldest_four_fifths();
    let first = fit(
        &oldest,
        &data.attributes,
        Question::NewestFifth,
        &index,
        options,
        &mut work,
    )?;
    let scorer = AttributeScorer::new(Arc::new(first), None);
    let listed = listed_queries(&index);
    let metrics = pool(options)?
        .install(|| held_out::measure_queries(&scorer, &listed, &oldest, &whole, options.seed));
    work.measured()?;
    let metrics_end = work.seconds();

    let mut model = if options.final_fit {
        drop(scorer);
        fit(
            &whole,
            &data.attributes,
            Question::NextHorizon,
            &index,
            options,
            &mut work,
        )?
    } else {
        Arc::unwrap_or_clone(scorer.into_model())
    };
    model.card_mut().metrics = Some(metrics.clone());
    let end = work.seconds();
    Ok(Trained {
        model,
        metrics,
        timings: Timings {
            metrics_seconds: metrics_end - start,
            fit_seconds: end - metrics_end,
            train_seconds: end - start,
            ..work.timings()
        },
    })
}

/// Trains the delivered model alone, without metrics: for evaluations that hold data back themselves.
pub fn train_on(
    data: &TrainingData,
    options: &TrainOptions,
    progress: &dyn Progress,
    clock: &dyn Clock,
) -> Result<AttributeModel, Error> {
    let costs = Costs::new(&data.interactions, options);
    let mut work = Work::new(progress, clock, costs, 1, false);
    let index = AttributeIndex::new(&data.attributes).map_err(Error::Data)?;
    if index.is_empty() {
        return Err(Error::Data(NO_COLUMN.into()));
    }
    let whole = Prefix::whole(&data.interactions);
    fit(
        &whole,
        &data.attributes,
        Question::NextHorizon,
        &index,
        options,
        &mut work,
    )
}

/// One model with its head, which is fitted on the newest events of the prefix.
fn fit(
    prefix: &Prefix<'_>,
    attributes: &ItemAttributes,
    question: Question,
    index: &AttributeIndex,
    options: &TrainOptions,
    work: &mut Work<'_>,
) -> Result<AttributeModel, Error> {
    let (model, at_cut) =
        item_affinity::fit_both(prefix, attributes, question, true, options, work)?;
    let mut model = with_counts(model, prefix, index)?;
    let before = match question {
        Question::NewestFifth => prefix.oldest_four_fifths(),
        Question::NextHorizon => {
            let horizon = model
                .card()
                .choices
                .as_ref()
                .map_or(0, |choices| choices.horizon_seconds);
            let last = prefix.span().map_or(0, |(_, last)| last);
            prefix.before(last.saturating_add(1).saturating_sub(horizon))
        }
    };
    let users = before.known_users();
    let lessons = lessons(index, &before, prefix);
    let (head, note) = match at_cut {
        Some(earlier) if !users.is_empty() && !lessons.is_empty() => {
            let earlier = with_counts(earlier, &before, index)?;
            pool(options)?.install(|| attributes::fit(&earlier, &users, lessons))
        }
        _ => pool(options)?.install(|| attributes::fit(&model, &[], Vec::new())),
    };
    work.finished(Step::Other, "attribute head")?;
    let card = model.card_mut();
    card.attribute_head = Some(head);
    card.notes.extend(note);
    Ok(model)
}

/// A model of a prefix with counts instead of repaired scores.
fn with_counts(
    model: Model,
    prefix: &Prefix<'_>,
    index: &AttributeIndex,
) -> Result<AttributeModel, Error> {
    let mut model = model.without_history();
    model.card_mut().recipe = RECIPE_ITEM_ATTRIBUTE_AFFINITY.into();
    let counts = Counts::new(prefix, RECENT_TAU_DAYS);
    AttributeModel::new(model, index.clone(), counts)
        .map_err(|detail| Error::Input(format!("the training came to no usable model: {detail}")))
}

/// One query for each listed value.
fn listed_queries(index: &AttributeIndex) -> Queries {
    let mut queries = Queries::default();
    for value in index.listed() {
        queries.push(index.items_with(value));
    }
    queries
}

/// The listed values with enough users who came after `before`.
fn lessons(index: &AttributeIndex, before: &Prefix<'_>, whole: &Prefix<'_>) -> Vec<Lesson> {
    let came = held_out::users_beyond(before, whole);
    let known = |user: &u32| !before.events_of(*user as usize).is_empty();
    index
        .listed()
        .into_iter()
        .map(|value| {
            let items = index.items_with(value);
            let users = users_of_any(&came, items);
            Lesson {
                items: items.to_vec(),
                actual: users.iter().copied().filter(known).collect(),
            }
        })
        .filter(|lesson| lesson.actual.len() >= attributes::ACTUAL_MIN)
        .collect()
}

#[cfg(test)]
mod tests;
