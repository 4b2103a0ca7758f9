//! Training: from interactions to the vectors, offsets and repaired scores of a model.
//!
//! The order is fixed: towers on the data before the last horizon; there the fold-in, the weights of
//! the probability, and the treatment of repeats are chosen by likelihood; then towers on everything,
//! started from the first ones, and the intensity. Data that cannot support a choice gets its default
//! and a note. The bytes depend on data, options and instruction set, never on the number of threads.

pub(crate) mod calibrate;
pub(crate) mod events;
pub(crate) mod ials;
pub(crate) mod intensity;
pub(crate) mod kernels;
pub(crate) mod linear;
pub(crate) mod repeats;

#[cfg(test)]
pub(crate) mod fixtures;

use kindred_types::parts::Clock;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::History;
use crate::progress::Progress;
use calibrate::{Draws, Scored, Weights};
use events::{Pairs, Prefix};
use ials::Towers;
use intensity::Intensity;
use repeats::{Observation, Repeats, TAU_DAYS};

/// Sweeps from a random start.
pub(crate) const SWEEPS: usize = 8;
/// Sweeps from the towers of the validation cut.
pub(crate) const SWEEPS_AGAIN: usize = 4;
/// Longest horizon in seconds: 30 days.
const HORIZON_SECONDS_MAX: i64 = 30 * 86_400;
/// The horizon is this part of the span of the data, if that is shorter.
const HORIZON_PARTS: i64 = 10;
/// Decays of the fold-in that are tried; none stands for every pair weighing one.
const DECAYS: [Option<f64>; 7] = [
    None,
    Some(1.0),
    Some(0.99),
    Some(0.98),
    Some(0.95),
    Some(0.9),
    Some(0.8),
];
/// Fewer held-back events than this choose nothing.
const VALIDATION_EVENTS_MIN: usize = 100;
/// Users whose events choose fold-in and weights.
const CALIBRATION_USERS_MAX: usize = 512;
/// Users whose events fit the treatment of repeats.
const REPEAT_USERS_MAX: usize = 16_384;
/// See [`TrainOptions::budget_flops`].
pub const BUDGET_FLOPS_DEFAULT: f64 = 4e12;
/// Users of one block of the final pass.
const BLOCK_USERS: usize = 256;
/// Weights where nothing could be chosen: in the middle of what real data sets gave.
const WEIGHTS_DEFAULT: Weights = Weights { b: 6.0, c: 0.6 };

/// What a user of training may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Length of the vectors, 32 to 256.
    pub dimension: usize,
    /// Seed of everything random: the configured seed combined with the snapshot's checksum.
    pub seed: u64,
    /// Worker threads; the result does not depend on it.
    pub threads: usize,
    /// Whether the delivered model is fitted again on all data after the metrics were measured.
    pub final_fit: bool,
    /// Which towers may serve.
    pub model: ModelChoice,
    /// Floating point operations that the towers of one fit may cost; decides about epochs, and about
    /// whether the look-back towers can be had at all. Never seconds, so that every machine decides alike.
    pub budget_flops: f64,
    /// Parts to leave out, to see what they earn.
    pub without: Without,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            dimension: 149,
            seed: 0,
            threads: 1,
            final_fit: true,
            model: ModelChoice::Auto,
            budget_flops: BUDGET_FLOPS_DEFAULT,
            without: Without::default(),
        }
    }
}

/// Which towers may serve: the better by validation, or one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelChoice {
    /// Whichever validation prefers, within the budget.
    #[default]
    Auto,
    /// The bag that is trained by looking back.
    Lookback,
    /// Implicit alternating least squares.
    Ials,
}

/// Parts of the model that an ablation leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// λ = 1 for every user.
    pub intensity: bool,
    /// The bag is trained on the next events instead of on later ones.
    pub lookback: bool,
    /// κ = 1: seen items weigh in Z as they do in the score.
    pub kappa: bool,
    /// π = 0: no own history.
    pub own_history: bool,
}

