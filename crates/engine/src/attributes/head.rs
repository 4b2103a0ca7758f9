//! The head: from what is known about a user and a set of items to one log intensity.
//!
//! log μ(x,Q) is the log of the number of events expected of user x on the items Q in the horizon, up
//! to a scale that is fitted, too: 1 − exp(−μ) is the probability that there is any. Two forms compete
//! on held-back events (`fit`): a mixture of the user's own share of events on Q with the mass that the
//! towers give to Q, and a log-linear form that also knows the user's recent share and how popular Q is.

use serde::{Deserialize, Serialize};

use super::ColumnInfo;

/// Events on Q that a user is given in advance, in proportion to Q's popularity.
pub(crate) const SHARE_PRIOR: f32 = 20.0;
/// The same for decayed events.
pub(crate) const RECENT_PRIOR: f32 = 5.0;
/// Events decay by exp(−age / so many days).
pub(crate) const RECENT_TAU_DAYS: f64 = 30.0;
/// Popularity is not taken for less than that of so many events.
pub(crate) const POPULARITY_EVENTS_MIN: f64 = 0.5;
/// Nothing is less probable: keeps logarithms finite.
pub(crate) const PROBABILITY_MIN: f32 = 1e-12;
/// Weights of the log-linear form: intercept, log λ, log share, log mass, log recent share, log popularity.
pub(crate) const WEIGHTS: usize = 6;

/// How the attribute queries of a model are scored, and why so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttributeHead {
    /// The usable columns, in the order of `attributes.parquet`.
    pub columns: Vec<ColumnInfo>,
    /// The form that serves.
    pub form: Form,
    /// Days in which an event's weight in `recent` falls to 1/e.
    pub recent_tau_days: f64,
    /// Mean recall at 1 % of the users on the held-back events, for each form tried.
    pub candidates: Vec<Candidate>,
    /// Queries of single values that the choice is based on.
    pub validation_queries: usize,
    /// Users that the choice is based on.
    pub validation_users: usize,
}

/// A form with its figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The form.
    pub form: Form,
    /// Mean over the queries of found / actual users.
    pub recall_at_1_percent: f64,
}

/// How log μ is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Form {
    /// log λ + exponent · log(share_weight · share + (1 − share_weight) · mass) + log_scale.
    Mix {
        /// Of the own share against the mass.
        share_weight: f64,
        /// Of the mixture.
        exponent: f64,
        /// The same for all users and queries.
        log_scale: f64,
    },
    /// An inner product with (1, log λ, log share, log mass, log recent share, log popularity).
    LogLinear {
        /// In that order.
        weights: [f64; WEIGHTS],
    },
}

impl Form {
    /// Where nothing can be fitted: what served best on the data the model was made with.
    pub(crate) const DEFAULT: Form = Form::Mix {
        share_weight: 0.5,
        exponent: 0.75,
        log_scale: 0.0,
    };

    /// log μ for one query and many users. All slices have one length; `log_rates` are those of the
    /// users, and the three probabilities are overwritten.
    pub(crate) fn scores(&self, log_rates: &[f32], signals: Signals<'_>, out: &mut [f32]) {
        let Signals {
            share,
            mass,
            recent,
            popularity,
        } = signals;
        match *self {
            Form::Mix {
                share_weight,
                exponent,
                log_scale,
            } => {
                let (own, exponent, scale) =
                    (share_weight as f32, exponent as f32, log_scale as f32);
                for (share, mass) in share.iter_mut().zip(mass.iter()) {
                    *share = (own * *share + (1.0 - own) * mass).max(PROBABILITY_MIN);
                }
                ln_in_place(share);
                for ((out, rate), log) in out.iter_mut().zip(log_rates).zip(share.iter()) {
                    *out = rate + exponent * log + scale;
                }
            }
            Form::LogLinear { weights } => {
                let [intercept, rate, own, towers, lately, popular] = weights.map(|w| w as f32);
                for row in [&mut *share, &mut *mass, &mut *recent] {
                    for value in row.iter_mut() {
                        *value = value.max(PROBABILITY_MIN);
                    }
                    ln_in_place(row);
                }
                let constant = intercept + popular * popularity;
                for (place, out) in out.iter_mut().enumerate() {
                    *out = constant
                        + rate * log_rates[place]
                        + own * share[place]
                        + towers * mass[place]
                        + lately * recent[place];
                }
            }
        }
    }
}

/// What is known about many users and one query.
pub(crate) struct Signals<'a> {
    /// Smoothed share of the user's events that are on the query's items.
    pub(crate) share: &'a mut [f32],
    /// Probability that the towers give to the items.
    pub(crate) mass: &'a mut [f32],
    /// As `share`, of the decayed events.
    pub(crate) recent: &'a mut [f32],
    /// Log share of all events that are on the items.
    pub(crate) popularity: f32,
}

/// ln x of each element, positive and normal, to about 2e-7: fast, and the same on every machine.
pub(crate) fn ln_in_place(values: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if crate::train::kernels::has_avx2() {
        // SAFETY: the features that `ln_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { ln_avx2(values) };
    }
    ln_body(values);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn ln_avx2(values: &mut [f32]) {
    ln_body(values);
}

#[inline(always)]
fn ln_body(values: &mut [f32]) {
    /// Bits of √½: mantissas are taken from [√½, √2).
    const FROM: i32 = 0x3f35_04f3;
    for value in values {
        let bits = value.to_bits() as i32;
        let exponent = (bits - FROM) >> 23;
        let mantissa = f32::from_bits((bits - (exponent << 23)) as u32);
        // ln m = 2 artanh s, and |s| < 0.172: five terms of the series.
        let s = (mantissa - 1.0) / (mantissa + 1.0);
        let z = s * s;
        let series = 1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0))));
        *value = 2.0 * s * series + exponent as f32 * std::f32::consts::LN_2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_the_library() {
        let mut values: Vec<f32> = (-120..120)
            .flat_map(|power| [1.0f32, 1.2, 1.414, 1.4143, 1.99].map(|m| m * 2f32.powi(power)))
            .collect();
        let expected: Vec<f64> = values.iter().map(|&v| libm::log(f64::from(v))).collect();
        let mut plain = values.clone();
        ln_in_place(&mut values);
        ln_body(&mut plain);
        assert_eq!(values, plain);
        for (found, expected) in values.iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error <= 4e-7 * expected.abs().max(0.5),
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn both_forms_are_what_they_say() {
        let (rate, share, mass, recent, popularity) = (-0.5f32, 0.2f32, 0.05f32, 0.4f32, -3.0f32);
        let score = |form: Form| {
            let mut out = [0.0];
            let signals = Signals {
                share: &mut [share],
                mass: &mut [mass],
                recent: &mut [recent],
                popularity,
            };
            form.scores(&[rate], signals, &mut out);
            f64::from(out[0])
        };
        let mix = score(Form::Mix {
            share_weight: 0.25,
            exponent: 0.5,
            log_scale: 1.5,
        });
        assert!((mix - (1.0 + 0.5 * libm::log(0.0875))).abs() < 1e-6);
        let linear = score(Form::LogLinear {
            weights: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        });
        let expected =
            1.0 - 1.0 + 3.0 * libm::log(0.2) + 4.0 * libm::log(0.05) + 5.0 * libm::log(0.4) - 18.0;
        assert!((linear - expected).abs() < 1e-5);
    }
}
