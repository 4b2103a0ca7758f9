//! One row's least-squares system, solved by conjugate gradients.
//!
//! The rows it names are gathered once, ahead of their use, from half-precision numbers into a buffer;
//! both halves of a product then run over a few rows at a time while they are in the nearest cache.
//! Compiled twice from one body, as all of `kernels`; sums run in one fixed order.

use std::ops::Range;

use rayon::prelude::*;

use super::half::{self, Half, HalfRows};
use super::kernels::{self, WIDTH, dot_body, fold, madd};

/// Rows handled together: one load of the vector serves them all, and as many independent sums keep the
/// multiply-adders busy.
const ROWS: usize = 8;
/// What is left of the rows is filled up to a multiple of it with zeros.
const ROWS_LEFT: usize = 4;
/// Floats of gathered rows kept for the whole solve (4 MiB); longer rows are gathered in every step.
const GATHER_FLOATS_MAX: usize = 1 << 20;
/// Rows asked for ahead of their use; hides the latency of random reads.
const PREFETCH_ROWS: usize = 8;
/// Bytes of the other side's rows that long systems go through together: they stay in the last cache.
const BAND_BYTES: usize = 8 << 20;
/// Rows of a long system in a band, at least and on average.
const BAND_SHARE_MIN: usize = 16;

/// One row's least-squares system: (diag + Σ w q qᵀ) x = Σ w q over the listed rows q of `other`.
pub(crate) struct System<'a> {
    /// The other side's vectors.
    pub(crate) other: &'a HalfRows,
    /// Which rows of `other`.
    pub(crate) indices: &'a [u32],
    /// A weight for each index; `None` for ones.
    pub(crate) weights: Option<&'a [f32]>,
    /// The diagonal part, positive; a number for each coordinate, padded to whole registers.
    pub(crate) diagonal: &'a [f32],
    /// At most this many steps.
    pub(crate) steps: usize,
    /// Ends when the preconditioned residual fell by this factor (squared norm).
    pub(crate) tolerance: f32,
    /// Whether to start from the `x` that is handed in, and not from zero.
    pub(crate) warm: bool,
}

/// Buffers of one worker. They carry nothing from one row to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    gathered: Vec<f32>,
    descent: Descent,
}

/// Solves for `x`. Returns the loss Σ w (1 − q·x)² + x diag x of the result where it started from zero;
/// from elsewhere it would take another pass, and 0 is returned.
pub(crate) fn solve(system: &System<'_>, x: &mut [f32], scratch: &mut Scratch) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if kernels::has_avx2() {
        // SAFETY: the features that `solve_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { solve_avx2(system, x, scratch) };
    }
    solve_body::<false>(system, x, scratch)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn solve_avx2(system: &System<'_>, x: &mut [f32], scratch: &mut Scratch) -> f64 {
    solve_body::<true>(system, x, scratch)
}

#[inline(always)]
fn solve_body<const FMA: bool>(system: &System<'_>, x: &mut [f32], scratch: &mut Scratch) -> f64 {
    let stride = system.diagonal.len();
    let count = system.indices.len();
    if !system.warm || count == 0 {
        x.fill(0.0);
    }
    if count == 0 {
        return 0.0;
    }
    let whole = count.saturating_mul(stride) <= GATHER_FLOATS_MAX;
    let rows = if whole {
        count.next_multiple_of(ROWS_LEFT)
    } else {
        ROWS
    };
    if scratch.gathered.len() < rows * stride {
        scratch.gathered.resize(rows * stride, 0.0);
    }
    let mut rows = Gathered {
        system,
        whole,
        buffer: &mut scratch.gathered[..rows * stride],
    };
    let descent = &mut scratch.descent;
    descent.clear(stride);
    let total = if system.warm {
        rows.each::<FMA, { RESIDUAL }>(0..count, x, &mut descent.residual);
        0.0
    } else {
        let total = rows.each::<FMA, { RIGHT }>(0..count, x, &mut descent.residual);
        descent.right.copy_from_slice(&descent.residual);
        total
    };
    descent.begin::<FMA>(system, x);
    for step in 1..=system.steps {
        if descent.is_over() {
            break;
        }
        rows.each::<FMA, { PRODUCT }>(0..count, &descent.direction, &mut descent.product);
        descent.step::<FMA>(system, x, step == system.steps);
    }
    if system.warm {
        return 0.0;
    }
    total
        - f64::from(dot_body::<FMA>(&descent.right, x))
        - f64::from(dot_body::<FMA>(&descent.residual, x))
}

