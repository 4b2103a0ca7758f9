//! From inner products to probabilities: log p(y|x) = b p·q + c t_y − log Z_x, with t_y a term of the
//! item: log(1 + n_y) for the iALS towers, the trained bias for the look-back towers.
//!
//! Scores that rank items within a user say nothing across users; normalised ones do. Z is summed
//! exactly over the items a user has seen, and over the others from items drawn by popularity with
//! importance weights (all items when there are few), so that no users × items pass is needed. The
//! weights b and c maximise the likelihood of events held back. Repeats are `repeats`' business.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::events::Pairs;
use super::{kernels, linear};

/// Multiply-adds allowed for the unseen part of Z: decides the number of draws.
const DRAW_BUDGET: u64 = 1 << 32;
/// Never fewer draws (unless there are fewer items).
const DRAWS_MIN: usize = 256;
/// Never more draws.
const DRAWS_MAX: usize = 2048;
/// Users of one block of the pass over the draws.
const BLOCK_USERS: usize = 128;
/// Items of a row whose vectors are asked for ahead of their use.
const ITEMS_AHEAD: usize = 4;
/// Newton steps for b and c; a handful suffices.
const NEWTON_STEPS_MAX: usize = 60;
/// Bounds of b and c: a fit that runs away from a handful of events stops here.
const FACTOR_MAX: f64 = 50.0;
const TERM_MAX: f64 = 2.0;

/// Items that stand for all items in the unseen part of Z.
pub(crate) struct Draws {
    /// Ascending.
    items: Vec<u32>,
    /// log of (number of times drawn / expected number of times).
    log_weights: Vec<f32>,
}

impl Draws {
    /// Draws items in proportion to their number of users, or takes every item that has one if that is
    /// no more work.
    pub(crate) fn new(pairs: &Pairs, stride: usize, seed: u64) -> Draws {
        let count = draw_count(pairs.by_user.rows(), stride);
        let items = pairs.by_item.rows();
        let sold: Vec<u32> = (0..items as u32)
            .filter(|&item| pairs.popularity(item as usize) > 0)
            .collect();
        if sold.len() <= count {
            return Draws {
                log_weights: vec![0.0; sold.len()],
                items: sold,
            };
        }
        // Systematic sampling: equally spaced points on the cumulated popularity, one random start.
        let total = pairs.by_item.indices.len() as f64;
        let spacing = total / count as f64;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut point = random.random::<f64>() * spacing;
        let mut draws = Draws {
            items: Vec::new(),
            log_weights: Vec::new(),
        };
        for item in sold {
            let end = pairs.by_item.starts[item as usize + 1] as f64;
            let mut times = 0u32;
            while point < end {
                times += 1;
                point += spacing;
            }
            if times > 0 {
                let expected = pairs.popularity(item as usize) as f64 / spacing;
                draws.items.push(item);
                draws
                    .log_weights
                    .push(libm::log(f64::from(times) / expected) as f32);
            }
        }
        draws
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    fn vectors(&self, items: &ItemSide<'_>) -> Vec<f32> {
        let mut vectors = Vec::with_capacity(self.items.len() * items.stride);
        for &item in &self.items {
            vectors.extend_from_slice(items.vector(item as usize));
        }
        vectors
    }
}

fn draw_count(users: usize, stride: usize) -> usize {
    let per_draw = (users as u64 * stride as u64).max(1);
    ((DRAW_BUDGET / per_draw) as usize).clamp(DRAWS_MIN, DRAWS_MAX)
}

/// log(1 + number of users) of each item.
pub(crate) fn log_popularity(pairs: &Pairs) -> Vec<f32> {
    (0..pairs.by_item.rows())
        .map(|item| libm::log1p(pairs.popularity(item) as f64) as f32)
        .collect()
}

/// The weights of the score's parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weights {
    /// Of the inner product.
    pub(crate) b: f64,
    /// Of the item's term.
    pub(crate) c: f64,
}

/// The item side of towers.
#[derive(Clone, Copy)]
pub(crate) struct ItemSide<'a> {
    /// Length of a padded vector.
    pub(crate) stride: usize,
    /// Row-major, padded with zeros.
    pub(crate) vectors: &'a [f32],
    /// A constant for each item.
    pub(crate) terms: &'a [f32],
}

