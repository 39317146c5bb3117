//! Which files of a folder are the model.

use std::path::{Path, PathBuf};

use gravure_base::{Error, ErrorKind, Limits, Result};

use super::index;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// The weights of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Weights {
    /// One file.
    Single(PathBuf),
    /// Shards under this index.
    Index(PathBuf),
}

/// Whether a folder looks like one of ours, from its file names alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Safetensors weights under the names that transformers loads.
    Weights,
    /// A configuration, or safetensors under other names, and no pickled weights.
    Parts,
    /// Neither.
    Nothing,
}

/// Looks at the names in `root` only.
pub(crate) fn presence(root: &Path) -> Presence {
    if [SINGLE, INDEX].iter().any(|name| root.join(name).is_file()) {
        Presence::Weights
    } else if !has_pickles(root) && (root.join("config.json").is_file() || !safetensors_files(root).is_empty()) {
        Presence::Parts
    } else {
        Presence::Nothing
    }
}

/// Whether there are pickled weights under the names that transformers loads.
pub(crate) fn has_pickles(root: &Path) -> bool {
    PICKLES.iter().any(|name| root.join(name).is_file())
}

/// Finds the weights, or says what was looked for.
pub(crate) fn find(root: &Path, limits: &Limits) -> Result<Weights> {
    let (single, index) = (root.join(SINGLE), root.join(INDEX));
    match (single.is_file(), index.is_file()) {
        (true, false) => Ok(Weights::Single(single)),
        (false, true) => Ok(Weights::Index(index)),
        (true, true) if index::names_only(SINGLE, &index, root, "safetensors", limits)? => Ok(Weights::Index(index)),
        (true, true) => Err(Error::input(format!("holds both {SINGLE} and {INDEX}, which may be two models"))
            .in_file(root)
            .help("remove the one that is stale, or name the one file")),
        (false, false) => Err(missing(root)),
    }
}

fn missing(root: &Path) -> Error {
    let others = safetensors_files(root);
    let error = |message: String| Error::new(ErrorKind::NotFound, message).in_file(root);
    if others.iter().any(|name| name.contains("-of-")) {
        return error(format!("holds shards ({}) but not {INDEX}", shown(&others))).help("the download is incomplete: fetch the index too");
    }
    if others.iter().any(|name| name.starts_with("adapter_")) {
        return error(format!("holds an adapter ({}), not a model", shown(&others)))
            .help("`gravure convert` reads its folder where adapter_config.json is in it too");
    }
    if !others.is_empty() {
        return error(format!("holds {}, but no {SINGLE}", shown(&others))).help("name the one file to read its tensors alone");
    }
    if has_pickles(root) {
        return error(format!("holds pickled weights, but no {SINGLE}")).help("read it as format pytorch");
    }
    let config = if root.join("config.json").is_file() { "has a config.json, but no weights" } else { "is no model" };
    error(format!("{config}: looked for {SINGLE}, {INDEX}, {} and {}", PICKLES[0], PICKLES[1])).help("is the download complete?")
}

fn shown(names: &[String]) -> String {
    let mut text = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 {
        text.push_str(", ...");
    }
    text
}

fn safetensors_files(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".safetensors") && !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// Whether these are the first bytes of a git-lfs pointer, which stands where a large file should be
/// when a repository was cloned without git-lfs.
pub(crate) fn is_lfs_pointer(head: &[u8]) -> bool {
    head.starts_with(b"version https://git-lfs")
}

/// The error for such a file.
pub(crate) fn lfs_error() -> Error {
    Error::input("is a git-lfs pointer, not the file itself").help("run `git lfs pull` in its folder, or download the file")
}