/// Where the conjugate gradients of one system stand.
#[derive(Default)]
struct Descent {
    /// Σ w q, where the start was zero.
    right: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    /// What a pass over the rows makes of the direction.
    product: Vec<f32>,
    norm: f32,
    /// Ends at this norm.
    enough: f32,
}

impl Descent {
    fn clear(&mut self, stride: usize) {
        for buffer in [
            &mut self.right,
            &mut self.residual,
            &mut self.direction,
            &mut self.product,
        ] {
            buffer.clear();
            buffer.resize(stride, 0.0);
        }
    }

    /// The residual has Σ w (1 − q·x) q; the diagonal part is taken off here.
    #[inline(always)]
    fn begin<const FMA: bool>(&mut self, system: &System<'_>, x: &[f32]) {
        for ((residual, direction), (diagonal, x)) in self
            .residual
            .iter_mut()
            .zip(&mut self.direction)
            .zip(system.diagonal.iter().zip(x))
        {
            *residual -= diagonal * x;
            *direction = *residual / diagonal;
        }
        self.norm = dot_body::<FMA>(&self.residual, &self.direction);
        self.enough = self.norm * system.tolerance;
    }

    fn is_over(&self) -> bool {
        self.norm <= self.enough || self.norm <= f32::MIN_POSITIVE
    }

    /// Goes along the direction; `product` has Σ w (q·direction) q and is zero afterwards.
    #[inline(always)]
    fn step<const FMA: bool>(&mut self, system: &System<'_>, x: &mut [f32], last: bool) {
        let directions = system.diagonal.iter().zip(&self.direction);
        for (product, (diagonal, direction)) in self.product.iter_mut().zip(directions) {
            *product = madd::<FMA>(*diagonal, *direction, *product);
        }
        let length = self.norm / dot_body::<FMA>(&self.direction, &self.product);
        if !length.is_finite() {
            self.norm = 0.0;
            return;
        }
        for (x, direction) in x.iter_mut().zip(&self.direction) {
            *x = madd::<FMA>(length, *direction, *x);
        }
        for (residual, product) in self.residual.iter_mut().zip(&self.product) {
            *residual = madd::<FMA>(-length, *product, *residual);
        }
        if last {
            return;
        }
        let residuals = self.residual.iter().zip(system.diagonal);
        for (product, (residual, diagonal)) in self.product.iter_mut().zip(residuals) {
            *product = residual / diagonal;
        }
        let next = dot_body::<FMA>(&self.residual, &self.product);
        let keep = next / self.norm;
        self.norm = next;
        for (direction, product) in self.direction.iter_mut().zip(&mut self.product) {
            *direction = madd::<FMA>(keep, *direction, *product);
            *product = 0.0;
        }
    }
}

/// Whether a system has too many rows to gather them once, and enough in every band to be solved by
/// [`solve_together`].
pub(crate) fn is_long(count: usize, stride: usize, other: &HalfRows) -> bool {
    let bands = other.all().len().div_ceil(band_rows(other) * other.pitch());
    count.saturating_mul(stride) > GATHER_FLOATS_MAX && count >= bands * BAND_SHARE_MIN
}

fn band_rows(other: &HalfRows) -> usize {
    (BAND_BYTES / (other.pitch() * size_of::<Half>())).max(1)
}

