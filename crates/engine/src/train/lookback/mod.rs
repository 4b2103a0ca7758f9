//! The look-back towers: a bag of a user's past, trained to tell what they did later.
//!
//! Sampled softmax over random earlier states (`batch`), Adagrad (`update`). A batch is cut into shards
//! by what it contains, never by the number of threads, and everything is summed in shard order, so the
//! bytes are the same for any number of threads. When to stop is the caller's business.

mod bag;
mod batch;
mod start;
mod steps;
mod update;

use rand::seq::{SliceRandom, index};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cold::Side;
use super::events::{Pairs, Prefix};
use super::ials::near_normal;
use super::kernels::{self, WIDTH};
use bag::{Bag, GATES, Sums};
use batch::{Context, Negatives, STEPS_MAX, Shard, TARGETS_MAX};
use steps::Steps;
use update::{Step, Table};

/// Negatives of a batch.
pub(crate) const NEGATIVES: usize = 512;
/// Up to so many items the softmax is over all of them.
const FULL_SOFTMAX_ITEMS_MAX: usize = 2048;
/// Standard deviation of the start, times √d.
const START_SCALE: f64 = 0.3;
/// Gradients are sums over the targets of a batch divided by this: a constant, so that a step does not
/// depend on how many targets share a batch.
const TARGETS_REFERENCE: f32 = 4096.0;
/// Length of a step from random vectors, and from those of iALS, which larger ones would throw away.
const RATE_FROM_RANDOM: f32 = 0.05;
const RATE_FROM_IALS: f32 = 0.01;
/// Fewest users of a batch, and fewest rows; a batch ends when it has both.
const BATCH_USERS_MIN: usize = 4;
const BATCH_ROWS_MIN: usize = 2048;
/// A batch ends with this many rows in any case.
const BATCH_ROWS_MAX: usize = 8192;
/// Rows of a shard, about, and most shards of a batch.
const SHARD_ROWS: usize = 256;
const SHARDS_MAX: usize = 16;
/// Users of one block when states are computed.
const BLOCK_USERS: usize = 64;

/// Parameters.
#[derive(Clone)]
pub(crate) struct Lookback {
    pub(crate) dimension: usize,
    pub(crate) stride: usize,
    inputs: Table,
    outputs: Table,
    biases: Table,
    gates: Table,
    start: Table,
    rate: f32,
}

/// What an epoch did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Epoch {
    /// Mean loss of a target, dropout included.
    pub(crate) loss: f64,
    /// Targets, weights added up.
    pub(crate) targets: f64,
    /// Floating point operations of the matrix products: 6 × rows × negatives × d.
    pub(crate) flops: f64,
}

/// A data set as training walks over it.
pub(crate) struct Course<'a> {
    prefix: &'a Prefix<'a>,
    steps: Steps,
    /// Users with something to predict.
    users: Vec<u32>,
    /// Items with an event.
    sold: Vec<u32>,
    negatives: usize,
}

impl<'a> Course<'a> {
    pub(crate) fn new(prefix: &'a Prefix<'a>, pairs: &Pairs) -> Course<'a> {
        let steps = Steps::new(prefix);
        let sold: Vec<u32> = (0..pairs.by_item.rows() as u32)
            .filter(|&item| pairs.popularity(item as usize) > 0)
            .collect();
        Course {
            prefix,
            users: (0..steps.users() as u32)
                .filter(|&user| steps.of(user as usize).len() >= 2)
                .collect(),
            negatives: if sold.len() <= FULL_SOFTMAX_ITEMS_MAX {
                sold.len()
            } else {
                NEGATIVES
            },
            steps,
            sold,
        }
    }

    /// Rows of a user in an epoch, at most.
    fn rows(&self, user: u32) -> usize {
        let steps = self.steps.of(user as usize);
        (steps.len() - 1).min(STEPS_MAX).min(TARGETS_MAX)
    }

    /// Floating point operations of an epoch, at most.
    pub(crate) fn epoch_flops(&self, dimension: usize) -> f64 {
        let rows: usize = self.users.iter().map(|&user| self.rows(user)).sum();
        product_flops(rows, self.negatives, dimension)
    }

    /// Whether there is anything to predict.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

fn product_flops(rows: usize, negatives: usize, dimension: usize) -> f64 {
    6.0 * rows as f64 * negatives as f64 * dimension as f64
}

