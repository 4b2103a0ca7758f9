//! Repeats: how much a seen item weighs in Z (κ), and the share of a user's own history (π, τ).
//!
//! Some domains forbid repeats (nobody buys the same film twice), others live on them. κ matches the
//! moment: the predicted share of repeats equals the observed one. π is the weight of the user's own
//! decayed history in a mixture with the model, found by expectation maximisation. Both explain the
//! same repeats, so they are fitted in turn until they settle.

use rayon::prelude::*;

use super::calibrate::Mass;
use super::events::{Pairs, Prefix};

/// Decay times of the own history that are tried, in days.
pub(crate) const TAU_DAYS: [f64; 3] = [60.0, 120.0, 240.0];
/// log κ stays within ± this, so that Z stays positive whatever was observed.
const LOG_KAPPA_MAX: f64 = 14.0;
/// A smaller share is no own history at all.
const PI_MIN: f64 = 0.005;
/// A mixture of own history alone would leave first-time users without a score.
const PI_MAX: f64 = 0.95;
/// Turns of κ and π.
const TURNS_MAX: usize = 300;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// How repeats are treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Repeats {
    pub(crate) log_kappa: f64,
    pub(crate) pi: f64,
    pub(crate) tau_days: f64,
}

impl Repeats {
    /// Seen items weigh as much as others, and there is no own history.
    pub(crate) const NONE: Repeats = Repeats {
        log_kappa: 0.0,
        pi: 0.0,
        tau_days: TAU_DAYS[1],
    };
}

/// A held-back event of a user with a known item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    /// The user's parts of Z.
    pub(crate) mass: Mass,
    /// The unnormalised log score of the item.
    pub(crate) score: f64,
    /// The item's share of the user's own history for each of `TAU_DAYS`; `None` if not seen before.
    pub(crate) own: Option<[f64; TAU_DAYS.len()]>,
}

/// The best κ, π and τ for the observations, and their log-likelihood.
pub(crate) fn fit(observations: &[Observation]) -> (Repeats, f64) {
    let mut best = (Repeats::NONE, likelihood(observations, 0.0, 0.0, 0));
    if observations.is_empty() {
        return best;
    }
    for (tau, &tau_days) in TAU_DAYS.iter().enumerate() {
        let (log_kappa, pi) = settle(observations, tau);
        let found = likelihood(observations, log_kappa, pi, tau);
        if found > best.1 {
            let repeats = Repeats {
                log_kappa,
                pi,
                tau_days,
            };
            best = (repeats, found);
        }
    }
    best
}

/// The own share of each pair of `user`, in the order of its row: decayed counts that sum to 1.
/// Ages count from the user's last event.
pub(crate) fn own_shares(
    pairs: &Pairs,
    prefix: &Prefix<'_>,
    user: usize,
    tau_days: f64,
    shares: &mut Vec<f64>,
) {
    shares.clear();
    shares.resize(pairs.by_user.range(user).len(), 0.0);
    let Some(last) = prefix.events_of(user).last() else {
        return;
    };
    let last = prefix.data.event_times[last];
    let tau = tau_days * SECONDS_PER_DAY;
    pairs.add_by_step(
        prefix,
        user,
        |_, time| libm::exp(-(last.saturating_sub(time) as f64) / tau),
        shares,
    );
    let total: f64 = shares.iter().sum();
    for share in shares.iter_mut() {
        *share /= total;
    }
}

fn settle(observations: &[Observation], tau: usize) -> (f64, f64) {
    let (mut log_kappa, mut pi) = (0.0f64, 0.3f64);
    for _ in 0..TURNS_MAX {
        let next_kappa = match_repeats(observations, pi);
        let next_pi = expect_own(observations, next_kappa, pi, tau);
        let moved = (next_kappa - log_kappa).abs() + (next_pi - pi).abs();
        (log_kappa, pi) = (next_kappa, next_pi);
        if moved < 1e-5 {
            break;
        }
    }
    if pi < PI_MIN {
        (match_repeats(observations, 0.0), 0.0)
    } else {
        (log_kappa, pi)
    }
}

