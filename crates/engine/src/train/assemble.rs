//! The parts of a model from towers and choices: vectors, offsets, and the scores of known pairs.

use rayon::prelude::*;

use super::calibrate::{Draws, ItemSide, Scored, Weights};
use super::events::{Pairs, Prefix, by_block};
use super::intensity::Intensity;
use super::pages::Pages;
use super::repeats;
use super::returns::{self, Known, Meetings, PairLogs, Returns};
use super::towers::Towers;
use super::{Choices, TrainOptions};
use crate::model::{History, Model};

/// Keeps the logarithm of an own history that is all but forgotten finite.
const OWN_SHARE_MIN: f64 = 1e-6;

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
    /// The model that was validated, made from what came before the cut.
    pub(crate) at_cut: Option<Model>,
}

/// The moment a model is made for.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    /// What happened before.
    pub(crate) prefix: &'a Prefix<'a>,
    /// Its pairs.
    pub(crate) pairs: &'a Pairs,
    /// log λ of each user then.
    pub(crate) log_rates: &'a [f64],
    /// Epoch seconds; absent where every user's moment is right after their last event.
    pub(crate) now: Option<i64>,
    /// Seconds that λ looks ahead.
    pub(crate) horizon: i64,
}

/// Towers at a moment, with all that turns their products into probabilities.
struct Probabilities<'a> {
    moment: Moment<'a>,
    choices: &'a Choices,
    weights: Weights,
    terms: &'a [f32],
    /// log Z of each user.
    log_masses: Vec<f64>,
}

impl Probabilities<'_> {
    /// log of the probability of each pair of a user, towers and own history mixed, from the towers' scores.
    fn of_pairs(&self, user: usize, scores: &[f32]) -> Vec<PairLogs> {
        let Moment { prefix, pairs, .. } = self.moment;
        let log_kappa = libm::log(self.choices.kappa);
        let log_new = libm::log(1.0 - self.choices.pi);
        let mut shares = Vec::new();
        repeats::mixed_shares(pairs, prefix, user, &self.choices.own_history, &mut shares);
        scores
            .iter()
            .zip(&shares)
            .map(|(score, share)| {
                let model = f64::from(*score) + log_kappa - self.log_masses[user] + log_new;
                PairLogs {
                    mixed: log_add(model, libm::log(*share)),
                    towers: model,
                    history: libm::log(share.max(OWN_SHARE_MIN)),
                }
            })
            .collect()
    }
}

/// Puts a model together. With `came`, which gives the later events of a user, the return of users to what
/// they know is fitted first, and noted in the choices.
pub(crate) fn assemble(
    moment: &Moment<'_>,
    towers: &Towers,
    choices: &mut Choices,
    options: &TrainOptions,
    came: Option<&(dyn Fn(usize) -> Vec<(u32, f64)> + Sync)>,
) -> Fitted {
    let Moment {
        prefix,
        pairs,
        log_rates,
        ..
    } = *moment;
    let weights = Weights {
        b: choices.b,
        c: choices.c,
    };
    let users: Vec<u32> = (0..prefix.users() as u32).collect();
    let vectors = towers.users(prefix, pairs, &users);
    let items = towers.items();
    let paged = Pages::copied(items.vectors);
    let at_random = ItemSide {
        vectors: paged
            .as_ref()
            .map_or(items.vectors, |pages| pages.floats(items.vectors.len())),
        ..items
    };
    let draws = Draws::new(pairs, items.stride, draw_seed(options));
    let scored = Scored {
        items: at_random,
        pairs,
        draws: &draws,
        users: &users,
        vectors: &vectors,
    };
    let log_kappa = libm::log(choices.kappa);
    let (masses, scores) = scored.masses(weights);
    drop(paged);
    let log_masses: Vec<f64> = masses
        .iter()
        .map(|mass| mass.log_total(log_kappa))
        .collect();
    let offsets: Vec<f64> = log_masses
        .iter()
        .zip(log_rates)
        .map(|(mass, rate)| rate - mass)
        .collect();
    let probabilities = Probabilities {
        moment: *moment,
        choices: &choices.clone(),
        weights,
        terms: items.terms,
        log_masses,
    };
    let meetings = Meetings::new(prefix, pairs, moment.now, moment.horizon);
    let known = Known {
        prefix,
        pairs,
        meetings: &meetings,
        log_rates,
    };
    if let Some(came) = came.filter(|_| !options.without.own_history) {
        let of_pairs = |user: usize| {
            let scores = &scores[pairs.by_user.range(user)];
            probabilities.of_pairs(user, scores)
        };
        choices.returns = returns::fit(&known, of_pairs, came);
    }
    let scores = repaired(&probabilities, &known, choices.returns.as_ref(), scores);
    let history = by_item(pairs, &scores);
    // Scores leave out the item's constant and the share of pairs that never met; the item offsets
    // carry both.
    let log_new = choices.log_new();
    let dimension = options.dimension;
    let item_vectors = unpadded(items.vectors, items.stride, dimension, weights.b as f32);
    let user_vectors = compacted(vectors, items.stride, dimension);
    Fitted {
        user_vectors,
        user_offsets: offsets.iter().map(|&offset| offset as f32).collect(),
        user_log_rates: log_rates.iter().map(|&rate| rate as f32).collect(),
        item_vectors,
        item_offsets: items
            .terms
            .iter()
            .map(|&term| (weights.c * f64::from(term) + log_new) as f32)
            .collect(),
        history,
        choices: choices.clone(),
        intensity: None,
        notes: Vec::new(),
        at_cut: None,
    }
}