impl ItemSide<'_> {
    pub(crate) fn vector(&self, item: usize) -> &[f32] {
        &self.vectors[item * self.stride..(item + 1) * self.stride]
    }
}

/// The logarithms of the two parts of a user's Z; −∞ for an empty part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mass {
    pub(crate) seen: f64,
    pub(crate) unseen: f64,
}

impl Mass {
    /// log(κ e^seen + e^unseen), or 0 when there is nothing at all.
    pub(crate) fn log_total(&self, log_kappa: f64) -> f64 {
        let seen = self.seen + log_kappa;
        let (low, high) = (seen.min(self.unseen), seen.max(self.unseen));
        if high == f64::NEG_INFINITY {
            return 0.0;
        }
        high + libm::log1p(libm::exp(low - high))
    }
}

/// Some users with vectors of their own, and what their scores are made of.
pub(crate) struct Scored<'a> {
    pub(crate) items: ItemSide<'a>,
    pub(crate) pairs: &'a Pairs,
    pub(crate) draws: &'a Draws,
    /// User numbers.
    pub(crate) users: &'a [u32],
    /// Their vectors, in the same order.
    pub(crate) vectors: &'a [f32],
}

impl Scored<'_> {
    pub(crate) fn vector(&self, place: usize) -> &[f32] {
        let stride = self.items.stride;
        &self.vectors[place * stride..(place + 1) * stride]
    }

    /// b p·q + c t of one user and item.
    pub(crate) fn score(&self, place: usize, item: usize, weights: Weights) -> f64 {
        let product = kernels::dot(self.vector(place), self.items.vector(item));
        weights.b * f64::from(product) + weights.c * f64::from(self.items.terms[item])
    }

    /// Adds the same of all items of a row.
    fn row_scores(&self, place: usize, row: &[u32], weights: Weights, scores: &mut Vec<f32>) {
        for (at, &item) in row.iter().enumerate() {
            // Items are read at random; without asking ahead the wait is most of the work.
            if let Some(&ahead) = row.get(at + ITEMS_AHEAD) {
                kernels::prefetch(self.items.vector(ahead as usize));
                kernels::prefetch(&self.items.terms[ahead as usize..][..1]);
            }
            scores.push(self.score(place, item as usize, weights) as f32);
        }
    }

    /// The scores of the draws with what they stand for; −∞ for those in `seen`.
    fn unseen_scores(
        &self,
        seen: &[u32],
        products: &[f32],
        weights: Weights,
        scores: &mut Vec<f32>,
    ) {
        let (b, c) = (weights.b as f32, weights.c as f32);
        scores.clear();
        let draws = self.draws.items.iter().zip(&self.draws.log_weights);
        scores.extend(draws.zip(products).map(|((&item, log_weight), product)| {
            b * product + c * self.items.terms[item as usize] + log_weight
        }));
        let mut rest = seen;
        for (score, &item) in scores.iter_mut().zip(&self.draws.items) {
            while rest.first().is_some_and(|&other| other < item) {
                rest = &rest[1..];
            }
            match rest.first() {
                None => break,
                Some(&other) if other == item => *score = f32::NEG_INFINITY,
                Some(_) => {}
            }
        }
    }

    /// Both parts of Z for each of the users, and the scores of their pairs, row after row.
    pub(crate) fn masses(&self, weights: Weights) -> (Vec<Mass>, Vec<f32>) {
        let parts: Vec<(Vec<Mass>, Vec<f32>)> = self.blocks(|scored, first, products| {
            let mut unseen_scores: Vec<f32> = Vec::new();
            let mut spoiled: Vec<f32> = Vec::new();
            let mut masses = Vec::with_capacity(BLOCK_USERS);
            let mut all = Vec::new();
            for (place, products) in products.chunks_exact(self.draws.len().max(1)).enumerate() {
                let place = first + place;
                let seen = scored.pairs.by_user.row(scored.users[place] as usize);
                let from = all.len();
                scored.row_scores(place, seen, weights, &mut all);
                spoiled.clear();
                spoiled.extend_from_slice(&all[from..]);
                let seen_sum = log_sum_exp(&mut spoiled);
                scored.unseen_scores(seen, products, weights, &mut unseen_scores);
                masses.push(Mass {
                    seen: seen_sum,
                    unseen: log_sum_exp(&mut unseen_scores),
                });
            }
            (masses, all)
        });
        let masses: Vec<&[Mass]> = parts.iter().map(|(masses, _)| &masses[..]).collect();
        let scores: Vec<&[f32]> = parts.iter().map(|(_, scores)| &scores[..]).collect();
        (masses.concat(), scores.concat())
    }

    /// What the likelihood of held-back `events` (items and weights, per user) needs, whatever b and c are.
    pub(crate) fn slates(&self, events: impl Fn(u32) -> Vec<(u32, f64)> + Sync) -> Vec<Slate> {
        let parts: Vec<Vec<Slate>> = self.blocks(|scored, first, products| {
            products
                .chunks_exact(self.draws.len().max(1))
                .enumerate()
                .map(|(place, products)| {
                    let place = first + place;
                    let user = scored.users[place];
                    let seen = scored.pairs.by_user.row(user as usize);
                    let mut slate = Slate::default();
                    let part = |item: u32| {
                        let item = item as usize;
                        let product = kernels::dot(scored.vector(place), scored.items.vector(item));
                        (product, scored.items.terms[item])
                    };
                    for &item in seen {
                        let (product, term) = part(item);
                        slate.push(product, term, 0.0);
                    }
                    scored.each_unseen(seen, products, |product, term, log_weight| {
                        slate.push(product, term, log_weight);
                    });
                    for (item, weight) in events(user) {
                        let (product, term) = part(item);
                        slate.events += weight;
                        slate.product_sum += weight * f64::from(product);
                        slate.term_sum += weight * f64::from(term);
                    }
                    slate
                })
                .collect()
        });
        parts.into_iter().flatten().collect()
    }

    /// Runs `each` on blocks of users with their products with all draws; results in block order.
    fn blocks<T: Send>(&self, each: impl Fn(&Self, usize, &[f32]) -> T + Sync) -> Vec<T> {
        let stride = self.items.stride;
        let drawn = self.draws.vectors(&self.items);
        let columns = self.draws.len();
        (0..self.users.len().div_ceil(BLOCK_USERS))
            .into_par_iter()
            .map_init(Vec::new, |products: &mut Vec<f32>, block| {
                let first = block * BLOCK_USERS;
                let end = (first + BLOCK_USERS).min(self.users.len());
                products.clear();
                products.resize((end - first) * columns.max(1), 0.0);
                if columns > 0 {
                    let left = &self.vectors[first * stride..end * stride];
                    linear::products(left, &drawn, stride, products);
                }
                each(self, first, products)
            })
            .collect()
    }

    /// Calls `each` with (product, term, log weight) of the draws that are not in `seen`.
    fn each_unseen(&self, seen: &[u32], products: &[f32], mut each: impl FnMut(f32, f32, f32)) {
        let mut seen = seen.iter().peekable();
        for (place, &item) in self.draws.items.iter().enumerate() {
            while seen.next_if(|&&other| other < item).is_some() {}
            if seen.peek() != Some(&&item) {
                let term = self.items.terms[item as usize];
                each(products[place], term, self.draws.log_weights[place]);
            }
        }
    }
}

