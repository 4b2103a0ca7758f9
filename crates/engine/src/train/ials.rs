//! The iALS towers: user and item vectors of implicit alternating least squares.
//!
//! Minimises Σ over pairs (p·q − 1)² + a0 Σ over all (p·q)² + a regulariser that grows with the
//! number of pairs (Rendle et al., "Revisiting the Performance of iALS", 2022). Each half-step turns
//! both sides into the eigenbasis of the other side's Gram matrix: there the part common to all rows
//! is diagonal, serves as the preconditioner, and few conjugate-gradient steps per row suffice. Only the
//! items last: the users' vectors follow from them, live for half a sweep, and in half precision.
//! What the vectors mean as probabilities is `calibrate`'s business.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::events::Pairs;
use super::half::{self, HalfRows};
use super::kernels::{self, WIDTH};
use super::linear;
use super::solve::{self, Scratch, System};
use crate::error::Error;

/// Weight of a (user, item) cell against a seen one.
pub(crate) const UNSEEN_WEIGHT_MAX: f64 = 0.1;
/// All cells together weigh at most this many times what the pairs do. Where pairs are few for the
/// size of the matrix, the zeros would push the vectors into a corner: on generated data of 7 pairs a
/// user and 20,000 items recall fell from 0.18 to the 0.10 of the most active users.
pub(crate) const UNSEEN_PER_PAIR_MAX: f64 = 25.0;
/// Strength of the regulariser. Three times as much leaves nothing of the vectors on sparse data.
pub(crate) const REGULARISATION: f64 = 0.01;
/// Standard deviation of the start, times √d.
const START_SCALE: f64 = 0.1;
/// Conjugate-gradient steps of an item in each half-step. They start from the item's last solution.
pub(crate) const ITEM_STEPS: usize = 2;
/// The same of a user. They start from zero: one step more costs less than to turn all of the last
/// solutions into the new basis.
pub(crate) const USER_STEPS: usize = 3;
/// Most steps of the fold-in, whose weights are farther apart.
const FOLD_IN_STEPS: usize = 12;
/// Squared residual at which a folded-in user counts as solved.
const FOLD_IN_TOLERANCE: f32 = 1e-6;
/// Squared residual at which a row counts as solved.
const TOLERANCE: f32 = 1e-9;
/// Items with many users that are solved together.
const LONG_AT_ONCE: usize = 4096;
/// Rows a worker takes at a time.
const ROWS_AT_ONCE: usize = 64;

/// Vectors of the items, row-major with zeros after `dimension` up to `stride`.
#[derive(Clone)]
pub(crate) struct Towers {
    pub(crate) dimension: usize,
    pub(crate) stride: usize,
    pub(crate) items: Vec<f32>,
}

/// The items' vectors as users are solved for: in the eigenbasis of their Gram matrix.
pub(crate) struct Basis {
    /// Eigenvalues of the Gram matrix.
    values: Vec<f32>,
    items: HalfRows,
}

