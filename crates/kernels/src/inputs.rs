//! Rows of activations that several matrices are multiplied with.

/// Activations, and their rounded forms where a kernel has asked for them.
#[derive(Debug)]
pub struct Inputs<'a> {
    values: &'a [f32],
    columns: usize,
}

impl<'a> Inputs<'a> {
    /// `values` as rows of `columns`.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, columns }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Length of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        self.values.get(index * self.columns..(index + 1) * self.columns).unwrap_or_default()
    }
}
