//! Repeats: how much a seen item weighs in Z (κ), and the share of a user's own history (π, τ).
//!
//! Some domains forbid repeats (nobody buys the same film twice), others live on them. κ matches the
//! moment: the predicted share of repeats equals the observed one. π is the weight of the user's own
//! decayed history in a mixture with the model, found by expectation maximisation; several decay times
//! share it, because what was bought last week and what is bought every year repeat differently. Both explain the
//! same repeats, so they are fitted in turn until they settle.

use rayon::prelude::*;

use super::calibrate::Mass;
use super::events::{Pairs, Prefix};
use super::{OwnHistory, Without};

/// Decay times of the own history that are tried, in days.
pub(crate) const TAU_DAYS: [f64; 6] = [7.0, 15.0, 30.0, 60.0, 120.0, 240.0];
/// How many there are.
pub(crate) const TAUS: usize = TAU_DAYS.len();
/// A share of the mixture for each decay time.
pub(crate) type Shares = [f64; TAUS];
const NO_SHARES: Shares = [0.0; TAUS];
/// Observations of one block of a sum.
const SUM_BLOCK: usize = 4096;
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
    /// π_τ: shares of the own history in the mixture.
    pub(crate) shares: Shares,
}

impl Repeats {
    /// Seen items weigh as much as others, and there is no own history.
    pub(crate) const NONE: Repeats = Repeats {
        log_kappa: 0.0,
        shares: NO_SHARES,
    };

    /// The parts of the own history that have a share.
    pub(crate) fn own_history(&self) -> Vec<OwnHistory> {
        TAU_DAYS
            .iter()
            .zip(&self.shares)
            .filter(|(_, share)| **share > 0.0)
            .map(|(&tau_days, &share)| OwnHistory { tau_days, share })
            .collect()
    }

    /// π: what all own histories together have.
    pub(crate) fn pi(&self) -> f64 {
        total(&self.shares)
    }
}

/// A held-back event of a user with a known item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    /// The user's parts of Z.
    pub(crate) mass: Mass,
    /// The unnormalised log score of the item.
    pub(crate) score: f64,
    /// The item's share of the user's own history for each of `TAU_DAYS`; `None` if not seen before.
    pub(crate) own: Option<Shares>,
    /// How much the event counts.
    pub(crate) weight: f64,
}

/// The best κ, π and τ for the observations, and their log-likelihood; what is left out stays at nothing.
pub(crate) fn fit(observations: &[Observation], without: Without) -> (Repeats, f64) {
    let evidence = Evidence::new(observations, without);
    let nothing = (Repeats::NONE, evidence.likelihood(0.0, &NO_SHARES));
    if observations.is_empty() {
        return nothing;
    }
    let (log_kappa, shares) = evidence.settle();
    let found = evidence.likelihood(log_kappa, &shares);
    if found > nothing.1 {
        (Repeats { log_kappa, shares }, found)
    } else {
        nothing
    }
}

