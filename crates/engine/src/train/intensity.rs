//! How active a user will be: λ(x), the expected number of events in the next horizon.
//!
//! Poisson regression with a log link on twelve features of the user's event times, fitted by
//! iteratively reweighted least squares on the periods just before the end of the data, pooled.
//! Nothing here looks at items.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::events::Prefix;
use super::linear;

/// Decayed counts, then recency, tenure and number of events.
const DECAYS: usize = 9;
const FEATURES: usize = DECAYS + 3;
/// With the intercept.
const COLUMNS: usize = FEATURES + 1;
/// Periods before the end that are pooled.
const PERIODS: i64 = 3;
/// Weight of the squared coefficients against the mean loss; the intercept is free.
const RIDGE: f64 = 5e-4;
/// Bounds of the linear term.
const LINEAR_MIN: f64 = -15.0;
const LINEAR_MAX: f64 = 12.0;
const STEPS_MAX: usize = 60;
/// Fewer events in the pooled periods teach nothing.
const EVENTS_MIN: f64 = 30.0;
/// Fewer (user, period) rows teach nothing.
const ROWS_MIN: usize = 2 * COLUMNS;
/// Users of one block of a parallel sum.
const BLOCK_USERS: usize = 4096;

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

type Features = [f64; FEATURES];

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
                let count = times.partition_point(|&t| t < until) - times.partition_point(|&t| t < start);
                Some((features, count as f64))
            })
            .collect();
        rows.extend(part.into_iter().flatten());
    }
    let events: f64 = rows.iter().map(|(_, count)| count).sum();
    if rows.len() < ROWS_MIN || events < EVENTS_MIN {
        return None;
    }
    let (means, deviations) = moments(&rows);
    for (features, _) in &mut rows {
        standardise(features, &means, &deviations);
    }
    let coefficients = regress(&rows)?;
    Some(Intensity {
        horizon_seconds: horizon,
        means: means.to_vec(),
        deviations: deviations.to_vec(),
        coefficients: coefficients.to_vec(),
    })
}

impl Intensity {
    /// log λ of every user at time `now`; −∞ for users without an event before it.
    pub(crate) fn log_rates(&self, prefix: &Prefix<'_>, now: i64) -> Vec<f64> {
        let mut means = [0.0; FEATURES];
        let mut deviations = [1.0; FEATURES];
        means.copy_from_slice(&self.means);
        deviations.copy_from_slice(&self.deviations);
        let mut coefficients = [0.0; COLUMNS];
        coefficients.copy_from_slice(&self.coefficients);
        (0..prefix.users())
            .into_par_iter()
            .map(|user| match features(prefix, user, now, self.horizon_seconds) {
                Some(mut features) => {
                    standardise(&mut features, &means, &deviations);
                    linear_term(&features, &coefficients)
                }
                None => f64::NEG_INFINITY,
            })
            .collect()
    }
}

/// log(1 + events), what stands in for λ when nothing could be fitted.
pub(crate) fn log_counts(prefix: &Prefix<'_>) -> Vec<f64> {
    (0..prefix.users())
        .map(|user| libm::log1p(prefix.events_of(user).len() as f64))
        .collect()
}

/// Features of a user at time `now` from the events before it.
fn features(prefix: &Prefix<'_>, user: usize, now: i64, horizon: i64) -> Option<Features> {
    let times = &prefix.data.event_times[prefix.events_of(user)];
    let times = &times[..times.partition_point(|&t| t < now)];
    let (first, last) = (*times.first()?, *times.last()?);
    let scale = horizon as f64;
    let mut features = [0.0; FEATURES];
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
    for (feature, count) in features.iter_mut().zip(counts) {
        *feature = libm::log1p(5.0 * count);
    }
    features[DECAYS] = libm::log(seconds(now, last) / scale + 1e-3);
    features[DECAYS + 1] = libm::log(seconds(now, first) / scale + 1e-3);
    features[DECAYS + 2] = libm::log1p(times.len() as f64);
    Some(features)
}

fn seconds(later: i64, earlier: i64) -> f64 {
    later.saturating_sub(earlier) as f64
}

fn decay(counts: &mut [f64; DECAYS], taus: &[f64; DECAYS], age: f64) {
    for (count, tau) in counts.iter_mut().zip(taus) {
        let rate = age / tau;
        // e^−40 of anything is nothing next to 1.
        *count = if rate > 40.0 { 0.0 } else { *count * libm::exp(-rate) };
    }
}

fn moments(rows: &[(Features, f64)]) -> (Features, Features) {
    let count = rows.len() as f64;
    let mut means = [0.0; FEATURES];
    let mut deviations = [0.0; FEATURES];
    for (features, _) in rows {
        for (mean, feature) in means.iter_mut().zip(features) {
            *mean += feature / count;
        }
    }
    for (features, _) in rows {
        for ((deviation, feature), mean) in deviations.iter_mut().zip(features).zip(means) {
            *deviation += (feature - mean) * (feature - mean) / count;
        }
    }
    for deviation in &mut deviations {
        // A feature that never varies says nothing; dividing by one keeps it at zero.
        *deviation = if *deviation > 1e-12 { deviation.sqrt() } else { 1.0 };
    }
    (means, deviations)
}

fn standardise(features: &mut Features, means: &Features, deviations: &Features) {
    for ((feature, mean), deviation) in features.iter_mut().zip(means).zip(deviations) {
        *feature = (*feature - mean) / deviation;
    }
}

