//! Vectors of items that nobody had yet, from their attributes.
//!
//! A ridge regression from the attributes of known items to their vectors and terms. Every value of a
//! categorical column is a feature, every word of a textual one, and numbers are spread over the knots
//! around them. Items count by how far their vectors can be trusted. Solved by conjugate gradients over
//! the sparse features, eight coordinates at a time and each in a fixed order, so the result does not
//! depend on the number of threads.

use rayon::prelude::*;

use super::events::Pairs;
use super::features::Features;
use super::kernels::WIDTH;
use crate::data::attributes::ItemAttributes;

/// Most known items that are learned from: those with the most users.
const ITEMS_MAX: usize = 20_000;
/// Fewer known items teach nothing.
const ITEMS_MIN: usize = 20;
/// An item with so many users counts half.
const HALF_USERS: f64 = 5.0;
/// Ridges that are tried.
const RIDGES: [f32; 4] = [0.1, 1.0, 10.0, 100.0];
/// One in so many items is held back to tell which ridge predicts best.
const HELD_BACK_EVERY: usize = 5;
/// Groups of coordinates that tell.
const TELLING_GROUPS: usize = 4;
const STEPS_MAX: usize = 50;
/// Squared residual, against the first one, at which a coordinate counts as solved.
const TOLERANCE: f32 = 1e-8;

/// Values of eight coordinates.
type Lanes = [f32; WIDTH];

/// The item side of towers, to be completed.
pub(crate) struct Side<'a> {
    pub(crate) stride: usize,
    pub(crate) vectors: &'a mut [f32],
    pub(crate) terms: &'a mut [f32],
}

impl Side<'_> {
    /// Coordinates of a group; the group after the last of the vectors has the term.
    fn get(&self, item: u32, group: usize) -> Lanes {
        let mut lanes = [0.0; WIDTH];
        if group * WIDTH == self.stride {
            lanes[0] = self.terms[item as usize];
        } else {
            let from = item as usize * self.stride + group * WIDTH;
            lanes.copy_from_slice(&self.vectors[from..from + WIDTH]);
        }
        lanes
    }

    fn set(&mut self, item: u32, group: usize, lanes: &Lanes) {
        if group * WIDTH == self.stride {
            self.terms[item as usize] = lanes[0];
        } else {
            let from = item as usize * self.stride + group * WIDTH;
            self.vectors[from..from + WIDTH].copy_from_slice(lanes);
        }
    }
}

/// Gives items without users a vector and a term, where they have attributes. Says how many got one.
pub(crate) fn fill(side: &mut Side<'_>, pairs: &Pairs, attributes: &ItemAttributes) -> usize {
    let items = 0..pairs.by_item.rows() as u32;
    let (mut known, unknown): (Vec<u32>, Vec<u32>) =
        items.partition(|&item| pairs.popularity(item as usize) > 0);
    if unknown.is_empty() || known.len() < ITEMS_MIN || attributes.columns.is_empty() {
        return 0;
    }
    known.sort_by_key(|&item| (std::cmp::Reverse(pairs.popularity(item as usize)), item));
    known.truncate(ITEMS_MAX);
    let features = Features::new(attributes, &known);
    let cold: Vec<u32> = unknown
        .into_iter()
        .filter(|&item| !features.row(item).is_empty())
        .collect();
    if cold.is_empty() {
        return 0;
    }
    let weight = |&item: &u32| {
        let users = pairs.popularity(item as usize) as f64;
        (users / (users + HALF_USERS)) as f32
    };
    let weights: Vec<f32> = known.iter().map(weight).collect();
    let ridge = best_ridge(&features, &known, &weights, side);
    let groups: Vec<usize> = (0..=side.stride / WIDTH).collect();
    let fits: Vec<Fit> = groups
        .par_iter()
        .map(|&group| {
            Fit::new(&features, &known, &weights, ridge, |item| {
                side.get(item, group)
            })
        })
        .collect();
    for &item in &cold {
        for (&group, fit) in groups.iter().zip(&fits) {
            side.set(item, group, &fit.predict(features.row(item)));
        }
    }
    cold.len()
}

