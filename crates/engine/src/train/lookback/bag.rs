//! The bag: a user's state as gated, decayed sums of the vectors of what they did.
//!
//! z_s ← g_s z_s + Σ w e_i and c_s ← g_s c_s + Σ w over the events of a step, for each of a few decays
//! g_s; the state is u = u0 + Σ_s G_s ∘ z_s / √c_s. Forward streams over the steps, backward runs over
//! them from the last to the first. All rows are padded with zeros to the stride.

use super::steps::UserSteps;
use crate::interactions::Interactions;
use crate::train::kernels::{self, madd};

/// Decays per step: from the last few to everything. Films do best with fast ones, groceries with slow
/// ones; together they serve both.
pub(crate) const DECAYS: [f32; 5] = [0.5, 0.8, 0.95, 0.99, 1.0];
/// Number of decays.
pub(crate) const GATES: usize = DECAYS.len();

/// Events whose vectors are asked for ahead of their use; those of the next user may be among them.
const EVENTS_AHEAD: usize = 3;

/// What the bag is made of.
#[derive(Clone, Copy)]
pub(crate) struct Bag<'a> {
    /// A vector for each item as input.
    pub(crate) inputs: &'a [f32],
    /// A row for each decay.
    pub(crate) gates: &'a [f32],
    /// The state of a user without events.
    pub(crate) start: &'a [f32],
}

/// Running sums over a user's steps.
pub(crate) struct Sums {
    /// A row for each decay.
    z: Vec<f32>,
    counts: [f32; GATES],
    basket: Vec<f32>,
}

impl Sums {
    pub(crate) fn new(stride: usize) -> Sums {
        Sums {
            z: vec![0.0; GATES * stride],
            counts: [0.0; GATES],
            basket: vec![0.0; stride],
        }
    }

    pub(crate) fn clear(&mut self) {
        self.z.fill(0.0);
        self.counts = [0.0; GATES];
    }

    /// Takes the events of a step in.
    #[inline(always)]
    pub(crate) fn take<const FMA: bool>(
        &mut self,
        bag: &Bag<'_>,
        data: &Interactions,
        events: std::ops::Range<usize>,
    ) {
        let stride = self.basket.len();
        self.basket.fill(0.0);
        let mut total = 0.0f32;
        for event in events {
            if let Some(&ahead) = data.event_items.get(event + EVENTS_AHEAD) {
                let ahead = ahead as usize;
                kernels::prefetch(&bag.inputs[ahead * stride..(ahead + 1) * stride]);
            }
            let weight = data.weight(event);
            let item = data.event_items[event] as usize;
            let row = &bag.inputs[item * stride..(item + 1) * stride];
            axpy::<FMA>(weight, row, &mut self.basket);
            total += weight;
        }
        for (s, z) in self.z.chunks_exact_mut(stride).enumerate() {
            for (z, value) in z.iter_mut().zip(&self.basket) {
                *z = madd::<FMA>(DECAYS[s], *z, *value);
            }
            self.counts[s] = DECAYS[s] * self.counts[s] + total;
        }
    }

    /// 1/√c for each decay; 0 where nothing was taken in.
    pub(crate) fn scales(&self) -> [f32; GATES] {
        self.counts
            .map(|count| if count > 0.0 { 1.0 / count.sqrt() } else { 0.0 })
    }

    /// Writes the state; `kept`, if given, gets z_s / √c_s for the way back.
    #[inline(always)]
    pub(crate) fn state<const FMA: bool>(
        &self,
        bag: &Bag<'_>,
        state: &mut [f32],
        mut kept: Option<&mut [f32]>,
    ) {
        let stride = state.len();
        state.copy_from_slice(bag.start);
        for (s, scale) in self.scales().into_iter().enumerate() {
            let z = &self.z[s * stride..(s + 1) * stride];
            let gate = &bag.gates[s * stride..(s + 1) * stride];
            if let Some(kept) = kept.as_deref_mut() {
                let kept = &mut kept[s * stride..(s + 1) * stride];
                for (kept, z) in kept.iter_mut().zip(z) {
                    *kept = scale * z;
                }
            }
            for ((state, gate), z) in state.iter_mut().zip(gate).zip(z) {
                *state = madd::<FMA>(*gate, scale * z, *state);
            }
        }
    }
}

/// The state of a user after all of their steps.
#[inline(always)]
pub(crate) fn last_state<const FMA: bool>(
    bag: &Bag<'_>,
    data: &Interactions,
    steps: UserSteps<'_>,
    sums: &mut Sums,
    state: &mut [f32],
) {
    sums.clear();
    for step in 0..steps.len() {
        sums.take::<FMA>(bag, data, steps.events(step));
    }
    sums.state::<FMA>(bag, state, None);
}

/// y += a x
#[inline(always)]
pub(crate) fn axpy<const FMA: bool>(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = madd::<FMA>(a, *x, *y);
    }
}
