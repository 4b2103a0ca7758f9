//! Fitting the head on held-back events: which form, with which weights.
//!
//! The model knows the time before; who came to which query's items afterwards is given. Every form
//! predicts whether a user comes at all, with probability 1 − exp(−μ), and is fitted by likelihood over
//! the same (user, query) pairs. The form with the highest mean recall at 1 % of the users serves; of
//! two that are as good, the log-linear one.

use rayon::prelude::*;

use super::head::{AttributeHead, Candidate, Form, RECENT_TAU_DAYS, Signals, WEIGHTS};
use crate::model::AttributeModel;
use crate::score::{BLOCK_USERS, Batch, SignalTile};
use crate::train::linear;

/// A query with fewer actual users tells little.
pub(crate) const ACTUAL_MIN: usize = 5;
/// Queries and users that the fit looks at; more are taken at even distances.
const QUERIES_MAX: usize = 512;
const USERS_MAX: usize = 8192;
/// Fewer (user, query) pairs that came true choose nothing.
const PAIRS_MIN: usize = 100;
/// The log-linear form serves if it falls behind a mixture by no more than this part of the recall,
/// which is noise: its probabilities are right for every query, those of a mixture on the whole.
const TOLERANCE: f64 = 0.02;
/// Weights and exponents of the mixtures that are tried.
const SHARE_WEIGHTS: [f64; 3] = [0.0, 0.5, 1.0];
const EXPONENTS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Weight of the squared coefficients against the mean loss; the intercept is free.
const RIDGE: f64 = 1e-6;
const STEPS_MAX: usize = 50;
/// Bounds of log μ.
const LINEAR_MIN: f64 = -40.0;
const LINEAR_MAX: f64 = 12.0;

/// A query to learn from: its items and who came, both ascending.
#[derive(Clone, Debug)]
pub(crate) struct Lesson {
    pub(crate) items: Vec<u32>,
    pub(crate) actual: Vec<u32>,
}

/// Chooses the head of `model` by `lessons` about its `users` (ascending, all with events). Says in a
/// note when the data chose nothing. Runs in the current thread pool.
pub(crate) fn fit(
    model: &AttributeModel,
    users: &[u32],
    lessons: Vec<Lesson>,
) -> (AttributeHead, Option<String>) {
    let lessons = evenly(lessons, QUERIES_MAX);
    let users = evenly(users.to_vec(), USERS_MAX);
    let table = Table::new(model, &users, &lessons);
    let mut head = AttributeHead {
        columns: model.index().columns().cloned().collect(),
        form: Form::DEFAULT,
        recent_tau_days: RECENT_TAU_DAYS,
        candidates: Vec::new(),
        validation_queries: table.queries(),
        validation_users: users.len(),
    };
    if table.came() < PAIRS_MIN {
        let note = format!(
            "only {} of at least {PAIRS_MIN} held-back pairs of users and attributes; \
             attribute queries are scored by the default mixture",
            table.came()
        );
        return (head, Some(note));
    }
    let mut forms = vec![Form::Mix {
        share_weight: 1.0,
        exponent: 0.0,
        log_scale: 0.0,
    }];
    for share_weight in SHARE_WEIGHTS {
        forms.extend(EXPONENTS[1..].iter().map(|&exponent| Form::Mix {
            share_weight,
            exponent,
            log_scale: 0.0,
        }));
    }
    forms.extend(table.regress().map(|weights| Form::LogLinear { weights }));
    head.candidates = forms
        .into_iter()
        .map(|form| Candidate {
            form,
            recall_at_1_percent: table.recall(&form),
        })
        .collect();
    if let Some(form) = chosen(&head.candidates) {
        head.form = table.scaled(form);
    }
    (head, None)
}

/// The form with the highest recall, the first of equals; the log-linear one if it is as good within
/// [`TOLERANCE`].
fn chosen(candidates: &[Candidate]) -> Option<Form> {
    let best = candidates.iter().reduce(|best, other| {
        if other.recall_at_1_percent > best.recall_at_1_percent {
            other
        } else {
            best
        }
    })?;
    let enough = best.recall_at_1_percent * (1.0 - TOLERANCE);
    let linear = candidates.iter().find(|candidate| {
        matches!(candidate.form, Form::LogLinear { .. }) && candidate.recall_at_1_percent >= enough
    });
    Some(linear.unwrap_or(best).form)
}

