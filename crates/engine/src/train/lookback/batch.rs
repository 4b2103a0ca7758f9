//! One shard of a batch: some users, their states, the loss of their targets and its gradient.
//!
//! Every event draws an earlier one of the user at random and is predicted from the state after it:
//! trained that way the state learns the taste and not the session. The loss is a softmax over the
//! event's item and negatives that the whole batch shares. Targets that drew the same state share its
//! row in the matrix products, which are nearly all of the work. A shard only reads the parameters;
//! what it leaves behind is put together in a fixed order by `update`.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bag::{Bag, DECAYS, GATES, Sums, axpy};
use super::steps::{Steps, UserSteps};
use crate::interactions::Interactions;
use crate::train::kernels::{self, dot_body, madd};
use crate::train::linear;

/// Part of the coordinates of a state that a target does not see, in 256ths: 0.4.
const DROPOUT_256THS: u8 = 102;
/// Most steps of a user that an epoch looks at; of more, a window at random.
pub(super) const STEPS_MAX: usize = 2048;
/// Most targets of a user in an epoch; of more, evenly spaced ones.
pub(super) const TARGETS_MAX: usize = 4096;
/// Targets whose vectors are asked for ahead of their use.
const TARGETS_AHEAD: usize = 3;
/// Log of how much better a target may be than the best negative, before its loss counts as nothing.
const LEAD_MAX: f32 = 80.0;

/// What all shards of a batch read.
pub(super) struct Context<'a> {
    pub(super) data: &'a Interactions,
    pub(super) steps: &'a Steps,
    pub(super) bag: Bag<'a>,
    pub(super) outputs: &'a [f32],
    pub(super) biases: &'a [f32],
    pub(super) stride: usize,
    pub(super) negatives: Negatives<'a>,
    /// Of this epoch.
    pub(super) seed: u64,
    /// Predict from random earlier states, or from the last one before the event.
    pub(super) look_back: bool,
}

/// The items that stand for all others.
#[derive(Clone, Copy)]
pub(super) struct Negatives<'a> {
    /// Ascending.
    pub(super) items: &'a [u32],
    /// Their output vectors, gathered.
    pub(super) vectors: &'a [f32],
    /// Place of every item among the negatives, plus one; 0 for all others.
    pub(super) places: &'a [u32],
    /// Bias of each, and log of how many items it stands for.
    pub(super) shifts: &'a [f32],
}

/// An event to be predicted.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) row: u32,
    pub(super) item: u32,
    weight: f32,
    /// Derivative of the loss by the item's score.
    pub(super) slope: f32,
}

/// An event that went into a state.
#[derive(Clone, Copy)]
pub(super) struct Input {
    pub(super) item: u32,
    /// Row in `backward`.
    pub(super) row: u32,
    pub(super) weight: f32,
}

/// Buffers and results of a shard.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) users: Vec<u32>,
    /// States after dropout, a row for each distinct one.
    pub(super) states: Vec<f32>,
    pub(super) targets: Vec<Target>,
    /// Gradient of the negatives' vectors and biases.
    pub(super) negative_vectors: Vec<f32>,
    pub(super) negative_biases: Vec<f32>,
    /// Gradient of what a step's events add, a row for each step.
    pub(super) backward: Vec<f32>,
    pub(super) inputs: Vec<Input>,
    pub(super) gates: Vec<f32>,
    pub(super) start: Vec<f32>,
    /// Σ of the targets' weights.
    pub(super) weight: f64,
    /// Σ of the weighted losses.
    pub(super) loss: f64,
    kept: Vec<f32>,
    scales: Vec<[f32; GATES]>,
    masks: Vec<f32>,
    products: Vec<f32>,
    slopes: Vec<f32>,
    walks: Vec<Walk>,
}

/// The part of a shard's rows that belongs to a user.
struct Walk {
    user: u32,
    first_step: usize,
    steps: usize,
    /// Step of each of the user's rows, ascending.
    rows: Vec<u32>,
    first_row: usize,
}