impl Lookback {
    /// Random vectors; biases that know how popular the items are.
    pub(crate) fn random(prefix: &Prefix<'_>, dimension: usize, seed: u64) -> Lookback {
        let stride = dimension.next_multiple_of(WIDTH);
        let items = prefix.items();
        let mut counts = vec![0.0f64; items];
        let mut total = 0.0f64;
        for user in 0..prefix.users() {
            for event in prefix.events_of(user) {
                let weight = f64::from(prefix.data.weight(event));
                counts[prefix.data.event_items[event] as usize] += weight;
                total += weight;
            }
        }
        let log_total = libm::log(total.max(1.0));
        let biases = counts
            .iter()
            .map(|count| (libm::log(count + 0.5) - log_total) as f32)
            .collect();
        let mut gates = vec![0.0f32; GATES * stride];
        for gate in gates.chunks_exact_mut(stride) {
            gate[..dimension].fill(1.0 / GATES as f32);
        }
        Lookback {
            dimension,
            stride,
            inputs: Table::new(random_rows(
                items,
                dimension,
                stride,
                seed ^ 0x696e_7075_7473,
            )),
            outputs: Table::new(random_rows(
                items,
                dimension,
                stride,
                seed ^ 0x6f75_7470_7574,
            )),
            biases: Table::new(biases),
            gates: Table::new(gates),
            start: Table::new(vec![0.0; stride]),
            rate: RATE_FROM_RANDOM,
        }
    }

    /// A vector for each item, padded to the stride.
    pub(crate) fn items(&self) -> &[f32] {
        &self.outputs.values
    }

    /// Both, to complete them.
    pub(crate) fn items_mut(&mut self) -> Side<'_> {
        Side {
            stride: self.stride,
            vectors: &mut self.outputs.values,
            terms: &mut self.biases.values,
        }
    }

    /// A constant for each item.
    pub(crate) fn biases(&self) -> &[f32] {
        &self.biases.values
    }

    /// One pass over all users in random order.
    pub(crate) fn epoch(
        &mut self,
        course: &Course<'_>,
        number: u64,
        seed: u64,
        look_back: bool,
    ) -> Epoch {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6570_6f63_6873);
        random.set_stream(number);
        let epoch_seed = random.next_u64();
        let mut users = course.users.clone();
        users.shuffle(&mut random);
        let mut report = Epoch::default();
        let mut places = vec![0u32; course.prefix.items()];
        let mut shards: Vec<Shard> = Vec::new();
        shards.resize_with(SHARDS_MAX, Shard::default);
        let mut rest = &users[..];
        while !rest.is_empty() {
            let count = deal(course, rest, &mut shards);
            rest = &rest[count..];
            let negatives = self.draw(course, &mut random);
            for (&item, place) in negatives.iter().zip(1..) {
                places[item as usize] = place;
            }
            self.batch(
                course,
                &mut shards,
                &negatives,
                &places,
                epoch_seed,
                look_back,
            );
            for &item in &negatives {
                places[item as usize] = 0;
            }
            for shard in &shards {
                report.loss += shard.loss;
                report.targets += shard.weight;
                report.flops += product_flops(shard.rows(), negatives.len(), self.dimension);
            }
        }
        report.loss /= report.targets.max(f64::MIN_POSITIVE);
        report
    }

    fn draw(&self, course: &Course<'_>, random: &mut ChaCha8Rng) -> Vec<u32> {
        if course.negatives >= course.sold.len() {
            return course.sold.clone();
        }
        let mut items: Vec<u32> = index::sample(random, course.sold.len(), course.negatives)
            .into_iter()
            .map(|place| course.sold[place])
            .collect();
        items.sort_unstable();
        items
    }

    fn batch(
        &mut self,
        course: &Course<'_>,
        shards: &mut [Shard],
        negatives: &[u32],
        places: &[u32],
        seed: u64,
        look_back: bool,
    ) {
        let stride = self.stride;
        let vectors: Vec<f32> = negatives
            .iter()
            .flat_map(|&item| &self.outputs.values[item as usize * stride..][..stride])
            .copied()
            .collect();
        let others = (course.sold.len() - 1).max(1) as f64;
        let full = negatives.len() == course.sold.len();
        let each = if full {
            1.0
        } else {
            others / negatives.len() as f64
        };
        let log_weight = libm::log(each) as f32;
        let shifts: Vec<f32> = negatives
            .iter()
            .map(|&item| self.biases.values[item as usize] + log_weight)
            .collect();
        let context = Context {
            data: course.prefix.data,
            steps: &course.steps,
            bag: Bag {
                inputs: &self.inputs.values,
                gates: &self.gates.values,
                start: &self.start.values,
            },
            outputs: &self.outputs.values,
            biases: &self.biases.values,
            stride,
            negatives: Negatives {
                items: negatives,
                vectors: &vectors,
                places,
                shifts: &shifts,
            },
            seed,
            look_back,
        };
        shards.par_iter_mut().for_each(|shard| shard.run(&context));
        let factor = 1.0 / TARGETS_REFERENCE;
        let mut gates = vec![0.0f32; GATES * stride];
        let mut start = vec![0.0f32; stride];
        for shard in shards.iter().filter(|shard| shard.rows() > 0) {
            for (sum, value) in gates.iter_mut().zip(&shard.gates) {
                *sum += value;
            }
            for (sum, value) in start.iter_mut().zip(&shard.start) {
                *sum += value;
            }
        }
        let step = Step {
            factor,
            rate: self.rate,
        };
        self.gates.step(&gates, step);
        self.start.step(&start, step);
        let (outputs, biases, inputs) = (&mut self.outputs, &mut self.biases, &mut self.inputs);
        let shards = &*shards;
        rayon::join(
            || update::outputs(outputs, biases, stride, shards, negatives, step),
            || update::inputs(inputs, stride, shards, step),
        );
    }

    /// The states of users after all their events, padded to the stride.
    pub(crate) fn states(&self, prefix: &Prefix<'_>, users: &[u32]) -> Vec<f32> {
        let bag = Bag {
            inputs: &self.inputs.values,
            gates: &self.gates.values,
            start: &self.start.values,
        };
        let mut states = vec![0.0f32; users.len() * self.stride];
        states
            .par_chunks_mut(BLOCK_USERS * self.stride)
            .zip(users.par_chunks(BLOCK_USERS))
            .for_each(|(states, users)| {
                let mut sums = Sums::new(self.stride);
                let mut starts = Vec::new();
                for (state, &user) in states.chunks_exact_mut(self.stride).zip(users) {
                    let steps = steps::UserSteps::of(prefix, user as usize, &mut starts);
                    last_state(&bag, prefix, steps, &mut sums, state);
                }
            });
        states
    }
}

