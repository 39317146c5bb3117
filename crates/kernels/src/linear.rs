//! Products of rows of activations with the rows of a matrix.

use gravure_base::{Error, Result};
use gravure_core::contracts::Phase;

use crate::matrix::Weights;
use crate::{Inputs, Matrix, Pool};

/// `out[i, j] = inputs[i] . matrix[j] + bias[j]`; `out` has a row of `matrix.rows()` values for each row
/// of the inputs.
///
/// Results depend on the phase where there are tiles of bf16, which multiply prompts, and of weights of bf16 also what is scored.
/// Elsewhere all phases do the same operations in the same order. How many rows there are never matters.
///
/// # Errors
/// `Bug` where the shapes do not fit.
pub fn linear(pool: &Pool, matrix: &Matrix, inputs: &mut Inputs<'_>, phase: Phase, bias: Option<&[f32]>, out: &mut [f32]) -> Result<()> {
    let (rows, outputs) = (inputs.rows(), matrix.rows());
    if inputs.columns() != matrix.columns() || out.len() != rows * outputs || bias.is_some_and(|b| b.len() != outputs) {
        let shapes = format!("[{rows}, {}] by {} [{outputs}, {}]", inputs.columns(), matrix.name(), matrix.columns());
        return Err(Error::bug(format!("a product of shapes that do not fit: {shapes}")));
    }
    if rows == 0 || outputs == 0 {
        return Ok(());
    }
    let level = matrix.level();
    match &matrix.weights {
        Weights::Integer(integer) => {
            let mut multiply = |inputs: &mut Inputs<'_>| {
                if phase == Phase::Prefill && level.prefers_bf16() {
                    integer.multiply_bf16(pool, level, inputs.bf16_tiles(pool, level), bias, out);
                    return;
                }
                let (rounded, groups) = inputs.rounded(pool, level, integer.block(), integer.laid_out_from(), integer.groups());
                integer.multiply(pool, level, rounded, groups, bias, out);
            };
            match matrix.order() {
                None => multiply(inputs),
                // Activations in another order are this matrix's alone.
                Some(order) => {
                    let rows = inputs.values().chunks_exact(matrix.columns());
                    let moved: Vec<f32> = rows.flat_map(|row| order.iter().map(|column| row[*column as usize])).collect();
                    multiply(&mut Inputs::new(&moved, matrix.columns()));
                }
            }
        }
        Weights::Pairs(pairs) if matrix.is_exact() => pairs.multiply_exactly(pool, level, inputs.values(), bias, out),
        Weights::Pairs(pairs) if phase != Phase::Decode && level.has_bf16_tiles() => {
            pairs.multiply_tiles(pool, level, inputs.bf16_tiles(pool, level), bias, out);
        }
        Weights::Pairs(pairs) => pairs.multiply(pool, level, inputs.bf16(pool, level), bias, out),
        Weights::Floats(floats) => floats.multiply(pool, level, inputs.values(), bias, out),
    }
    Ok(())
}
