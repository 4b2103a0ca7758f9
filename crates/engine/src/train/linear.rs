//! Matrix helpers of training: Gram matrices, rotations, eigenvectors, small dense systems.
//!
//! Everything that runs in parallel is cut into fixed blocks whose results are combined in block
//! order, so that the bytes do not depend on the number of threads.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use super::half::{self, HalfRows};

/// Rows of one block of a parallel pass.
pub(crate) const BLOCK_ROWS: usize = 512;
/// Partial Gram matrices that exist at once.
const GRAM_SHARDS: usize = 32;

/// Eigenvalues and eigenvectors of a symmetric matrix, padded to a stride.
pub(crate) struct Eigen {
    /// Ascending, never negative; zero in the padding.
    pub(crate) values: Vec<f32>,
    /// Row-major stride × stride, an eigenvector in each of the first columns, zero in the padding.
    pub(crate) vectors: Vec<f32>,
}

/// Σ row rowᵀ over all rows, row-major stride × stride, the lower triangle, summed in f64 in a fixed
/// order.
pub(crate) fn gram(rows: &[f32], stride: usize) -> Vec<f64> {
    let count = rows.len() / stride;
    let shards = rows
        .par_chunks(shard_rows(count) * stride)
        .map(|shard| {
            let mut sum = GramSum::new(stride);
            for block in shard.chunks(BLOCK_ROWS * stride) {
                sum.add(block);
            }
            sum.total
        })
        .collect();
    added(shards, stride)
}

/// The same of rows in half precision.
pub(crate) fn gram_half(rows: &HalfRows, stride: usize) -> Vec<f64> {
    let count = rows.all().len() / rows.pitch();
    let shards = rows
        .par_rows(shard_rows(count))
        .map(|shard| {
            let mut sum = GramSum::new(stride);
            let mut block = Vec::new();
            for rows_of_block in shard.chunks(BLOCK_ROWS * rows.pitch()) {
                half::widen_rows(rows_of_block, rows.pitch(), stride, &mut block);
                sum.add(&block);
            }
            sum.total
        })
        .collect();
    added(shards, stride)
}

fn shard_rows(count: usize) -> usize {
    count
        .div_ceil(GRAM_SHARDS)
        .next_multiple_of(BLOCK_ROWS)
        .max(BLOCK_ROWS)
}

fn added(shards: Vec<Vec<f64>>, stride: usize) -> Vec<f64> {
    let mut total = vec![0.0f64; stride * stride];
    for shard in shards {
        for (total, part) in total.iter_mut().zip(shard) {
            *total += part;
        }
    }
    total
}

/// The Gram matrix of some blocks of rows.
struct GramSum {
    stride: usize,
    total: Vec<f64>,
    part: Vec<f32>,
}

impl GramSum {
    fn new(stride: usize) -> GramSum {
        GramSum {
            stride,
            total: vec![0.0; stride * stride],
            part: vec![0.0; stride * stride],
        }
    }

    fn add(&mut self, block: &[f32]) {
        let stride = self.stride;
        let block = MatRef::from_row_major_slice(block, block.len() / stride, stride);
        triangular::matmul(
            MatMut::from_row_major_slice_mut(&mut self.part, stride, stride),
            BlockStructure::TriangularLower,
            Accum::Replace,
            block.transpose(),
            BlockStructure::Rectangular,
            block,
            BlockStructure::Rectangular,
            1.0f32,
            Par::Seq,
        );
        for (total, part) in self.total.iter_mut().zip(&self.part) {
            *total += f64::from(*part);
        }
    }
}

/// Eigenvectors of the leading `dimension` × `dimension` part of a symmetric matrix, of which the lower
/// triangle is read, on one thread.
/// `None` if the matrix has no finite decomposition.
pub(crate) fn eigen(gram: &[f64], stride: usize, dimension: usize) -> Option<Eigen> {
    let matrix = Mat::from_fn(dimension, dimension, |i, j| {
        gram[i.max(j) * stride + i.min(j)]
    });
    let decomposition = matrix.self_adjoint_eigen(Side::Lower).ok()?;
    let mut values = vec![0.0f32; stride];
    let mut vectors = vec![0.0f32; stride * stride];
    for j in 0..dimension {
        values[j] = decomposition.S()[j].max(0.0) as f32;
        for i in 0..dimension {
            vectors[i * stride + j] = decomposition.U()[(i, j)] as f32;
        }
    }
    let finite = values.iter().chain(&vectors).all(|value| value.is_finite());
    finite.then_some(Eigen { values, vectors })
}

/// Multiplies every row by `basis` (stride × stride) from the right, in place.
pub(crate) fn rotate(rows: &mut [f32], stride: usize, basis: &[f32]) {
    let basis = MatRef::from_row_major_slice(basis, stride, stride);
    rows.par_chunks_mut(BLOCK_ROWS * stride).for_each_init(
        Vec::new,
        |copy: &mut Vec<f32>, block| {
            copy.clear();
            copy.extend_from_slice(block);
            let count = block.len() / stride;
            matmul(
                MatMut::from_row_major_slice_mut(block, count, stride),
                Accum::Replace,
                MatRef::from_row_major_slice(copy, count, stride),
                basis,
                1.0f32,
                Par::Seq,
            );
        },
    );
}

