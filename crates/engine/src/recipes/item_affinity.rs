//! `aws-item-affinity`: which users will interact with this item?
//!
//! Trains twice: on the oldest four fifths of every user's events, to measure the metrics the service
//! reports, and on everything, the model that is delivered. Each training chooses its settings on its
//! own validation events, so the metrics are those of data nothing was chosen on.

use std::collections::BTreeMap;
use std::sync::Arc;

use kindred_types::parts::Clock;

use crate::data::attributes::{ItemAttributes, TrainingData};
use crate::error::Error;
use crate::metrics::held_out;
use crate::model::{Card, Metrics, Model, Parts, RECIPE_ITEM_AFFINITY};
use crate::progress::Progress;
use crate::score::Scorer;
use crate::train::events::Prefix;
use crate::train::{self, Costs, Fitted, Question, Work, candidates, ials, kernels};

pub use crate::train::{BUDGET_FLOPS_DEFAULT, ModelChoice, TrainOptions, Without};

/// Lengths the vectors may have.
pub const DIMENSIONS: std::ops::RangeInclusive<usize> = 32..=256;
/// Length of the vectors unless configured.
pub const DIMENSION_DEFAULT: usize = 149;

/// A trained model and what was learned on the way.
#[derive(Debug)]
pub struct Trained {
    /// The model, its card filled in but for the snapshot.
    pub model: Model,
    /// Metrics on held-back events; the card has them, too.
    pub metrics: Metrics,
    /// How long the parts took. Not in the card, which is the same for every run.
    pub timings: Timings,
}

/// Wall seconds of the parts of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    /// Training for the metrics, measuring included.
    pub metrics_seconds: f64,
    /// Training of the delivered model; zero without a final fit.
    pub fit_seconds: f64,
    /// Median of the sweeps of iALS.
    pub sweep_seconds: f64,
    /// All epochs of the look-back towers together.
    pub epoch_seconds: f64,
    /// Floating point operations of their matrix products, in billions a second.
    pub epoch_gflops: f64,
    /// Everything.
    pub train_seconds: f64,
}

/// Trains the recipe.
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
    let whole = Prefix::whole(&data.interactions);
    let oldest = whole.oldest_four_fifths();
    let first = fit(
        &oldest,
        &data.attributes,
        Question::NewestFifth,
        options,
        &mut work,
    )?;
    let scorer = Scorer::new(Arc::new(first), None);
    let pool = pool(options)?;
    let metrics = pool.install(|| held_out::measure(&scorer, &oldest, &whole, options.seed));
    work.measured()?;
    let metrics_end = work.seconds();

    let mut model = if options.final_fit {
        fit(
            &whole,
            &data.attributes,
            Question::NextHorizon,
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

/// Trains one model on a prefix of the data.
pub(crate) fn fit(
    prefix: &Prefix<'_>,
    attributes: &ItemAttributes,
    question: Question,
    options: &TrainOptions,
    work: &mut Work<'_>,
) -> Result<Model, Error> {
    fit_both(prefix, attributes, question, false, options, work).map(|(model, _)| model)
}

/// The same; with `keep_cut` also the model of the validation cut, where there was one.
pub(crate) fn fit_both(
    prefix: &Prefix<'_>,
    attributes: &ItemAttributes,
    question: Question,
    keep_cut: bool,
    options: &TrainOptions,
    work: &mut Work<'_>,
) -> Result<(Model, Option<Model>), Error> {
    if !DIMENSIONS.contains(&options.dimension) {
        return Err(Error::Input(format!(
            "the hidden dimension must lie between {} and {}, and is {}",
            DIMENSIONS.start(),
            DIMENSIONS.end(),
            options.dimension
        )));
    }
    let interactions = prefix.len();
    let fitted = pool(options)?
        .install(|| train::fit(prefix, attributes, question, keep_cut, options, work))?;
    let Fitted {
        user_vectors,
        user_offsets,
        user_log_rates,
        item_vectors,
        item_offsets,
        history,
        choices,
        intensity,
        notes,
        at_cut,
    } = fitted;
    let card = Card {
        recipe: RECIPE_ITEM_AFFINITY.into(),
        towers: choices.towers.clone(),
        dimension: options.dimension,
        seed: options.seed,
        users: prefix.users(),
        items: prefix.items(),
        interactions,
        settings: settings(),
        choices: Some(choices),
        intensity,
        notes,
        instruction_set: kernels::instruction_set().into(),
        ..Card::default()
    };
    let model = Model::new(Parts {
        dimension: options.dimension,
        users: prefix.data.users.clone(),
        items: prefix.data.items.clone(),
        user_vectors,
        user_offsets,
        user_log_rates,
        item_vectors,
        item_offsets,
        history,
        card,
    })
    .map_err(|detail| Error::Input(format!("the training came to no usable model: {detail}")))?;
    Ok((model, at_cut))
}

fn settings() -> BTreeMap<String, f64> {
    let settings = [
        ("unseen_weight_max", ials::UNSEEN_WEIGHT_MAX),
        ("unseen_per_pair_max", ials::UNSEEN_PER_PAIR_MAX),
        ("regularisation", ials::REGULARISATION),
        ("conjugate_gradient_steps", ials::ITEM_STEPS as f64),
        ("conjugate_gradient_steps_of_users", ials::USER_STEPS as f64),
        ("sweeps", candidates::SWEEPS as f64),
        ("sweeps_after_validation", candidates::SWEEPS_AGAIN as f64),
    ];
    settings
        .map(|(name, value)| (name.to_string(), value))
        .into()
}

pub(crate) fn pool(options: &TrainOptions) -> Result<rayon::ThreadPool, Error> {
    Ok(rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.max(1))
        .build()?)
}

#[cfg(test)]
mod tests;