fn evenly<T>(mut all: Vec<T>, count: usize) -> Vec<T> {
    let length = all.len();
    if length > count {
        let mut place = 0;
        let chosen: Vec<usize> = (0..count).map(|i| i * length / count).collect();
        all.retain(|_| {
            place += 1;
            chosen.binary_search(&(place - 1)).is_ok()
        });
    }
    all
}

/// The signals of every query (rows) for every user, and who came.
struct Table {
    rates: Vec<f32>,
    rows: Vec<Row>,
}

struct Row {
    share: Vec<f32>,
    mass: Vec<f32>,
    recent: Vec<f32>,
    popularity: f32,
    /// Places of the users who came, ascending.
    came: Vec<u32>,
}

impl Table {
    fn new(model: &AttributeModel, users: &[u32], lessons: &[Lesson]) -> Table {
        let sets: Vec<Vec<u32>> = lessons.iter().map(|lesson| lesson.items.clone()).collect();
        let batch = Batch::new(model, &sets);
        let tiles: Vec<SignalTile> = users
            .par_chunks(BLOCK_USERS)
            .map(|users| SignalTile::new(model, &batch, users))
            .collect();
        let mut rows: Vec<Row> = (0..lessons.len())
            .map(|query| Row {
                share: Vec::with_capacity(users.len()),
                mass: Vec::with_capacity(users.len()),
                recent: Vec::with_capacity(users.len()),
                popularity: batch.log_popularity(query),
                came: places(users, &lessons[query].actual),
            })
            .collect();
        for mut tile in tiles {
            for (query, row) in rows.iter_mut().enumerate() {
                let signals = tile.signals(&batch, query);
                row.share.extend_from_slice(signals.share);
                row.mass.extend_from_slice(signals.mass);
                row.recent.extend_from_slice(signals.recent);
            }
        }
        // Sampled users leave some queries without anyone who came.
        rows.retain(|row| !row.came.is_empty());
        let rate = |&user: &u32| model.model().user_log_rate(user as usize);
        Table {
            rates: users.iter().map(rate).collect(),
            rows,
        }
    }

    fn queries(&self) -> usize {
        self.rows.len()
    }

    fn came(&self) -> usize {
        self.rows.iter().map(|row| row.came.len()).sum()
    }

    fn scores(&self, row: &Row, form: &Form) -> Vec<f32> {
        let mut out = vec![0.0; self.rates.len()];
        let signals = Signals {
            share: &mut row.share.clone(),
            mass: &mut row.mass.clone(),
            recent: &mut row.recent.clone(),
            popularity: row.popularity,
        };
        form.scores(&self.rates, signals, &mut out);
        out
    }

    /// Mean share of the actual users that the best 1 % are.
    fn recall(&self, form: &Form) -> f64 {
        let k = self.rates.len().div_ceil(100).max(1);
        let recalls: Vec<f64> = self
            .rows
            .par_iter()
            .map(|row| {
                let scores = self.scores(row, form);
                let mut order: Vec<u32> = (0..scores.len() as u32).collect();
                order.select_nth_unstable_by((k - 1).min(scores.len() - 1), |&a, &b| {
                    scores[b as usize]
                        .total_cmp(&scores[a as usize])
                        .then(a.cmp(&b))
                });
                let hits = order[..k.min(scores.len())]
                    .iter()
                    .filter(|place| row.came.binary_search(place).is_ok())
                    .count();
                hits as f64 / row.came.len() as f64
            })
            .collect();
        recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
    }

    /// The weights of the log-linear form with the highest likelihood.
    fn regress(&self) -> Option<[f64; WEIGHTS]> {
        let designs: Vec<Design> = self
            .rows
            .par_iter()
            .map(|row| {
                // A form that gives each logarithm back.
                let only = |place: usize| {
                    let mut weights = [0.0; WEIGHTS];
                    weights[place] = 1.0;
                    self.scores(row, &Form::LogLinear { weights })
                };
                Design {
                    features: [only(1), only(2), only(3), only(4), only(5)],
                    came: &row.came,
                }
            })
            .collect();
        let cells = (self.rates.len() * self.rows.len()) as f64;
        let start = libm::log(self.came() as f64 / cells);
        minimise([start, 0.0, 0.0, 0.0, 0.0, 0.0], |weights| {
            let parts: Vec<Loss<WEIGHTS>> = designs
                .par_iter()
                .map(|design| design.loss(weights))
                .collect();
            let mut total = Loss::sum(parts, cells);
            total.add_ridge(weights);
            total
        })
    }

