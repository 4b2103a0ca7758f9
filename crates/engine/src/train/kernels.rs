//! The inner loops that all of training shares: inner products and exponentials.
//!
//! Compiled twice from one body: for AVX2 with FMA, chosen when the processor has them, and for the
//! baseline. Sums run in one fixed order, so a result depends on its inputs and the instruction
//! set alone. All widths are multiples of [`WIDTH`]; the padding holds zeros.

/// Floats in a vector register; every stride is a multiple of it.
pub(crate) const WIDTH: usize = 8;

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
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_body::<true>(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn exp_avx2(values: &mut [f32]) {
    exp_body(values);
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
pub(crate) fn fold(s: [f32; WIDTH]) -> f32 {
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
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