/// Improves each `x` of long systems with the same `other` and ascending indices. A pass goes through
/// `other` band by band, and all systems take what they need of a band while it is in the cache.
pub(crate) fn solve_together(systems: &mut [(System<'_>, Vec<f32>)]) {
    let Some(other) = systems.first().map(|(system, _)| system.other) else {
        return;
    };
    let band_rows = band_rows(other);
    let bands = other.all().len().div_ceil(band_rows * other.pitch());
    let steps = systems.iter().map(|(system, _)| system.steps).max();
    let mut courses: Vec<Course<'_, '_>> = systems
        .iter_mut()
        .map(|(system, x)| Course::new(system, x))
        .collect();
    for pass in 0..=steps.unwrap_or(0) {
        for band in 1..=bands {
            let end = band * band_rows;
            courses
                .par_iter_mut()
                .for_each_init(Vec::new, |buffer, course| course.take(pass, end, buffer));
        }
        courses
            .par_iter_mut()
            .for_each(|course| course.finish(pass));
    }
}

/// A long system on its way.
struct Course<'s, 'a> {
    system: &'s System<'a>,
    x: &'s mut [f32],
    descent: Descent,
    /// How many of the rows this pass has taken.
    taken: usize,
}

impl<'s, 'a> Course<'s, 'a> {
    fn new(system: &'s System<'a>, x: &'s mut [f32]) -> Self {
        let mut descent = Descent::default();
        descent.clear(system.diagonal.len());
        Course {
            system,
            x,
            descent,
            taken: 0,
        }
    }

    /// Takes the rows before `end` that no earlier call took.
    fn take(&mut self, pass: usize, end: usize, buffer: &mut Vec<f32>) {
        let left = &self.system.indices[self.taken..];
        let range = self.taken..self.taken + left.partition_point(|&row| (row as usize) < end);
        self.taken = range.end;
        if range.is_empty() || (pass > 0 && self.descent.is_over()) {
            return;
        }
        buffer.resize(ROWS * self.x.len(), 0.0);
        #[cfg(target_arch = "x86_64")]
        if kernels::has_avx2() {
            // SAFETY: the features that `add_avx2` is compiled for were detected on the line above.
            #[allow(unsafe_code)]
            return unsafe { self.add_avx2(pass, range, buffer) };
        }
        self.add::<false>(pass, range, buffer);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn add_avx2(&mut self, pass: usize, range: Range<usize>, buffer: &mut [f32]) {
        self.add::<true>(pass, range, buffer);
    }

    #[inline(always)]
    fn add<const FMA: bool>(&mut self, pass: usize, range: Range<usize>, buffer: &mut [f32]) {
        let mut rows = Gathered {
            system: self.system,
            whole: false,
            buffer,
        };
        let descent = &mut self.descent;
        if pass == 0 {
            rows.each::<FMA, { RESIDUAL }>(range, self.x, &mut descent.residual);
        } else {
            rows.each::<FMA, { PRODUCT }>(range, &descent.direction, &mut descent.product);
        }
    }

    fn finish(&mut self, pass: usize) {
        self.taken = 0;
        #[cfg(target_arch = "x86_64")]
        if kernels::has_avx2() {
            // SAFETY: the features that `advance_avx2` is compiled for were detected on the line above.
            #[allow(unsafe_code)]
            return unsafe { self.advance_avx2(pass) };
        }
        self.advance::<false>(pass);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn advance_avx2(&mut self, pass: usize) {
        self.advance::<true>(pass);
    }

    #[inline(always)]
    fn advance<const FMA: bool>(&mut self, pass: usize) {
        if pass == 0 {
            self.descent.begin::<FMA>(self.system, self.x);
        } else if !self.descent.is_over() {
            let last = pass == self.system.steps;
            self.descent.step::<FMA>(self.system, self.x, last);
        }
    }
}

/// What a pass over the rows adds up: Σ w q, Σ w (1 − q·v) q, or Σ w (q·v) q.
const RIGHT: u8 = 0;
const RESIDUAL: u8 = 1;
const PRODUCT: u8 = 2;

/// The rows of a system, gathered whole or as they are needed.
struct Gathered<'s, 'a> {
    system: &'s System<'a>,
    whole: bool,
    buffer: &'s mut [f32],
}

impl Gathered<'_, '_> {
    /// Adds what `PASS` says of a range of the rows to `out`; returns Σ w. What is kept whole is
    /// gathered by the first pass.
    #[inline(always)]
    fn each<const FMA: bool, const PASS: u8>(
        &mut self,
        range: Range<usize>,
        v: &[f32],
        out: &mut [f32],
    ) -> f64 {
        let stride = v.len();
        let (mut at, mut total) = (range.start, 0.0f64);
        while at < range.end {
            let left = range.end - at;
            let (rows, count) = match left {
                ROWS.. => (ROWS, ROWS),
                _ => (ROWS_LEFT, left.min(ROWS_LEFT)),
            };
            let from = if self.whole { at * stride } else { 0 };
            let group = &mut self.buffer[from..from + rows * stride];
            if PASS != PRODUCT || !self.whole {
                gather::<FMA>(self.system, at, count, stride, group);
            }
            let weights = self.system.weights.map(|weights| &weights[at..at + count]);
            total += if rows == ROWS {
                add_rows::<FMA, PASS, ROWS>(group, weights, count, v, out)
            } else {
                add_rows::<FMA, PASS, ROWS_LEFT>(group, weights, count, v, out)
            };
            at += count;
        }
        total
    }
}

/// One group of rows; those after `count` are zeros.
#[inline(always)]
fn add_rows<const FMA: bool, const PASS: u8, const N: usize>(
    rows: &[f32],
    weights: Option<&[f32]>,
    count: usize,
    v: &[f32],
    out: &mut [f32],
) -> f64 {
    let stride = v.len();
    let rows: [&[[f32; WIDTH]]; N] =
        std::array::from_fn(|row| rows[row * stride..(row + 1) * stride].as_chunks().0);
    let mut factors = match PASS {
        RIGHT => [1.0; N],
        _ => dots::<FMA, N>(rows, v.as_chunks().0),
    };
    let mut total = 0.0f64;
    for (lane, factor) in factors.iter_mut().enumerate().take(count) {
        let weight = weights.map_or(1.0, |weights| weights[lane]);
        total += f64::from(weight);
        let size = if PASS == RESIDUAL {
            1.0 - *factor
        } else {
            *factor
        };
        *factor = weight * size;
    }
    let out = out.as_chunks_mut().0;
    let width = out.len();
    let rows = rows.map(|row| &row[..width]);
    for (c, out) in out.iter_mut().enumerate() {
        let mut sum: [f32; WIDTH] = *out;
        for row in 0..N {
            for lane in 0..WIDTH {
                sum[lane] = madd::<FMA>(factors[row], rows[row][c][lane], sum[lane]);
            }
        }
        *out = sum;
    }
    total
}

#[inline(always)]
fn dots<const FMA: bool, const N: usize>(
    rows: [&[[f32; WIDTH]]; N],
    v: &[[f32; WIDTH]],
) -> [f32; N] {
    let mut sums = [[0.0f32; WIDTH]; N];
    let rows = rows.map(|row| &row[..v.len()]);
    for (c, v) in v.iter().enumerate() {
        for row in 0..N {
            for lane in 0..WIDTH {
                sums[row][lane] = madd::<FMA>(rows[row][c][lane], v[lane], sums[row][lane]);
            }
        }
    }
    sums.map(fold)
}

/// Reads `count` rows from place `at` on; what is left of `into` becomes zeros.
#[inline(always)]
fn gather<const FMA: bool>(
    system: &System<'_>,
    at: usize,
    count: usize,
    stride: usize,
    into: &mut [f32],
) {
    let pitch = system.other.pitch();
    let all = system.other.all();
    for (place, row) in into.chunks_exact_mut(stride).enumerate() {
        if place >= count {
            row.fill(0.0);
            continue;
        }
        if let Some(&ahead) = system.indices.get(at + place + PREFETCH_ROWS) {
            kernels::prefetch(&all[ahead as usize * pitch..(ahead as usize + 1) * pitch]);
        }
        let index = system.indices[at + place] as usize;
        half::widen::<FMA>(&all[index * pitch..(index + 1) * pitch], row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| rng.random::<f32>() - 0.5).collect()
    }

    /// The rows in half precision, and what that made of them.
    fn rounded(mut rows: Vec<f32>, stride: usize) -> (HalfRows, Vec<f32>) {
        let half = HalfRows::of(&rows, stride).unwrap();
        for (row, half) in rows
            .chunks_exact_mut(stride)
            .zip(half.all().chunks(half.pitch()))
        {
            half::widen::<false>(half, row);
        }
        (half, rows)
    }

    /// Solves the dense system by elimination in f64.
    #[allow(clippy::needless_range_loop)] // Matrices read best with their indices.
    fn dense(system: &System<'_>, other: &[f32]) -> Vec<f64> {
        let n = system.diagonal.len();
        let mut a = vec![vec![0.0f64; n + 1]; n];
        for j in 0..n {
            a[j][j] = f64::from(system.diagonal[j]);
        }
        for (place, &index) in system.indices.iter().enumerate() {
            let w = f64::from(system.weights.map_or(1.0, |weights| weights[place]));
            let row = &other[index as usize * n..(index as usize + 1) * n];
            for i in 0..n {
                for j in 0..n {
                    a[i][j] += w * f64::from(row[i]) * f64::from(row[j]);
                }
                a[i][n] += w * f64::from(row[i]);
            }
        }
        for i in 0..n {
            for other in 0..n {
                if other != i {
                    let factor = a[other][i] / a[i][i];
                    for j in i..=n {
                        a[other][j] -= factor * a[i][j];
                    }
                }
            }
        }
        (0..n).map(|i| a[i][n] / a[i][i]).collect()
    }

    #[test]
    fn conjugate_gradients_reach_the_dense_solution() {
        let stride = 16;
        let (half, other) = rounded(random(200 * stride, 1), stride);
        for count in [1usize, 3, 4, 31, 33, 150] {
            let indices: Vec<u32> = (0..count as u32).map(|i| (i * 7) % 200).collect();
            let weights: Vec<f32> = (0..count).map(|i| 0.2 + (i % 5) as f32).collect();
            for weights in [None, Some(&weights[..])] {
                let diagonal: Vec<f32> = (0..stride).map(|j| 0.5 + j as f32 * 0.1).collect();
                let system = System {
                    other: &half,
                    indices: &indices,
                    weights,
                    diagonal: &diagonal,
                    steps: 60,
                    tolerance: 0.0,
                    warm: true,
                };
                let expected = dense(&system, &other);
                let mut fast = vec![0.1f32; stride];
                let mut portable = fast.clone();
                solve(&system, &mut fast, &mut Scratch::default());
                solve_body::<false>(&system, &mut portable, &mut Scratch::default());
                for j in 0..stride {
                    assert!((f64::from(fast[j]) - expected[j]).abs() < 2e-5);
                    assert!((f64::from(portable[j]) - expected[j]).abs() < 2e-5);
                }
            }
        }
    }

    #[test]
    fn a_row_too_long_for_the_buffer_is_solved_the_same_way() {
        let stride = 8;
        let count = GATHER_FLOATS_MAX / stride + 5;
        let (half, _) = rounded(random(50 * stride, 2), stride);
        let indices: Vec<u32> = (0..count as u32).map(|i| i % 50).collect();
        let diagonal = vec![1000.0f32; stride];
        let mut system = System {
            other: &half,
            indices: &indices,
            weights: None,
            diagonal: &diagonal,
            steps: 20,
            tolerance: 0.0,
            warm: false,
        };
        let mut long = vec![0.0f32; stride];
        solve(&system, &mut long, &mut Scratch::default());
        // The same system from fifty rows with weights.
        let few: Vec<u32> = (0..50).collect();
        let weights: Vec<f32> = (0..50u32)
            .map(|i| indices.iter().filter(|&&index| index == i).count() as f32)
            .collect();
        system.indices = &few;
        system.weights = Some(&weights);
        let mut short = vec![0.0f32; stride];
        solve(&system, &mut short, &mut Scratch::default());
        for j in 0..stride {
            assert!((long[j] - short[j]).abs() < 1e-3 * short[j].abs().max(0.1));
        }
    }

    #[test]
    fn long_systems_are_solved_together_as_alone() {
        let stride = 8;
        let count = 3 * band_rows(&HalfRows::zeros(0, stride).unwrap()) + 5;
        let half = HalfRows::of(&random(count * stride, 3), stride).unwrap();
        let diagonal = vec![100.0f32; stride];
        let every = |step: usize| -> Vec<u32> { (0..count as u32).step_by(step).collect() };
        let indices = [every(1), every(3)];
        let weights: Vec<f32> = (0..count).map(|i| 0.5 + (i % 3) as f32).collect();
        let system = |number: usize| System {
            other: &half,
            indices: &indices[number],
            weights: (number == 1).then(|| &weights[..indices[1].len()]),
            diagonal: &diagonal,
            steps: 3,
            tolerance: 0.0,
            warm: true,
        };
        assert!(is_long(count, stride, &half) && !is_long(1000, stride, &half));
        let mut together = [0, 1].map(|number| (system(number), vec![0.25f32; stride]));
        solve_together(&mut together);
        for (number, (_, found)) in together.iter().enumerate() {
            let mut alone = vec![0.25f32; stride];
            solve(&system(number), &mut alone, &mut Scratch::default());
            for (found, alone) in found.iter().zip(&alone) {
                assert!(
                    (found - alone).abs() < 1e-4 * alone.abs().max(0.1),
                    "{found} {alone}"
                );
            }
        }
    }

    #[test]
    fn an_empty_row_is_zero() {
        let system = System {
            other: &HalfRows::zeros(0, 8).unwrap(),
            indices: &[],
            weights: None,
            diagonal: &[1.0; 8],
            steps: 3,
            tolerance: 0.0,
            warm: true,
        };
        let mut x = vec![3.0; 8];
        assert_eq!(solve(&system, &mut x, &mut Scratch::default()), 0.0);
        assert_eq!(x, vec![0.0; 8]);
    }
}
