//! The inner loops of training: one row's system solved by conjugate gradients.
//!
//! Compiled twice from one body: for AVX2 with FMA, chosen when the processor has them, and for the
//! baseline. Sums run in one fixed order, so a row's result depends on its inputs and the instruction
//! set alone. All widths are multiples of [`WIDTH`]; the padding holds zeros.

/// Floats in a vector register; every stride is a multiple of it.
pub(crate) const WIDTH: usize = 8;
/// Rows handled together: one load of the vector serves four rows.
const ROWS: usize = 4;
/// Rows gathered at once when a long row's neighbours do not stay in the buffer.
const BATCH_ROWS: usize = 32;
/// Floats of gathered rows kept for the whole solve (4 MiB); longer rows are gathered in every step.
const GATHER_FLOATS_MAX: usize = 1 << 20;
/// Rows asked for ahead of their use; hides the latency of random reads.
const PREFETCH_ROWS: usize = 8;

/// The instruction set training runs on, as the model card records it: these kernels use AVX2, the
/// matrix products of `linear` also AVX-512.
pub(crate) fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() && std::arch::is_x86_feature_detected!("avx512f") {
        return "avx512f";
    }
    if has_avx2() { "avx2+fma" } else { "baseline" }
}

pub(crate) fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// One row's least-squares system: (diag + Σ w q qᵀ) x = Σ w q over the listed rows q of `other`.
pub(crate) struct System<'a> {
    /// The other side's vectors, row-major, `diagonal.len()` floats a row.
    pub(crate) other: &'a [f32],
    /// Which rows of `other`.
    pub(crate) indices: &'a [u32],
    /// A weight for each index; `None` for ones.
    pub(crate) weights: Option<&'a [f32]>,
    /// The diagonal part, positive.
    pub(crate) diagonal: &'a [f32],
    /// At most this many steps.
    pub(crate) steps: usize,
    /// Ends when the preconditioned residual fell by this factor (squared norm).
    pub(crate) tolerance: f32,
}

/// Buffers of one worker. They carry nothing from one row to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    gathered: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    product: Vec<f32>,
}

/// Improves `x` in place and returns the loss of the row at the `x` that came in.
pub(crate) fn solve(system: &System<'_>, x: &mut [f32], scratch: &mut Scratch) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `solve_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { solve_avx2(system, x, scratch) };
    }
    solve_body::<false>(system, x, scratch)
}

/// Inner product in the order of the kernels.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `dot_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { dot_avx2(a, b) };
    }
    dot_body::<false>(a, b)
}

