//! The files of a split model: `name-00002-of-00005.gguf`.

use std::path::{Path, PathBuf};

use gravure_core::{Error, Metadata, Result};

/// Number of this file, from 0 (`u16`).
pub(crate) const NUMBER_KEY: &str = "split.no";
/// Number of files (`u16`).
pub(crate) const COUNT_KEY: &str = "split.count";
/// Number of tensors in all files (`i32`).
pub(crate) const TENSORS_KEY: &str = "split.tensors.count";

/// The file name of shard `index` (from 0) of `count`.
pub(crate) fn name(prefix: &str, index: u64, count: u64) -> String {
    format!("{prefix}-{:05}-of-{count:05}.gguf", index + 1)
}

/// Prefix, index from 0 and count of a shard's file name.
pub(crate) fn parse(name: &str) -> Option<(&str, u64, u64)> {
    let stem = name.strip_suffix(".gguf")?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| (text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u64>().ok()).flatten();
    let (number, count) = (digits(number)?, digits(count)?);
    (1..=count).contains(&number).then(|| (prefix, number - 1, count))
}

/// An integer under one of the keys above; an error where the key holds something else.
pub(crate) fn number(metadata: &Metadata, key: &str) -> Result<Option<u64>> {
    match metadata.get(key) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| Error::input("is not a non-negative integer").at_item(key)),
    }
}

/// The paths of all shards, where the metadata says that there is more than one.
///
/// # Errors
/// `Input` where the name does not say which shard it is or contradicts the metadata, `Limit` for
/// too many files.
pub(crate) fn paths(path: &Path, metadata: &Metadata, most: u64) -> Result<Option<Vec<PathBuf>>> {
    let count = number(metadata, COUNT_KEY)?.unwrap_or(0);
    if count <= 1 {
        return Ok(None);
    }
    gravure_core::Limits::check(count, most, "files of a split model")?;
    let index = number(metadata, NUMBER_KEY)?.unwrap_or(0);
    let file_name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    match parse(file_name) {
        Some((prefix, i, n)) if (i, n) == (index, count) => {
            Ok(Some((0..count).map(|i| path.with_file_name(name(prefix, i, count))).collect()))
        }
        _ => {
            let message = format!("says that it is file {} of {count}, but its name does not", index + 1);
            Err(Error::input(message).help(format!("rename it to {}, beside the others", name("NAME", index, count))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (index, count) in [(0, 1), (4, 5), (99_998, 99_999), (123_455, 123_456)] {
            assert_eq!(parse(&name("a-b", index, count)), Some(("a-b", index, count)));
        }
        for bad in ["a-00000-of-00002.gguf", "a-00003-of-00002.gguf", "a-1-of-2.gguf", "a-0000x-of-00002.gguf", "a.gguf", "-of-.gguf"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
