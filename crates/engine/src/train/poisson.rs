//! Poisson regression with a log link, fitted by iteratively reweighted least squares.
//!
//! The first column of every row is 1, the intercept. Sums run over fixed blocks, so the result does not
//! depend on the number of threads.

use rayon::prelude::*;

use super::linear;

/// Weight of the squared coefficients against the mean loss; the intercept is free.
const RIDGE: f64 = 5e-4;
/// Bounds of the linear term.
const LINEAR_MIN: f64 = -15.0;
const LINEAR_MAX: f64 = 12.0;
const STEPS_MAX: usize = 60;
/// A larger α would give all rows the same weight.
const DISPERSION_MAX: f64 = 50.0;
/// Rows of one block of a parallel sum.
const BLOCK_ROWS: usize = 4096;

/// Columns of one observation, and the count that was observed.
pub(crate) type Row<const N: usize> = ([f64; N], f64);

/// Means and standard deviations of the columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale<const N: usize> {
    pub(crate) means: [f64; N],
    pub(crate) deviations: [f64; N],
}

impl<const N: usize> Scale<N> {
    /// Of the rows; the intercept stays as it is.
    pub(crate) fn of(rows: &[Row<N>]) -> Scale<N> {
        let count = rows.len() as f64;
        let mut means = [0.0; N];
        let mut deviations = [0.0; N];
        for (columns, _) in rows {
            for (mean, value) in means.iter_mut().zip(columns) {
                *mean += value / count;
            }
        }
        for (columns, _) in rows {
            for ((deviation, value), mean) in deviations.iter_mut().zip(columns).zip(means) {
                *deviation += (value - mean) * (value - mean) / count;
            }
        }
        for deviation in &mut deviations {
            // A column that never varies says nothing; dividing by one keeps it at zero.
            *deviation = if *deviation > 1e-12 {
                deviation.sqrt()
            } else {
                1.0
            };
        }
        (means[0], deviations[0]) = (0.0, 1.0);
        Scale { means, deviations }
    }

    /// Standardises the columns of a row.
    pub(crate) fn apply(&self, columns: &mut [f64; N]) {
        for ((value, mean), deviation) in columns.iter_mut().zip(self.means).zip(self.deviations) {
            *value = (*value - mean) / deviation;
        }
    }
}

/// The linear term, within its bounds.
pub(crate) fn linear_term<const N: usize>(columns: &[f64; N], coefficients: &[f64; N]) -> f64 {
    let mut sum = 0.0;
    for (value, coefficient) in columns.iter().zip(coefficients) {
        sum += value * coefficient;
    }
    sum.clamp(LINEAR_MIN, LINEAR_MAX)
}

/// Minimises the mean Poisson loss plus the ridge; `None` if that leads nowhere.
pub(crate) fn regress<const N: usize>(rows: &[Row<N>]) -> Option<[f64; N]> {
    let mean = rows.iter().map(|(_, count)| count).sum::<f64>() / rows.len() as f64;
    let mut coefficients = [0.0; N];
    coefficients[0] = libm::log(mean.max(1e-6));
    minimise(rows, coefficients, 0.0)
}

/// The same for counts that vary more than Poisson's, with variance μ + α μ²: rows with large counts
/// then weigh no more than they can tell (the negative binomial; Lawless, 1987). α is that of the moments
/// of the Poisson fit, and the intercept makes the sum of the rates that of the counts.
pub(crate) fn regress_dispersed<const N: usize>(rows: &[Row<N>]) -> Option<[f64; N]> {
    let poisson = regress(rows)?;
    let alpha = dispersion(rows, &poisson);
    if alpha <= 0.0 {
        return Some(poisson);
    }
    let mut found = minimise(rows, poisson, alpha)?;
    let sums: Vec<(f64, f64)> = rows
        .par_chunks(BLOCK_ROWS)
        .map(|block| {
            let rates = block
                .iter()
                .map(|(columns, _)| libm::exp(linear_term(columns, &found)));
            (rates.sum(), block.iter().map(|(_, count)| count).sum())
        })
        .collect();
    let rates: f64 = sums.iter().map(|sum| sum.0).sum();
    let counts: f64 = sums.iter().map(|sum| sum.1).sum();
    found[0] += libm::log(counts / rates);
    found[0].is_finite().then_some(found)
}

