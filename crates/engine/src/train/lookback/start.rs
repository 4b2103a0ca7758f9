//! Look-back towers started from iALS towers.
//!
//! From random vectors the bag needs many epochs before it beats popularity. iALS is trained anyway and
//! takes seconds; its items serve as output vectors, and the input vectors are those whose plain sums
//! come nearest to the iALS users, by least squares. Training goes on from there.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Lookback, RATE_FROM_IALS, Table};
use crate::train::calibrate::Weights;
use crate::train::events::{Pairs, Prefix};
use crate::train::ials::near_normal;
use crate::train::linear;
use crate::train::towers::Towers;

/// Users of the least squares.
const USERS_MAX: usize = 16_384;
/// Weight of the ridge against the mean of the squares.
const RIDGE: f64 = 1e-3;

impl Lookback {
    /// Towers that score about as iALS towers do with these weights; `None` if they are degenerate.
    pub(crate) fn from_ials(
        prefix: &Prefix<'_>,
        pairs: &Pairs,
        ials: &Towers,
        weights: Weights,
        dimension: usize,
        seed: u64,
    ) -> Option<Lookback> {
        let mut start = Lookback::random(prefix, dimension, seed);
        let stride = start.stride;
        let items = ials.items();
        let known = prefix.known_users();
        let spacing = known.len().div_ceil(USERS_MAX).max(1);
        let users: Vec<u32> = known.into_iter().step_by(spacing).collect();
        let wanted = ials.users(prefix, pairs, &users);
        start.inputs = Table::new(items.vectors.to_vec());
        let sums = start.states(prefix, &users);

        let map = least_squares(&sums, &wanted, stride, dimension)?;
        let mut inputs = items.vectors.to_vec();
        linear::rotate(&mut inputs, stride, &map);
        let mut outputs = items.vectors.to_vec();
        let basis = random_basis(stride, dimension, seed)?;
        linear::rotate(&mut inputs, stride, &basis);
        linear::rotate(&mut outputs, stride, &basis);
        // u·v = b p·q, with both sides of about the same size.
        let (user_size, item_size) = (size(&wanted), size(items.vectors));
        if user_size == 0.0 || item_size == 0.0 || weights.b <= 0.0 {
            return None;
        }
        let share = (weights.b * user_size / item_size).sqrt();
        scale(&mut outputs, share);
        scale(&mut inputs, weights.b / share);
        for (bias, term) in start.biases.values.iter_mut().zip(items.terms) {
            *bias = (weights.c * f64::from(*term)) as f32;
        }
        start.inputs = Table::new(inputs);
        start.outputs = Table::new(outputs);
        start.rate = RATE_FROM_IALS;
        Some(start)
    }
}

/// The matrix (row-major, padded) that takes the rows of `from` nearest to those of `to`.
fn least_squares(from: &[f32], to: &[f32], stride: usize, dimension: usize) -> Option<Vec<f32>> {
    let gram = linear::gram(from, stride);
    let trace: f64 = (0..dimension).map(|j| gram[j * stride + j]).sum();
    let ridge = RIDGE * trace / dimension as f64;
    if ridge.is_nan() || ridge <= 0.0 {
        return None;
    }
    let left = Mat::from_fn(dimension, dimension, |i, j| {
        gram[i.max(j) * stride + i.min(j)] + if i == j { ridge } else { 0.0 }
    });
    let mut right = Mat::<f64>::zeros(dimension, dimension);
    for (from, to) in from.chunks_exact(stride).zip(to.chunks_exact(stride)) {
        for (i, from) in from[..dimension].iter().enumerate() {
            for (j, to) in to[..dimension].iter().enumerate() {
                right[(i, j)] += f64::from(*from) * f64::from(*to);
            }
        }
    }
    let solved = left.llt(Side::Lower).ok()?.solve(&right);
    let mut map = vec![0.0f32; stride * stride];
    for i in 0..dimension {
        for j in 0..dimension {
            map[i * stride + j] = solved[(i, j)] as f32;
        }
    }
    map.iter().all(|value| value.is_finite()).then_some(map)
}

/// Random directions at right angles. In the basis that iALS leaves, the first coordinates are large and
/// the last tiny, and steps of one size in all of them do not get far.
fn random_basis(stride: usize, dimension: usize, seed: u64) -> Option<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x62_6173_6973);
    let mut symmetric = vec![0.0f64; stride * stride];
    for i in 0..dimension {
        for j in 0..=i {
            let value = f64::from(near_normal(random.next_u64()));
            symmetric[i * stride + j] = value;
            symmetric[j * stride + i] = value;
        }
    }
    linear::eigen(&symmetric, stride, dimension).map(|eigen| eigen.vectors)
}

/// Root of the mean square.
fn size(values: &[f32]) -> f64 {
    let sum: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    (sum / values.len().max(1) as f64).sqrt()
}

fn scale(values: &mut [f32], factor: f64) {
    for value in values {
        *value *= factor as f32;
    }
}
