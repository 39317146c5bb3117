//! `*.index.json`: which shard holds which tensor.
//!
//! Only plain file names are followed: a name with a separator, `..` or a root could make the reader
//! open any file of the user's. The shard itself may be a symbolic link, because Hugging Face's cache
//! is made of links from snapshots to blobs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gravure_base::{Error, Limits, Result};
use serde_json::Value;

use super::json;

/// Bytes of an index; that of a 1 T parameter model with separate experts has 20 MB.
const MAX_INDEX_BYTES: u64 = 100 << 20;

/// A parsed index.
#[derive(Debug)]
pub(crate) struct Index {
    /// Shard by tensor name.
    pub(crate) weight_map: BTreeMap<String, String>,
    /// The shards' paths by file name, in order of name.
    pub(crate) shards: BTreeMap<String, PathBuf>,
}

/// Reads the index at `path`; its shards lie in `root` and end in `.extension`.
pub(crate) fn read(path: &Path, root: &Path, extension: &str, limits: &Limits) -> Result<Index> {
    let bytes = json::read_small(path, limits.header_bytes.min(MAX_INDEX_BYTES), "an index")?;
    parse(&bytes, root, extension, limits).map_err(|e| e.in_file(path))
}

/// Whether the index at `path` names `single` alone: `mlx_lm` writes one beside a model in one file.
pub(crate) fn names_only(single: &str, path: &Path, root: &Path, extension: &str, limits: &Limits) -> Result<bool> {
    Ok(read(path, root, extension, limits)?.shards.keys().eq([single]))
}

/// Parses an index.
pub(crate) fn parse(bytes: &[u8], root: &Path, extension: &str, limits: &Limits) -> Result<Index> {
    let value = json::parse(bytes, limits)?;
    let Some(Value::Object(map)) = value.get("weight_map") else {
        return Err(Error::input("has no object `weight_map`"));
    };
    Limits::check(map.len() as u64, limits.tensors, "tensors in the index")?;
    let mut weight_map = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let Some(file) = file.as_str() else {
            return Err(Error::input("does not name a file for this tensor").at_item(tensor));
        };
        check_name(file, extension).map_err(|e| e.at_item(tensor))?;
        names.insert(file.to_owned());
        weight_map.insert(tensor.clone(), file.to_owned());
    }
    if weight_map.is_empty() {
        return Err(Error::input("names no tensor"));
    }
    Limits::check(names.len() as u64, limits.files, "shards in the index")?;
    let shards = names
        .into_iter()
        .map(|name| {
            let path = root.join(&name);
            (name, path)
        })
        .collect();
    Ok(Index { weight_map, shards })
}

/// Accepts a plain file name with the expected extension.
fn check_name(file: &str, extension: &str) -> Result<()> {
    let plain = !file.is_empty()
        && !file.starts_with('.')
        && !file.contains(['/', '\\', ':'])
        && !file.chars().any(char::is_control)
        && file.len() <= 255;
    if !plain {
        let message = format!("the index leads to `{file}`, which is not a plain file name");
        return Err(Error::input(message).help("shards lie beside the index; a path may lead anywhere and is not followed"));
    }
    if Path::new(file).extension().is_none_or(|e| e != extension) {
        return Err(Error::input(format!("the index leads to `{file}`, which is no .{extension} file")));
    }
    Ok(())
}

/// Compares what the index says with what the shards hold; `held` maps each tensor to its shard.
/// Returns the tensors that the index does not mention.
pub(crate) fn compare(index: &Index, held: &BTreeMap<String, String>) -> Result<Vec<String>> {
    for (tensor, file) in &index.weight_map {
        match held.get(tensor) {
            None => return Err(Error::input(format!("the index says that it is in {file}, but no shard holds it")).at_item(tensor)),
            Some(other) if other != file => {
                return Err(Error::input(format!("the index says that it is in {file}, but it is in {other}")).at_item(tensor));
            }
            Some(_) => {}
        }
    }
    Ok(held.keys().filter(|name| !index.weight_map.contains_key(*name)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Result<Index> {
        parse(text.as_bytes(), Path::new("m"), "safetensors", &Limits::default())
    }

    #[test]
    fn shards_come_in_order_of_name() {
        let text =
            r#"{"metadata": {"total_size": 8}, "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-1.safetensors"}}"#;
        let index = index(text).unwrap();
        assert_eq!(index.shards.keys().collect::<Vec<_>>(), ["m-1.safetensors", "m-2.safetensors"]);
        assert_eq!(index.weight_map["c"], "m-1.safetensors");
    }

    /// `mlx_lm` writes an index beside a model in one file.
    #[test]
    fn an_index_of_the_one_file_beside_it_is_no_second_model() {
        let folder = tempfile::tempdir().unwrap();
        let find = |text: &str| {
            std::fs::write(folder.path().join("model.safetensors"), b"").unwrap();
            std::fs::write(folder.path().join("model.safetensors.index.json"), text).unwrap();
            crate::safetensors::folder::find(folder.path(), &Limits::default())
        };
        assert!(find(r#"{"weight_map": {"a": "model.safetensors", "b": "model.safetensors"}}"#).is_ok());
        let error = find(r#"{"weight_map": {"a": "model-00001-of-00002.safetensors"}}"#).unwrap_err();
        assert!(error.message().contains("two models"), "{error}");
        assert!(find("{}").is_err());
    }

    #[test]
    fn paths_are_not_followed() {
        let names = [
            "../x.safetensors",
            "/etc/x.safetensors",
            "a/b.safetensors",
            "a\\\\b.safetensors",
            "..",
            ".",
            "",
            "C:x.safetensors",
            ".hidden.safetensors",
            "x\\u0000.safetensors",
            "x\\n.safetensors",
            "passwd",
            "x.safetensors.bin",
            "model.bin",
        ];
        for name in names {
            let error = index(&format!(r#"{{"weight_map": {{"w": "{name}"}}}}"#)).unwrap_err();
            assert_eq!((error.item(), error.kind()), (Some("w"), gravure_base::ErrorKind::Input), "{name}: {error}");
        }
    }

    #[test]
    fn malformed_indices_are_errors() {
        for text in [
            "[]",
            "{}",
            r#"{"weight_map": []}"#,
            r#"{"weight_map": {}}"#,
            r#"{"weight_map": {"a": 1}}"#,
            r#"{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}"#,
        ] {
            assert!(index(text).is_err(), "{text}");
        }
    }

    #[test]
    fn disagreements_name_the_tensor() {
        let index = index(r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#).unwrap();
        let held = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeMap<_, _>>();
        let error = compare(&index, &held(&[("a", "1.safetensors")])).unwrap_err();
        assert_eq!(error.item(), Some("b"));
        let error = compare(&index, &held(&[("a", "2.safetensors"), ("b", "2.safetensors")])).unwrap_err();
        assert_eq!(error.item(), Some("a"));
        let extra = compare(&index, &held(&[("a", "1.safetensors"), ("b", "2.safetensors"), ("c", "2.safetensors")])).unwrap();
        assert_eq!(extra, ["c"]);
    }
}