impl Towers {
    /// Random item vectors.
    pub(crate) fn random(items: usize, dimension: usize, seed: u64) -> Towers {
        let stride = dimension.next_multiple_of(WIDTH);
        let mut vectors = vec![0.0f32; items * stride];
        vectors
            .par_chunks_mut(linear::BLOCK_ROWS * stride)
            .enumerate()
            .for_each(|(block, rows)| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(block as u64);
                for row in rows.chunks_exact_mut(stride) {
                    for value in &mut row[..dimension] {
                        *value = near_normal(random.next_u64()) * start_scale(dimension);
                    }
                }
            });
        Towers {
            dimension,
            stride,
            items: vectors,
        }
    }

    #[cfg(test)]
    pub(crate) fn item(&self, item: usize) -> &[f32] {
        &self.items[item * self.stride..(item + 1) * self.stride]
    }

    /// One pass over users, then items. Returns the loss between the two.
    pub(crate) fn sweep(&mut self, pairs: &Pairs) -> Result<f64, Error> {
        let basis = self.turn()?;
        let (mut users, mut loss) = self.solve_users(pairs, &basis)?;
        drop(basis);
        let gram = linear::gram_half(&users, self.stride);
        let eigen = self.eigen(&gram)?;
        linear::rotate_half(&mut users, self.stride, &eigen.vectors);
        linear::rotate(&mut self.items, self.stride, &eigen.vectors);
        let common = Common {
            values: &eigen.values,
            unseen: unseen_weight(pairs),
            others: pairs.by_user.rows(),
        };
        loss += self.item_ridge(pairs, &common);
        self.solve_items(pairs, &users, &common);
        Ok(loss)
    }

    /// The users' vectors for these items, in their basis, and the loss without the items' ridge.
    fn solve_users(&self, pairs: &Pairs, basis: &Basis) -> Result<(HalfRows, f64), Error> {
        let common = Common {
            values: &basis.values,
            unseen: unseen_weight(pairs),
            others: pairs.by_item.rows(),
        };
        let rows = &pairs.by_user;
        let mut users = HalfRows::zeros(rows.rows(), self.stride)?;
        let pitch = users.pitch();
        let losses: Vec<f64> = users
            .par_rows_mut(ROWS_AT_ONCE)
            .enumerate()
            .map_init(
                || (Scratch::default(), Vec::new(), vec![0.0f32; self.stride]),
                |(scratch, diagonal, x), (block, out)| {
                    let mut loss = 0.0;
                    for (place, out) in out.chunks_exact_mut(pitch).enumerate() {
                        let range = rows.range(block * ROWS_AT_ONCE + place);
                        let weights = pairs.user_weights.as_deref();
                        common.diagonal(range.len(), diagonal);
                        let system = System {
                            other: &basis.items,
                            indices: &rows.indices[range.clone()],
                            weights: weights.map(|weights| &weights[range]),
                            diagonal,
                            steps: USER_STEPS,
                            tolerance: TOLERANCE,
                            warm: false,
                        };
                        loss += solve::solve(&system, x, scratch);
                        half::narrow(x, out);
                    }
                    loss
                },
            )
            .collect();
        Ok((users, losses.iter().sum()))
    }

    /// Improves the items' vectors for these users, in their basis.
    fn solve_items(&mut self, pairs: &Pairs, users: &HalfRows, common: &Common<'_>) {
        let rows = &pairs.by_item;
        let stride = self.stride;
        let is_long = |item: usize| solve::is_long(rows.range(item).len(), stride, users);
        let long: Vec<usize> = (0..rows.rows()).filter(|&item| is_long(item)).collect();
        for items in long.chunks(LONG_AT_ONCE) {
            self.solve_long_items(items, pairs, users, common);
        }
        self.items
            .par_chunks_mut(ROWS_AT_ONCE * stride)
            .enumerate()
            .for_each_init(
                || (Scratch::default(), Vec::new()),
                |(scratch, diagonal), (block, out)| {
                    for (place, x) in out.chunks_exact_mut(stride).enumerate() {
                        let item = block * ROWS_AT_ONCE + place;
                        if !is_long(item) {
                            common.diagonal(rows.range(item).len(), diagonal);
                            solve::solve(&item_system(pairs, users, item, diagonal), x, scratch);
                        }
                    }
                },
            );
    }

    /// The same for a few items with many users.
    fn solve_long_items(
        &mut self,
        items: &[usize],
        pairs: &Pairs,
        users: &HalfRows,
        common: &Common<'_>,
    ) {
        let stride = self.stride;
        let mut diagonals = vec![Vec::new(); items.len()];
        for (diagonal, &item) in diagonals.iter_mut().zip(items) {
            common.diagonal(pairs.by_item.range(item).len(), diagonal);
        }
        let mut together: Vec<(System<'_>, Vec<f32>)> = items
            .iter()
            .zip(&diagonals)
            .map(|(&item, diagonal)| {
                let x = self.items[item * stride..(item + 1) * stride].to_vec();
                (item_system(pairs, users, item, diagonal), x)
            })
            .collect();
        solve::solve_together(&mut together);
        for (&item, (_, x)) in items.iter().zip(&together) {
            self.items[item * stride..(item + 1) * stride].copy_from_slice(x);
        }
    }

    /// Solves for the listed users with a weight for each pair (laid out as `pairs.by_user`); the
    /// regulariser keeps the number of pairs. The items must not have been turned since `basis`.
    pub(crate) fn fold_in(
        &self,
        pairs: &Pairs,
        basis: &Basis,
        users: &[u32],
        weights: impl Fn(usize, &mut Vec<f32>) + Sync,
    ) -> Vec<f32> {
        let common = Common {
            values: &basis.values,
            unseen: unseen_weight(pairs),
            others: pairs.by_item.rows(),
        };
        let mut out = vec![0.0f32; users.len() * self.stride];
        out.par_chunks_mut(ROWS_AT_ONCE * self.stride)
            .zip(users.par_chunks(ROWS_AT_ONCE))
            .for_each_init(
                || (Scratch::default(), Vec::new(), Vec::new()),
                |(scratch, diagonal, row_weights), (rows, users)| {
                    for (x, &user) in rows.chunks_exact_mut(self.stride).zip(users) {
                        let indices = pairs.by_user.row(user as usize);
                        common.diagonal(indices.len(), diagonal);
                        row_weights.clear();
                        weights(user as usize, row_weights);
                        let system = System {
                            other: &basis.items,
                            indices,
                            weights: Some(row_weights),
                            diagonal,
                            steps: FOLD_IN_STEPS,
                            tolerance: FOLD_IN_TOLERANCE,
                            warm: false,
                        };
                        solve::solve(&system, x, scratch);
                    }
                },
            );
        out
    }

    /// All users' vectors, every pair by its own weight.
    pub(crate) fn users(&self, pairs: &Pairs, basis: &Basis) -> Vec<f32> {
        let all: Vec<u32> = (0..pairs.by_user.rows() as u32).collect();
        self.fold_in(pairs, basis, &all, |user, weights| {
            let range = pairs.by_user.range(user);
            match &pairs.user_weights {
                Some(own) => weights.extend_from_slice(&own[range]),
                None => weights.resize(range.len(), 1.0),
            }
        })
    }

    /// Turns the items into the eigenbasis of their Gram matrix.
    pub(crate) fn turn(&mut self) -> Result<Basis, Error> {
        let eigen = self.eigen(&linear::gram(&self.items, self.stride))?;
        linear::rotate(&mut self.items, self.stride, &eigen.vectors);
        Ok(Basis {
            values: eigen.values,
            items: HalfRows::of(&self.items, self.stride)?,
        })
    }

    fn eigen(&self, gram: &[f64]) -> Result<linear::Eigen, Error> {
        linear::eigen(gram, self.stride, self.dimension).ok_or_else(|| {
            Error::Input("the model diverged: the vectors have no eigendecomposition".into())
        })
    }

    fn item_ridge(&self, pairs: &Pairs, common: &Common<'_>) -> f64 {
        let parts: Vec<f64> = self
            .items
            .par_chunks(linear::BLOCK_ROWS * self.stride)
            .enumerate()
            .map(|(block, rows)| {
                let mut sum = 0.0;
                for (place, row) in rows.chunks_exact(self.stride).enumerate() {
                    let count = pairs.popularity(block * linear::BLOCK_ROWS + place);
                    sum += common.ridge(count) * f64::from(kernels::dot(row, row));
                }
                sum
            })
            .collect();
        parts.iter().sum()
    }
}

