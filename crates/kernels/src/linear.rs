//! Products of rows of activations with the rows of a matrix.

use gravure_base::{Error, Result};
use gravure_core::contracts::Phase;

use crate::{Inputs, Matrix, Pool, SharedRows};

/// Rows of a matrix that one task multiplies.
const TASK_ROWS: usize = 64;

/// `out[i, j] = inputs[i] . matrix[j] + bias[j]`; `out` has a row of `matrix.rows()` values for each row
/// of the inputs.
///
/// # Errors
/// `Bug` where the shapes do not fit.
pub fn linear(pool: &Pool, matrix: &Matrix, inputs: &mut Inputs<'_>, _phase: Phase, bias: Option<&[f32]>, out: &mut [f32]) -> Result<()> {
    let (rows, outputs) = (inputs.rows(), matrix.rows());
    if inputs.columns() != matrix.columns() || out.len() != rows * outputs || bias.is_some_and(|b| b.len() != outputs) {
        let shapes = format!("[{rows}, {}] by {} [{outputs}, {}]", inputs.columns(), matrix.name(), matrix.columns());
        return Err(Error::bug(format!("a product of shapes that do not fit: {shapes}")));
    }
    let out = SharedRows::new(out, outputs);
    pool.run(outputs.div_ceil(TASK_ROWS), &|task| {
        let mut weights = vec![0.0; matrix.columns()];
        let range = task * TASK_ROWS..((task + 1) * TASK_ROWS).min(outputs);
        for j in range {
            if matrix.decode_row(j, &mut weights).is_err() {
                weights.fill(f32::NAN);
            }
            for i in 0..rows {
                let sum: f64 = inputs.row(i).iter().zip(&weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let sum = sum as f32 + bias.map_or(0.0, |b| b[j]);
                // SAFETY: each task writes the columns of its own range.
                let cell = unsafe { out.part(i, j..j + 1) };
                cell.fill(sum);
            }
        }
    });
    Ok(())
}