/// What validation chose, and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// Seconds of the validation period, the last of the data; also the intensity's horizon.
    pub horizon_seconds: i64,
    /// Held-back events of known users and items.
    pub validation_events: usize,
    /// Decay per step of the fold-in of users; absent when every pair weighs one.
    pub fold_in_decay: Option<f64>,
    /// Mean log-likelihood of a held-back event for each decay tried, before repeats are treated.
    pub fold_in_likelihoods: Vec<(Option<f64>, f64)>,
    /// Weight of the inner product in log p.
    pub b: f64,
    /// Weight of log(1 + users of the item) in log p.
    pub c: f64,
    /// How much a seen item weighs in the normalisation.
    pub kappa: f64,
    /// Share of the own history in the mixture.
    pub pi: f64,
    /// Decay time of the own history in days.
    pub tau_days: f64,
    /// Mean log-likelihood of a held-back event with repeats treated.
    pub likelihood: Option<f64>,
}

/// Reports and times the steps of a training, and stops it when asked to.
pub(crate) struct Work<'a> {
    progress: &'a dyn Progress,
    clock: &'a dyn Clock,
    done: u64,
    total: u64,
    /// Seconds of each sweep.
    pub(crate) sweeps: Vec<f64>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, clock: &'a dyn Clock, fits: u64) -> Work<'a> {
        Work {
            progress,
            clock,
            done: 0,
            total: fits * (SWEEPS + SWEEPS_AGAIN + 2) as u64,
            sweeps: Vec::new(),
        }
    }

    /// Seconds since an arbitrary start.
    pub(crate) fn seconds(&self) -> f64 {
        self.clock.monotonic_ms() as f64 / 1000.0
    }

    pub(crate) fn finished(&mut self, units: usize, detail: &str) -> Result<(), Error> {
        self.done = (self.done + units as u64).min(self.total);
        self.progress.report("train", self.done, self.total, detail);
        if self.progress.stopped() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    fn sweep(&mut self, towers: &mut Towers, pairs: &Pairs, name: &str) -> Result<(), Error> {
        let start = self.seconds();
        let loss = towers.sweep(pairs)?;
        self.sweeps.push(self.seconds() - start);
        self.finished(1, &format!("{name}, loss {loss:.6e}"))
    }
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

/// Everything of a model but ids and card.
pub(crate) struct Fitted {
    pub(crate) user_vectors: Vec<f32>,
    /// log λ − log Z of each user.
    pub(crate) user_offsets: Vec<f32>,
    /// log λ of each user.
    pub(crate) user_log_rates: Vec<f32>,
    pub(crate) item_vectors: Vec<f32>,
    pub(crate) item_offsets: Vec<f32>,
    pub(crate) history: History,
    pub(crate) choices: Choices,
    pub(crate) intensity: Option<Intensity>,
    pub(crate) notes: Vec<String>,
}

/// Trains on a prefix of the data: validation, towers, intensity. Runs in the current thread pool.
pub(crate) fn fit(
    prefix: &Prefix<'_>,
    question: Question,
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

    let before = match question {
        Question::NextHorizon => prefix.before(end.saturating_sub(horizon)),
        Question::NewestFifth => prefix.oldest_four_fifths(),
    };
    let held_back = HeldBack::new(prefix, &before);
    let (choices, start) = if held_back.events >= VALIDATION_EVENTS_MIN {
        let pairs = &held_back.pairs;
        let mut towers = random_towers(prefix, options);
        for sweep in 1..=SWEEPS {
            work.sweep(&mut towers, pairs, &format!("validation sweep {sweep}"))?;
        }
        let choices = choose(&held_back, &mut towers, horizon, options)?;
        work.finished(1, "validation choices")?;
        (choices, Some(towers))
    } else {
        notes.push(format!(
            "only {} of at least {VALIDATION_EVENTS_MIN} events of known users and items could be held back; \
             fold-in, calibration and repeats keep their defaults",
            held_back.events
        ));
        let choices = Choices {
            horizon_seconds: horizon,
            validation_events: held_back.events,
            fold_in_decay: None,
            fold_in_likelihoods: Vec::new(),
            b: WEIGHTS_DEFAULT.b,
            c: WEIGHTS_DEFAULT.c,
            kappa: 1.0,
            pi: 0.0,
            tau_days: Repeats::NONE.tau_days,
            likelihood: None,
        };
        work.finished(SWEEPS + 1 - SWEEPS_AGAIN, "default choices")?;
        (choices, None)
    };
    drop(held_back);

    if choices.b == 0.0 {
        notes.push(
            "the vectors tell held-back events no better than popularity; they are not used".into(),
        );
    }
    let pairs = Pairs::new(prefix);
    let sweeps = if start.is_some() {
        SWEEPS_AGAIN
    } else {
        SWEEPS
    };
    let mut towers = start.unwrap_or_else(|| random_towers(prefix, options));
    for sweep in 1..=sweeps {
        work.sweep(&mut towers, &pairs, &format!("sweep {sweep}"))?;
    }
    let intensity = match question {
        Question::NextHorizon => intensity::fit(prefix, horizon),
        Question::NewestFifth => None,
    };
    let log_rates = match (&intensity, question) {
        (Some(intensity), _) => intensity.log_rates(prefix, end),
        (None, Question::NewestFifth) => {
            notes.push(
                "the intensity is the number of events, as the split of the metrics asks".into(),
            );
            intensity::log_counts(prefix, 0.0)
        }
        (None, Question::NextHorizon) => {
            notes
                .push("too few events to fit the intensity; it is 1 + the number of events".into());
            intensity::log_counts(prefix, 1.0)
        }
    };
    let fitted = assemble(prefix, &pairs, towers, &choices, &log_rates, options)?;
    work.finished(1, "scores")?;
    Ok(Fitted {
        choices,
        intensity,
        notes,
        ..fitted
    })
}

fn random_towers(prefix: &Prefix<'_>, options: &TrainOptions) -> Towers {
    Towers::random(
        prefix.users(),
        prefix.items(),
        options.dimension,
        options.seed,
    )
}

/// The events of the validation period that belong to users and items known before it.
struct HeldBack<'a> {
    all: &'a Prefix<'a>,
    before: &'a Prefix<'a>,
    pairs: Pairs,
    /// Users with such an event.
    users: Vec<u32>,
    events: usize,
}