fn last_state(
    bag: &Bag<'_>,
    prefix: &Prefix<'_>,
    steps: steps::UserSteps<'_>,
    sums: &mut Sums,
    state: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if kernels::has_avx2() {
        // SAFETY: the features that `last_state_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { last_state_avx2(bag, prefix, steps, sums, state) };
    }
    bag::last_state::<false>(bag, prefix.data, steps, sums, state);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn last_state_avx2(
    bag: &Bag<'_>,
    prefix: &Prefix<'_>,
    steps: steps::UserSteps<'_>,
    sums: &mut Sums,
    state: &mut [f32],
) {
    bag::last_state::<true>(bag, prefix.data, steps, sums, state);
}

/// Hands the next users out to the shards, so that each has about as many rows; says how many there were.
fn deal(course: &Course<'_>, users: &[u32], shards: &mut [Shard]) -> usize {
    let (mut rows, mut count) = (0usize, 0usize);
    for &user in users {
        let full = count >= BATCH_USERS_MIN && rows >= BATCH_ROWS_MIN;
        if full || rows >= BATCH_ROWS_MAX {
            break;
        }
        rows += course.rows(user);
        count += 1;
    }
    let used = (rows / SHARD_ROWS).clamp(1, shards.len());
    for shard in shards.iter_mut() {
        shard.users.clear();
    }
    let mut before = 0;
    for &user in &users[..count] {
        shards[(before * used / rows.max(1)).min(used - 1)]
            .users
            .push(user);
        before += course.rows(user);
    }
    count
}

fn random_rows(rows: usize, dimension: usize, stride: usize, seed: u64) -> Vec<f32> {
    let scale = (START_SCALE / (dimension as f64).sqrt()) as f32;
    let mut values = vec![0.0f32; rows * stride];
    values
        .par_chunks_mut(512 * stride)
        .enumerate()
        .for_each(|(block, rows)| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(block as u64);
            for row in rows.chunks_exact_mut(stride) {
                for value in &mut row[..dimension] {
                    *value = near_normal(random.next_u64()) * scale;
                }
            }
        });
    values
}

#[cfg(test)]
mod tests;
