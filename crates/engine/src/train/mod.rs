//! Training: from interactions to the vectors, offsets and repaired scores of a model.
//!
//! The order is fixed. On the data before the last horizon each kind of towers is trained; there the
//! fold-in or the number of epochs, the weights of the probability and the treatment of repeats are
//! chosen by likelihood, and the towers that serve by the recall of the held-back events. Then the towers
//! are trained on everything, started from the first ones, and the intensity is fitted. Data that cannot
//! support a choice gets its default and a note. The bytes depend on data, options and instruction set,
//! never on the number of threads.

pub(crate) mod assemble;
pub(crate) mod calibrate;
pub(crate) mod candidates;
mod choose;
mod cold;
pub(crate) mod events;
mod features;
pub(crate) mod half;
mod held_back;
pub(crate) mod ials;
pub(crate) mod intensity;
pub(crate) mod kernels;
pub(crate) mod linear;
pub(crate) mod lookback;
mod options;
mod pages;
pub mod plain;
pub(crate) mod poisson;
pub(crate) mod repeats;
pub(crate) mod returns;
mod solve;
mod towers;
mod validate;
mod work;

#[cfg(test)]
pub(crate) mod fixtures;

use serde::{Deserialize, Serialize};

use crate::data::attributes::ItemAttributes;
use crate::error::Error;
use crate::metrics::LiftPoint;
use crate::metrics::calibration::Calibration;
use crate::model::Baseline;
pub(crate) use assemble::{Fitted, Moment};
use candidates::Candidate;
use events::{Pairs, Prefix};
use held_back::HeldBack;
use intensity::Intensity;
pub use options::{BUDGET_FLOPS_DEFAULT, ModelChoice, TrainOptions, Without};
pub use returns::Returns;
pub(crate) use work::{Costs, Step, Work};

/// Longest horizon in seconds: 30 days.
const HORIZON_SECONDS_MAX: i64 = 30 * 86_400;
/// The horizon is this part of the span of the data, if that is shorter.
const HORIZON_PARTS: i64 = 10;
/// Fewer held-back events than this choose nothing.
const VALIDATION_EVENTS_MIN: usize = 100;

/// What validation chose, and its figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choices {
    /// Seconds of the validation period, the last of the data; also the intensity's horizon.
    pub horizon_seconds: i64,
    /// Held-back events of known users and items.
    pub validation_events: usize,
    /// Which towers serve.
    pub towers: String,
    /// What was tried, with its figures.
    pub candidates: Vec<CandidateFigures>,
    /// How the model that serves did on the validation cut.
    pub validation: Option<Validation>,
    /// Decay per step of the fold-in of users; absent when every pair weighs one, or none was folded in.
    pub fold_in_decay: Option<f64>,
    /// Epochs of the look-back towers on the validation cut, and again on everything.
    pub epochs: Option<(usize, usize)>,
    /// Weight of the inner product in log p.
    pub b: f64,
    /// Weight of the item's term in log p: log(1 + users) of iALS, the trained bias of look-back.
    pub c: f64,
    /// How much a seen item weighs in the normalisation.
    pub kappa: f64,
    /// Share of the own history in the mixture.
    pub pi: f64,
    /// What the share is made of.
    pub own_history: Vec<OwnHistory>,
    /// log of what the score of a pair that never met is multiplied by: the best of many scores promise too
    /// much.
    pub first_time_scale: f64,
    /// Items that nobody had yet and that got a vector from their attributes.
    pub cold_items: usize,
    /// How often users come back to an item; absent where hardly anybody does.
    pub returns: Option<Returns>,
}

impl Choices {
    /// log of the share of pairs that never met.
    pub(crate) fn log_new(&self) -> f64 {
        libm::log(1.0 - self.pi) + self.first_time_scale
    }
}

/// A part of the own history in the mixture: exp(−age/τ).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnHistory {
    /// τ in days.
    pub tau_days: f64,
    /// π_τ.
    pub share: f64,
}

/// A kind of towers on the validation cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CandidateFigures {
    /// `ials` or `lookback`.
    pub towers: String,
    /// Mean log-likelihood of a held-back event, repeats treated.
    pub likelihood: f64,
    /// Mean share of an item's held-back users among its best 1 % of the users.
    pub recall_at_1_percent: f64,
    /// The same without users who had the item before.
    pub first_time_recall: f64,
    /// Mean log-likelihood of a held-back event, before repeats are treated, for each decay of the fold-in
    /// that was tried.
    pub fold_in_likelihoods: Vec<(Option<f64>, f64)>,
    /// The same after each epoch.
    pub epoch_likelihoods: Vec<f64>,
}

/// The time split at the validation cut: the model of what came before it, and who came after it. Recall
/// is of all who came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Users with an event before the cut.
    pub population: usize,
    /// Length of the lists: 1 % of the population, rounded up.
    pub k: usize,
    /// Items with a held-back user that were asked for.
    pub queries: usize,
    /// The towers that serve.
    pub model: Baseline,
    /// Random, most active and most recent users, and the own history alone, on the same queries.
    pub baselines: Vec<Baseline>,
    /// Mean share of a list that another item's list has, too.
    pub overlap: f64,
    /// Mean share of a list that the most active users' list has, too.
    pub overlap_most_active: f64,
    /// How much better than chance, by size of the list.
    pub lift: Vec<LiftPoint>,
    /// Probabilities of the best 20 % of the users against what happened, for items drawn by popularity.
    pub calibration: Calibration,
}

