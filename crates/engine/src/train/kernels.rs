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

/// Whether there are AVX2, FMA and F16C, which come together.
pub(crate) fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
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

/// e^x for each element, exact to about 2e-7, by a polynomial.
pub(crate) fn exp_in_place(values: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `map_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { map_avx2(values, exp::<true>) };
    }
    map_body(values, exp::<false>);
}

/// e^(x − less) for each element.
pub(crate) fn exp_less(values: &mut [f32], less: f32) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `map_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { map_avx2(values, |value| exp::<true>(value - less)) };
    }
    map_body(values, |value| exp::<false>(value - less));
}

/// e^(x + more + its own shift) for each element, and never more than 1.
pub(crate) fn exp_shifted(values: &mut [f32], shifts: &[f32], more: f32) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `zip_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe {
            zip_avx2(values, shifts, |value, shift| {
                exp::<true>((value + (more + shift)).min(0.0))
            })
        };
    }
    zip_body(values, shifts, |value, shift| {
        exp::<false>((value + (more + shift)).min(0.0))
    });
}

/// Adds element by element.
pub(crate) fn add(values: &mut [f32], others: &[f32]) {
    zip(values, others, |value, other| value + other);
}

/// Adds element by element and gives the largest sum; −∞ if there is none.
pub(crate) fn add_and_max(values: &mut [f32], others: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `add_and_max_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { add_and_max_avx2(values, others) };
    }
    add_and_max_body(values, others)
}

/// Asks for what will be read soon at a place that nobody can foresee.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks((64 / size_of::<T>()).max(1)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing; the address lies inside a live slice.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

fn zip(values: &mut [f32], others: &[f32], each: impl Fn(f32, f32) -> f32) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the features that `zip_avx2` is compiled for were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { zip_avx2(values, others, each) };
    }
    zip_body(values, others, each);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_body::<true>(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn map_avx2(values: &mut [f32], each: impl Fn(f32) -> f32) {
    map_body(values, each);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn zip_avx2(values: &mut [f32], others: &[f32], each: impl Fn(f32, f32) -> f32) {
    zip_body(values, others, each);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_and_max_avx2(values: &mut [f32], others: &[f32]) -> f32 {
    add_and_max_body(values, others)
}

#[inline(always)]
fn map_body(values: &mut [f32], each: impl Fn(f32) -> f32) {
    for value in values {
        *value = each(*value);
    }
}

#[inline(always)]
fn zip_body(values: &mut [f32], others: &[f32], each: impl Fn(f32, f32) -> f32) {
    for (value, other) in values.iter_mut().zip(others) {
        *value = each(*value, *other);
    }
}

#[inline(always)]
fn add_and_max_body(values: &mut [f32], others: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut highest = [f32::NEG_INFINITY; WIDTH];
    let (values, values_rest) = values.as_chunks_mut::<WIDTH>();
    let (others, others_rest) = others.as_chunks::<WIDTH>();
    for (values, others) in values.iter_mut().zip(others) {
        for lane in 0..WIDTH {
            values[lane] += others[lane];
            highest[lane] = larger(highest[lane], values[lane]);
        }
    }
    let mut high = highest.into_iter().fold(f32::NEG_INFINITY, larger);
    for (value, other) in values_rest.iter_mut().zip(others_rest) {
        *value += other;
        high = larger(high, *value);
    }
    high
}

#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` is a slow library call.
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
pub(crate) fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; WIDTH];
    for (a, b) in a
        .as_chunks::<WIDTH>()
        .0
        .iter()
        .zip(b.as_chunks::<WIDTH>().0)
    {
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
fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first with few bits so that its multiples are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding it rounds to the nearest integer, which then stands in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = madd::<FMA>(x, LOG2_E, ROUND);
    let power = rounded - ROUND;
    let r = madd::<FMA>(power, -LN_2_LOW, madd::<FMA>(power, -LN_2_HIGH, x));
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
        sum = madd::<FMA>(sum, r, coefficient);
    }
    sum * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23))
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

    #[test]
    fn the_fused_forms_are_what_they_are_made_of() {
        let values: Vec<f32> = (0..43).map(|i| (i * 37 % 29) as f32 * 0.3 - 4.0).collect();
        let shifts: Vec<f32> = (0..43).map(|i| (i * 11 % 17) as f32 * 0.2 - 1.5).collect();
        let pairs = || values.iter().zip(&shifts);
        let mut sums = values.clone();
        let high = add_and_max(&mut sums, &shifts);
        assert!(sums.iter().zip(pairs()).all(|(sum, (a, b))| *sum == a + b));
        assert!(sums.contains(&high) && sums.iter().all(|sum| *sum <= high));
        assert_eq!(add_and_max(&mut [], &[]), f32::NEG_INFINITY);
        let mut less = values.clone();
        exp_less(&mut less, 1.25);
        let mut expected: Vec<f32> = values.iter().map(|value| value - 1.25).collect();
        exp_in_place(&mut expected);
        assert_eq!(less, expected);
        let mut shifted = values.clone();
        exp_shifted(&mut shifted, &shifts, 0.5);
        let capped = pairs().map(|(value, shift)| (value + (0.5 + shift)).min(0.0));
        let mut expected: Vec<f32> = capped.collect();
        exp_in_place(&mut expected);
        assert_eq!(shifted, expected);
        let mut added = values.clone();
        add(&mut added, &shifts);
        assert_eq!(added, sums);
    }
}
