//! Adagrad over the rows that a batch touched.
//!
//! The gradient of a row is summed in the order of the batch (shard, then target or input), whatever
//! the threads do; tables are cut into fixed runs of rows, each updated by one worker.

use std::ops::Range;

use rayon::prelude::*;

use super::bag::axpy;
use super::batch::Shard;
use crate::train::kernels;

/// Start of the sums of squares. A larger one (0.01) leaves nothing learned.
const SQUARES_START: f32 = 1e-7;
/// Rows of a table that one worker updates at a time.
const TABLE_ROWS: usize = 512;

/// How far a step goes.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// What the summed gradients are multiplied by.
    pub(super) factor: f32,
    /// Adagrad's rate.
    pub(super) rate: f32,
}

/// Parameters with the sums of their squared gradients.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) values: Vec<f32>,
    squares: Vec<f32>,
}

impl Table {
    pub(super) fn new(values: Vec<f32>) -> Table {
        Table {
            squares: vec![SQUARES_START; values.len()],
            values,
        }
    }

    /// A step of everything.
    pub(super) fn step(&mut self, gradient: &[f32], how: Step) {
        step(&mut self.values, &mut self.squares, gradient, how);
    }
}

#[inline(always)]
fn step(values: &mut [f32], squares: &mut [f32], gradient: &[f32], how: Step) {
    for ((value, square), gradient) in values.iter_mut().zip(squares).zip(gradient) {
        let gradient = gradient * how.factor;
        *square += gradient * gradient;
        *value -= how.rate * gradient / square.sqrt();
    }
}

/// One thing that adds to the gradient of a row: which row, then in which order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    row: u32,
    /// `NEGATIVE`, or the shard.
    source: u32,
    place: u32,
}

/// Sorts last, so that the targets come first.
const NEGATIVE: u32 = u32::MAX;

/// Updates output vectors and biases.
pub(super) fn outputs(
    vectors: &mut Table,
    biases: &mut Table,
    stride: usize,
    shards: &[Shard],
    negatives: &[u32],
    how: Step,
) {
    let mut parts: Vec<Part> = Vec::new();
    for (source, shard) in shards.iter().enumerate() {
        parts.extend(shard.targets.iter().zip(0..).map(|(target, place)| Part {
            row: target.item,
            source: source as u32,
            place,
        }));
    }
    parts.extend(negatives.iter().zip(0..).map(|(&row, place)| Part {
        row,
        source: NEGATIVE,
        place,
    }));
    parts.par_sort_unstable();
    let run = TABLE_ROWS * stride;
    vectors
        .values
        .par_chunks_mut(run)
        .zip(vectors.squares.par_chunks_mut(run))
        .zip(biases.values.par_chunks_mut(TABLE_ROWS))
        .zip(biases.squares.par_chunks_mut(TABLE_ROWS))
        .enumerate()
        .for_each(|(number, (((values, squares), biases), bias_squares))| {
            let first = number * TABLE_ROWS;
            let mut gradient = vec![0.0f32; stride];
            each_row(&parts, first, |row, parts| {
                let mut bias = 0.0f32;
                gradient.fill(0.0);
                for part in parts {
                    let place = part.place as usize;
                    if part.source == NEGATIVE {
                        for shard in shards.iter().filter(|shard| shard.rows() > 0) {
                            let vector = &shard.negative_vectors[place * stride..][..stride];
                            add(1.0, vector, &mut gradient);
                            bias += shard.negative_biases[place];
                        }
                    } else {
                        let shard = &shards[part.source as usize];
                        let target = &shard.targets[place];
                        let state = &shard.states[target.row as usize * stride..][..stride];
                        add(target.slope, state, &mut gradient);
                        bias += target.slope;
                    }
                }
                let at = row - first;
                let range = at * stride..(at + 1) * stride;
                step_fast(
                    &mut values[range.clone()],
                    &mut squares[range],
                    &gradient,
                    how,
                );
                step(
                    &mut biases[at..=at],
                    &mut bias_squares[at..=at],
                    &[bias],
                    how,
                );
            });
        });
}

/// Updates input vectors.
pub(super) fn inputs(vectors: &mut Table, stride: usize, shards: &[Shard], how: Step) {
    let mut parts: Vec<Part> = Vec::new();
    for (source, shard) in shards.iter().enumerate() {
        parts.extend(shard.inputs.iter().zip(0..).map(|(input, place)| Part {
            row: input.item,
            source: source as u32,
            place,
        }));
    }
    parts.par_sort_unstable();
    let run = TABLE_ROWS * stride;
    vectors
        .values
        .par_chunks_mut(run)
        .zip(vectors.squares.par_chunks_mut(run))
        .enumerate()
        .for_each(|(number, (values, squares))| {
            let first = number * TABLE_ROWS;
            let mut gradient = vec![0.0f32; stride];
            each_row(&parts, first, |row, parts| {
                gradient.fill(0.0);
                for part in parts {
                    let shard = &shards[part.source as usize];
                    let input = &shard.inputs[part.place as usize];
                    let vector = &shard.backward[input.row as usize * stride..][..stride];
                    add(input.weight, vector, &mut gradient);
                }
                let at = row - first;
                let range = at * stride..(at + 1) * stride;
                step_fast(
                    &mut values[range.clone()],
                    &mut squares[range],
                    &gradient,
                    how,
                );
            });
        });
}

/// Calls `each` with every row of a run that has parts, and those.
fn each_row(parts: &[Part], first: usize, mut each: impl FnMut(usize, &[Part])) {
    let range = run_of(parts, first);
    let mut parts = &parts[range];
    while let Some(part) = parts.first() {
        let count = parts.partition_point(|other| other.row == part.row);
        each(part.row as usize, &parts[..count]);
        parts = &parts[count..];
    }
}

fn run_of(parts: &[Part], first: usize) -> Range<usize> {
    let until = |row: usize| parts.partition_point(|part| (part.row as usize) < row);
    until(first)..until(first + TABLE_ROWS)
}

/// y += a x with the best instructions there are.
fn add(a: f32, x: &[f32], y: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if kernels::has_avx2() {
        // SAFETY: the features that `add_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { add_avx2(a, x, y) };
    }
    axpy::<false>(a, x, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_avx2(a: f32, x: &[f32], y: &mut [f32]) {
    axpy::<true>(a, x, y);
}

fn step_fast(values: &mut [f32], squares: &mut [f32], gradient: &[f32], how: Step) {
    #[cfg(target_arch = "x86_64")]
    if kernels::has_avx2() {
        // SAFETY: the features that `step_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { step_avx2(values, squares, gradient, how) };
    }
    step(values, squares, gradient, how);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn step_avx2(values: &mut [f32], squares: &mut [f32], gradient: &[f32], how: Step) {
    step(values, squares, gradient, how);
}
