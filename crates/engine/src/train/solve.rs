//! One row's least-squares system, solved by conjugate gradients.
//!
//! The rows it names are gathered once, ahead of their use, from half-precision numbers into a buffer;
//! both halves of a product then run over a few rows at a time while they are in the nearest cache.
//! Compiled twice from one body, as all of `kernels`; sums run in one fixed order.

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
const PREFETCH_ROWS: usize = 16;

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
    right: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    product: Vec<f32>,
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
#[target_feature(enable = "avx2,fma")]
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
    let rows = if whole { count.next_multiple_of(ROWS_LEFT) } else { ROWS };
    if scratch.gathered.len() < rows * stride {
        scratch.gathered.resize(rows * stride, 0.0);
    }
    for buffer in [
        &mut scratch.right,
        &mut scratch.residual,
        &mut scratch.direction,
        &mut scratch.product,
    ] {
        buffer.clear();
        buffer.resize(stride, 0.0);
    }
    let mut rows = Gathered {
        system,
        whole,
        buffer: &mut scratch.gathered[..rows * stride],
    };
    let right = &mut scratch.right[..];
    let residual = &mut scratch.residual[..];
    let direction = &mut scratch.direction[..];
    let product = &mut scratch.product[..];

    // r = Σ w (1 − q·x) q − diag x; b = Σ w q.
    let total = if system.warm {
        rows.each::<FMA, { RESIDUAL }>(x, residual);
        for j in 0..stride {
            residual[j] -= system.diagonal[j] * x[j];
        }
        None
    } else {
        let total = rows.each::<FMA, { RIGHT }>(x, residual);
        right.copy_from_slice(residual);
        Some(total)
    };
    for j in 0..stride {
        direction[j] = residual[j] / system.diagonal[j];
    }
    let mut norm = dot_body::<FMA>(residual, direction);
    let enough = norm * system.tolerance;
    for step in 0..system.steps {
        if norm <= enough || norm <= f32::MIN_POSITIVE {
            break;
        }
        product.fill(0.0);
        rows.each::<FMA, { PRODUCT }>(direction, product);
        for j in 0..stride {
            product[j] = madd::<FMA>(system.diagonal[j], direction[j], product[j]);
        }
        let length = norm / dot_body::<FMA>(direction, product);
        if !length.is_finite() {
            break;
        }
        for j in 0..stride {
            x[j] = madd::<FMA>(length, direction[j], x[j]);
            residual[j] = madd::<FMA>(-length, product[j], residual[j]);
        }
        if step + 1 == system.steps {
            break;
        }
        for j in 0..stride {
            product[j] = residual[j] / system.diagonal[j];
        }
        let next = dot_body::<FMA>(residual, product);
        let keep = next / norm;
        norm = next;
        for j in 0..stride {
            direction[j] = madd::<FMA>(keep, direction[j], product[j]);
        }
    }
    let pulls = f64::from(dot_body::<FMA>(right, x)) + f64::from(dot_body::<FMA>(residual, x));
    total.map_or(0.0, |total| total - pulls)
}

/// What a pass over the rows adds up: Σ w q, Σ w (1 − q·v) q, or Σ w (q·v) q.
const RIGHT: u8 = 0;
const RESIDUAL: u8 = 1;
const PRODUCT: u8 = 2;

/// The rows of a system, gathered whole or as they are needed.
struct Gathered<'a> {
    system: &'a System<'a>,
    whole: bool,
    buffer: &'a mut [f32],
}

impl Gathered<'_> {
    /// Adds what `PASS` says to `out`; returns Σ w. The first pass gathers.
    #[inline(always)]
    fn each<const FMA: bool, const PASS: u8>(&mut self, v: &[f32], out: &mut [f32]) -> f64 {
        let stride = v.len();
        let indices = self.system.indices;
        let (mut at, mut total) = (0, 0.0f64);
        while at < indices.len() {
            let left = indices.len() - at;
            let (rows, count) = match left {
                ROWS.. => (ROWS, ROWS),
                _ => (ROWS_LEFT, left.min(ROWS_LEFT)),
            };
            let from = if self.whole { at * stride } else { 0 };
            let group = &mut self.buffer[from..from + rows * stride];
            if PASS != PRODUCT || !self.whole {
                gather(self.system, at, count, stride, group);
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
        let size = if PASS == RESIDUAL { 1.0 - *factor } else { *factor };
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
fn gather(system: &System<'_>, at: usize, count: usize, stride: usize, into: &mut [f32]) {
    let pitch = system.other.pitch();
    let all = system.other.all();
    for (place, row) in into.chunks_exact_mut(stride).enumerate() {
        if place >= count {
            row.fill(0.0);
            continue;
        }
        if let Some(&ahead) = system.indices.get(at + place + PREFETCH_ROWS) {
            prefetch(&all[ahead as usize * pitch..(ahead as usize + 1) * pitch]);
        }
        let index = system.indices[at + place] as usize;
        half::widen(&all[index * pitch..(index + 1) * pitch], row);
    }
}

#[inline(always)]
fn prefetch(row: &[Half]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(32) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing; the address lies inside a live slice.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
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
        for (row, half) in rows.chunks_exact_mut(stride).zip(half.all().chunks(half.pitch())) {
            half::widen(half, row);
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
