//! Integers in groups of columns that share a scale, as quantized Hugging Face checkpoints store matrices.

/// How rows are integers in groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grouping {
    /// Bits of a code.
    pub bits: u32,
    /// Columns of a group. The last group of a row may be shorter.
    pub columns: u64,
}

impl std::fmt::Display for Grouping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bits in groups of {}", self.bits, self.columns)
    }
}

/// Some rows of a matrix: `weight = scale * code - minimum`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupedRows {
    /// A code for each weight, row after row.
    pub codes: Vec<u8>,
    /// A scale for each group, row after row.
    pub scales: Vec<f32>,
    /// A minimum for each group, row after row.
    pub minima: Vec<f32>,
}
