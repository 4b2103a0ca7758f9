//! The tile for AVX-512 with VNNI: four products of codes and their sum for sixteen users at once.

use super::{Codes, FINE, Kernel, Lane, Line, PANELS, Panel, Passed, QUERIES, Side, beside};
use std::arch::x86_64::*;

pub(super) const KERNEL: Kernel = Kernel {
    walk,
    estimate,
    coding: FINE,
    name: "avx512-vnni",
};

pub(super) fn detected() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512vnni")
}

fn walk(codes: &[Codes], panels: &[Panel], lines: &[Line<'_>; QUERIES], passed: &mut Passed) {
    // SAFETY: `all` hands this function out only after its features were detected.
    #[allow(unsafe_code)]
    unsafe {
        body(codes, panels, lines, passed);
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn body(codes: &[Codes], panels: &[Panel], lines: &[Line<'_>; QUERIES], passed: &mut Passed) {
    passed.panels = 0;
    let groups = lines[0].codes.len();
    let queries = beside(lines, groups);
    let hits = panels.iter().zip(&mut passed.hits);
    for (number, (panel, hits)) in hits.enumerate().take(PANELS) {
        let codes = &codes[number * groups..(number + 1) * groups];
        let scores = scores(codes, panel, &queries, lines);
        let width = load(&panel.width);
        let mut any = 0;
        for ((line, score), hits) in lines.iter().zip(scores).zip(hits) {
            let bound = _mm512_fmadd_ps(width, _mm512_set1_ps(line.reach), score);
            let threshold = _mm512_set1_ps(line.threshold);
            // "Not less than, or unordered": a bound that is not a number is looked at again.
            let mask = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(bound, threshold);
            *hits = mask;
            any |= mask;
        }
        passed.panels |= u16::from(any != 0) << number;
    }
}

fn estimate(
    codes: &[Codes],
    panels: &[Panel],
    lines: &[Line<'_>; QUERIES],
    out: &mut [[Lane; QUERIES]],
) {
    // SAFETY: `all` hands this function out only after its features were detected.
    #[allow(unsafe_code)]
    unsafe {
        estimate_body(codes, panels, lines, out);
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn estimate_body(
    codes: &[Codes],
    panels: &[Panel],
    lines: &[Line<'_>; QUERIES],
    out: &mut [[Lane; QUERIES]],
) {
    let groups = lines[0].codes.len();
    let queries = beside(lines, groups);
    for (number, (panel, out)) in panels.iter().zip(out).enumerate() {
        let codes = &codes[number * groups..(number + 1) * groups];
        for (out, scores) in out.iter_mut().zip(scores(codes, panel, &queries, lines)) {
            // SAFETY: the lane has sixteen floats and is aligned to sixty-four bytes.
            #[allow(unsafe_code)]
            unsafe {
                _mm512_store_ps(out.0.as_mut_ptr(), scores);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn scores(
    codes: &[Codes],
    panel: &Panel,
    queries: &Side<'_>,
    lines: &[Line<'_>; QUERIES],
) -> [__m512; QUERIES] {
    let sums = products(codes, queries, lines);
    let (scale, along, offset) = (load(&panel.scale), load(&panel.along), load(&panel.offset));
    let mut scores = [offset; QUERIES];
    for q in 0..QUERIES {
        // The scales first, as in the portable kernel.
        let scale = _mm512_mul_ps(scale, _mm512_set1_ps(lines[q].scale));
        let along = _mm512_fmadd_ps(along, _mm512_set1_ps(lines[q].along), offset);
        scores[q] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[q]), scale, along);
    }
    scores
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn products(
    codes: &[Codes],
    queries: &Side<'_>,
    lines: &[Line<'_>; QUERIES],
) -> [__m512i; QUERIES] {
    let mut sums = [_mm512_setzero_si512(); QUERIES];
    for q in 0..QUERIES {
        sums[q] = _mm512_set1_epi32(lines[q].base);
    }
    let [a, b, c, d, e, f] = queries;
    let queries = a.iter().zip(*b).zip(c.iter().zip(*d)).zip(e.iter().zip(*f));
    for (users, (((a, b), (c, d)), (e, f))) in codes.iter().zip(queries) {
        // SAFETY: the line has sixty-four bytes and is aligned to them.
        #[allow(unsafe_code)]
        let users = unsafe { _mm512_load_si512(users.0.as_ptr().cast()) };
        sums[0] = _mm512_dpbusd_epi32(sums[0], users, _mm512_set1_epi32(*a as i32));
        sums[1] = _mm512_dpbusd_epi32(sums[1], users, _mm512_set1_epi32(*b as i32));
        sums[2] = _mm512_dpbusd_epi32(sums[2], users, _mm512_set1_epi32(*c as i32));
        sums[3] = _mm512_dpbusd_epi32(sums[3], users, _mm512_set1_epi32(*d as i32));
        sums[4] = _mm512_dpbusd_epi32(sums[4], users, _mm512_set1_epi32(*e as i32));
        sums[5] = _mm512_dpbusd_epi32(sums[5], users, _mm512_set1_epi32(*f as i32));
    }
    sums
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(lane: &Lane) -> __m512 {
    // SAFETY: the lane has sixteen floats and is aligned to sixty-four bytes.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_load_ps(lane.0.as_ptr())
    }
}