    /// The form with its scale set so that probabilities are right.
    fn scaled(&self, form: Form) -> Form {
        let Form::Mix {
            share_weight,
            exponent,
            ..
        } = form
        else {
            return form;
        };
        let scores: Vec<Vec<f32>> = self
            .rows
            .par_iter()
            .map(|row| self.scores(row, &form))
            .collect();
        let cells = (self.rates.len() * self.rows.len()) as f64;
        let found = minimise([0.0], |&[scale]| {
            let parts: Vec<Loss<1>> = scores
                .par_iter()
                .zip(&self.rows)
                .map(|(scores, row)| {
                    let mut loss = Loss::default();
                    each_cell(scores.len(), &row.came, |place, came| {
                        loss.add(&[1.0], f64::from(scores[place]) + scale, came);
                    });
                    loss
                })
                .collect();
            Loss::sum(parts, cells)
        });
        Form::Mix {
            share_weight,
            exponent,
            log_scale: found.map_or(0.0, |[scale]| scale),
        }
    }
}

/// Places of `actual` among `users`, both ascending.
fn places(users: &[u32], actual: &[u32]) -> Vec<u32> {
    let place = |user: &u32| users.binary_search(user).ok();
    actual.iter().filter_map(place).map(|p| p as u32).collect()
}

fn each_cell(cells: usize, came: &[u32], mut each: impl FnMut(usize, bool)) {
    let mut next = came.iter().peekable();
    for place in 0..cells {
        let came = next.next_if(|&&user| user as usize == place).is_some();
        each(place, came);
    }
}

/// The logarithms of one query.
struct Design<'a> {
    features: [Vec<f32>; WEIGHTS - 1],
    came: &'a [u32],
}

impl Design<'_> {
    fn loss(&self, weights: &[f64; WEIGHTS]) -> Loss<WEIGHTS> {
        let mut loss = Loss::default();
        each_cell(self.features[0].len(), self.came, |place, came| {
            let mut row = [1.0; WEIGHTS];
            for (value, feature) in row[1..].iter_mut().zip(&self.features) {
                *value = f64::from(feature[place]);
            }
            let linear = row.iter().zip(weights).map(|(a, b)| a * b).sum();
            loss.add(&row, linear, came);
        });
        loss
    }
}

/// Negated log-likelihood with its derivatives.
#[derive(Clone, Copy, Debug)]
struct Loss<const N: usize> {
    value: f64,
    gradient: [f64; N],
    curvature: [[f64; N]; N],
}

impl<const N: usize> Default for Loss<N> {
    fn default() -> Self {
        Loss {
            value: 0.0,
            gradient: [0.0; N],
            curvature: [[0.0; N]; N],
        }
    }
}

impl<const N: usize> Loss<N> {
    /// A pair that came true with probability 1 − exp(−μ), μ = exp(linear), or did not.
    fn add(&mut self, row: &[f64; N], linear: f64, came: bool) {
        let mu = libm::exp(linear.clamp(LINEAR_MIN, LINEAR_MAX));
        // μ / (e^μ − 1), which is 1 − μ/2 where μ is nothing.
        let odds = if mu > 1e-9 { mu / libm::expm1(mu) } else { 1.0 };
        let slope = if came { odds } else { -mu };
        self.value += if came {
            -libm::log(-libm::expm1(-mu))
        } else {
            mu
        };
        let weight = mu * odds;
        for i in 0..N {
            self.gradient[i] += slope * row[i];
            for j in 0..=i {
                self.curvature[i][j] += weight * row[i] * row[j];
            }
        }
    }

    /// The mean over `cells` of parts that are added in their order.
    fn sum(parts: Vec<Loss<N>>, cells: f64) -> Loss<N> {
        let mut total = Loss::default();
        for part in parts {
            total.value += part.value / cells;
            for i in 0..N {
                total.gradient[i] += part.gradient[i] / cells;
                for j in 0..=i {
                    total.curvature[i][j] += part.curvature[i][j] / cells;
                    total.curvature[j][i] = total.curvature[i][j];
                }
            }
        }
        total
    }

