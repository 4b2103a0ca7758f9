//! How active a user will be: λ(x), the expected number of events in the next horizon.
//!
//! Poisson regression with a log link on twelve features of the user's event times, fitted by
//! iteratively reweighted least squares on the periods just before the end of the data, pooled.
//! Events of less weight count for less in what is predicted, and as events in the features: what a
//! user does tells how active they are, whatever it is worth. Nothing here looks at items.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::events::Prefix;
use super::kernels;
use super::poisson::{self, Scale};

/// Decayed counts, then recency, tenure and number of events.
const DECAYS: usize = 9;
/// The same in whole registers.
const DECAYS_AT_ONCE: usize = 16;
/// A decayed count that is as good as none.
const COUNT_MIN: f64 = 1e-30;
const FEATURES: usize = DECAYS + 3;
/// With the intercept.
const COLUMNS: usize = FEATURES + 1;
/// Periods before the end that are pooled.
const PERIODS: usize = 3;
/// Fewer events in the pooled periods teach nothing.
const EVENTS_MIN: f64 = 30.0;
/// More (user, period) rows teach nothing more; of more users, evenly spaced ones are taken.
const ROWS_MAX: usize = 6_000_000;
/// Users that one worker handles at a time.
const BLOCK_USERS: usize = 1024;
/// Fewer (user, period) rows teach nothing.
const ROWS_MIN: usize = 2 * COLUMNS;

/// A fitted regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intensity {
    /// Seconds of the period whose events are predicted.
    pub horizon_seconds: i64,
    /// Means of the features.
    pub means: Vec<f64>,
    /// Standard deviations of the features.
    pub deviations: Vec<f64>,
    /// Coefficients of the standardised features, the intercept first.
    pub coefficients: Vec<f64>,
}

/// The intercept's 1, then the features.
type Features = [f64; COLUMNS];

/// Fits the regression; `None` if the data cannot teach one.
pub(crate) fn fit(prefix: &Prefix<'_>, horizon: i64) -> Option<Intensity> {
    let (_, last) = prefix.span()?;
    if horizon <= 0 {
        return None;
    }
    let end = last.saturating_add(1);
    let periods: [i64; PERIODS] = std::array::from_fn(|period| {
        end.saturating_sub(horizon.saturating_mul((PERIODS - period) as i64))
    });
    let scales = Scales::new(horizon);
    // Users without events cost nothing but their place; the others are evenly spaced.
    let spacing = (PERIODS * prefix.users()).div_ceil(ROWS_MAX).max(1);
    let users: Vec<usize> = (0..prefix.users()).step_by(spacing).collect();
    let parts: Vec<Vec<(Features, f64)>> = users
        .par_chunks(BLOCK_USERS)
        .map(|users| {
            let mut rows = Vec::new();
            for &user in users {
                let found = features(prefix, user, &periods, &scales);
                for (start, features) in periods.into_iter().zip(found) {
                    let Some(features) = features else { continue };
                    rows.push((features, counted(prefix, user, start, horizon)));
                }
            }
            rows
        })
        .collect();
    let mut rows: Vec<(Features, f64)> = parts.concat();
    let events: f64 = rows.iter().map(|(_, count)| count).sum();
    if rows.len() < ROWS_MIN || events < EVENTS_MIN {
        return None;
    }
    let scale = Scale::of(&rows);
    for (features, _) in &mut rows {
        scale.apply(features);
    }
    let coefficients = poisson::regress_dispersed(&rows)?;
    Some(Intensity {
        horizon_seconds: horizon,
        means: scale.means[1..].to_vec(),
        deviations: scale.deviations[1..].to_vec(),
        coefficients: coefficients.to_vec(),
    })
}

/// The weights of a user's events in the period from `start` on.
fn counted(prefix: &Prefix<'_>, user: usize, start: i64, horizon: i64) -> f64 {
    let events = prefix.events_of(user);
    let times = &prefix.data.event_times[events.clone()];
    let until = start.saturating_add(horizon);
    let within = times.partition_point(|&t| t < start)..times.partition_point(|&t| t < until);
    within
        .map(|place| f64::from(prefix.data.weight(events.start + place)))
        .sum()
}

impl Intensity {
    /// log λ of every user at time `now`; −∞ for users without an event before it.
    pub(crate) fn log_rates(&self, prefix: &Prefix<'_>, now: i64) -> Vec<f64> {
        let mut scale = Scale {
            means: [0.0; COLUMNS],
            deviations: [1.0; COLUMNS],
        };
        scale.means[1..].copy_from_slice(&self.means);
        scale.deviations[1..].copy_from_slice(&self.deviations);
        let mut coefficients = [0.0; COLUMNS];
        coefficients.copy_from_slice(&self.coefficients);
        let scales = Scales::new(self.horizon_seconds);
        (0..prefix.users())
            .into_par_iter()
            .map(|user| {
                let [found] = features(prefix, user, &[now], &scales);
                found.map_or(f64::NEG_INFINITY, |mut features| {
                    scale.apply(&mut features);
                    poisson::linear_term(&features, &coefficients)
                })
            })
            .collect()
    }
}

/// log(more + events), what stands in for λ when nothing is fitted.
pub(crate) fn log_counts(prefix: &Prefix<'_>, more: f64) -> Vec<f64> {
    (0..prefix.users())
        .map(|user| {
            let events = prefix.events_of(user);
            let count: f64 = events
                .map(|event| f64::from(prefix.data.weight(event)))
                .sum();
            libm::log(more + count)
        })
        .collect()
}