impl Shard {
    /// Computes everything for `users`.
    pub(super) fn run(&mut self, context: &Context<'_>) {
        #[cfg(target_arch = "x86_64")]
        if kernels::has_avx2() {
            // SAFETY: the features that `run_avx2` is compiled for were detected on the line above.
            #[allow(unsafe_code)]
            return unsafe { self.run_avx2(context) };
        }
        self.run_body::<false>(context);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn run_avx2(&mut self, context: &Context<'_>) {
        self.run_body::<true>(context);
    }

    #[inline(always)]
    fn run_body<const FMA: bool>(&mut self, context: &Context<'_>) {
        self.forward::<FMA>(context);
        self.lose::<FMA>(context);
        self.back::<FMA>(context);
    }

    /// Draws the targets and computes the states they need.
    #[inline(always)]
    fn forward<const FMA: bool>(&mut self, context: &Context<'_>) {
        let stride = context.stride;
        let mut sums = Sums::new(stride);
        self.states.clear();
        self.kept.clear();
        self.scales.clear();
        self.masks.clear();
        self.targets.clear();
        self.walks.clear();
        let users = std::mem::take(&mut self.users);
        let mut drawn: Vec<(u32, u32, f32)> = Vec::new();
        for &user in &users {
            let mut random = ChaCha8Rng::seed_from_u64(context.seed);
            random.set_stream(u64::from(user));
            let all = context.steps.of(user as usize);
            let first_step = match all.len().checked_sub(STEPS_MAX) {
                Some(room) if room > 0 => random.random_range(0..=room),
                _ => 0,
            };
            let steps = all.window(first_step, STEPS_MAX);
            draw_targets(context, steps, &mut random, &mut drawn);
            let Some(&(last, _, _)) = drawn.last() else {
                continue;
            };
            let mut walk = Walk {
                user,
                first_step,
                steps: last as usize + 1,
                rows: Vec::new(),
                first_row: self.scales.len(),
            };
            sums.clear();
            let mut next = 0;
            for step in 0..=last {
                sums.take::<FMA>(&context.bag, context.data, steps.events(step as usize));
                if drawn[next].0 != step {
                    continue;
                }
                let row = self.scales.len();
                self.states.resize((row + 1) * stride, 0.0);
                self.kept.resize((row + 1) * GATES * stride, 0.0);
                sums.state::<FMA>(
                    &context.bag,
                    &mut self.states[row * stride..],
                    Some(&mut self.kept[row * GATES * stride..]),
                );
                self.scales.push(sums.scales());
                walk.rows.push(step);
                while let Some(&(_, item, weight)) = drawn.get(next).filter(|d| d.0 == step) {
                    self.targets.push(Target {
                        row: row as u32,
                        item,
                        weight,
                        slope: 0.0,
                    });
                    next += 1;
                }
            }
            let count = walk.rows.len() * stride;
            self.mask(count, &mut random);
            self.walks.push(walk);
        }
        self.users = users;
        for (state, mask) in self.states.iter_mut().zip(&self.masks) {
            *state *= mask;
        }
    }

    /// Adds `count` factors: 0 for what is dropped, and what keeps the mean for the rest.
    #[inline(always)]
    fn mask(&mut self, count: usize, random: &mut ChaCha8Rng) {
        let keep = 256.0 / (256.0 - f32::from(DROPOUT_256THS));
        let from = self.masks.len();
        let mut bytes = vec![0u8; count];
        random.fill_bytes(&mut bytes);
        self.masks.resize(from + count, 0.0);
        for (mask, byte) in self.masks[from..].iter_mut().zip(bytes) {
            *mask = if byte < DROPOUT_256THS { 0.0 } else { keep };
        }
    }

    /// The loss and its gradient by scores, states and negatives.
    #[inline(always)]
    fn lose<const FMA: bool>(&mut self, context: &Context<'_>) {
        let stride = context.stride;
        let negatives = &context.negatives;
        let columns = negatives.items.len();
        let rows = self.scales.len();
        self.products.resize(rows * columns, 0.0);
        linear::products(
            &self.states,
            negatives.vectors,
            stride,
            &mut self.products[..rows * columns],
        );
        self.slopes.clear();
        self.weight = 0.0;
        self.loss = 0.0;
        let mut next = 0;
        let mut leads: Vec<f32> = Vec::new();
        for row in 0..rows {
            let scores = &mut self.products[row * columns..(row + 1) * columns];
            let high = kernels::add_and_max(scores, negatives.shifts);
            kernels::exp_less(scores, high);
            let total = sum(scores);
            let from = next;
            let state = &self.states[row * stride..(row + 1) * stride];
            leads.clear();
            while let Some(target) = self.targets.get(next).filter(|t| t.row as usize == row) {
                if let Some(ahead) = self.targets.get(next + TARGETS_AHEAD) {
                    let ahead = ahead.item as usize;
                    kernels::prefetch(&context.outputs[ahead * stride..(ahead + 1) * stride]);
                }
                let item = target.item as usize;
                let vector = &context.outputs[item * stride..(item + 1) * stride];
                let score = dot_body::<FMA>(state, vector) + context.biases[item];
                leads.push((score - high).min(LEAD_MAX));
                next += 1;
            }
            let logs = leads.len();
            leads.extend_from_within(..);
            kernels::exp_in_place(&mut leads[logs..]);
            let mut share = 0.0f64;
            let targets = &mut self.targets[from..next];
            for (place, target) in targets.iter_mut().enumerate() {
                let own = f64::from(leads[logs + place]);
                let hit = negatives.places[target.item as usize] as usize;
                let masked = if hit > 0 {
                    f64::from(scores[hit - 1])
                } else {
                    0.0
                };
                let z = own + (total - masked).max(0.0);
                let weight = f64::from(target.weight);
                self.weight += weight;
                self.loss += weight * (libm::log(z) - f64::from(leads[place]));
                target.slope = (weight * (own / z - 1.0)) as f32;
                share += weight / z;
                self.slopes.push((weight / z) as f32);
            }
            let slopes = &self.slopes[self.slopes.len() - targets.len()..];
            // The share of the masked negatives is taken out again; what is left is what the others gave.
            let mut corrections: Vec<(usize, f32)> = Vec::new();
            for (target, slope) in targets.iter().zip(slopes) {
                let hit = negatives.places[target.item as usize] as usize;
                if hit > 0 {
                    corrections.push((hit - 1, slope * scores[hit - 1]));
                }
            }
            for score in scores.iter_mut() {
                *score *= share as f32;
            }
            for (place, correction) in corrections {
                scores[place] = (scores[place] - correction).max(0.0);
            }
        }
        let probabilities = &self.products[..rows * columns];
        self.negative_vectors.resize(columns * stride, 0.0);
        linear::products_left(
            probabilities,
            &self.states,
            columns,
            stride,
            &mut self.negative_vectors,
        );
        self.negative_biases.clear();
        self.negative_biases.resize(columns, 0.0);
        for row in probabilities.chunks_exact(columns.max(1)) {
            for (sum, value) in self.negative_biases.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }

    /// From the gradient of the scores back to gates, start and inputs.
    #[inline(always)]
    fn back<const FMA: bool>(&mut self, context: &Context<'_>) {
        let stride = context.stride;
        let rows = self.scales.len();
        let columns = context.negatives.items.len();
        let mut gradient = vec![0.0f32; rows * stride];
        linear::products_right(
            &self.products[..rows * columns],
            context.negatives.vectors,
            columns,
            stride,
            &mut gradient,
        );
        for target in &self.targets {
            let (row, item) = (target.row as usize, target.item as usize);
            let vector = &context.outputs[item * stride..(item + 1) * stride];
            let gradient = &mut gradient[row * stride..(row + 1) * stride];
            axpy::<FMA>(target.slope, vector, gradient);
        }
        for (gradient, mask) in gradient.iter_mut().zip(&self.masks) {
            *gradient *= mask;
        }
        self.gates.clear();
        self.gates.resize(GATES * stride, 0.0);
        self.start.clear();
        self.start.resize(stride, 0.0);
        self.backward.clear();
        self.inputs.clear();
        let mut carried = vec![0.0f32; GATES * stride];
        for walk in &self.walks {
            let steps = context.steps.of(walk.user as usize);
            let steps = steps.window(walk.first_step, STEPS_MAX);
            carried.fill(0.0);
            let mut left = walk.rows.len();
            for step in (0..walk.steps).rev() {
                if left > 0 && walk.rows[left - 1] as usize == step {
                    left -= 1;
                    let row = walk.first_row + left;
                    let du = &gradient[row * stride..(row + 1) * stride];
                    axpy::<FMA>(1.0, du, &mut self.start);
                    for s in 0..GATES {
                        let at = s * stride..(s + 1) * stride;
                        let kept = &self.kept[(row * GATES + s) * stride..][..stride];
                        let scale = self.scales[row][s];
                        let gate = &context.bag.gates[at.clone()];
                        let gates = &mut self.gates[at.clone()];
                        let carried = &mut carried[at];
                        for j in 0..stride {
                            gates[j] = madd::<FMA>(du[j], kept[j], gates[j]);
                            carried[j] = madd::<FMA>(scale * gate[j], du[j], carried[j]);
                        }
                    }
                }
                let row = self.backward.len() / stride;
                self.backward.resize((row + 1) * stride, 0.0);
                let out = &mut self.backward[row * stride..];
                for (s, decay) in DECAYS.into_iter().enumerate() {
                    let carried = &mut carried[s * stride..(s + 1) * stride];
                    for (out, carried) in out.iter_mut().zip(carried) {
                        *out += *carried;
                        *carried *= decay;
                    }
                }
                for event in steps.events(step) {
                    self.inputs.push(Input {
                        item: context.data.event_items[event],
                        row: row as u32,
                        weight: context.data.weight(event),
                    });
                }
            }
        }
    }

    /// Rows of the matrix products.
    pub(super) fn rows(&self) -> usize {
        self.scales.len()
    }
}

/// For each event after the first step the state it is predicted from: (step, item, weight), by step.
fn draw_targets(
    context: &Context<'_>,
    steps: UserSteps<'_>,
    random: &mut ChaCha8Rng,
    drawn: &mut Vec<(u32, u32, f32)>,
) {
    drawn.clear();
    if steps.len() < 2 {
        return;
    }
    let data = context.data;
    let first = steps.all().start;
    let events = steps.events(1).start..steps.all().end;
    let spacing = events.len().div_ceil(TARGETS_MAX);
    let phase = if spacing > 1 {
        random.random_range(0..spacing)
    } else {
        0
    };
    for event in events.skip(phase).step_by(spacing.max(1)) {
        let weight = data.weight(event);
        if weight <= 0.0 {
            continue;
        }
        let step = steps.step_of(event);
        let from = if context.look_back {
            let before = steps.events(step).start;
            steps.step_of(random.random_range(first..before))
        } else {
            step - 1
        };
        drawn.push((from as u32, data.event_items[event], weight));
    }
    // By state, and by item, so that nothing depends on the order inside a basket.
    drawn.sort_unstable_by_key(|&(step, item, weight)| (step, item, weight.to_bits()));
}

/// Σ in f64, in eight lanes.
fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&v| f64::from(v)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest
}
