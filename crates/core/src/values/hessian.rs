//! Second moments of the inputs of a linear map.

use crate::{Error, Result};

/// The mean of `x x^T` over the inputs `x` of a linear map: for a change `D` of its weights, the mean
/// square of what changes in its outputs is `trace(D H D^T)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hessian {
    columns: usize,
    values: Vec<f32>,
}

impl Hessian {
    /// From `columns x columns` values, row by row; the matrix is symmetric.
    ///
    /// # Errors
    /// `Input` where the number of values is wrong or one is not finite.
    pub fn new(columns: usize, values: Vec<f32>) -> Result<Self> {
        if columns.checked_mul(columns) != Some(values.len()) {
            return Err(Error::input(format!("{} second moments for {columns} columns", values.len())));
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(Error::input("a second moment is not finite"));
        }
        Ok(Self { columns, values })
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The mean square of each column's input.
    pub fn diagonal(&self) -> Vec<f32> {
        (0..self.columns).map(|i| self.values[i * (self.columns + 1)]).collect()
    }
}