/// α of var = μ + α μ², by moments.
fn dispersion<const N: usize>(rows: &[Row<N>], coefficients: &[f64; N]) -> f64 {
    let sums: Vec<(f64, f64)> = rows
        .par_chunks(BLOCK_ROWS)
        .map(|block| {
            let (mut beyond, mut squares) = (0.0, 0.0);
            for (columns, count) in block {
                let rate = libm::exp(linear_term(columns, coefficients));
                // Each row over its own variance, so that the largest do not decide alone.
                let scale = 1.0 / ((1.0 + rate) * (1.0 + rate));
                beyond += scale * ((count - rate) * (count - rate) - rate);
                squares += scale * rate * rate;
            }
            (beyond, squares)
        })
        .collect();
    let beyond: f64 = sums.iter().map(|sum| sum.0).sum();
    let squares: f64 = sums.iter().map(|sum| sum.1).sum();
    (beyond / squares.max(f64::MIN_POSITIVE)).clamp(0.0, DISPERSION_MAX)
}

fn minimise<const N: usize>(rows: &[Row<N>], start: [f64; N], alpha: f64) -> Option<[f64; N]> {
    let mut coefficients = start;
    let mut current = loss(rows, &coefficients, alpha);
    for _ in 0..STEPS_MAX {
        let step = newton_step(rows, &coefficients, alpha)?;
        let mut length = 1.0;
        let mut gain = 0.0;
        for _ in 0..30 {
            let mut next = coefficients;
            for (next, step) in next.iter_mut().zip(step) {
                *next += length * step;
            }
            let found = loss(rows, &next, alpha);
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
    coefficients
        .iter()
        .all(|c| c.is_finite())
        .then_some(coefficients)
}

fn loss<const N: usize>(rows: &[Row<N>], coefficients: &[f64; N], alpha: f64) -> f64 {
    let parts: Vec<f64> = rows
        .par_chunks(BLOCK_ROWS)
        .map(|block| {
            let mut sum = 0.0;
            for (columns, count) in block {
                let linear = linear_term(columns, coefficients);
                let rate = libm::exp(linear);
                sum += if alpha > 0.0 {
                    (count + 1.0 / alpha) * libm::log1p(alpha * rate) - count * linear
                } else {
                    rate - count * linear
                };
            }
            sum
        })
        .collect();
    let ridge: f64 = coefficients[1..].iter().map(|c| c * c).sum();
    parts.iter().sum::<f64>() / rows.len() as f64 + RIDGE * ridge
}

#[allow(clippy::needless_range_loop)] // Matrices read best with their indices.
fn newton_step<const N: usize>(
    rows: &[Row<N>],
    coefficients: &[f64; N],
    alpha: f64,
) -> Option<[f64; N]> {
    let parts: Vec<([[f64; N]; N], [f64; N])> = rows
        .par_chunks(BLOCK_ROWS)
        .map(|block| {
            let mut curvature = [[0.0; N]; N];
            let mut gradient = [0.0; N];
            for (columns, count) in block {
                let rate = libm::exp(linear_term(columns, coefficients));
                let weight = 1.0 / (1.0 + alpha * rate);
                for i in 0..N {
                    gradient[i] += weight * (count - rate) * columns[i];
                    for j in 0..=i {
                        curvature[i][j] += weight * rate * columns[i] * columns[j];
                    }
                }
            }
            (curvature, gradient)
        })
        .collect();
    let count = rows.len() as f64;
    let mut curvature = [[0.0; N]; N];
    let mut gradient = [0.0; N];
    for (part_curvature, part_gradient) in parts {
        for i in 0..N {
            gradient[i] += part_gradient[i] / count;
            for j in 0..=i {
                curvature[i][j] += part_curvature[i][j] / count;
            }
        }
    }
    for i in 0..N {
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

    #[test]
    fn one_informative_column_gives_the_closed_form() {
        // Half the rows have feature −1 and mean count 2, half +1 and mean count 8: without a ridge
        // the intercept is log 4 and the slope log 2. The ridge of 5e−4 moves them by little.
        let rows: Vec<Row<4>> = (0..4000)
            .map(|i| {
                let feature = if i % 2 == 0 { -1.0 } else { 1.0 };
                let count = match i % 4 {
                    0 => 1.0,
                    2 => 3.0,
                    1 => 6.0,
                    _ => 10.0,
                };
                ([1.0, 0.0, feature, 0.0], count)
            })
            .collect();
        let found = regress(&rows).unwrap();
        assert!((found[0] - libm::log(4.0)).abs() < 1e-3, "{found:?}");
        assert!((found[2] - libm::log(2.0)).abs() < 1e-3, "{found:?}");
        assert!(found[1].abs() + found[3].abs() < 1e-9);
    }
}
