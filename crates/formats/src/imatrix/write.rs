//! Writes the GGUF layout, as `llama-imatrix` does: names in order, sums of squares and counts.

use std::path::Path;
use std::sync::Arc;

use gravure_base::{AtomicFile, Storage};
use gravure_core::values::ImportanceEntry;
use gravure_core::{Catalog, Error, ImportanceMatrix, Result, Value};

use super::gguf::{CHUNK_COUNT, CHUNK_SIZE, COUNTS, DATASETS, SUMS};
use crate::gguf::header::{DEFAULT_ALIGNMENT, MAGIC, VERSION};
use crate::gguf::types;
use crate::gguf::value::{put_string, put_value};

/// Writes `matrix` to `path`, or leaves what was there.
///
/// # Errors
/// `Request` where it has no entries; `Input` where an entry's values and counts do not go together;
/// `Environment` where the file cannot be written.
pub fn write_importance_matrix(path: &Path, storage: Arc<dyn Storage>, catalog: &Catalog, matrix: &ImportanceMatrix) -> Result<()> {
    if matrix.entries.is_empty() {
        return Err(Error::request("the importance matrix has no entries"));
    }
    let kind = types::type_of(catalog.encoding("f32")?).ok_or_else(|| Error::bug("GGUF has no 32-bit floats"))?;
    let mut tensors: Vec<(String, [u64; 2], Vec<f32>)> = Vec::with_capacity(matrix.entries.len() * 2);
    for (name, entry) in &matrix.entries {
        let sums = sums(entry).map_err(|e| e.at_item(&**name))?;
        let matrices = entry.counts.len() as u64;
        tensors.push((format!("{name}{SUMS}"), [sums.len() as u64 / matrices, matrices], sums));
        tensors.push((format!("{name}{COUNTS}"), [1, matrices], entry.counts.clone()));
    }
    let metadata = [
        ("general.type", Value::String("imatrix".to_owned())),
        (DATASETS, Value::Strings(matrix.datasets.iter().collect())),
        (CHUNK_COUNT, number(matrix.chunk_count)?),
        (CHUNK_SIZE, number(matrix.chunk_size)?),
    ];
    let mut header = Vec::new();
    header.extend_from_slice(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in &metadata {
        put_string(&mut header, key)?;
        put_value(&mut header, value)?;
    }
    let mut offset = 0;
    for (name, shape, values) in &tensors {
        put_string(&mut header, name)?;
        // The outer dimension is left out where there is one matrix.
        let dimensions = if shape[1] > 1 { &shape[..] } else { &shape[..1] };
        header.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|d| header.extend(d.to_le_bytes()));
        header.extend(kind.to_le_bytes());
        header.extend(u64::to_le_bytes(offset));
        offset += (values.len() as u64 * 4).next_multiple_of(DEFAULT_ALIGNMENT);
    }
    let mut file = AtomicFile::create(storage, path)?;
    let mut put = |bytes: &mut Vec<u8>| {
        bytes.resize((bytes.len() as u64).next_multiple_of(DEFAULT_ALIGNMENT) as usize, 0);
        file.write_all(bytes)
    };
    put(&mut header)?;
    for (_, _, values) in &tensors {
        put(&mut values.iter().flat_map(|v| v.to_le_bytes()).collect())?;
    }
    file.commit()
}

fn number(value: u64) -> Result<Value> {
    u32::try_from(value).map(Value::U32).map_err(|_| Error::limit(format!("{value} chunks or tokens are more than the format can say")))
}

/// Mean squares times counts.
fn sums(entry: &ImportanceEntry) -> Result<Vec<f32>> {
    if entry.counts.is_empty() || entry.values.is_empty() || !entry.values.len().is_multiple_of(entry.counts.len()) {
        return Err(Error::input(format!("{} values do not go with {} counts", entry.values.len(), entry.counts.len())));
    }
    let columns = entry.values.len() / entry.counts.len();
    let counts = entry.counts.iter().flat_map(|count| std::iter::repeat_n(*count, columns));
    Ok(entry.values.iter().zip(counts).map(|(mean, count)| (f64::from(*mean) * f64::from(count)) as f32).collect())
}