/// e^x for each element, exact to about 2e-7, by a polynomial: fast, and the same on every platform.
pub(crate) fn exp_in_place(values: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `exp_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { exp_avx2(values) };
    }
    exp_body(values);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn solve_avx2(system: &System<'_>, x: &mut [f32], scratch: &mut Scratch) -> f64 {
    solve_body::<true>(system, x, scratch)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_body::<true>(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn exp_avx2(values: &mut [f32]) {
    exp_body(values);
}

#[inline(always)]
fn solve_body<const FMA: bool>(system: &System<'_>, x: &mut [f32], scratch: &mut Scratch) -> f64 {
    let stride = system.diagonal.len();
    let count = system.indices.len();
    if count == 0 {
        x.fill(0.0);
        return 0.0;
    }
    let whole = count.saturating_mul(stride) <= GATHER_FLOATS_MAX;
    let rows = if whole { count } else { BATCH_ROWS };
    if scratch.gathered.len() < rows * stride {
        scratch.gathered.resize(rows * stride, 0.0);
    }
    for buffer in [
        &mut scratch.residual,
        &mut scratch.direction,
        &mut scratch.product,
    ] {
        buffer.clear();
        buffer.resize(stride, 0.0);
    }
    let gathered = &mut scratch.gathered[..rows * stride];
    if whole {
        gather(system.other, system.indices, stride, gathered);
    }
    let residual = &mut scratch.residual[..];
    let direction = &mut scratch.direction[..];
    let product = &mut scratch.product[..];

    // r = Σ w (1 − q·x) q − diag x, and the loss on the way.
    let fit = each_batch::<FMA, true>(system, x, whole, gathered, residual);
    let mut ridge = 0.0f64;
    for j in 0..stride {
        let pull = system.diagonal[j] * x[j];
        ridge += f64::from(pull) * f64::from(x[j]);
        residual[j] -= pull;
    }
    let mut norm = 0.0f32;
    for j in 0..stride {
        direction[j] = residual[j] / system.diagonal[j];
    }
    norm += dot_body::<FMA>(residual, direction);
    let enough = norm * system.tolerance;
    for step in 0..system.steps {
        if norm <= enough || norm <= f32::MIN_POSITIVE {
            break;
        }
        product.fill(0.0);
        each_batch::<FMA, false>(system, direction, whole, gathered, product);
        for j in 0..stride {
            product[j] = madd::<FMA>(system.diagonal[j], direction[j], product[j]);
        }
        let curvature = dot_body::<FMA>(direction, product);
        let length = norm / curvature;
        if !length.is_finite() {
            break;
        }
        for j in 0..stride {
            x[j] = madd::<FMA>(length, direction[j], x[j]);
        }
        if step + 1 == system.steps {
            break;
        }
        for j in 0..stride {
            residual[j] = madd::<FMA>(-length, product[j], residual[j]);
            product[j] = residual[j] / system.diagonal[j];
        }
        let next = dot_body::<FMA>(residual, product);
        let keep = next / norm;
        norm = next;
        for j in 0..stride {
            direction[j] = madd::<FMA>(keep, direction[j], product[j]);
        }
    }
    fit + ridge
}

/// Adds Σ c q to `out`, c = w (1 − q·v) for the residual, w (q·v) for a product; returns Σ w (1 − q·v)².
#[inline(always)]
fn each_batch<const FMA: bool, const RESIDUAL: bool>(
    system: &System<'_>,
    v: &[f32],
    whole: bool,
    gathered: &mut [f32],
    out: &mut [f32],
) -> f64 {
    let stride = v.len();
    let mut loss = 0.0f64;
    for (number, indices) in system.indices.chunks(BATCH_ROWS).enumerate() {
        let first = number * BATCH_ROWS;
        let batch = if whole {
            &gathered[first * stride..(first + indices.len()) * stride]
        } else {
            gather(
                system.other,
                indices,
                stride,
                &mut gathered[..indices.len() * stride],
            );
            &gathered[..indices.len() * stride]
        };
        for (group, rows) in batch.chunks(ROWS * stride).enumerate() {
            let at = first + group * ROWS;
            let filled = rows.len() / stride;
            let mut factors = [0.0f32; ROWS];
            if filled == ROWS {
                factors = dot_four::<FMA>(rows, v);
            } else {
                for (factor, row) in factors.iter_mut().zip(rows.chunks_exact(stride)) {
                    *factor = dot_body::<FMA>(row, v);
                }
            }
            for (lane, factor) in factors.iter_mut().enumerate().take(filled) {
                let weight = system.weights.map_or(1.0, |weights| weights[at + lane]);
                if RESIDUAL {
                    let miss = 1.0 - *factor;
                    loss += f64::from(weight) * f64::from(miss) * f64::from(miss);
                    *factor = weight * miss;
                } else {
                    *factor *= weight;
                }
            }
            if filled == ROWS {
                add_four::<FMA>(rows, factors, out);
            } else {
                for (factor, row) in factors.iter().zip(rows.chunks_exact(stride)) {
                    for (out, value) in out.iter_mut().zip(row) {
                        *out = madd::<FMA>(*factor, *value, *out);
                    }
                }
            }
        }
    }
    loss
}

#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` is a slow library call.
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
pub(crate) fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; WIDTH];
    for (a, b) in a.chunks_exact(WIDTH).zip(b.chunks_exact(WIDTH)) {
        for lane in 0..WIDTH {
            sums[lane] = madd::<FMA>(a[lane], b[lane], sums[lane]);
        }
    }
    fold(sums)
}

#[inline(always)]
fn fold(s: [f32; WIDTH]) -> f32 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

#[inline(always)]
fn dot_four<const FMA: bool>(rows: &[f32], v: &[f32]) -> [f32; ROWS] {
    let stride = v.len();
    let (first, rest) = rows.split_at(stride);
    let (second, rest) = rest.split_at(stride);
    let (third, fourth) = rest.split_at(stride);
    let mut sums = [[0.0f32; WIDTH]; ROWS];
    let lanes = first
        .chunks_exact(WIDTH)
        .zip(second.chunks_exact(WIDTH))
        .zip(third.chunks_exact(WIDTH).zip(fourth.chunks_exact(WIDTH)))
        .zip(v.chunks_exact(WIDTH));
    for (((a, b), (c, d)), v) in lanes {
        for lane in 0..WIDTH {
            sums[0][lane] = madd::<FMA>(a[lane], v[lane], sums[0][lane]);
            sums[1][lane] = madd::<FMA>(b[lane], v[lane], sums[1][lane]);
            sums[2][lane] = madd::<FMA>(c[lane], v[lane], sums[2][lane]);
            sums[3][lane] = madd::<FMA>(d[lane], v[lane], sums[3][lane]);
        }
    }
    sums.map(fold)
}

