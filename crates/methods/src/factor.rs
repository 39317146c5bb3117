//! Triangular factors of second moments.

use gravure_core::{Error, Result};

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

/// Factors a symmetric matrix of `size` rows that is given by its lower triangle. `None` where it is not
/// positive definite as far as the arithmetic can tell.
pub(crate) fn factor(mut matrix: Vec<f64>, size: usize) -> Option<Factor> {
    let mut feedback = vec![0.0_f32; size * size];
    let mut diagonal = vec![0.0_f32; size];
    let mut column = vec![0.0_f64; size];
    for j in (0..size).rev() {
        let (above, rest) = matrix.split_at_mut(j * size);
        let pivot = rest[j];
        if !(pivot > 0.0 && pivot.is_finite()) || pivot as f32 <= 0.0 {
            return None;
        }
        diagonal[j] = pivot as f32;
        for (u, a) in column.iter_mut().zip(&rest[..j]) {
            *u = a / pivot;
        }
        for (out, u) in feedback[j * size..].iter_mut().zip(&column[..j]) {
            *out = *u as f32;
        }
        for (i, row) in above.chunks_exact_mut(size).enumerate() {
            let a = rest[i];
            if a != 0.0 {
                for (value, u) in row[..=i].iter_mut().zip(&column) {
                    *value -= a * u;
                }
            }
        }
    }
    Some(Factor { feedback, diagonal })
}

/// Share of the mean of the diagonal that is added to it.
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
        let size = 7;
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24) - 0.5
        };
        let samples: Vec<Vec<f64>> = (0..40).map(|_| (0..size).map(|_| next()).collect()).collect();
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
            assert!((form - squares).abs() < 1e-5 * form, "{form} {squares}");
        }
        assert!(super::factor(vec![1.0, 0.0, 2.0, 1.0], 2).is_none());
    }

    #[test]
    fn dependent_columns_are_damped() {
        let values = [1.0, 1.0, 1.0, 1.0];
        let (matrix, factor) = damped(&values, &[1, 0]).unwrap();
        assert!(matrix[0] > 1.0 && factor.diagonal.iter().all(|d| *d > 0.0));
        assert!(damped(&[0.0; 4], &[0, 1]).is_ok());
    }
}
