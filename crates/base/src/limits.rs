//! Resource limits that every reader of untrusted bytes is handed.

use crate::{Error, Result};

/// Upper bounds for what a file may ask of us. Exceeding one is an error of kind `Limit`, never an
/// allocation. The defaults admit every real model known to us with a wide margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file's header (GGUF metadata, safetensors JSON, `tokenizer.json`, ...).
    pub header_bytes: u64,
    /// Tensors in a model.
    pub tensors: u64,
    /// Metadata entries in a model.
    pub metadata_entries: u64,
    /// Bytes of one string.
    pub string_bytes: u64,
    /// Elements of one metadata array.
    pub array_elements: u64,
    /// Nesting of arrays, JSON values, pickles.
    pub depth: u32,
    /// Dimensions of a tensor.
    pub dimensions: u32,
    /// Files that make up one model.
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 256 << 20,
            tensors: 1 << 20,
            metadata_entries: 1 << 16,
            string_bytes: 64 << 20,
            array_elements: 16 << 20,
            depth: 64,
            dimensions: 8,
            files: 10_000,
        }
    }
}

impl Limits {
    /// Checks `value` against `limit`; `what` names the thing counted.
    pub fn check(value: u64, limit: u64, what: &str) -> Result<()> {
        if value > limit {
            return Err(Error::limit(format!("{what}: {value} is more than the limit of {limit}")));
        }
        Ok(())
    }
}