#[inline(always)]
fn add_four<const FMA: bool>(rows: &[f32], factors: [f32; ROWS], out: &mut [f32]) {
    let stride = out.len();
    let (first, rest) = rows.split_at(stride);
    let (second, rest) = rest.split_at(stride);
    let (third, fourth) = rest.split_at(stride);
    let lanes = first
        .chunks_exact(WIDTH)
        .zip(second.chunks_exact(WIDTH))
        .zip(third.chunks_exact(WIDTH).zip(fourth.chunks_exact(WIDTH)))
        .zip(out.chunks_exact_mut(WIDTH));
    for (((a, b), (c, d)), out) in lanes {
        for lane in 0..WIDTH {
            let sum = madd::<FMA>(factors[0], a[lane], out[lane]);
            let sum = madd::<FMA>(factors[1], b[lane], sum);
            let sum = madd::<FMA>(factors[2], c[lane], sum);
            out[lane] = madd::<FMA>(factors[3], d[lane], sum);
        }
    }
}

#[inline(always)]
fn gather(other: &[f32], indices: &[u32], stride: usize, into: &mut [f32]) {
    for (place, (index, row)) in indices
        .iter()
        .zip(into.chunks_exact_mut(stride))
        .enumerate()
    {
        if let Some(&ahead) = indices.get(place + PREFETCH_ROWS) {
            prefetch(&other[ahead as usize * stride..(ahead as usize + 1) * stride]);
        }
        row.copy_from_slice(&other[*index as usize * stride..(*index as usize + 1) * stride]);
    }
}

#[inline(always)]
fn prefetch(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(16) {
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

#[inline(always)]
fn exp_body(values: &mut [f32]) {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first with few bits so that its multiples are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting it rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    for value in values {
        let x = value.clamp(-87.0, 88.0);
        let power = (x * LOG2_E + ROUND) - ROUND;
        let r = x - power * LN_2_HIGH - power * LN_2_LOW;
        // Taylor up to r^7/7! is below one unit in the last place for |r| <= ln 2 / 2.
        let mut sum = 1.0 / 5040.0;
        for coefficient in [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            sum = sum * r + coefficient;
        }
        let scale = f32::from_bits((((power as i32) + 127) as u32) << 23);
        *value = sum * scale;
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

    /// Solves the dense system by elimination in f64.
    #[allow(clippy::needless_range_loop)] // Matrices read best with their indices.
    fn dense(system: &System<'_>) -> Vec<f64> {
        let n = system.diagonal.len();
        let mut a = vec![vec![0.0f64; n + 1]; n];
        for j in 0..n {
            a[j][j] = f64::from(system.diagonal[j]);
        }
        for (place, &index) in system.indices.iter().enumerate() {
            let w = f64::from(system.weights.map_or(1.0, |weights| weights[place]));
            let row = &system.other[index as usize * n..(index as usize + 1) * n];
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
        let other = random(200 * stride, 1);
        for count in [1usize, 3, 4, 31, 33, 150] {
            let indices: Vec<u32> = (0..count as u32).map(|i| (i * 7) % 200).collect();
            let weights: Vec<f32> = (0..count).map(|i| 0.2 + (i % 5) as f32).collect();
            for weights in [None, Some(&weights[..])] {
                let diagonal: Vec<f32> = (0..stride).map(|j| 0.5 + j as f32 * 0.1).collect();
                let system = System {
                    other: &other,
                    indices: &indices,
                    weights,
                    diagonal: &diagonal,
                    steps: 60,
                    tolerance: 0.0,
                };
                let expected = dense(&system);
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
        let other = random(50 * stride, 2);
        let indices: Vec<u32> = (0..count as u32).map(|i| i % 50).collect();
        let diagonal = vec![1000.0f32; stride];
        let mut system = System {
            other: &other,
            indices: &indices,
            weights: None,
            diagonal: &diagonal,
            steps: 20,
            tolerance: 0.0,
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
            other: &[],
            indices: &[],
            weights: None,
            diagonal: &[1.0; 8],
            steps: 3,
            tolerance: 0.0,
        };
        let mut x = vec![3.0; 8];
        assert_eq!(solve(&system, &mut x, &mut Scratch::default()), 0.0);
        assert_eq!(x, vec![0.0; 8]);
    }

    #[test]
    fn the_exponential_is_close_to_the_library_one() {
        let mut values: Vec<f32> = (-870..=880).map(|i| i as f32 / 10.0).collect();
        let expected: Vec<f64> = values.iter().map(|&x| libm::exp(f64::from(x))).collect();
        exp_in_place(&mut values);
        for (value, expected) in values.iter().zip(expected) {
            assert!((f64::from(*value) / expected - 1.0).abs() < 3e-7);
        }
    }
}