impl<'a> HeldBack<'a> {
    fn new(all: &'a Prefix<'a>, before: &'a Prefix<'a>) -> HeldBack<'a> {
        let mut held_back = HeldBack {
            all,
            before,
            pairs: Pairs::new(before),
            users: Vec::new(),
            events: 0,
        };
        for user in 0..all.users() as u32 {
            let count = held_back.items_of(user).len();
            if count > 0 {
                held_back.events += count;
                held_back.users.push(user);
            }
        }
        held_back
    }

    fn items_of(&self, user: u32) -> Vec<u32> {
        let user = user as usize;
        if self.before.events_of(user).is_empty() {
            return Vec::new();
        }
        self.all.data.event_items[self.before.rest_of(self.all, user)]
            .iter()
            .copied()
            .filter(|&item| self.pairs.popularity(item as usize) > 0)
            .collect()
    }
}

fn choose(
    held_back: &HeldBack<'_>,
    towers: &mut Towers,
    horizon: i64,
    options: &TrainOptions,
) -> Result<Choices, Error> {
    let pairs = &held_back.pairs;
    let values = towers.turn(ials::Side::Items)?;
    let draws = Draws::new(pairs, towers.stride, draw_seed(options));
    let log_popularity = calibrate::log_popularity(pairs);
    let folded = |decay: Option<f64>, users: &[u32]| {
        fold_in(towers, pairs, held_back.before, &values, decay, users)
    };

    let some = evenly_spaced(&held_back.users, CALIBRATION_USERS_MAX);
    let mut weights = WEIGHTS_DEFAULT;
    let mut likelihoods = Vec::new();
    let mut best: Option<(f64, Option<f64>, Weights)> = None;
    for decay in DECAYS {
        let vectors = folded(decay, &some);
        let scored = Scored {
            towers,
            pairs,
            draws: &draws,
            log_popularity: &log_popularity,
            users: &some,
            vectors: &vectors,
        };
        let slates = scored.slates(|user| held_back.items_of(user));
        let events: usize = some
            .iter()
            .map(|&user| held_back.items_of(user).len())
            .sum();
        let (found, likelihood) = calibrate::fit_weights(&slates, weights);
        weights = found;
        likelihoods.push((decay, likelihood / events as f64));
        if best.is_none_or(|(highest, _, _)| likelihood > highest) {
            best = Some((likelihood, decay, found));
        }
    }
    let (_, decay, weights) = best.unwrap_or((0.0, None, WEIGHTS_DEFAULT));

    let some = evenly_spaced(&held_back.users, REPEAT_USERS_MAX);
    let vectors = folded(decay, &some);
    let scored = Scored {
        towers,
        pairs,
        draws: &draws,
        log_popularity: &log_popularity,
        users: &some,
        vectors: &vectors,
    };
    let observations = observe(held_back, &scored, weights);
    let (found, likelihood) = repeats::fit(&observations);
    Ok(Choices {
        horizon_seconds: horizon,
        validation_events: held_back.events,
        fold_in_decay: decay,
        fold_in_likelihoods: likelihoods,
        b: weights.b,
        c: weights.c,
        kappa: libm::exp(found.log_kappa),
        pi: found.pi,
        tau_days: found.tau_days,
        likelihood: Some(likelihood / observations.len() as f64),
    })
}