/// What an item's vector solves.
fn item_system<'a>(
    pairs: &'a Pairs,
    users: &'a HalfRows,
    item: usize,
    diagonal: &'a [f32],
) -> System<'a> {
    let range = pairs.by_item.range(item);
    let weights = pairs.item_weights.as_deref();
    System {
        other: users,
        indices: &pairs.by_item.indices[range.clone()],
        weights: weights.map(|weights| &weights[range]),
        diagonal,
        steps: ITEM_STEPS,
        tolerance: TOLERANCE,
        warm: true,
    }
}

/// Weight of a cell: less than its maximum where pairs are rare.
pub(crate) fn unseen_weight(pairs: &Pairs) -> f64 {
    let cells = pairs.by_user.rows() as f64 * pairs.by_item.rows() as f64;
    let count = pairs.by_user.indices.len() as f64;
    UNSEEN_WEIGHT_MAX.min(UNSEEN_PER_PAIR_MAX * count / cells.max(1.0))
}

/// What the systems of all rows of a half-step have in common.
struct Common<'a> {
    /// Eigenvalues of the other side's Gram matrix.
    values: &'a [f32],
    unseen: f64,
    /// Rows of the other side.
    others: usize,
}

impl Common<'_> {
    /// The diagonal of a row with `count` pairs: a0 Λ + regulariser. Never zero, also in the padding.
    fn diagonal(&self, count: usize, diagonal: &mut Vec<f32>) {
        let ridge = self.ridge(count) as f32;
        let unseen = self.unseen as f32;
        diagonal.clear();
        diagonal.extend(self.values.iter().map(|value| unseen * value + ridge));
    }

    fn ridge(&self, count: usize) -> f64 {
        REGULARISATION * (count as f64 + self.unseen * self.others as f64)
    }
}

fn start_scale(dimension: usize) -> f32 {
    (START_SCALE / (dimension as f64).sqrt()) as f32
}

/// The sum of four uniform numbers, scaled to variance 1: near enough to normal for a start.
pub(crate) fn near_normal(bits: u64) -> f32 {
    let sum: u32 = (0..4)
        .map(|part| ((bits >> (16 * part)) & 0xffff) as u32)
        .sum();
    // Four uniforms on 0..65536: mean 2·65535, variance 4·65536²/12.
    (sum as f32 - 131_070.0) / 37_837.23
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::events::Prefix;
    use crate::train::fixtures;

    #[test]
    fn the_loss_falls_and_blocks_are_found() {
        let data = fixtures::two_tastes(40, 20, 600, 7);
        let prefix = Prefix::whole(&data);
        let pairs = Pairs::new(&prefix);
        let mut towers = Towers::random(data.items.len(), 32, 3);
        let losses: Vec<f64> = (0..6).map(|_| towers.sweep(&pairs).unwrap()).collect();
        for pair in losses.windows(2) {
            assert!(pair[1] <= pair[0] * 1.0001, "{losses:?}");
        }
        let basis = towers.turn().unwrap();
        let users = towers.users(&pairs, &basis);
        // Users like items of their own half: the vectors must tell them apart.
        let (mut own, mut other) = (0.0, 0.0);
        for user in 0..data.users.len() {
            for item in 0..data.items.len() {
                let score = kernels::dot(&users[user * 32..][..32], towers.item(item));
                let same = (user < data.users.len() / 2) == (item < data.items.len() / 2);
                if same { own += score } else { other += score }
            }
        }
        assert!(own > 5.0 * other.abs(), "{own} against {other}");
    }

    #[test]
    fn near_normal_has_mean_zero_and_variance_one() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let values: Vec<f64> = (0..100_000)
            .map(|_| f64::from(near_normal(random.next_u64())))
            .collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02);
    }
}
