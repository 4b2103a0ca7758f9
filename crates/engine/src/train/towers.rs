//! The two kinds of towers behind one face: vectors of items and users, and a term for each item.

use super::calibrate::{self, ItemSide};
use super::cold::Side;
use super::events::{Pairs, Prefix};
use super::ials;
use super::lookback::Lookback;
use crate::error::Error;

/// Trained towers.
pub(crate) enum Towers {
    /// Alternating least squares; users are solved again with a weight for each pair.
    Ials(Ials),
    /// The bag that looks back.
    Lookback(Box<Lookback>),
}

/// iALS towers, turned so that users can be folded in.
pub(crate) struct Ials {
    pub(crate) towers: ials::Towers,
    /// The items as users are folded in.
    basis: ials::Basis,
    /// log(1 + number of users) of each item.
    terms: Vec<f32>,
    /// Decay of the fold-in; none stands for every pair weighing one.
    pub(crate) decay: Option<f64>,
}

impl Ials {
    pub(crate) fn new(
        mut towers: ials::Towers,
        pairs: &Pairs,
        decay: Option<f64>,
    ) -> Result<Ials, Error> {
        Ok(Ials {
            basis: towers.turn()?,
            terms: calibrate::log_popularity(pairs),
            towers,
            decay,
        })
    }

    fn fold_in(&self, prefix: &Prefix<'_>, pairs: &Pairs, users: &[u32]) -> Vec<f32> {
        let weigh = |user: usize, weights: &mut Vec<f32>| {
            let range = pairs.by_user.range(user);
            match (self.decay, &pairs.user_weights) {
                (None, None) => weights.resize(range.len(), 1.0),
                (None, Some(own)) => weights.extend_from_slice(&own[range]),
                (Some(decay), _) => {
                    let mut sums = vec![0.0f64; range.len()];
                    let weight = |step: usize, _| libm::pow(decay, step as f64);
                    pairs.add_by_step(prefix, user, weight, &mut sums);
                    weights.extend(sums.iter().map(|&sum| sum as f32));
                }
            }
        };
        self.towers.fold_in(pairs, &self.basis, users, weigh)
    }
}

impl Towers {
    /// As the model card calls them.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Towers::Ials(_) => IALS,
            Towers::Lookback(_) => LOOKBACK,
        }
    }

    pub(crate) fn items(&self) -> ItemSide<'_> {
        match self {
            Towers::Ials(ials) => ItemSide {
                stride: ials.towers.stride,
                vectors: &ials.towers.items,
                terms: &ials.terms,
            },
            Towers::Lookback(lookback) => ItemSide {
                stride: lookback.stride,
                vectors: lookback.items(),
                terms: lookback.biases(),
            },
        }
    }

    /// The item side, to complete it.
    pub(crate) fn items_mut(&mut self) -> Side<'_> {
        match self {
            Towers::Ials(ials) => Side {
                stride: ials.towers.stride,
                vectors: &mut ials.towers.items,
                terms: &mut ials.terms,
            },
            Towers::Lookback(lookback) => lookback.items_mut(),
        }
    }

    /// The vectors of some users at the end of `prefix`, padded to the stride.
    pub(crate) fn users(&self, prefix: &Prefix<'_>, pairs: &Pairs, users: &[u32]) -> Vec<f32> {
        match self {
            Towers::Ials(ials) => ials.fold_in(prefix, pairs, users),
            Towers::Lookback(lookback) => lookback.states(prefix, users),
        }
    }
}

/// Name of the iALS towers.
pub(crate) const IALS: &str = "ials";
/// Name of the look-back towers.
pub(crate) const LOOKBACK: &str = "lookback";
