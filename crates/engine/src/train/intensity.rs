//! How active a user will be: λ(x), the expected number of events in the next horizon.
//!
//! Poisson regression with a log link on twelve features of the user's event times, fitted by
//! iteratively reweighted least squares on the periods just before the end of the data, pooled.
//! Events of less weight count for less in what is predicted, and as events in the features: what a
//! user does tells how active they are, whatever it is worth. Nothing here looks at items.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::events::Prefix;
use super::poisson::{self, Scale};

/// Decayed counts, then recency, tenure and number of events.
const DECAYS: usize = 9;
const FEATURES: usize = DECAYS + 3;
/// With the intercept.
const COLUMNS: usize = FEATURES + 1;
/// Periods before the end that are pooled.
const PERIODS: i64 = 3;
/// Fewer events in the pooled periods teach nothing.
const EVENTS_MIN: f64 = 30.0;
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
    let mut rows: Vec<(Features, f64)> = Vec::new();
    for period in 1..=PERIODS {
        let start = end.saturating_sub(horizon.saturating_mul(period));
        let part: Vec<Option<(Features, f64)>> = (0..prefix.users())
            .into_par_iter()
            .map(|user| {
                let features = features(prefix, user, start, horizon)?;
                let times = &prefix.data.event_times[prefix.events_of(user)];
                let until = start.saturating_add(horizon);
                let first = prefix.events_of(user).start;
                let within =
                    times.partition_point(|&t| t < start)..times.partition_point(|&t| t < until);
                let count: f64 = within
                    .map(|place| f64::from(prefix.data.weight(first + place)))
                    .sum();
                Some((features, count))
            })
            .collect();
        rows.extend(part.into_iter().flatten());
    }
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
        (0..prefix.users())
            .into_par_iter()
            .map(
                |user| match features(prefix, user, now, self.horizon_seconds) {
                    Some(mut features) => {
                        scale.apply(&mut features);
                        poisson::linear_term(&features, &coefficients)
                    }
                    None => f64::NEG_INFINITY,
                },
            )
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

/// Features of a user at time `now` from the events before it.
fn features(prefix: &Prefix<'_>, user: usize, now: i64, horizon: i64) -> Option<Features> {
    let times = &prefix.data.event_times[prefix.events_of(user)];
    let times = &times[..times.partition_point(|&t| t < now)];
    let (first, last) = (*times.first()?, *times.last()?);
    let scale = horizon as f64;
    let mut features = [1.0; COLUMNS];
    let mut counts = [0.0f64; DECAYS];
    let mut taus = [0.0f64; DECAYS];
    for (k, tau) in taus.iter_mut().enumerate() {
        // H·10^−2, 10^−1.5, … 10^2.
        *tau = scale * libm::pow(10.0, -2.0 + 0.5 * k as f64);
    }
    let mut place = 0;
    let mut previous = first;
    while place < times.len() {
        let time = times[place];
        let same = times[place..].partition_point(|&t| t == time);
        if time != previous {
            decay(&mut counts, &taus, seconds(time, previous));
        }
        for count in &mut counts {
            *count += same as f64;
        }
        previous = time;
        place += same;
    }
    decay(&mut counts, &taus, seconds(now, last));
    for (feature, count) in features[1..].iter_mut().zip(counts) {
        *feature = libm::log1p(5.0 * count);
    }
    features[DECAYS + 1] = libm::log(seconds(now, last) / scale + 1e-3);
    features[DECAYS + 2] = libm::log(seconds(now, first) / scale + 1e-3);
    features[DECAYS + 3] = libm::log1p(times.len() as f64);
    Some(features)
}

fn seconds(later: i64, earlier: i64) -> f64 {
    later.saturating_sub(earlier) as f64
}

fn decay(counts: &mut [f64; DECAYS], taus: &[f64; DECAYS], age: f64) {
    for (count, tau) in counts.iter_mut().zip(taus) {
        let rate = age / tau;
        // e^−40 of anything is nothing next to 1.
        *count = if rate > 40.0 {
            0.0
        } else {
            *count * libm::exp(-rate)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    #[test]
    fn features_do_not_see_the_future_and_decay() {
        let data = interactions(&[("a", "x", 0), ("a", "y", 100), ("a", "y", 1000)]);
        let prefix = Prefix::whole(&data);
        assert_eq!(features(&prefix, 0, 0, 100), None);
        let found = features(&prefix, 0, 200, 100).unwrap();
        // τ = 100 is the fifth: e^−2 + e^−1.
        let count = libm::exp(-2.0) + libm::exp(-1.0);
        assert!((found[5] - libm::log1p(5.0 * count)).abs() < 1e-12);
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
