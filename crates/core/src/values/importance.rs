//! What a calibration run left behind: how much each input column of each matrix matters.

use std::collections::BTreeMap;

/// Mean squares of one tensor's inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportanceEntry {
    /// Mean square of each input column, for each expert one after the other: the length is the
    /// row length times the number of matrices (experts).
    pub values: Vec<f32>,
    /// Input vectors seen, one count for each matrix (or one for all).
    pub counts: Vec<f32>,
}

/// Importance of the tensors of one model, by the tensor's neutral (GGUF) name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportanceMatrix {
    /// Entries by tensor name.
    pub entries: BTreeMap<String, ImportanceEntry>,
    /// Names of the data sets it was made from.
    pub datasets: Vec<String>,
    /// Number of text chunks seen.
    pub chunk_count: u64,
    /// Tokens in a chunk.
    pub chunk_size: u64,
    /// The file that it was read from, for messages and provenance.
    pub path: std::path::PathBuf,
}
