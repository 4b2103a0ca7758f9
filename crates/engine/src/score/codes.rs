//! Vectors as eight-bit codes, with a bound on what the codes lose.
//!
//! A vector v is coded as scale · c with integers c. The inner product of two coded vectors is exact in
//! 32 bits, and by Cauchy and Schwarz q·p ≤ s_q s_p (c_q·c_p) + |q − s_q c_q||p| + |s_q c_q||p − s_p c_p|.
//! Users are coded in 255 steps. How fine queries may be coded is the kernel's to say.

use super::direction::Split;

/// Codes that one instruction multiplies and adds for one user.
pub(super) const GROUP: usize = 4;
/// Largest code of a user; codes are stored with [`USER_SHIFT`] added.
pub(super) const USER_CODE_MAX: i32 = 127;
/// What stored codes of users are shifted by: they are unsigned.
const USER_SHIFT: i32 = 128;
/// A group of zeros of a user.
pub(super) const USER_ZEROS: u32 = 0x8080_8080;
/// Norms and errors are rounded up by this factor, more than f64 sums can lose.
const UPWARD: f64 = 1.0 + 1e-9;
/// Sums are kept in so many parts, to be added beside each other.
const PARTS: usize = 8;

/// How finely queries are coded, and how much of its norm a query may lose before its reach is widened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coding {
    /// Largest code of a query, at most 127.
    pub(super) limit: i32,
    /// Share of |q| that codes up to the limit lose on most vectors.
    pub(super) loss: f64,
}

/// Number of groups of a vector.
pub(super) fn groups(dimension: usize) -> usize {
    dimension.div_ceil(GROUP)
}

/// A vector's codes, up to ±`limit`, with their scale and an upper bound of |vector − scale · codes|.
pub(super) fn encode(vector: &[f32], limit: i32, codes: &mut [i8]) -> (f32, f64) {
    #[cfg(target_arch = "x86_64")]
    if crate::train::kernels::has_avx2() {
        // SAFETY: AVX2 and FMA were detected on the line above.
        #[allow(unsafe_code)]
        return unsafe { encode_avx2(vector, limit, codes) };
    }
    encode_body(vector, limit, codes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn encode_avx2(vector: &[f32], limit: i32, codes: &mut [i8]) -> (f32, f64) {
    encode_body(vector, limit, codes)
}

#[inline(always)]
fn encode_body(vector: &[f32], limit: i32, codes: &mut [i8]) -> (f32, f64) {
    /// Added to a number of a size below 2²² and taken away again, it leaves a whole number.
    const ROUND: f32 = 12_582_912.0;
    let mut largest = [0.0f32; PARTS];
    for values in vector.chunks(PARTS) {
        for (largest, value) in largest.iter_mut().zip(values) {
            *largest = largest.max(value.abs());
        }
    }
    let largest = largest.into_iter().fold(0.0f32, f32::max);
    let limit = limit as f32;
    let scale = largest / limit;
    // Any code will do where this is infinite or not a number: the error below is that of the code.
    let inverse = 1.0 / scale;
    let mut lost = [0.0f64; PARTS];
    for (values, codes) in vector.chunks(PARTS).zip(codes.chunks_mut(PARTS)) {
        for ((value, code), lost) in values.iter().zip(codes).zip(&mut lost) {
            // `max` and `min` make a number of NaN, too.
            let near = (value * inverse).max(-limit).min(limit);
            let whole = (near + ROUND) - ROUND;
            *code = whole as i8;
            let rest = f64::from(*value) - f64::from(scale) * f64::from(whole);
            *lost += rest * rest;
        }
    }
    let lost: f64 = lost.iter().sum();
    (scale, lost.sqrt() * UPWARD)
}

/// A query α m + δ (see `direction`) as the scan wants it: codes of δ.
#[derive(Debug)]
pub(super) struct QueryCode {
    /// Four signed codes each, the first in the lowest byte.
    pub(super) codes: Vec<u32>,
    pub(super) scale: f32,
    /// Takes back the shift of the users' codes.
    pub(super) base: i32,
    /// Not below |δ|, and large enough that `reach` times a user's [`width`] bounds what coding loses.
    pub(super) reach: f64,
    /// α.
    pub(super) along: f32,
}

impl QueryCode {
    pub(super) fn new(split: &Split, coding: Coding) -> QueryCode {
        let vector = &split.rest[..];
        let mut codes = vec![0i8; groups(vector.len()) * GROUP];
        let (scale, lost) = encode(vector, coding.limit, &mut codes);
        let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
        let codes = codes.chunks_exact(GROUP).map(in_one).collect();
        let norm = split.rest_norm;
        // `width` supposes this loss; a query that loses more reaches farther by as much.
        let supposed = coding.loss * norm;
        let excess = if lost > supposed {
            lost / supposed
        } else {
            1.0
        };
        QueryCode {
            codes,
            scale,
            base: -USER_SHIFT * sum,
            // A user's width is not below the supposed loss times the user's norm.
            reach: (norm * excess + split.lost / coding.loss) * UPWARD,
            along: split.along,
        }
    }
}

/// A group of signed codes, the first in the lowest byte.
pub(super) fn in_one(four: &[i8]) -> u32 {
    u32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8])
}