/// One user's choice set and the sums over the events that were chosen from it.
#[derive(Default)]
pub(crate) struct Slate {
    products: Vec<f32>,
    terms: Vec<f32>,
    log_weights: Vec<f32>,
    events: f64,
    product_sum: f64,
    term_sum: f64,
}

impl Slate {
    /// Events in this slate, weights added up.
    pub(crate) fn events(&self) -> f64 {
        self.events
    }

    fn push(&mut self, product: f32, term: f32, log_weight: f32) {
        self.products.push(product);
        self.terms.push(term);
        self.log_weights.push(log_weight);
    }

    /// Log-likelihood of this user's events with first and second derivatives in (b, c).
    fn likelihood(&self, weights: Weights, scores: &mut Vec<f32>) -> Likelihood {
        if self.events == 0.0 || self.products.is_empty() {
            return Likelihood::default();
        }
        let (b, c) = (weights.b as f32, weights.c as f32);
        scores.clear();
        scores.extend(
            self.products
                .iter()
                .zip(&self.terms)
                .zip(&self.log_weights)
                .map(|((product, term), weight)| b * product + c * term + weight),
        );
        let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        kernels::exp_less(scores, high);
        let mut sums = [0.0f64; 6];
        for ((e, product), term) in scores.iter().zip(&self.products).zip(&self.terms) {
            let (e, f, g) = (f64::from(*e), f64::from(*product), f64::from(*term));
            let terms = [e, e * f, e * g, e * f * f, e * f * g, e * g * g];
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum += term;
            }
        }
        let [z, f, g, ff, fg, gg] = sums;
        let (f, g, ff, fg, gg) = (f / z, g / z, ff / z, fg / z, gg / z);
        let n = self.events;
        Likelihood {
            value: weights.b * self.product_sum + weights.c * self.term_sum
                - n * (f64::from(high) + libm::log(z)),
            gradient: [self.product_sum - n * f, self.term_sum - n * g],
            curvature: [n * (ff - f * f), n * (fg - f * g), n * (gg - g * g)],
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Likelihood {
    value: f64,
    gradient: [f64; 2],
    /// Of the negated likelihood: bb, bc, cc.
    curvature: [f64; 3],
}

/// The b and c of highest likelihood, and that likelihood.
pub(crate) fn fit_weights(slates: &[Slate], start: Weights) -> (Weights, f64) {
    let evaluate = |weights: Weights| {
        let parts: Vec<Likelihood> = slates
            .par_iter()
            .map_init(Vec::new, |scores, slate| slate.likelihood(weights, scores))
            .collect();
        let mut total = Likelihood::default();
        for part in parts {
            total.value += part.value;
            for (total, part) in total.gradient.iter_mut().zip(part.gradient) {
                *total += part;
            }
            for (total, part) in total.curvature.iter_mut().zip(part.curvature) {
                *total += part;
            }
        }
        total
    };
    let mut weights = start;
    let mut current = evaluate(weights);
    for _ in 0..NEWTON_STEPS_MAX {
        let (step_b, step_c) = newton_step(weights, &current);
        let mut length = 1.0;
        let mut moved = false;
        // Halve the step until it helps; the likelihood is concave, so a short one does.
        for _ in 0..30 {
            let next = Weights {
                b: (weights.b + length * step_b).clamp(0.0, FACTOR_MAX),
                c: (weights.c + length * step_c).clamp(0.0, TERM_MAX),
            };
            let found = evaluate(next);
            if found.value > current.value {
                let gain = found.value - current.value;
                weights = next;
                moved = gain > 1e-7 * current.value.abs();
                current = found;
                break;
            }
            length *= 0.5;
            if length * (step_b.abs() + step_c.abs()) < 1e-6 {
                break;
            }
        }
        if !moved {
            break;
        }
    }
    (weights, current.value)
}

/// Newton's step; a weight at its bound that wants to leave it stays out.
fn newton_step(weights: Weights, at: &Likelihood) -> (f64, f64) {
    let [gb, gc] = at.gradient;
    let [bb, bc, cc] = at.curvature;
    let (bb, cc) = (bb + 1e-6, cc + 1e-6);
    let stuck = |value: f64, max: f64, slope: f64| {
        (value <= 0.0 && slope < 0.0) || (value >= max && slope > 0.0)
    };
    match (
        stuck(weights.b, FACTOR_MAX, gb),
        stuck(weights.c, TERM_MAX, gc),
    ) {
        (true, true) => (0.0, 0.0),
        (true, false) => (0.0, gc / cc),
        (false, true) => (gb / bb, 0.0),
        (false, false) => match linear::solve_small(&[[bb, bc], [bc, cc]], &[gb, gc]) {
            Some([b, c]) => (b, c),
            None => (gb / bb, gc / cc),
        },
    }
}

/// log Σ e^score; spoils the scores.
fn log_sum_exp(scores: &mut [f32]) -> f64 {
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if high == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    kernels::exp_less(scores, high);
    let sum: f64 = scores.iter().map(|&e| f64::from(e)).sum();
    f64::from(high) + libm::log(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::events::Prefix;
    use crate::train::fixtures;
    use crate::train::ials::Towers;

    /// Slates of users who choose by known weights, with expected instead of drawn choices.
    fn slates(b: f64, c: f64) -> Vec<Slate> {
        (0..200)
            .map(|user| {
                let mut slate = Slate::default();
                for item in 0..30 {
                    let product = ((user * 7 + item * 13) % 29) as f32 / 29.0;
                    slate.push(product, (1 + (item * 5) % 11) as f32 / 3.0, 0.0);
                }
                let weights: Vec<f64> = (0..30)
                    .map(|i| {
                        libm::exp(b * f64::from(slate.products[i]) + c * f64::from(slate.terms[i]))
                    })
                    .collect();
                let z: f64 = weights.iter().sum();
                for (i, weight) in weights.iter().enumerate() {
                    slate.events += 10.0 * weight / z;
                    slate.product_sum += 10.0 * weight / z * f64::from(slate.products[i]);
                    slate.term_sum += 10.0 * weight / z * f64::from(slate.terms[i]);
                }
                slate
            })
            .collect()
    }

    #[test]
    fn the_weights_that_made_the_choices_are_found() {
        for (b, c) in [(6.2, 0.6), (1.9, 0.75), (9.6, 0.1)] {
            let (found, _) = fit_weights(&slates(b, c), Weights { b: 1.0, c: 1.0 });
            assert!(
                (found.b - b).abs() < 0.02 && (found.c - c).abs() < 0.02,
                "{found:?}"
            );
        }
        // Choices that shun popularity: c stays at its bound.
        let (found, _) = fit_weights(&slates(4.0, -0.5), Weights { b: 1.0, c: 1.0 });
        assert_eq!(found.c, 0.0);
    }

    #[test]
    fn drawn_masses_are_close_to_exact_ones() {
        let data = fixtures::two_tastes(60, 400, 4000, 11);
        let prefix = Prefix::whole(&data);
        let pairs = Pairs::new(&prefix);
        let mut towers = Towers::random(data.items.len(), 32, 1);
        for _ in 0..4 {
            towers.sweep(&pairs).unwrap();
        }
        let basis = towers.turn().unwrap();
        let vectors = towers.users(&pairs, &basis);
        let popularity = log_popularity(&pairs);
        let users: Vec<u32> = (0..60).collect();
        let all = Draws::new(&pairs, towers.stride, 1);
        assert_eq!(all.len(), data.items.len());
        // Every second item, drawn with probability one half, stands for two.
        let half = Draws {
            items: (0..data.items.len() as u32).step_by(2).collect(),
            log_weights: vec![std::f32::consts::LN_2; data.items.len().div_ceil(2)],
        };
        let weights = Weights { b: 5.0, c: 0.5 };
        let masses = |draws: &Draws| {
            Scored {
                items: ItemSide {
                    stride: towers.stride,
                    vectors: &towers.items,
                    terms: &popularity,
                },
                pairs: &pairs,
                draws,
                users: &users,
                vectors: &vectors,
            }
            .masses(weights)
            .0
        };
        let (exact, drawn) = (masses(&all), masses(&half));
        let mut error = 0.0;
        for (user, (exact, drawn)) in exact.iter().zip(&drawn).enumerate() {
            let mut seen = 0.0;
            let mut unseen = 0.0;
            for (item, &popularity) in popularity.iter().enumerate() {
                let score = weights.b
                    * f64::from(kernels::dot(&vectors[user * 32..][..32], towers.item(item)))
                    + weights.c * f64::from(popularity);
                if pairs.by_user.row(user).contains(&(item as u32)) {
                    seen += libm::exp(score);
                } else {
                    unseen += libm::exp(score);
                }
            }
            assert!((exact.seen - libm::log(seen)).abs() < 1e-4);
            assert!((exact.unseen - libm::log(unseen)).abs() < 1e-4);
            assert!((drawn.unseen - exact.unseen).abs() < 0.5);
            error += (drawn.unseen - exact.unseen).abs() / 60.0;
            assert_eq!(drawn.seen, exact.seen);
        }
        assert!(error < 0.1, "{error}");
    }

    #[test]
    fn the_total_of_empty_parts_is_finite() {
        let nothing = Mass {
            seen: f64::NEG_INFINITY,
            unseen: f64::NEG_INFINITY,
        };
        assert_eq!(nothing.log_total(0.0), 0.0);
        let seen = Mass {
            seen: 2.0,
            unseen: f64::NEG_INFINITY,
        };
        assert_eq!(seen.log_total(-1.0), 1.0);
    }
}