/// The κ for which the expected number of repeats equals the observed one, by bisection.
fn match_repeats(observations: &[Observation], pi: f64) -> f64 {
    let observed = observations.iter().filter(|o| o.own.is_some()).count() as f64;
    let expected = |log_kappa: f64| {
        let model: f64 = ordered_sum(observations, |o| {
            libm::exp(log_kappa + o.mass.seen - o.mass.log_total(log_kappa)).min(1.0)
        });
        (1.0 - pi) * model + pi * observations.len() as f64
    };
    let (mut low, mut high) = (-LOG_KAPPA_MAX, LOG_KAPPA_MAX);
    if expected(low) >= observed {
        return low;
    }
    if expected(high) <= observed {
        return high;
    }
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if expected(middle) < observed {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// One step of expectation maximisation for π.
fn expect_own(observations: &[Observation], log_kappa: f64, pi: f64, tau: usize) -> f64 {
    let sum = ordered_sum(observations, |o| {
        let Some(own) = o.own else { return 0.0 };
        let own = pi * own[tau];
        let total = own + (1.0 - pi) * probability(o, log_kappa);
        if total > 0.0 { own / total } else { 0.0 }
    });
    (sum / observations.len() as f64).clamp(0.0, PI_MAX)
}

fn probability(o: &Observation, log_kappa: f64) -> f64 {
    let boost = if o.own.is_some() { log_kappa } else { 0.0 };
    libm::exp(o.score + boost - o.mass.log_total(log_kappa))
}

fn likelihood(observations: &[Observation], log_kappa: f64, pi: f64, tau: usize) -> f64 {
    ordered_sum(observations, |o| {
        let own = o.own.map_or(0.0, |own| own[tau]);
        let p = pi * own + (1.0 - pi) * probability(o, log_kappa);
        libm::log(p.max(f64::MIN_POSITIVE))
    })
}

/// Σ over fixed blocks, blocks added in order: the same bytes for any number of threads.
fn ordered_sum(observations: &[Observation], each: impl Fn(&Observation) -> f64 + Sync) -> f64 {
    let parts: Vec<f64> = observations
        .par_chunks(4096)
        .map(|block| block.iter().map(&each).sum())
        .collect();
    parts.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    /// Users whose mass is 10 % on seen items before κ; items within a group are equally likely.
    fn observed(repeats: usize, firsts: usize, own: f64) -> Vec<Observation> {
        let mass = Mass {
            seen: libm::log(0.1),
            unseen: libm::log(0.9),
        };
        let seen = Observation {
            mass,
            score: libm::log(0.01),
            own: Some([own; 3]),
        };
        let first = Observation {
            mass,
            score: libm::log(0.001),
            own: None,
        };
        let mut all = vec![seen; repeats];
        all.extend(vec![first; firsts]);
        all
    }

    #[test]
    fn without_own_history_kappa_alone_matches_the_repeats() {
        // Own shares of zero: π must vanish, and κ s / (1 + (κ − 1) s) = 0.5 at s = 0.1 gives κ = 9.
        let (found, _) = fit(&observed(500, 500, 0.0));
        assert_eq!(found.pi, 0.0);
        assert!((libm::exp(found.log_kappa) - 9.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn no_repeats_at_all_push_kappa_to_its_bound_and_pi_to_zero() {
        let (found, likelihood) = fit(&observed(0, 1000, 0.0));
        assert_eq!((found.log_kappa, found.pi), (-LOG_KAPPA_MAX, 0.0));
        assert!(likelihood.is_finite());
    }

    #[test]
    fn the_mixture_that_made_the_repeats_is_found() {
        // Nine of ten repeats fall on an item with own share 0.5, one of ten on one with 0.01 · κ-free
        // model share: EM must give own history most of the repeats.
        let mut all = observed(450, 500, 0.5);
        all.extend(observed(50, 0, 0.001));
        let (found, _) = fit(&all);
        assert!(found.pi > 0.3 && found.pi < 0.5, "{found:?}");
        // The expected repeats still match.
        let share = libm::exp(found.log_kappa + all[0].mass.seen - all[0].mass.log_total(found.log_kappa));
        assert!(((1.0 - found.pi) * share + found.pi - 0.5).abs() < 1e-3);
    }

    #[test]
    fn own_shares_decay_from_the_last_event() {
        let day = 86_400;
        let data = interactions(&[
            ("a", "x", 0),
            ("a", "y", 60 * day),
            ("a", "y", 60 * day),
            ("b", "x", 5),
        ]);
        let prefix = Prefix::whole(&data);
        let pairs = Pairs::new(&prefix);
        let mut shares = Vec::new();
        own_shares(&pairs, &prefix, 0, 60.0, &mut shares);
        let old = libm::exp(-1.0);
        assert!((shares[0] - old / (2.0 + old)).abs() < 1e-12);
        assert!((shares[0] + shares[1] - 1.0).abs() < 1e-12);
        own_shares(&pairs, &prefix, 1, 60.0, &mut shares);
        assert_eq!(shares, [1.0]);
    }
}
