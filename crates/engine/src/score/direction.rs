//! The direction that the vectors of items have in common.
//!
//! Trained item vectors share a direction: plain ALS factors have more than half of their energy in it. With a
//! unit vector m a query is q = α m + δ, and q·p = α (m·p) + δ·p. What a user has along m is one number, known
//! almost exactly; so coding and the inequality of Cauchy and Schwarz lose only what they lose of δ, which is
//! shorter than q. Every m is right, and a good one makes bounds tight.

use crate::model::Model;

/// Items that a direction is found from, at most.
const ITEMS_MAX: usize = 4096;
/// Steps of the power iteration; the first of them do nearly all.
const STEPS: usize = 8;
/// Sums are kept in so many parts, to be added beside each other.
const PARTS: usize = 8;
/// Squares of norms are rounded up by this part of the square of the whole vector, more than sums of f64 lose.
const SQUARE_LOST: f64 = 1e-12;
/// Norms are rounded up by this factor.
const UPWARD: f64 = 1.0 + 1e-9;

#[derive(Clone, Debug)]
pub(super) struct Direction {
    unit: Vec<f32>,
    /// |m|², which is one but for rounding, or zero.
    square: f64,
}

/// What a vector has along a direction, and beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// m·p.
    pub(super) along: f64,
    /// An upper bound of |p − (m·p) m|.
    pub(super) across: f64,
    /// An upper bound of |p|.
    pub(super) norm: f64,
}

/// A query as α m + δ.
#[derive(Debug)]
pub(super) struct Split {
    /// α.
    pub(super) along: f32,
    /// δ in f32.
    pub(super) rest: Vec<f32>,
    /// An upper bound of the norm of `rest`.
    pub(super) rest_norm: f64,
    /// An upper bound of the norm of what it lacks to δ.
    pub(super) lost: f64,
    /// α + m·δ, which is m·q: rounding of α and m leaves δ not quite across m.
    pub(super) whole_along: f64,
    /// An upper bound of |δ|.
    pub(super) across: f64,
}

impl Direction {
    /// That of a model's items: the first principal axis of their directions, roughly.
    pub(super) fn of_items(model: &Model) -> Direction {
        let items = model.items().len();
        let stride = items.div_ceil(ITEMS_MAX).max(1);
        let sample: Vec<Vec<f64>> = (0..items)
            .step_by(stride)
            .filter_map(|item| normalized(model.item_vector(item).iter().copied().map(f64::from)))
            .collect();
        let mut axis = vec![0.0; model.dimension()];
        for vector in &sample {
            add(&mut axis, vector, 1.0);
        }
        for _ in 0..STEPS {
            let Some(unit) = normalized(axis.iter().copied()) else {
                break;
            };
            axis.fill(0.0);
            for vector in &sample {
                add(&mut axis, vector, dot(vector, &unit));
            }
        }
        let unit = normalized(axis.iter().copied()).unwrap_or(axis);
        Direction::new(unit.into_iter().map(|value| value as f32).collect())
    }

    /// Of a vector of norm one, or zeros.
    pub(super) fn new(unit: Vec<f32>) -> Direction {
        let (square, _) = products(&unit, &unit);
        Direction { unit, square }
    }

    pub(super) fn parts(&self, vector: &[f32]) -> Parts {
        let (square, along) = products(vector, &self.unit);
        // |p − t m|² = |p|² − t² (2 − |m|²) for t = m·p.
        let across = square - along * along * (2.0 - self.square) + SQUARE_LOST * square;
        Parts {
            along,
            across: across.max(0.0).sqrt() * UPWARD,
            norm: square.sqrt() * UPWARD,
        }
    }