/// What the fit of repeats needs to know of every held-back event.
fn observe(held_back: &HeldBack<'_>, scored: &Scored<'_>, weights: Weights) -> Vec<Observation> {
    let pairs = &held_back.pairs;
    let masses = scored.masses(weights);
    let parts: Vec<Vec<Observation>> = scored
        .users
        .par_iter()
        .enumerate()
        .map(|(place, &user)| {
            let row = pairs.by_user.row(user as usize);
            let shares: Vec<Vec<f64>> = TAU_DAYS
                .iter()
                .map(|&tau| {
                    let mut shares = Vec::new();
                    repeats::own_shares(pairs, held_back.before, user as usize, tau, &mut shares);
                    shares
                })
                .collect();
            held_back
                .items_of(user)
                .into_iter()
                .map(|item| Observation {
                    mass: masses[place],
                    score: scored.score(place, item as usize, weights),
                    own: row.binary_search(&item).ok().map(|at| {
                        let mut own = [0.0; TAU_DAYS.len()];
                        for (own, shares) in own.iter_mut().zip(&shares) {
                            *own = shares[at];
                        }
                        own
                    }),
                })
                .collect()
        })
        .collect();
    parts.concat()
}

fn fold_in(
    towers: &Towers,
    pairs: &Pairs,
    prefix: &Prefix<'_>,
    values: &[f32],
    decay: Option<f64>,
    users: &[u32],
) -> Vec<f32> {
    towers.fold_in(pairs, values, users, |user, weights| {
        let count = pairs.by_user.range(user).len();
        match decay {
            None => weights.resize(count, 1.0),
            Some(decay) => {
                let mut sums = vec![0.0f64; count];
                let weight = |step: usize, _| libm::pow(decay, step as f64);
                pairs.add_by_step(prefix, user, weight, &mut sums);
                weights.extend(sums.iter().map(|&sum| sum as f32));
            }
        }
    })
}

