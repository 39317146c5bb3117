//! Readers over bytes in memory, for the fuzz targets.

use gravure_base::MemoryReader;
use gravure_core::{Catalog, Limits, Result};

use crate::{gguf, imatrix};

/// Reads the bytes as one GGUF file: header, names, tokenizer.
pub fn read_gguf(bytes: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    let header = gguf::header::Header::read(&MemoryReader::new(bytes, "memory"), catalog, limits)?;
    gguf::read_parts(&header, limits)
}

/// Reads the bytes as an importance matrix.
pub fn read_importance_matrix(bytes: &[u8], catalog: &Catalog, limits: &Limits) -> Result<()> {
    imatrix::read_from(&MemoryReader::new(bytes, "memory"), catalog, limits).map(|_| ())
}
