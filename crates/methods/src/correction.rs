//! Weights that make up for what was lost before them.
//!
//! Behind rounded layers a map sees inputs `x` where the original sees `x + d`. The weights `V` whose outputs
//! on `x` are nearest to the original's, `W (x + d)`, are `V = W + W E[d x^T] E[x x^T]^-1`: they, not `W`,
//! are what is to be rounded (asymmetric calibration: Li et al. 2025, GPTAQ, arXiv:2504.02692).

use gravure_core::{Error, Hessian, Result};
use gravure_simd::{Isa, Kernel, Simd};

use crate::factor::{Factor, damped};
use crate::feedback::products;
use crate::panel::{Lane, ROWS};

/// Changes rows of one matrix.
#[derive(Debug)]
pub struct Correction {
    /// `E[x d^T]`, row by row.
    lost: Vec<f32>,
    factor: Factor,
    columns: usize,
    share: f32,
}

impl Correction {
    /// With `hessian` `E[x x^T]` and `lost` `E[x d^T]`, row by row; `share` of the correction is made: 1 is
    /// all of it.
    ///
    /// # Errors
    /// `Input` where the two do not fit each other, or the moments are not positive definite.
    pub fn new(hessian: &Hessian, lost: Vec<f32>, share: f32) -> Result<Self> {
        let columns = hessian.columns();
        if lost.len() != columns * columns {
            return Err(Error::input(format!("{} products for {columns} columns", lost.len())));
        }
        let order: Vec<usize> = (0..columns).collect();
        let (_, factor) = damped(hessian.values(), &order)?;
        Ok(Self { lost, factor, columns, share })
    }

    /// Corrects whole rows.
    pub fn apply(&self, rows: &mut [f32]) {
        let isa = Isa::detect();
        let mut lanes = vec![[0.0; ROWS]; self.columns];
        let mut change = lanes.clone();
        for rows in rows.chunks_mut(ROWS * self.columns) {
            lanes.fill([0.0; ROWS]);
            for (l, row) in rows.chunks_exact(self.columns).enumerate() {
                lanes.iter_mut().zip(row).for_each(|(lane, value)| lane[l] = *value);
            }
            isa.vectorize(Solve { work: self, weights: &lanes, change: &mut change });
            for (l, row) in rows.chunks_exact_mut(self.columns).enumerate() {
                row.iter_mut().zip(&change).for_each(|(value, change)| *value += self.share * change[l]);
            }
        }
    }
}

struct Solve<'a> {
    work: &'a Correction,
    weights: &'a [Lane],
    change: &'a mut [Lane],
}

impl Kernel for Solve<'_> {
    type Output = ();

    /// `change H = weights E[d x^T]`, with `H = U D U^T`.
    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        let Self { work, weights, change } = self;
        let size = work.columns;
        products(&work.lost, size, weights, change);
        solve(&work.factor.feedback, &work.factor.diagonal, size, 0, change);
    }
}

/// Replaces `b` by the `z` with `U D U^T z = b`; row `j` of `U`'s columns starts at `stride * j + first`.
#[inline(always)]
pub(crate) fn solve(feedback: &[f32], diagonal: &[f32], stride: usize, first: usize, b: &mut [Lane]) {
    for j in (0..b.len()).rev() {
        let row = &feedback[j * stride + first..][..j];
        let (before, at) = b.split_at_mut(j);
        for (u, before) in row.iter().zip(before) {
            for l in 0..ROWS {
                before[l] -= u * at[0][l];
            }
        }
    }
    for j in 0..b.len() {
        let inverse = 1.0 / diagonal[j];
        let row = &feedback[j * stride + first..][..j];
        let mut sum = [0.0_f32; ROWS];
        for (u, before) in row.iter().zip(&b[..j]) {
            for l in 0..ROWS {
                sum[l] += u * before[l];
            }
        }
        for l in 0..ROWS {
            b[j][l] = b[j][l] * inverse - sum[l];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_on_changed_inputs_come_nearer_to_the_originals() {
        let (columns, samples) = (24, 400);
        let mut state = 3_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let original: Vec<f32> = (0..samples * columns).map(|_| next()).collect();
        // The copy's inputs are weaker in some columns, mixed in others, and noisy.
        let mut copy = original.clone();
        for row in copy.chunks_exact_mut(columns) {
            for i in 0..columns {
                row[i] = row[i] * (0.7 + 0.02 * i as f32) + if i > 0 { 0.2 * row[i - 1] } else { 0.0 } + 0.05 * next();
            }
        }
        let mean = |a: &[f32], b: &[f32]| -> Vec<f32> {
            let mut out = vec![0.0; columns * columns];
            for (a, b) in a.chunks_exact(columns).zip(b.chunks_exact(columns)) {
                for i in 0..columns {
                    for j in 0..columns {
                        out[i * columns + j] += a[i] * b[j] / samples as f32;
                    }
                }
            }
            out
        };
        let lost: Vec<f32> = original.iter().zip(&copy).map(|(a, b)| a - b).collect();
        let hessian = Hessian::new(columns, mean(&copy, &copy)).unwrap();
        let correction = Correction::new(&hessian, mean(&copy, &lost), 1.0).unwrap();
        // More rows than lanes, and no multiple of them.
        let weights: Vec<f32> = (0..19 * columns).map(|_| next()).collect();
        let mut corrected = weights.clone();
        correction.apply(&mut corrected);
        let output = |weights: &[f32], inputs: &[f32]| weights.iter().zip(inputs).map(|(w, x)| w * x).sum::<f32>();
        let error = |rows: &[f32]| -> f32 {
            let of_row = |row: usize| {
                let span = row * columns..(row + 1) * columns;
                let of_sample = |s: usize| {
                    let at = s * columns..(s + 1) * columns;
                    (output(&rows[span.clone()], &copy[at.clone()]) - output(&weights[span.clone()], &original[at])).powi(2)
                };
                (0..samples).map(of_sample).sum::<f32>()
            };
            (0..19).map(of_row).sum()
        };
        assert!(error(&corrected) < 0.1 * error(&weights), "{} {}", error(&corrected), error(&weights));
        assert!(Correction::new(&hessian, vec![0.0; 3], 1.0).is_err());
    }
}
