//! Which of the two layouts it is, and what holds for both.

use std::path::Path;

use gravure_base::{FileReader, ReadAt};
use gravure_core::{Catalog, Error, ImportanceMatrix, Limits, Result, ResultExt};

use super::{dat, gguf};

/// Reads an importance matrix in either layout.
///
/// The values are mean squares: sums divided by counts in `f32`, as `llama-quantize` computes them.
/// The inputs of an expert that was never chosen count as one each.
///
/// # Errors
/// `NotFound` where there is no such file; `Input` where it is malformed, incomplete, or holds values
/// that no measurement gives (negative, infinite, not a number); `Unsupported` where it holds
/// tensors of an unknown kind. They name the file, and the entry.
pub fn read_importance_matrix(path: &Path, catalog: &Catalog, limits: &Limits) -> Result<ImportanceMatrix> {
    let file = FileReader::open(path)?;
    read(&file, catalog, limits).in_file(path)
}

/// The same for any source.
pub(crate) fn read(source: &dyn ReadAt, catalog: &Catalog, limits: &Limits) -> Result<ImportanceMatrix> {
    let mut magic = [0; 4];
    if source.len() >= 4 {
        source.read_exact_at(&mut magic, 0)?;
    }
    let mut matrix = if &magic == crate::gguf::header::MAGIC { gguf::read(source, catalog, limits)? } else { dat::read(source, limits)? };
    matrix.path = source.path().to_owned();
    for (name, entry) in &matrix.entries {
        if let Some(value) = entry.values.iter().find(|v| !v.is_finite() || **v < 0.0) {
            return Err(Error::input(format!("a mean square of {value} is impossible")).at_item(name.as_str()).help("calibrate again"));
        }
    }
    Ok(matrix)
}