    pub(super) fn split(&self, query: &[f32]) -> Split {
        let along = self.parts(query).along as f32;
        // The product of two f32 is exact in f64.
        let exact = query
            .iter()
            .zip(&self.unit)
            .map(|(&value, &unit)| f64::from(value) - f64::from(along) * f64::from(unit));
        let exact: Vec<f64> = exact.collect();
        let rest: Vec<f32> = exact.iter().map(|&value| value as f32).collect();
        // Numbers too large for that stay as they are.
        if !(along.is_finite() && rest.iter().all(|value| value.is_finite())) {
            let parts = self.parts(query);
            return Split {
                along: 0.0,
                rest: query.to_vec(),
                rest_norm: parts.norm,
                lost: 0.0,
                whole_along: parts.along,
                across: parts.norm,
            };
        }
        let lost = exact
            .iter()
            .zip(&rest)
            .map(|(exact, &rest)| (exact - f64::from(rest)).powi(2));
        let beside = exact
            .iter()
            .zip(&self.unit)
            .map(|(rest, &unit)| rest * f64::from(unit));
        Split {
            along,
            rest_norm: self.parts(&rest).norm,
            lost: lost.sum::<f64>().sqrt() * UPWARD,
            whole_along: f64::from(along) + beside.sum::<f64>(),
            across: dot(&exact, &exact).sqrt() * UPWARD,
            rest,
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], vector: &[f64], factor: f64) {
    for (sum, value) in sum.iter_mut().zip(vector) {
        *sum += factor * value;
    }
}

/// The vector with norm one; nothing if it has none.
fn normalized(vector: impl Iterator<Item = f64>) -> Option<Vec<f64>> {
    let vector: Vec<f64> = vector.collect();
    let norm = dot(&vector, &vector).sqrt();
    (norm > 0.0 && norm.is_finite()).then(|| vector.iter().map(|value| value / norm).collect())
}

/// (|a|², a·b), of the same length.
fn products(a: &[f32], b: &[f32]) -> (f64, f64) {
    #[cfg(target_arch = "x86_64")]
    if crate::train::kernels::has_avx2() {
        // SAFETY: AVX2 and FMA were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { products_avx2(a, b) };
    }
    products_body(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn products_avx2(a: &[f32], b: &[f32]) -> (f64, f64) {
    products_body(a, b)
}

#[inline(always)]
fn products_body(a: &[f32], b: &[f32]) -> (f64, f64) {
    let (mut squares, mut products) = ([0.0f64; PARTS], [0.0f64; PARTS]);
    let mut each = |a: &[f32], b: &[f32]| {
        for (((&a, &b), square), product) in a.iter().zip(b).zip(&mut squares).zip(&mut products) {
            *square += f64::from(a) * f64::from(a);
            *product += f64::from(a) * f64::from(b);
        }
    };
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<PARTS>(), b.as_chunks::<PARTS>());
    for (a, b) in a.iter().zip(b) {
        each(a, b);
    }
    each(a_rest, b_rest);
    (squares.iter().sum(), products.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum()
    }

    #[test]
    fn the_common_direction_is_found() {
        let noise = Model::generated(3, 400, 16, 2);
        let vectors = (0..400).flat_map(|item| {
            let mut vector = noise.item_vector(item).to_vec();
            vector[5] += 10.0;
            vector
        });
        let model = Model::from_vectors(16, vec![0.0; 16], vectors.collect()).unwrap();
        let direction = Direction::of_items(&model);
        assert!(direction.unit[5].abs() > 0.99);
        let split = direction.split(model.item_vector(7));
        assert!(split.rest_norm < 0.5 * direction.parts(model.item_vector(7)).norm);
    }

    #[test]
    fn items_without_a_direction_get_none() {
        let model = Model::from_vectors(3, vec![1.0; 3], vec![0.0; 6]).unwrap();
        let direction = Direction::of_items(&model);
        assert_eq!(direction.unit, [0.0; 3]);
        let split = direction.split(&[1.0, 2.0, -3.0]);
        assert_eq!((split.along, &split.rest[..]), (0.0, &[1.0, 2.0, -3.0][..]));
    }

    #[test]
    fn queries_too_large_to_split_stay_whole() {
        let direction = Direction::new(vec![0.6, 0.8]);
        let split = direction.split(&[3e38, 3e38]);
        assert_eq!((split.along, &split.rest[..]), (0.0, &[3e38, 3e38][..]));
    }

    proptest! {
        #[test]
        fn parts_bound_every_product(
            (unit, query, user) in (1usize..40).prop_flat_map(|d| {
                let value = || prop_oneof![4 => -2.0f32..2.0, 1 => Just(0.0), 1 => Just(1e-42f32), 1 => -1e18f32..1e18];
                let values = || prop::collection::vec(value(), d);
                (values(), values(), values())
            })
        ) {
            let unit = normalized(unit.iter().copied().map(f64::from)).unwrap_or(vec![0.0; unit.len()]);
            let direction = Direction::new(unit.iter().map(|&value| value as f32).collect());
            let (split, parts) = (direction.split(&query), direction.parts(&user));
            let bound = split.whole_along * parts.along + split.across * parts.across;
            let rounding = 1e-12 * direction.parts(&query).norm * parts.norm;
            prop_assert!(dot(&query, &user) <= bound + rounding);
            let rest = f64::from(split.along) * parts.along + dot(&split.rest, &user);
            let lost = split.lost * parts.norm + rounding;
            prop_assert!((dot(&query, &user) - rest).abs() <= lost);
            prop_assert!(parts.norm >= dot(&user, &user).sqrt());
        }
    }
}