    fn add_ridge(&mut self, weights: &[f64; N]) {
        for (i, weight) in weights.iter().enumerate().skip(1) {
            self.value += RIDGE * weight * weight;
            self.gradient[i] -= 2.0 * RIDGE * weight;
            self.curvature[i][i] += 2.0 * RIDGE;
        }
    }
}

/// Newton's method with the expected curvature; a step is halved until it helps.
fn minimise<const N: usize>(
    start: [f64; N],
    loss: impl Fn(&[f64; N]) -> Loss<N>,
) -> Option<[f64; N]> {
    let mut weights = start;
    let mut current = loss(&weights);
    for _ in 0..STEPS_MAX {
        let step = linear::solve_small(&current.curvature, &current.gradient)?;
        let mut length = 1.0;
        let mut gain = 0.0;
        for _ in 0..30 {
            let mut next = weights;
            for (next, step) in next.iter_mut().zip(step) {
                *next += length * step;
            }
            let found = loss(&next);
            if found.value < current.value {
                gain = current.value - found.value;
                (weights, current) = (next, found);
                break;
            }
            length *= 0.5;
        }
        if gain <= 1e-9 * current.value.abs() {
            break;
        }
    }
    weights
        .iter()
        .all(|weight| weight.is_finite())
        .then_some(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_that_made_the_visits_are_found() {
        // Every cell stands for its expectation: a visit with weight P and none with weight 1 − P.
        let truth = [-1.0, 0.7, 0.4];
        let row = |cell: usize| {
            [
                1.0,
                ((cell * 7) % 13) as f64 / 5.0 - 1.0,
                (cell % 5) as f64 / 2.0 - 1.0,
            ]
        };
        let linear =
            |row: &[f64; 3], w: &[f64; 3]| row.iter().zip(w).map(|(a, b)| a * b).sum::<f64>();
        let found = minimise([0.0; 3], |weights| {
            let mut total = Loss::<3>::default();
            for cell in 0..200 {
                let row = row(cell);
                let p = -libm::expm1(-libm::exp(linear(&row, &truth)));
                for (came, share) in [(true, p), (false, 1.0 - p)] {
                    let mut one = Loss::default();
                    one.add(&row, linear(&row, weights), came);
                    total.value += share * one.value;
                    for i in 0..3 {
                        total.gradient[i] += share * one.gradient[i];
                        for j in 0..=i {
                            total.curvature[i][j] += share * one.curvature[i][j];
                        }
                    }
                }
            }
            Loss::sum(vec![total], 200.0)
        })
        .unwrap();
        for (found, truth) in found.iter().zip(truth) {
            assert!((found - truth).abs() < 1e-4, "{found} {truth}");
        }
    }

    #[test]
    fn the_slope_is_that_of_the_loss() {
        for linear in [-20.0, -3.0, 0.0, 2.0] {
            for came in [true, false] {
                let value = |linear: f64| {
                    let mut loss = Loss::<1>::default();
                    loss.add(&[1.0], linear, came);
                    (loss.value, -loss.gradient[0])
                };
                let (above, below) = (value(linear + 1e-5).0, value(linear - 1e-5).0);
                let slope = (above - below) / 2e-5;
                assert!((slope - value(linear).1).abs() < 1e-5 * slope.abs().max(1.0));
            }
        }
    }

    #[test]
    fn the_best_form_serves_and_the_log_linear_one_within_the_noise() {
        let mix = |exponent: f64, recall: f64| Candidate {
            form: Form::Mix {
                share_weight: 1.0,
                exponent,
                log_scale: 0.0,
            },
            recall_at_1_percent: recall,
        };
        let linear = |recall: f64| Candidate {
            form: Form::LogLinear {
                weights: [0.0; WEIGHTS],
            },
            recall_at_1_percent: recall,
        };
        let check = |candidates: &[Candidate], place: usize| {
            assert_eq!(chosen(candidates), Some(candidates[place].form));
        };
        check(&[mix(0.0, 0.1), mix(0.5, 0.3), mix(1.0, 0.3)], 1);
        check(&[mix(0.0, 0.1), mix(0.5, 0.3), linear(0.29)], 1);
        check(&[mix(0.0, 0.1), mix(0.5, 0.3), linear(0.295)], 2);
        check(&[mix(0.0, 0.1), linear(0.4)], 1);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn even_distances() {
        assert_eq!(evenly((0..10).collect(), 4), [0, 2, 5, 7]);
        assert_eq!(evenly(vec![1, 2], 4), [1, 2]);
    }
}
