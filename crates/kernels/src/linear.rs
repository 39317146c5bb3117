//! Products of rows of activations with the rows of a matrix.

use gravure_base::{Error, Result};
use gravure_core::contracts::Phase;

use crate::{Inputs, Matrix, Pool, SharedRows};

/// Rows of a matrix that one task multiplies.
const TASK_ROWS: usize = 64;

/// Bytes of an encoded matrix that one task takes at least: some microseconds of reading.
const TASK_BYTES: usize = 64 << 10;

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
    if let Some((product, data)) = matrix.product() {
        if rows == 0 || outputs == 0 {
            return Ok(());
        }
        inputs.round(pool, product.offset());
        let inputs = &*inputs;
        let unit = matrix.row_bytes() * product.task_rows();
        let units = (TASK_BYTES / unit).max(1);
        pool.run(data.len().div_ceil(unit * units), &|task| {
            let range = task * unit * units..((task + 1) * unit * units).min(data.len());
            // SAFETY: each task writes the columns of its own rows.
            unsafe { product.multiply(&data[range], task * units * product.task_rows(), inputs, bias, &out) };
        });
        return Ok(());
    }
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