/// The ridge that predicts held-back items best, by some groups of coordinates.
fn best_ridge(features: &Features, known: &[u32], weights: &[f32], side: &Side<'_>) -> f32 {
    let part = |held_back: bool| -> (Vec<u32>, Vec<f32>) {
        (0..known.len())
            .filter(|place| place.is_multiple_of(HELD_BACK_EVERY) == held_back)
            .map(|place| (known[place], weights[place]))
            .unzip()
    };
    let ((learned, learned_weights), (asked, asked_weights)) = (part(false), part(true));
    let groups = side.stride / WIDTH;
    let some = (0..groups).step_by(groups.div_ceil(TELLING_GROUPS).max(1));
    let tries: Vec<(f32, usize)> = some
        .flat_map(|group| RIDGES.map(|ridge| (ridge, group)))
        .collect();
    let errors: Vec<f64> = tries
        .par_iter()
        .map(|&(ridge, group)| {
            let get = |item| side.get(item, group);
            let fit = Fit::new(features, &learned, &learned_weights, ridge, get);
            let mut error = 0.0;
            for (&item, &weight) in asked.iter().zip(&asked_weights) {
                let predicted = fit.predict(features.row(item));
                for (found, wanted) in predicted.iter().zip(get(item)) {
                    let miss = f64::from(found - wanted);
                    error += f64::from(weight) * miss * miss;
                }
            }
            error
        })
        .collect();
    let mut best = (f64::INFINITY, RIDGES[1]);
    for ridge in RIDGES {
        let own = tries
            .iter()
            .zip(&errors)
            .filter(|((tried, _), _)| *tried == ridge);
        let error: f64 = own.map(|(_, error)| error).sum();
        if error < best.0 {
            best = (error, ridge);
        }
    }
    best.1
}

/// A regression for eight coordinates.
struct Fit {
    means: Lanes,
    /// For each feature.
    coefficients: Vec<Lanes>,
}

impl Fit {
    /// Minimises Σ w |target − mean − Σ size · coefficient|² + ridge Σ coefficient².
    fn new(
        features: &Features,
        items: &[u32],
        weights: &[f32],
        ridge: f32,
        target: impl Fn(u32) -> Lanes,
    ) -> Fit {
        let mut means = [0.0f64; WIDTH];
        let mut total = 0.0f64;
        for (&item, &weight) in items.iter().zip(weights) {
            total += f64::from(weight);
            for (mean, value) in means.iter_mut().zip(target(item)) {
                *mean += f64::from(weight * value);
            }
        }
        let means: Lanes = means.map(|mean| (mean / total.max(f64::MIN_POSITIVE)) as f32);
        let mut fit = Fit {
            means,
            coefficients: vec![[0.0; WIDTH]; features.len()],
        };
        let mut residual = vec![[0.0; WIDTH]; features.len()];
        for (&item, &weight) in items.iter().zip(weights) {
            let mut value = target(item);
            for (value, mean) in value.iter_mut().zip(means) {
                *value = weight * (*value - mean);
            }
            spread(features.row(item), &value, &mut residual);
        }
        fit.descend(features, items, weights, ridge, residual);
        fit
    }

    /// Conjugate gradients from zero.
    fn descend(
        &mut self,
        features: &Features,
        items: &[u32],
        weights: &[f32],
        ridge: f32,
        mut residual: Vec<Lanes>,
    ) {
        let mut direction = residual.clone();
        let mut norms = products(&residual, &residual);
        let enough = norms.map(|norm| norm * TOLERANCE);
        let mut product = vec![[0.0; WIDTH]; residual.len()];
        for _ in 0..STEPS_MAX {
            if norms
                .iter()
                .zip(enough)
                .all(|(norm, enough)| *norm <= enough)
            {
                break;
            }
            for (product, direction) in product.iter_mut().zip(&direction) {
                *product = direction.map(|value| ridge * value);
            }
            for (&item, &weight) in items.iter().zip(weights) {
                let row = features.row(item);
                let value = gathered(row, &direction).map(|value| weight * value);
                spread(row, &value, &mut product);
            }
            let curvatures = products(&direction, &product);
            let mut lengths = [0.0; WIDTH];
            for (length, (norm, curvature)) in lengths.iter_mut().zip(norms.iter().zip(curvatures))
            {
                *length = if curvature > 0.0 {
                    norm / curvature
                } else {
                    0.0
                };
            }
            for (place, coefficients) in self.coefficients.iter_mut().enumerate() {
                for lane in 0..WIDTH {
                    coefficients[lane] += lengths[lane] * direction[place][lane];
                    residual[place][lane] -= lengths[lane] * product[place][lane];
                }
            }
            let next = products(&residual, &residual);
            let mut keep = [0.0; WIDTH];
            for (keep, (next, norm)) in keep.iter_mut().zip(next.iter().zip(norms)) {
                *keep = if norm > 0.0 { next / norm } else { 0.0 };
            }
            for (direction, residual) in direction.iter_mut().zip(&residual) {
                for lane in 0..WIDTH {
                    direction[lane] = residual[lane] + keep[lane] * direction[lane];
                }
            }
            norms = next;
        }
    }