/// The same of rows in half precision.
pub(crate) fn rotate_half(rows: &mut HalfRows, stride: usize, basis: &[f32]) {
    let basis = MatRef::from_row_major_slice(basis, stride, stride);
    let pitch = rows.pitch();
    rows.par_rows_mut(BLOCK_ROWS).for_each_init(
        || (Vec::new(), Vec::new()),
        |(from, to): &mut (Vec<f32>, Vec<f32>), block| {
            let count = block.len() / pitch;
            half::widen_rows(block, pitch, stride, from);
            to.resize(count * stride, 0.0);
            matmul(
                MatMut::from_row_major_slice_mut(&mut to[..], count, stride),
                Accum::Replace,
                MatRef::from_row_major_slice(from, count, stride),
                basis,
                1.0f32,
                Par::Seq,
            );
            for (to, row) in to.chunks_exact(stride).zip(block.chunks_exact_mut(pitch)) {
                half::narrow(to, row);
            }
        },
    );
}

/// Inner products of each row of `left` with each row of `right`, row-major into `out`.
pub(crate) fn products(left: &[f32], right: &[f32], stride: usize, out: &mut [f32]) {
    let (rows, columns) = (left.len() / stride, right.len() / stride);
    matmul(
        MatMut::from_row_major_slice_mut(out, rows, columns),
        Accum::Replace,
        MatRef::from_row_major_slice(left, rows, stride),
        MatRef::from_row_major_slice(right, columns, stride).transpose(),
        1.0f32,
        Par::Seq,
    );
}

/// leftᵀ right: `left` has `columns` columns, `right` rows of `stride`; columns × stride into `out`.
pub(crate) fn products_left(
    left: &[f32],
    right: &[f32],
    columns: usize,
    stride: usize,
    out: &mut [f32],
) {
    let rows = right.len() / stride;
    matmul(
        MatMut::from_row_major_slice_mut(out, columns, stride),
        Accum::Replace,
        MatRef::from_row_major_slice(left, rows, columns).transpose(),
        MatRef::from_row_major_slice(right, rows, stride),
        1.0f32,
        Par::Seq,
    );
}

/// left right: `left` has `columns` columns, `right` as many rows of `stride`; rows × stride into `out`.
pub(crate) fn products_right(
    left: &[f32],
    right: &[f32],
    columns: usize,
    stride: usize,
    out: &mut [f32],
) {
    let rows = out.len() / stride;
    matmul(
        MatMut::from_row_major_slice_mut(out, rows, stride),
        Accum::Replace,
        MatRef::from_row_major_slice(left, rows, columns),
        MatRef::from_row_major_slice(right, columns, stride),
        1.0f32,
        Par::Seq,
    );
}

/// Solves a symmetric positive system of `N` unknowns by Cholesky; `None` if it is not positive.
#[allow(clippy::needless_range_loop)] // Matrices read best with their indices.
pub(crate) fn solve_small<const N: usize>(a: &[[f64; N]; N], b: &[f64; N]) -> Option<[f64; N]> {
    let mut lower = [[0.0f64; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let mut sum = a[i][j];
            for k in 0..j {
                sum -= lower[i][k] * lower[j][k];
            }
            if i == j {
                if sum.is_nan() || sum <= 0.0 {
                    return None;
                }
                lower[i][i] = sum.sqrt();
            } else {
                lower[i][j] = sum / lower[j][j];
            }
        }
    }
    let mut x = *b;
    for i in 0..N {
        for k in 0..i {
            x[i] -= lower[i][k] * x[k];
        }
        x[i] /= lower[i][i];
    }
    for i in (0..N).rev() {
        for k in i + 1..N {
            x[i] -= lower[k][i] * x[k];
        }
        x[i] /= lower[i][i];
    }
    x.iter().all(|value| value.is_finite()).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_rebuild_the_gram_matrix_and_rotations_keep_products() {
        let (stride, dimension, count) = (8, 5, 700);
        let mut rows = vec![0.0f32; count * stride];
        for row in 0..count {
            for j in 0..dimension {
                rows[row * stride + j] = (((row * 31 + j * 17) % 23) as f32 - 11.0) / 7.0;
            }
        }
        let gram_matrix = gram(&rows, stride);
        let eigen = eigen(&gram_matrix, stride, dimension).unwrap();
        for i in 0..dimension {
            for j in 0..dimension {
                let rebuilt: f64 = (0..dimension)
                    .map(|k| {
                        f64::from(eigen.vectors[i * stride + k])
                            * f64::from(eigen.values[k])
                            * f64::from(eigen.vectors[j * stride + k])
                    })
                    .sum();
                assert!((rebuilt - gram_matrix[i.max(j) * stride + i.min(j)]).abs() < 1e-2);
            }
        }
        let mut rotated = rows.clone();
        rotate(&mut rotated, stride, &eigen.vectors);
        let mut before = vec![0.0f32; 9];
        let mut after = vec![0.0f32; 9];
        products(
            &rows[..3 * stride],
            &rows[..3 * stride],
            stride,
            &mut before,
        );
        products(
            &rotated[..3 * stride],
            &rotated[..3 * stride],
            stride,
            &mut after,
        );
        for (before, after) in before.iter().zip(after) {
            assert!((before - after).abs() < 1e-3);
        }
        assert!(
            rotated
                .chunks(stride)
                .all(|row| row[dimension..] == [0.0; 3])
        );
    }

    #[test]
    fn a_small_system_is_solved_and_a_singular_one_refused() {
        let x = solve_small(&[[4.0, 2.0], [2.0, 3.0]], &[10.0, 9.0]).unwrap();
        assert!((x[0] - 1.5).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12);
        assert!(solve_small(&[[1.0, 1.0], [1.0, 1.0]], &[1.0, 1.0]).is_none());
    }
}
