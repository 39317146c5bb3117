//! Triangular factors of second moments.

use gravure_core::{Error, Result};
use gravure_simd::{Isa, Kernel, Simd};

/// `H = U D U^T` with `U` unit upper triangular, `D` diagonal: a quadratic form as a sum of squares, one
/// for each column, in which column `j` sees those before it.
///
/// `d H d^T = sum over j of D_j (d_j + sum over i < j of U_ij d_i)^2`: who rounds columns in order and aims
/// at `w_j - sum U_ij d_i` carries the error of the columns before into this one. This is GPTQ (Frantar et
/// al. 2022, arXiv:2210.17323) without the inverse that its paper takes first.
#[derive(Debug, Clone)]
pub(crate) struct Factor {
    /// Row `j` holds `U_ij` for `i < j`, then zeros; rows are `size` long.
    pub(crate) feedback: Vec<f32>,
    /// `D`, all positive.
    pub(crate) diagonal: Vec<f32>,
}

/// Columns whose part of the rest of the matrix is taken away at once.
const BLOCK: usize = 64;
/// Rows of a tile of that.
const TALL: usize = 4;
/// Columns of a tile.
const WIDE: usize = 32;

/// Factors a symmetric matrix of `size` rows that is given by its lower triangle. `None` where it is not
/// positive definite as far as the arithmetic can tell.
pub(crate) fn factor(matrix: Vec<f64>, size: usize) -> Option<Factor> {
    Isa::detect().vectorize(Factoring { matrix, size })
}

struct Factoring {
    matrix: Vec<f64>,
    size: usize,
}

impl Kernel for Factoring {
    type Output = Option<Factor>;

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) -> Option<Factor> {
        let Self { mut matrix, size } = self;
        let mut feedback = vec![0.0_f32; size * size];
        let mut diagonal = vec![0.0_f32; size];
        // Row `k` of `U` of a block, whose columns are the rows `first + k` of the matrix, by its pivot.
        let mut ratios = vec![0.0_f64; BLOCK.min(size) * size];
        let mut last = size;
        while last > 0 {
            let first = last.saturating_sub(BLOCK);
            let (above, block) = matrix.split_at_mut(first * size);
            for j in (first..last).rev() {
                let (before, row) = block.split_at_mut((j - first) * size);
                let row = &row[..=j];
                let pivot = row[j];
                if !(pivot > 0.0 && pivot.is_finite()) || pivot as f32 <= 0.0 {
                    return None;
                }
                diagonal[j] = pivot as f32;
                let ratio = &mut ratios[(j - first) * size..][..j];
                for (u, a) in ratio.iter_mut().zip(row) {
                    *u = a / pivot;
                }
                for (out, u) in feedback[j * size..].iter_mut().zip(&*ratio) {
                    *out = *u as f32;
                }
                for (i, other) in before.chunks_exact_mut(size).enumerate() {
                    let a = row[first + i];
                    for (value, u) in other[..=first + i].iter_mut().zip(&*ratio) {
                        *value -= a * u;
                    }
                }
            }
            for (tile, rows) in above.chunks_mut(TALL * size).enumerate() {
                take_away(rows, tile * TALL, block, &ratios, last - first, size);
            }
            last = first;
        }
        Some(Factor { feedback, diagonal })
    }
}

/// Takes from rows of the matrix, the first of them row `top`, the part of the block's columns.
#[inline(always)]
fn take_away(rows: &mut [f64], top: usize, block: &[f64], ratios: &[f64], count: usize, size: usize) {
    let tall = rows.len() / size;
    let columns = top + tall;
    for left in (0..columns).step_by(WIDE) {
        // Beyond the diagonal lies what nobody reads.
        let wide = WIDE.min(size - left);
        let mut sums = [[0.0_f64; WIDE]; TALL];
        for k in 0..count {
            let shares: [f64; TALL] = std::array::from_fn(|r| block[k * size + (top + r).min(columns - 1)]);
            let ratio = &ratios[k * size + left..][..wide];
            if let Ok(ratio) = <&[f64; WIDE]>::try_from(ratio) {
                for r in 0..TALL {
                    for c in 0..WIDE {
                        sums[r][c] += shares[r] * ratio[c];
                    }
                }
            } else {
                for r in 0..TALL {
                    for (sum, u) in sums[r].iter_mut().zip(ratio) {
                        *sum += shares[r] * u;
                    }
                }
            }
        }
        for (row, sums) in rows.chunks_exact_mut(size).zip(&sums) {
            for (value, sum) in row[left..left + wide].iter_mut().zip(sums) {
                *value -= sum;
            }
        }
    }
}

/// Share of the mean of the diagonal that is added to it: GPTQ's. Between 0.003 and 0.2 the divergence of the bundled
/// model in Q2_K moves by 2 %.
const DAMPING: f64 = 0.01;

/// The matrix with its rows and columns in another order and a little added to the diagonal, and its
/// factor; more is added where that does not suffice.
pub(crate) fn damped(values: &[f32], order: &[usize]) -> Result<(Vec<f32>, Factor)> {
    let size = order.len();
    let mean = order.iter().map(|&i| f64::from(values[i * size + i])).sum::<f64>() / size.max(1) as f64;
    let mut damping = DAMPING * mean.max(f64::from(f32::MIN_POSITIVE));
    for _ in 0..4 {
        let at = |i: usize, j: usize| f64::from(values[order[i] * size + order[j]]) + if i == j { damping } else { 0.0 };
        let mut matrix = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                matrix[i * size + j] = at(i, j);
            }
        }
        if let Some(factor) = factor(matrix, size) {
            let mut ordered = vec![0.0; size * size];
            for i in 0..size {
                for j in 0..size {
                    ordered[i * size + j] = at(i, j) as f32;
                }
            }
            return Ok((ordered, factor));
        }
        damping *= 10.0;
    }
    Err(Error::input("the second moments of the inputs are not positive definite"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_a_sum_of_squares() {
        for size in [1, 7, 64, 65, 150] {
            check(size);
        }
        assert!(super::factor(vec![1.0, 0.0, 2.0, 1.0], 2).is_none());
    }

    fn check(size: usize) {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24) - 0.5
        };
        let samples: Vec<Vec<f64>> = (0..40 + 2 * size).map(|_| (0..size).map(|_| next()).collect()).collect();
        let moment = |i: usize, j: usize| samples.iter().map(|s| s[i] * s[j]).sum::<f64>();
        let matrix: Vec<f64> = (0..size * size).map(|at| moment(at / size, at % size)).collect();
        let factor = factor(matrix.clone(), size).unwrap();
        for _ in 0..10 {
            let d: Vec<f64> = (0..size).map(|_| next()).collect();
            let form: f64 = (0..size * size).map(|at| d[at / size] * matrix[at] * d[at % size]).sum();
            let squares: f64 = (0..size)
                .map(|j| {
                    let sum: f64 = d[j] + (0..j).map(|i| f64::from(factor.feedback[j * size + i]) * d[i]).sum::<f64>();
                    f64::from(factor.diagonal[j]) * sum * sum
                })
                .sum();
            assert!((form - squares).abs() < 1e-5 * form, "{size}: {form} {squares}");
        }
    }

    #[test]
    fn dependent_columns_are_damped() {
        let values = [1.0, 1.0, 1.0, 1.0];
        let (matrix, factor) = damped(&values, &[1, 0]).unwrap();
        assert!(matrix[0] > 1.0 && factor.diagonal.iter().all(|d| *d > 0.0));
        assert!(damped(&[0.0; 4], &[0, 1]).is_ok());
    }
}
