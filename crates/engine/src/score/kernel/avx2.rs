//! The tile for AVX2: codes are multiplied in pairs of 16 bits, eight users at once.

use super::{Codes, Kernel, LANES, Lane, Line, PANELS, Panel, Passed, QUERIES, Side, beside};
use crate::score::codes::Coding;
use std::arch::x86_64::*;

pub(super) const KERNEL: Kernel = Kernel {
    walk,
    estimate,
    // `maddubs` adds two products in 16 bits: 2 · 255 · 64 is the most that fits.
    coding: Coding {
        limit: 64,
        loss: 1.0 / 64.0,
    },
    name: "avx2",
};

fn walk(codes: &[Codes], panels: &[Panel], lines: &[Line<'_>; QUERIES], passed: &mut Passed) {
    // SAFETY: `all` hands this function out only after its features were detected.
    #[allow(unsafe_code)]
    unsafe {
        body(codes, panels, lines, passed);
    }
}

#[target_feature(enable = "avx2,fma")]
fn body(codes: &[Codes], panels: &[Panel], lines: &[Line<'_>; QUERIES], passed: &mut Passed) {
    passed.panels = 0;
    let groups = lines[0].codes.len();
    let queries = beside(lines, groups);
    let hits = panels.iter().zip(&mut passed.hits);
    for (number, (panel, hits)) in hits.enumerate().take(PANELS) {
        let codes = &codes[number * groups..(number + 1) * groups];
        let scores = scores(codes, panel, &queries, lines);
        let mut any = 0;
        for ((line, scores), hits) in lines.iter().zip(scores).zip(hits) {
            let mut mask = 0;
            for (part, score) in scores.into_iter().enumerate() {
                let reach = _mm256_set1_ps(line.reach);
                let bound = _mm256_fmadd_ps(load(&panel.width, part), reach, score);
                let threshold = _mm256_set1_ps(line.threshold);
                // "Not less than, or unordered": a bound that is not a number is looked at again.
                let passed = _mm256_cmp_ps::<_CMP_NLT_UQ>(bound, threshold);
                mask |= (_mm256_movemask_ps(passed) as u16) << (part * LANES / 2);
            }
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

#[target_feature(enable = "avx2,fma")]
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
            for (out, scores) in out.0.chunks_exact_mut(LANES / 2).zip(scores) {
                // SAFETY: the slice has eight floats; an unaligned store writes exactly those.
                #[allow(unsafe_code)]
                unsafe {
                    _mm256_storeu_ps(out.as_mut_ptr(), scores);
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn scores(
    codes: &[Codes],
    panel: &Panel,
    queries: &Side<'_>,
    lines: &[Line<'_>; QUERIES],
) -> [[__m256; 2]; QUERIES] {
    let sums = products(codes, queries, lines);
    let mut scores = [[_mm256_setzero_ps(); 2]; QUERIES];
    for q in 0..QUERIES {
        for part in 0..2 {
            // The scales first, as in the portable kernel.
            let scale = _mm256_set1_ps(lines[q].scale);
            let scale = _mm256_mul_ps(load(&panel.scale, part), scale);
            let sums = _mm256_cvtepi32_ps(sums[q][part]);
            let along = _mm256_set1_ps(lines[q].along);
            let along = _mm256_fmadd_ps(load(&panel.along, part), along, load(&panel.offset, part));
            scores[q][part] = _mm256_fmadd_ps(sums, scale, along);
        }
    }
    scores
}

#[target_feature(enable = "avx2")]
#[inline]
fn products(
    codes: &[Codes],
    queries: &Side<'_>,
    lines: &[Line<'_>; QUERIES],
) -> [[__m256i; 2]; QUERIES] {
    let mut sums = [[_mm256_setzero_si256(); 2]; QUERIES];
    for q in 0..QUERIES {
        sums[q] = [_mm256_set1_epi32(lines[q].base); 2];
    }
    let [a, b, c, d, e, f] = queries;
    let queries = a.iter().zip(*b).zip(c.iter().zip(*d)).zip(e.iter().zip(*f));
    for (users, (((a, b), (c, d)), (e, f))) in codes.iter().zip(queries) {
        let users = [half(users, 0), half(users, 1)];
        sums[0] = add(sums[0], users, *a);
        sums[1] = add(sums[1], users, *b);
        sums[2] = add(sums[2], users, *c);
        sums[3] = add(sums[3], users, *d);
        sums[4] = add(sums[4], users, *e);
        sums[5] = add(sums[5], users, *f);
    }
    sums
}

#[target_feature(enable = "avx2")]
#[inline]
fn add(sums: [__m256i; 2], users: [__m256i; 2], query: u32) -> [__m256i; 2] {
    let (ones, query) = (_mm256_set1_epi16(1), _mm256_set1_epi32(query as i32));
    let low = _mm256_madd_epi16(_mm256_maddubs_epi16(users[0], query), ones);
    let high = _mm256_madd_epi16(_mm256_maddubs_epi16(users[1], query), ones);
    [
        _mm256_add_epi32(sums[0], low),
        _mm256_add_epi32(sums[1], high),
    ]
}

#[target_feature(enable = "avx2")]
#[inline]
fn half(codes: &Codes, part: usize) -> __m256i {
    let half = &codes.0[part * LANES / 2..(part + 1) * LANES / 2];
    // SAFETY: the slice above has eight groups of four bytes; an unaligned load reads exactly those.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(half.as_ptr().cast())
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(lane: &Lane, part: usize) -> __m256 {
    let half = &lane.0[part * LANES / 2..(part + 1) * LANES / 2];
    // SAFETY: the slice above has eight floats; an unaligned load reads exactly those.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_ps(half.as_ptr())
    }
}
