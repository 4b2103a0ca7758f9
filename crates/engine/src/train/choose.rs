//! What validation decides for a candidate: fold-in or epochs, weights of the probability, repeats.

use rayon::prelude::*;

use super::assemble::draw_seed;
use super::calibrate::{self, Draws, Scored, Slate, Weights};
use super::events::Pairs;
use super::held_back::HeldBack;
use super::repeats::{self, Observation, Repeats, TAU_DAYS, TAUS};
use super::towers::{Ials, Towers};
use super::{TrainOptions, ials};
use crate::error::Error;

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
/// Users whose events choose fold-in, epochs and weights.
const CALIBRATION_USERS_MAX: usize = 512;
/// Users whose events fit the treatment of repeats.
const REPEAT_USERS_MAX: usize = 16_384;
/// Weights of the iALS score where nothing could be chosen: in the middle of what real data sets gave.
pub(crate) const IALS_WEIGHTS: Weights = Weights { b: 6.0, c: 0.6 };
/// Weights of the look-back score, which is trained to be a log probability.
pub(crate) const LOOKBACK_WEIGHTS: Weights = Weights { b: 1.0, c: 1.0 };

/// What was chosen for towers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    pub(crate) weights: Weights,
    pub(crate) repeats: Repeats,
    /// Mean log-likelihood of a held-back event.
    pub(crate) likelihood: f64,
}

/// Turns iALS towers into a candidate with the best fold-in; also the likelihood of each fold-in.
#[allow(clippy::type_complexity)]
pub(crate) fn fold_in(
    held_back: &HeldBack<'_>,
    towers: ials::Towers,
    options: &TrainOptions,
) -> Result<(Towers, Weights, Vec<(Option<f64>, f64)>), Error> {
    let mut ials = Ials::new(towers, &held_back.pairs, None)?;
    let mut weights = IALS_WEIGHTS;
    let mut likelihoods = Vec::new();
    let mut best: Option<(f64, Option<f64>, Weights)> = None;
    for decay in DECAYS {
        ials.decay = decay;
        let towers = Towers::Ials(ials);
        let (found, likelihood) = weigh(held_back, &towers, weights, options);
        weights = found;
        likelihoods.push((decay, likelihood));
        if best.is_none_or(|(highest, _, _)| likelihood > highest) {
            best = Some((likelihood, decay, found));
        }
        let Towers::Ials(same) = towers else {
            unreachable!("the towers made above are of this kind")
        };
        ials = same;
    }
    let (_, decay, weights) = best.unwrap_or((0.0, None, IALS_WEIGHTS));
    ials.decay = decay;
    Ok((Towers::Ials(ials), weights, likelihoods))
}

/// The weights of highest likelihood for towers, and the mean log-likelihood of a held-back event.
pub(crate) fn weigh(
    held_back: &HeldBack<'_>,
    towers: &Towers,
    start: Weights,
    options: &TrainOptions,
) -> (Weights, f64) {
    let users = held_back.some_users(CALIBRATION_USERS_MAX);
    let draws = Draws::new(&held_back.pairs, towers.items().stride, draw_seed(options));
    let slates = with_scored(held_back, towers, &draws, &users, |scored| {
        scored.slates(|user| held_back.events_of(user).collect())
    });
    let events: f64 = slates.iter().map(Slate::events).sum();
    let (weights, likelihood) = calibrate::fit_weights(&slates, start);
    (weights, likelihood / events.max(f64::MIN_POSITIVE))
}

/// Fits the treatment of repeats for towers and weights.
pub(crate) fn repeats(
    held_back: &HeldBack<'_>,
    towers: &Towers,
    weights: Weights,
    options: &TrainOptions,
) -> Chosen {
    let users = held_back.some_users(REPEAT_USERS_MAX);
    let draws = Draws::new(&held_back.pairs, towers.items().stride, draw_seed(options));
    let observations = with_scored(held_back, towers, &draws, &users, |scored| {
        observe(held_back, scored, weights)
    });
    let count: f64 = observations.iter().map(|o| o.weight).sum();
    let (repeats, likelihood) = repeats::fit(&observations, options.without);
    Chosen {
        weights,
        repeats,
        likelihood: likelihood / count.max(f64::MIN_POSITIVE),
    }
}

fn with_scored<T>(
    held_back: &HeldBack<'_>,
    towers: &Towers,
    draws: &Draws,
    users: &[u32],
    each: impl FnOnce(&Scored<'_>) -> T,
) -> T {
    let pairs: &Pairs = &held_back.pairs;
    let vectors = towers.users(held_back.before, pairs, users);
    each(&Scored {
        items: towers.items(),
        pairs,
        draws,
        users,
        vectors: &vectors,
    })
}

/// What the fit of repeats needs to know of every held-back event.
fn observe(held_back: &HeldBack<'_>, scored: &Scored<'_>, weights: Weights) -> Vec<Observation> {
    let pairs = &held_back.pairs;
    let (masses, _) = scored.masses(weights);
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
                .events_of(user)
                .map(|(item, weight)| Observation {
                    mass: masses[place],
                    score: scored.score(place, item as usize, weights),
                    own: row.binary_search(&item).ok().map(|at| {
                        let mut own = [0.0; TAUS];
                        for (own, shares) in own.iter_mut().zip(&shares) {
                            *own = shares[at];
                        }
                        own
                    }),
                    weight,
                })
                .collect()
        })
        .collect();
    parts.concat()
}