/// What times are divided by.
struct Scales {
    horizon: f64,
    /// −1/τ: H·10^−2, 10^−1.5, … 10^2; zeros fill up what is computed at once.
    rates: [f32; DECAYS_AT_ONCE],
}

impl Scales {
    fn new(horizon: i64) -> Scales {
        let horizon = horizon as f64;
        let mut rates = [0.0; DECAYS_AT_ONCE];
        for (k, rate) in rates[..DECAYS].iter_mut().enumerate() {
            *rate = (-1.0 / (horizon * libm::pow(10.0, -2.0 + 0.5 * k as f64))) as f32;
        }
        Scales { horizon, rates }
    }
}

/// Decayed counts as they go through time.
struct Counts {
    counts: [f64; DECAYS],
    time: i64,
}

impl Counts {
    fn advance(&mut self, time: i64, scales: &Scales) {
        if time == self.time {
            return;
        }
        let age = seconds(time, self.time) as f32;
        let mut factors = scales.rates.map(|rate| age * rate);
        kernels::exp_in_place(&mut factors);
        for (count, factor) in self.counts.iter_mut().zip(factors) {
            // Below it is nothing next to 1, and would only get slow to compute with.
            *count = if *count < COUNT_MIN {
                0.0
            } else {
                *count * f64::from(factor)
            };
        }
        self.time = time;
    }

    /// The features at `now`, of `times` with the events before it.
    fn features(&self, times: &[i64], now: i64, scales: &Scales) -> Option<Features> {
        let (first, last) = (*times.first()?, *times.last()?);
        let mut features = [1.0; COLUMNS];
        for (feature, count) in features[1..].iter_mut().zip(self.counts) {
            *feature = libm::log1p(5.0 * count);
        }
        features[DECAYS + 1] = libm::log(seconds(now, last) / scales.horizon + 1e-3);
        features[DECAYS + 2] = libm::log(seconds(now, first) / scales.horizon + 1e-3);
        features[DECAYS + 3] = libm::log1p(times.len() as f64);
        Some(features)
    }
}

/// Features of a user at each of ascending moments from the events before it, in one walk over them.
fn features<const N: usize>(
    prefix: &Prefix<'_>,
    user: usize,
    moments: &[i64; N],
    scales: &Scales,
) -> [Option<Features>; N] {
    let times = &prefix.data.event_times[prefix.events_of(user)];
    let mut counts = Counts {
        counts: [0.0; DECAYS],
        time: times.first().copied().unwrap_or(0),
    };
    let mut place = 0;
    moments.map(|now| {
        while times.get(place).is_some_and(|&time| time < now) {
            let time = times[place];
            let same = times[place..].partition_point(|&t| t == time);
            counts.advance(time, scales);
            for count in &mut counts.counts {
                *count += same as f64;
            }
            place += same;
        }
        if place > 0 {
            counts.advance(now, scales);
        }
        counts.features(&times[..place], now, scales)
    })
}

fn seconds(later: i64, earlier: i64) -> f64 {
    later.saturating_sub(earlier) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    #[test]
    fn features_do_not_see_the_future_and_decay() {
        let data = interactions(&[("a", "x", 0), ("a", "y", 100), ("a", "y", 1000)]);
        let prefix = Prefix::whole(&data);
        let [none, found] = features(&prefix, 0, &[0, 200], &Scales::new(100));
        assert_eq!(none, None);
        let found = found.unwrap();
        // τ = 100 is the fifth: e^−2 + e^−1.
        let count = libm::exp(-2.0) + libm::exp(-1.0);
        assert!((found[5] - libm::log1p(5.0 * count)).abs() < 1e-6);
        assert!((found[DECAYS + 1] - libm::log(1.001)).abs() < 1e-12);
        assert!((found[DECAYS + 2] - libm::log(2.001)).abs() < 1e-12);
        assert!((found[DECAYS + 3] - libm::log(3.0)).abs() < 1e-12);
    }

    #[test]
    fn busy_users_are_expected_to_stay_busy() {
        let mut rows = Vec::new();
        let names: Vec<String> = (0..40).map(|user| format!("u{user:02}")).collect();
        for (user, name) in names.iter().enumerate() {
            let gap = if user < 20 { 10 } else { 100 };
            for k in 0..(2000 / gap) {
                rows.push((name.as_str(), "x", i64::from(k * gap + user as i32 % 7)));
            }
        }
        let data = interactions(&rows);
        let prefix = Prefix::whole(&data);
        let (_, last) = prefix.span().unwrap();
        let intensity = fit(&prefix, 200).unwrap();
        let rates = intensity.log_rates(&prefix, last + 1);
        for user in 0..20 {
            assert!(
                (rates[user] - libm::log(20.0)).abs() < 0.2,
                "{}",
                rates[user]
            );
            assert!((rates[user + 20] - libm::log(2.0)).abs() < 0.4);
        }
    }

    #[test]
    fn a_handful_of_events_teaches_nothing() {
        let data = interactions(&[("a", "x", 5), ("b", "x", 5)]);
        assert_eq!(fit(&Prefix::whole(&data), 1), None);
        assert_eq!(fit(&Prefix::whole(&data), 0), None);
    }
}
