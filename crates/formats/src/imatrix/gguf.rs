//! The GGUF layout.

use std::collections::BTreeMap;

use gravure_base::ReadAt;
use gravure_core::values::ImportanceEntry;
use gravure_core::{Catalog, Error, ImportanceMatrix, Limits, Metadata, Result, Value};

use crate::gguf::header::{Header, TensorInfo};

pub(super) const SUMS: &str = ".in_sum2";
pub(super) const COUNTS: &str = ".counts";
pub(super) const DATASETS: &str = "imatrix.datasets";
pub(super) const CHUNK_COUNT: &str = "imatrix.chunk_count";
pub(super) const CHUNK_SIZE: &str = "imatrix.chunk_size";

pub(super) fn read(source: &dyn ReadAt, catalog: &Catalog, limits: &Limits) -> Result<ImportanceMatrix> {
    let header = Header::read(source, catalog, limits)?;
    let metadata = &header.metadata;
    let datasets = match required(metadata, DATASETS)? {
        Value::Strings(names) => names.iter().map(str::to_owned).collect(),
        _ => return Err(Error::input("is not a list of names").at_item(DATASETS)),
    };
    let mut out = ImportanceMatrix {
        datasets,
        chunk_count: number(metadata, CHUNK_COUNT)?,
        chunk_size: number(metadata, CHUNK_SIZE)?,
        ..ImportanceMatrix::default()
    };
    if header.tensors.is_empty() {
        return Err(Error::input("the importance matrix has no entries"));
    }
    let mut pairs: BTreeMap<&str, (Option<&TensorInfo>, Option<&TensorInfo>)> = BTreeMap::new();
    for tensor in &header.tensors {
        if let Some(name) = tensor.name.strip_suffix(SUMS) {
            pairs.entry(name).or_default().0 = Some(tensor);
        } else if let Some(name) = tensor.name.strip_suffix(COUNTS) {
            pairs.entry(name).or_default().1 = Some(tensor);
        } else {
            return Err(Error::unsupported(format!("the tensor is neither `*{SUMS}` nor `*{COUNTS}`")).at_item(&*tensor.name));
        }
    }
    for (name, pair) in pairs {
        let (Some(sums), Some(counts)) = pair else {
            return Err(Error::input("sums without counts, or counts without sums").at_item(name));
        };
        let (sums, counts) = (values(source, sums)?, values(source, counts)?);
        out.entries.insert(name.to_owned(), entry(&sums, counts).map_err(|e| e.at_item(name))?);
    }
    Ok(out)
}

fn required<'a>(metadata: &'a Metadata, key: &str) -> Result<&'a Value> {
    metadata.get(key).ok_or_else(|| {
        Error::input(format!("is no importance matrix: the key `{key}` is missing"))
            .help("give the file that a calibration run has written")
    })
}

fn number(metadata: &Metadata, key: &str) -> Result<u64> {
    required(metadata, key)?.as_u64().ok_or_else(|| Error::input("is not a non-negative integer").at_item(key))
}

/// The numbers of a tensor, whose place in the file has been checked.
fn values(source: &dyn ReadAt, tensor: &TensorInfo) -> Result<Vec<f32>> {
    let layout = tensor.encoding.layout();
    // Four bytes to a value and nothing else: `f32` without naming it.
    if (layout.block_elements, layout.block_bytes) != (1, 4) || tensor.encoding.is_integer() {
        return Err(Error::input("sums and counts must be 32-bit floats").at_item(&*tensor.name));
    }
    // Only now: blocks of one bit would ask for thirty times their size.
    let mut out = vec![0.0; usize::try_from(tensor.shape.elements()).map_err(|_| Error::limit("too many values"))?];
    let mut bytes = vec![0; out.len() * 4];
    source.read_exact_at(&mut bytes, tensor.offset)?;
    tensor.encoding.decode(&bytes, &mut out)?;
    Ok(out)
}

/// Sums over counts, for each matrix.
fn entry(sums: &[f32], counts: Vec<f32>) -> Result<ImportanceEntry> {
    if counts.is_empty() || sums.is_empty() || !sums.len().is_multiple_of(counts.len()) {
        return Err(Error::input(format!("{} sums do not go with {} counts", sums.len(), counts.len())));
    }
    if let Some(count) = counts.iter().find(|c| !c.is_finite() || **c < 0.0) {
        return Err(Error::input(format!("a count of {count} is impossible")));
    }
    let columns = sums.len() / counts.len();
    let mut values = Vec::with_capacity(sums.len());
    for (sums, &count) in sums.chunks_exact(columns).zip(&counts) {
        // Counts are whole numbers that travel as floats.
        let count = count.round();
        values.extend(sums.iter().map(|&sum| if count > 0.0 { sum / count } else { 1.0 }));
    }
    Ok(ImportanceEntry { values, counts })
}