    fn predict(&self, row: &[(u32, f32)]) -> Lanes {
        let mut value = gathered(row, &self.coefficients);
        for (value, mean) in value.iter_mut().zip(self.means) {
            *value += mean;
        }
        value
    }
}

/// Σ size · values over the features of a row.
fn gathered(row: &[(u32, f32)], values: &[Lanes]) -> Lanes {
    let mut sum = [0.0; WIDTH];
    for &(feature, size) in row {
        for (sum, value) in sum.iter_mut().zip(&values[feature as usize]) {
            *sum += size * value;
        }
    }
    sum
}

/// Adds size · value to each feature of a row.
fn spread(row: &[(u32, f32)], value: &Lanes, sums: &mut [Lanes]) {
    for &(feature, size) in row {
        for (sum, value) in sums[feature as usize].iter_mut().zip(value) {
            *sum += size * value;
        }
    }
}

fn products(a: &[Lanes], b: &[Lanes]) -> Lanes {
    let mut sums = [0.0f64; WIDTH];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..WIDTH {
            sums[lane] += f64::from(a[lane] * b[lane]);
        }
    }
    sums.map(|sum| sum as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::{Column, Values};
    use crate::train::events::Prefix;
    use crate::train::fixtures::interactions;
    use kindred_types::schema::{Field, FieldType};

    /// 60 known items of two brands whose vectors are the brand's plus a trend in the price, and two new ones.
    #[test]
    fn a_new_item_gets_what_its_attributes_say() {
        let names: Vec<String> = (0..62).map(|item| format!("i{item:02}")).collect();
        let rows: Vec<(&str, &str, i64)> = (0..60)
            .flat_map(|item| {
                let name = names[item].as_str();
                [("u", name, 1), ("v", name, 2), ("w", name, 3)]
            })
            .collect();
        let mut data = interactions(&rows);
        data.items.push(names[60].clone());
        data.items.push(names[61].clone());
        let pairs = Pairs::new(&Prefix::whole(&data));
        let field = |name: &str, kind, categorical| Field {
            name: name.into(),
            kind,
            nullable: true,
            categorical,
            textual: false,
        };
        let brand = |item: usize| {
            if item.is_multiple_of(2) {
                "red"
            } else {
                "blue|sale"
            }
        };
        let price = |item: usize| (item / 2) as f64;
        let mut prices: Vec<Option<f64>> = (0..62).map(|item| Some(price(item))).collect();
        prices[60] = Some(3.0);
        prices[61] = None;
        let attributes = ItemAttributes {
            columns: vec![
                Column {
                    field: field("BRAND", FieldType::String, true),
                    values: Values::Text((0..62).map(|item| Some(brand(item).into())).collect()),
                },
                Column {
                    field: field("PRICE", FieldType::Double, false),
                    values: Values::Double(prices),
                },
            ],
        };
        let stride = 2 * WIDTH;
        let mut vectors = vec![0.0f32; 62 * stride];
        let mut terms = vec![0.0f32; 62];
        for item in 0..60 {
            vectors[item * stride] = if item.is_multiple_of(2) { 1.0 } else { -1.0 };
            vectors[item * stride + WIDTH] = price(item) as f32 / 10.0;
            terms[item] = -3.0;
        }
        let mut side = Side {
            stride,
            vectors: &mut vectors,
            terms: &mut terms,
        };
        assert_eq!(fill(&mut side, &pairs, &attributes), 2);
        let (red, blue) = (&vectors[60 * stride..61 * stride], &vectors[61 * stride..]);
        assert!(
            (red[0] - 1.0).abs() < 0.1 && (blue[0] + 1.0).abs() < 0.1,
            "{red:?}"
        );
        assert!((red[WIDTH] - 0.3).abs() < 0.25, "{red:?}");
        assert!(red[1].abs() < 1e-6 && (terms[61] + 3.0).abs() < 1e-4);

        let nothing = ItemAttributes::default();
        let mut side = Side {
            stride,
            vectors: &mut vectors,
            terms: &mut terms,
        };
        assert_eq!(fill(&mut side, &pairs, &nothing), 0);
    }
}