/// The own history of each pair of `user` in the mixture, Σ π_τ own_τ, in the order of its row.
pub(crate) fn mixed_shares(
    pairs: &Pairs,
    prefix: &Prefix<'_>,
    user: usize,
    own_history: &[OwnHistory],
    mixed: &mut Vec<f64>,
) {
    mixed.clear();
    mixed.resize(pairs.by_user.range(user).len(), 0.0);
    let mut shares = Vec::new();
    for part in own_history {
        own_shares(pairs, prefix, user, part.tau_days, &mut shares);
        for (mixed, share) in mixed.iter_mut().zip(&shares) {
            *mixed += part.share * share;
        }
    }
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

/// The observations with their exponentials taken once, scaled by the larger part of Z.
struct Evidence {
    /// Equal masses in a row (a user's events) with their number.
    masses: Vec<(Scaled, f64)>,
    repeats: Vec<Repeat>,
    firsts: Vec<(Scaled, f64, f64)>,
    /// Weights of the repeats, and of all.
    repeated: f64,
    count: f64,
    without: Without,
}

/// A held-back event that repeats an earlier one.
struct Repeat {
    mass: Scaled,
    score: f64,
    own: Shares,
    weight: f64,
}

/// The parts of Z over the larger of them.
#[derive(Clone, Copy)]
struct Scaled {
    seen: f64,
    unseen: f64,
}

impl Scaled {
    fn total(&self, kappa: f64) -> f64 {
        (kappa * self.seen + self.unseen).max(f64::MIN_POSITIVE)
    }
}

impl Evidence {
    fn new(observations: &[Observation], without: Without) -> Evidence {
        let mut evidence = Evidence {
            masses: Vec::new(),
            repeats: Vec::new(),
            firsts: Vec::new(),
            repeated: 0.0,
            count: 0.0,
            without,
        };
        let mut last: Option<Mass> = None;
        for o in observations {
            let high = o.mass.seen.max(o.mass.unseen);
            let high = if high.is_finite() { high } else { 0.0 };
            let scaled = Scaled {
                seen: libm::exp(o.mass.seen - high),
                unseen: libm::exp(o.mass.unseen - high),
            };
            let score = libm::exp(o.score - high);
            match o.own {
                Some(own) => {
                    evidence.repeated += o.weight;
                    evidence.repeats.push(Repeat {
                        mass: scaled,
                        score,
                        own,
                        weight: o.weight,
                    });
                }
                None => evidence.firsts.push((scaled, score, o.weight)),
            }
            evidence.count += o.weight;
            match evidence.masses.last_mut() {
                Some((_, count)) if last == Some(o.mass) => *count += o.weight,
                _ => evidence.masses.push((scaled, o.weight)),
            }
            last = Some(o.mass);
        }
        evidence
    }

    fn settle(&self) -> (f64, Shares) {
        if self.without.own_history {
            return (self.match_repeats(0.0), NO_SHARES);
        }
        let (mut log_kappa, mut shares) = (0.0f64, [0.3 / TAUS as f64; TAUS]);
        for _ in 0..TURNS_MAX {
            let next_kappa = self.match_repeats(total(&shares));
            let next = self.expect_own(next_kappa, &shares);
            let moved: f64 = (next_kappa - log_kappa).abs()
                + next
                    .iter()
                    .zip(&shares)
                    .map(|(a, b)| (a - b).abs())
                    .sum::<f64>();
            (log_kappa, shares) = (next_kappa, next);
            if moved < 1e-5 {
                break;
            }
        }
        for share in &mut shares {
            if *share < PI_MIN {
                *share = 0.0;
            }
        }
        (self.match_repeats(total(&shares)), shares)
    }

    /// The κ for which the expected number of repeats equals the observed one, by bisection.
    fn match_repeats(&self, pi: f64) -> f64 {
        if self.without.kappa {
            return 0.0;
        }
        let observed = self.repeated;
        let expected = |log_kappa: f64| {
            let kappa = libm::exp(log_kappa);
            let model = ordered_sum(&self.masses, |(mass, count)| {
                count * kappa * mass.seen / mass.total(kappa)
            });
            (1.0 - pi) * model + pi * self.count
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

    /// One step of expectation maximisation for the shares.
    fn expect_own(&self, log_kappa: f64, shares: &Shares) -> Shares {
        let kappa = libm::exp(log_kappa);
        let rest = 1.0 - total(shares);
        let parts: Vec<Shares> = self
            .repeats
            .par_chunks(SUM_BLOCK)
            .map(|block| {
                let mut sums = NO_SHARES;
                for repeat in block {
                    let model = rest * kappa * repeat.score / repeat.mass.total(kappa);
                    let all = model + repeat.mixed(shares);
                    if all > 0.0 {
                        for ((sum, share), own) in sums.iter_mut().zip(shares).zip(repeat.own) {
                            *sum += repeat.weight * share * own / all;
                        }
                    }
                }
                sums
            })
            .collect();
        let mut next = NO_SHARES;
        for part in parts {
            for (next, part) in next.iter_mut().zip(part) {
                *next += part / self.count;
            }
        }
        let most = total(&next) / PI_MAX;
        if most > 1.0 {
            next.iter_mut().for_each(|share| *share /= most);
        }
        next
    }

    fn likelihood(&self, log_kappa: f64, shares: &Shares) -> f64 {
        let kappa = libm::exp(log_kappa);
        let rest = 1.0 - total(shares);
        let log = |p: f64| libm::log(p.max(f64::MIN_POSITIVE));
        let repeats = ordered_sum(&self.repeats, |repeat| {
            let model = rest * kappa * repeat.score / repeat.mass.total(kappa);
            repeat.weight * log(repeat.mixed(shares) + model)
        });
        let firsts = ordered_sum(&self.firsts, |(mass, score, weight)| {
            weight * log(rest * score / mass.total(kappa))
        });
        repeats + firsts
    }
}

impl Repeat {
    /// Σ π_τ own_τ.
    fn mixed(&self, shares: &Shares) -> f64 {
        shares
            .iter()
            .zip(&self.own)
            .map(|(share, own)| share * own)
            .sum()
    }
}

fn total(shares: &Shares) -> f64 {
    shares.iter().sum()
}

/// Σ over fixed blocks, blocks added in order: the same bytes for any number of threads.
fn ordered_sum<T: Sync>(values: &[T], each: impl Fn(&T) -> f64 + Sync) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(SUM_BLOCK)
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
            own: Some([own; TAUS]),
            weight: 1.0,
        };
        let first = Observation {
            mass,
            score: libm::log(0.001),
            own: None,
            weight: 1.0,
        };
        let mut all = vec![seen; repeats];
        all.extend(vec![first; firsts]);
        all
    }

    #[test]
    fn without_own_history_kappa_alone_matches_the_repeats() {
        // Own shares of zero: π must vanish, and κ s / (1 + (κ − 1) s) = 0.5 at s = 0.1 gives κ = 9.
        let (found, _) = fit(&observed(500, 500, 0.0), Without::default());
        assert_eq!(found.pi(), 0.0);
        assert!((libm::exp(found.log_kappa) - 9.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn no_repeats_at_all_push_kappa_to_its_bound_and_pi_to_zero() {
        let (found, likelihood) = fit(&observed(0, 1000, 0.0), Without::default());
        assert_eq!((found.log_kappa, found.pi()), (-LOG_KAPPA_MAX, 0.0));
        assert!(likelihood.is_finite());
    }

    #[test]
    fn the_mixture_that_made_the_repeats_is_found() {
        // Nine of ten repeats fall on an item with own share 0.5, one of ten on one with 0.01 · κ-free
        // model share: EM must give own history most of the repeats.
        let mut all = observed(450, 500, 0.5);
        all.extend(observed(50, 0, 0.001));
        let (found, _) = fit(&all, Without::default());
        assert!(found.pi() > 0.3 && found.pi() < 0.5, "{found:?}");
        // The expected repeats still match.
        let share =
            libm::exp(found.log_kappa + all[0].mass.seen - all[0].mass.log_total(found.log_kappa));
        assert!(((1.0 - found.pi()) * share + found.pi() - 0.5).abs() < 1e-3);
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