/// What coding can lose between a query of norm 1 and a user of this norm and loss.
pub(super) fn width(coding: Coding, user_norm: f64, user_lost: f64) -> f64 {
    (coding.loss * user_norm + (1.0 + coding.loss) * user_lost) * UPWARD
}

#[cfg(test)]
mod tests {
    use super::super::direction::Direction;
    use super::*;

    fn norm(vector: &[f32]) -> f64 {
        let squares = vector.iter().map(|&value| f64::from(value).powi(2));
        squares.sum::<f64>().sqrt()
    }

    #[test]
    fn codes_are_near_and_the_loss_is_not_below_the_truth() {
        let vectors: [&[f32]; 6] = [
            &[1.0, -0.3, 0.004, 0.0, 0.77],
            &[0.0; 5],
            &[1e-42, -1e-44, 0.0],
            &[3e38, -1e38, 5.0],
            &[1e-45],
            &[f32::INFINITY, 1.0],
        ];
        for vector in vectors {
            let mut codes = vec![0i8; vector.len()];
            let (scale, lost) = encode(vector, USER_CODE_MAX, &mut codes);
            let rest = vector.iter().zip(&codes).map(|(&value, &code)| {
                let rest = f64::from(value) - f64::from(scale) * f64::from(code);
                rest * rest
            });
            let rest = rest.sum::<f64>().sqrt();
            assert!(lost >= rest || lost.is_nan(), "{vector:?} {lost} {rest}");
            let largest = vector
                .iter()
                .fold(0.0f32, |max, value| max.max(value.abs()));
            if (1e-30..1e30).contains(&largest) {
                let step = f64::from(largest) / f64::from(USER_CODE_MAX);
                assert!(
                    lost <= 0.5001 * step * (vector.len() as f64).sqrt(),
                    "{vector:?}"
                );
            }
        }
    }

    #[test]
    fn a_query_that_loses_more_than_supposed_reaches_farther() {
        let coding = Coding {
            limit: 64,
            loss: 1e-6,
        };
        let vector = [1.0, 0.3, -0.123, 0.7];
        let code = QueryCode::new(&Direction::new(vec![0.0; 4]).split(&vector), coding);
        let mut codes = [0i8; 4];
        let (_, lost) = encode(&vector, coding.limit, &mut codes);
        let norm = norm(&vector);
        for (user_norm, user_lost) in [(1.0, 0.0), (2.0, 0.1), (0.0, 0.0)] {
            let truth = lost * user_norm + (norm + lost) * user_lost;
            assert!(code.reach * width(coding, user_norm, user_lost) >= truth);
        }
    }
}
