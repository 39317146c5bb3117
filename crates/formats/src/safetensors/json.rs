//! Configuration files as JSON: of bounded size, and told apart from the pointers that stand in for them.

use std::path::Path;

use gravure_base::json;
use gravure_base::{Error, FileReader, Limits, ReadAt, Result};
use serde_json::Value;

/// Bytes of a configuration file; the largest real ones (with inlined label tables) have 2 MB.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Reads a whole JSON file of configuration size.
pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Value> {
    let bytes = read_small(path, limits.header_bytes.min(MAX_CONFIG_BYTES), "a configuration file")?;
    parse(&bytes, limits).map_err(|e| e.in_file(path))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: u64, what: &str) -> Result<Vec<u8>> {
    let file = FileReader::open(path)?;
    Limits::check(file.len(), limit, &format!("bytes of {what}")).map_err(|e| e.in_file(path))?;
    let mut bytes = vec![0; usize::try_from(file.len()).map_err(|_| Error::limit("does not fit in memory").in_file(path))?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Parses one JSON document.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Value> {
    if super::folder::is_lfs_pointer(bytes) {
        return Err(super::folder::lfs_error());
    }
    json::parse(bytes, limits)
}