/// What the model will be asked, which decides where the validation cuts and what λ is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Question {
    /// Who comes in the next horizon? Validation holds back the last horizon; λ is fitted.
    NextHorizon,
    /// Who are the newest fifth of every user's events with? Validation holds back the same way, and λ is
    /// the number of events: the split says itself how many events of a user come next, and a user's
    /// events end where the split cut them, which a fitted λ would take for the user's silence.
    NewestFifth,
}

/// Trains on a prefix of the data: validation, towers, intensity. Items that nobody had get their vectors
/// from `attributes`. With `keep_cut` the result has the model
/// of the validation cut, too. Runs in the current thread pool.
pub(crate) fn fit(
    prefix: &Prefix<'_>,
    attributes: &ItemAttributes,
    question: Question,
    keep_cut: bool,
    options: &TrainOptions,
    work: &mut Work<'_>,
) -> Result<Fitted, Error> {
    let mut notes = Vec::new();
    let (first, last) = prefix
        .span()
        .ok_or_else(|| Error::Input("there are no interactions to train on".into()))?;
    let span = last.saturating_sub(first).saturating_add(1);
    let horizon = (span / HORIZON_PARTS).min(HORIZON_SECONDS_MAX);
    let end = last.saturating_add(1);
    let cut = end.saturating_sub(horizon);

    // The newest fifth begins at another time for every user.
    let moment_of = |time: i64| (question == Question::NextHorizon).then_some(time);
    let before = match question {
        Question::NextHorizon => prefix.before(cut),
        Question::NewestFifth => prefix.oldest_four_fifths(),
    };
    let held_back = HeldBack::new(prefix, &before);
    let mut candidate = if held_back.events >= VALIDATION_EVENTS_MIN {
        let rates = rates(&before, question, cut, horizon, options);
        work.finished(Step::Other, "validation intensity")?;
        let moment = Moment {
            prefix: &before,
            pairs: &held_back.pairs,
            log_rates: &rates.log_rates,
            now: moment_of(cut),
            horizon,
        };
        candidates::best(&held_back, &moment, keep_cut, options, work, &mut notes)?
    } else {
        notes.push(format!(
            "only {} of at least {VALIDATION_EVENTS_MIN} events of known users and items could be held back; \
             towers, calibration and repeats keep their defaults",
            held_back.events
        ));
        work.validated()?;
        Candidate::untried(prefix, &held_back.pairs, options)?
    };
    let at_cut = candidate.at_cut.take();
    let mut choices = candidate.choices();
    choices.horizon_seconds = horizon;
    choices.validation_events = held_back.events;
    drop(held_back);
    if choices.b == 0.0 {
        notes.push(
            "the vectors tell held-back events no better than popularity; they are not used".into(),
        );
    }

    let pairs = Pairs::new(prefix);
    let mut towers = candidate.finish(prefix, &pairs, &mut choices, options, work)?;
    if question == Question::NextHorizon {
        choices.cold_items = cold::fill(&mut towers.items_mut(), &pairs, attributes);
    }
    let rates = rates(prefix, question, end, horizon, options);
    work.finished(Step::Other, "intensity")?;
    notes.extend(rates.note.map(str::to_owned));
    let moment = Moment {
        prefix,
        pairs: &pairs,
        log_rates: &rates.log_rates,
        now: moment_of(end),
        horizon,
    };
    let fitted = assemble::assemble(&moment, &towers, &mut choices, options, None);
    work.finished(Step::Scores, "scores")?;
    Ok(Fitted {
        choices,
        intensity: rates.intensity,
        notes,
        at_cut,
        ..fitted
    })
}

/// How active users will be, and where the figures come from.
struct Rates {
    /// log λ of each user.
    log_rates: Vec<f64>,
    intensity: Option<Intensity>,
    note: Option<&'static str>,
}

fn rates(
    prefix: &Prefix<'_>,
    question: Question,
    now: i64,
    horizon: i64,
    options: &TrainOptions,
) -> Rates {
    let plain = |log_rates, note| Rates {
        log_rates,
        intensity: None,
        note: Some(note),
    };
    if options.without.intensity {
        let ones = (0..prefix.users()).map(|user| match prefix.events_of(user).is_empty() {
            true => f64::NEG_INFINITY,
            false => 0.0,
        });
        return plain(ones.collect(), "the intensity is left out, as asked");
    }
    if question == Question::NewestFifth {
        return plain(
            intensity::log_counts(prefix, 0.0),
            "the intensity is the number of events, as the split of the metrics asks",
        );
    }
    match intensity::fit(prefix, horizon) {
        Some(intensity) => Rates {
            log_rates: intensity.log_rates(prefix, now),
            intensity: Some(intensity),
            note: None,
        },
        None => plain(
            intensity::log_counts(prefix, 1.0),
            "too few events to fit the intensity; it is 1 + the number of events",
        ),
    }
}