/// The parts of the scoring form: vectors, offsets, and the repaired scores of the seen pairs.
fn assemble(
    prefix: &Prefix<'_>,
    pairs: &Pairs,
    mut towers: Towers,
    choices: &Choices,
    log_rates: &[f64],
    options: &TrainOptions,
) -> Result<Fitted, Error> {
    let weights = Weights {
        b: choices.b,
        c: choices.c,
    };
    let values = towers.turn(ials::Side::Items)?;
    let users: Vec<u32> = (0..prefix.users() as u32).collect();
    let decay = choices.fold_in_decay;
    let vectors = fold_in(&towers, pairs, prefix, &values, decay, &users);
    let draws = Draws::new(pairs, towers.stride, draw_seed(options));
    let log_popularity = calibrate::log_popularity(pairs);
    let scored = Scored {
        towers: &towers,
        pairs,
        draws: &draws,
        log_popularity: &log_popularity,
        users: &users,
        vectors: &vectors,
    };
    let log_kappa = libm::log(choices.kappa);
    let offsets: Vec<f64> = scored
        .masses(weights)
        .iter()
        .zip(log_rates)
        .map(|(mass, rate)| rate - mass.log_total(log_kappa))
        .collect();
    // Scores leave out the share of what is not own history; the item offsets carry it.
    let log_new = libm::log(1.0 - choices.pi);
    let odds = choices.pi / (1.0 - choices.pi);
    let repaired: Vec<Vec<f32>> = users
        .par_chunks(BLOCK_USERS)
        .map(|block| {
            let mut scores = Vec::new();
            let mut shares = Vec::new();
            for &user in block {
                let user = user as usize;
                let row = pairs.by_user.row(user);
                repeats::own_shares(pairs, prefix, user, choices.tau_days, &mut shares);
                for (&item, share) in row.iter().zip(&shares) {
                    // The item's own constant is left out, as it is in the dense score.
                    let constant = weights.c * f64::from(log_popularity[item as usize]);
                    let model = scored.score(user, item as usize, weights) - constant + log_kappa;
                    let model = model + offsets[user];
                    let own = libm::log(odds * share) - constant + log_rates[user];
                    scores.push(log_add(model, own) as f32);
                }
            }
            scores
        })
        .collect();
    let history = by_item(pairs, &repaired.concat());
    Ok(Fitted {
        user_vectors: unpadded(&vectors, &towers, 1.0),
        user_offsets: offsets.iter().map(|&offset| offset as f32).collect(),
        user_log_rates: log_rates.iter().map(|&rate| rate as f32).collect(),
        item_vectors: unpadded(&towers.items, &towers, weights.b as f32),
        item_offsets: log_popularity
            .iter()
            .map(|&popularity| (weights.c * f64::from(popularity) + log_new) as f32)
            .collect(),
        history,
        choices: choices.clone(),
        intensity: None,
        notes: Vec::new(),
    })
}

/// Turns scores laid out user by user into posting lists.
fn by_item(pairs: &Pairs, scores: &[f32]) -> History {
    let mut next = pairs.by_item.starts.clone();
    let mut turned = vec![0.0f32; scores.len()];
    for (&item, &score) in pairs.by_user.indices.iter().zip(scores) {
        turned[next[item as usize]] = score;
        next[item as usize] += 1;
    }
    History {
        starts: pairs.by_item.starts.clone(),
        users: pairs.by_item.indices.clone(),
        scores: turned,
    }
}

fn unpadded(rows: &[f32], towers: &Towers, factor: f32) -> Vec<f32> {
    rows.chunks_exact(towers.stride)
        .flat_map(|row| row[..towers.dimension].iter().map(|value| value * factor))
        .collect()
}

fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    if low == f64::NEG_INFINITY {
        return high;
    }
    high + libm::log1p(libm::exp(low - high))
}

fn evenly_spaced(users: &[u32], count: usize) -> Vec<u32> {
    if users.len() <= count {
        return users.to_vec();
    }
    (0..count).map(|i| users[i * users.len() / count]).collect()
}

fn draw_seed(options: &TrainOptions) -> u64 {
    options.seed ^ 0x6472_6177_6e69_7465
}