/// The scores of all pairs, user by user, in the order of the rows, made of those of the towers.
fn repaired(
    probabilities: &Probabilities<'_>,
    known: &Known<'_>,
    returns: Option<&Returns>,
    mut scores: Vec<f32>,
) -> Vec<f32> {
    let pairs = known.pairs;
    let log_new = probabilities.choices.log_new();
    let start = |user: usize| pairs.by_user.starts[user];
    by_block(&mut scores, pairs.by_user.rows(), start)
        .into_par_iter()
        .for_each(|(users, scores)| {
            let first = start(users.start);
            for user in users {
                let range = pairs.by_user.range(user);
                let scores = &mut scores[range.start - first..range.end - first];
                let own = probabilities.of_pairs(user, scores);
                let logs = match returns {
                    Some(returns) => returns.log_rates(known, user, &own),
                    None => own
                        .iter()
                        .map(|own| own.mixed + known.log_rates[user])
                        .collect(),
                };
                let row = pairs.by_user.row(user).iter().zip(logs);
                for ((&item, log), score) in row.zip(scores) {
                    let term = f64::from(probabilities.terms[item as usize]);
                    *score = (log - probabilities.weights.c * term - log_new) as f32;
                }
            }
        });
    scores
}

/// Seed of the items that stand for all in Z.
pub(crate) fn draw_seed(options: &TrainOptions) -> u64 {
    options.seed ^ 0x6472_6177_6e69_7465
}

/// Turns scores laid out user by user into posting lists.
fn by_item(pairs: &Pairs, scores: &[f32]) -> History {
    History {
        starts: pairs.by_item.starts.clone(),
        users: pairs.by_item.indices.clone(),
        scores: pairs.by_user.turned(&pairs.by_item, scores),
    }
}

fn unpadded(rows: &[f32], stride: usize, dimension: usize, factor: f32) -> Vec<f32> {
    rows.chunks_exact(stride)
        .flat_map(|row| row[..dimension].iter().map(|value| value * factor))
        .collect()
}

/// Takes the padding out where the rows lie: there may be no room for a second copy.
fn compacted(mut rows: Vec<f32>, stride: usize, dimension: usize) -> Vec<f32> {
    let count = rows.len() / stride;
    for row in 1..count {
        let from = row * stride;
        rows.copy_within(from..from + dimension, row * dimension);
    }
    rows.truncate(count * dimension);
    rows.shrink_to_fit();
    rows
}

fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = (a.min(b), a.max(b));
    if low == f64::NEG_INFINITY {
        return high;
    }
    high + libm::log1p(libm::exp(low - high))
}