fn linear_term(features: &Features, coefficients: &[f64; COLUMNS]) -> f64 {
    let mut sum = coefficients[0];
    for (feature, coefficient) in features.iter().zip(&coefficients[1..]) {
        sum += feature * coefficient;
    }
    sum.clamp(LINEAR_MIN, LINEAR_MAX)
}

/// Minimises the mean Poisson loss plus the ridge.
fn regress(rows: &[(Features, f64)]) -> Option<[f64; COLUMNS]> {
    let mean = rows.iter().map(|(_, count)| count).sum::<f64>() / rows.len() as f64;
    let mut coefficients = [0.0; COLUMNS];
    coefficients[0] = libm::log(mean.max(1e-6));
    let mut current = loss(rows, &coefficients);
    for _ in 0..STEPS_MAX {
        let step = newton_step(rows, &coefficients)?;
        let mut length = 1.0;
        let mut gain = 0.0;
        for _ in 0..30 {
            let mut next = coefficients;
            for (next, step) in next.iter_mut().zip(step) {
                *next += length * step;
            }
            let found = loss(rows, &next);
            if found < current {
                gain = current - found;
                (coefficients, current) = (next, found);
                break;
            }
            length *= 0.5;
        }
        if gain <= 1e-10 * current.abs().max(1e-3) {
            break;
        }
    }
    coefficients.iter().all(|c| c.is_finite()).then_some(coefficients)
}

fn loss(rows: &[(Features, f64)], coefficients: &[f64; COLUMNS]) -> f64 {
    let parts: Vec<f64> = rows
        .par_chunks(BLOCK_USERS)
        .map(|block| {
            let mut sum = 0.0;
            for (features, count) in block {
                let linear = linear_term(features, coefficients);
                sum += libm::exp(linear) - count * linear;
            }
            sum
        })
        .collect();
    let ridge: f64 = coefficients[1..].iter().map(|c| c * c).sum();
    parts.iter().sum::<f64>() / rows.len() as f64 + RIDGE * ridge
}

fn newton_step(rows: &[(Features, f64)], coefficients: &[f64; COLUMNS]) -> Option<[f64; COLUMNS]> {
    let parts: Vec<([[f64; COLUMNS]; COLUMNS], [f64; COLUMNS])> = rows
        .par_chunks(BLOCK_USERS)
        .map(|block| {
            let mut curvature = [[0.0; COLUMNS]; COLUMNS];
            let mut gradient = [0.0; COLUMNS];
            for (features, count) in block {
                let rate = libm::exp(linear_term(features, coefficients));
                let mut row = [1.0; COLUMNS];
                row[1..].copy_from_slice(features);
                for i in 0..COLUMNS {
                    gradient[i] += (count - rate) * row[i];
                    for j in 0..=i {
                        curvature[i][j] += rate * row[i] * row[j];
                    }
                }
            }
            (curvature, gradient)
        })
        .collect();
    let count = rows.len() as f64;
    let mut curvature = [[0.0; COLUMNS]; COLUMNS];
    let mut gradient = [0.0; COLUMNS];
    for (part_curvature, part_gradient) in parts {
        for i in 0..COLUMNS {
            gradient[i] += part_gradient[i] / count;
            for j in 0..=i {
                curvature[i][j] += part_curvature[i][j] / count;
            }
        }
    }
    for i in 0..COLUMNS {
        if i > 0 {
            gradient[i] -= 2.0 * RIDGE * coefficients[i];
            curvature[i][i] += 2.0 * RIDGE;
        }
        curvature[i][i] += 1e-12;
        for j in 0..i {
            curvature[j][i] = curvature[i][j];
        }
    }
    linear::solve_small(&curvature, &gradient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    #[test]
    fn one_informative_column_gives_the_closed_form() {
        // Half the rows have feature −1 and mean count 2, half +1 and mean count 8: without a ridge
        // the intercept is log 4 and the slope log 2. The ridge of 5e−4 moves them by little.
        let rows: Vec<(Features, f64)> = (0..4000)
            .map(|i| {
                let mut features = [0.0; FEATURES];
                features[3] = if i % 2 == 0 { -1.0 } else { 1.0 };
                let count = match i % 4 {
                    0 => 1.0,
                    2 => 3.0,
                    1 => 6.0,
                    _ => 10.0,
                };
                (features, count)
            })
            .collect();
        let found = regress(&rows).unwrap();
        assert!((found[0] - libm::log(4.0)).abs() < 1e-3, "{found:?}");
        assert!((found[4] - libm::log(2.0)).abs() < 1e-3, "{found:?}");
        let rest: f64 = (1..COLUMNS).filter(|&j| j != 4).map(|j| found[j].abs()).sum();
        assert!(rest < 1e-9);
    }

    #[test]
    fn features_do_not_see_the_future_and_decay() {
        let data = interactions(&[("a", "x", 0), ("a", "y", 100), ("a", "y", 1000)]);
        let prefix = Prefix::whole(&data);
        assert_eq!(features(&prefix, 0, 0, 100), None);
        let found = features(&prefix, 0, 200, 100).unwrap();
        // τ = 100 is the fifth: e^−2 + e^−1.
        let count = libm::exp(-2.0) + libm::exp(-1.0);
        assert!((found[4] - libm::log1p(5.0 * count)).abs() < 1e-12);
        assert!((found[DECAYS] - libm::log(1.001)).abs() < 1e-12);
        assert!((found[DECAYS + 1] - libm::log(2.001)).abs() < 1e-12);
        assert!((found[DECAYS + 2] - libm::log(3.0)).abs() < 1e-12);
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
            assert!((rates[user] - libm::log(20.0)).abs() < 0.2, "{}", rates[user]);
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
