//! The Rust files of the workspace, split into product code and tests.

use std::path::{Path, PathBuf};

/// One source file.
pub(crate) struct Source {
    /// Path relative to the workspace root, with `/`.
    pub(crate) path: String,
    /// The lines before the first test module.
    pub(crate) product: Vec<String>,
}

impl Source {
    /// Name of the crate's folder, or of the top folder.
    pub(crate) fn krate(&self) -> &str {
        let mut parts = self.path.split('/');
        match parts.next() {
            Some("crates") => parts.next().unwrap_or(""),
            other => other.unwrap_or(""),
        }
    }
}

/// The workspace root: the parent of this crate.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// All files under `crates/*/src`.
pub(crate) fn all() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    walk(&root.join("crates"), &mut files);
    files.sort();
    files
        .into_iter()
        .filter_map(|file| {
            let path = file.strip_prefix(&root).ok()?.to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(&file).ok()?;
            let product = text.lines().take_while(|l| l.trim() != "#[cfg(test)]").map(str::to_owned).collect();
            let is_test = ["/tests.rs", "/testing.rs"].iter().any(|name| path.ends_with(name)) || path.contains("/tests/");
            (path.contains("/src/") && !is_test).then_some(Source { path, product })
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "target") {
                walk(&path, files);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// A line without its comment. String literals with `//` inside keep what is before them, which is
/// good enough for word searches.
pub(crate) fn code(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        return "";
    }
    line.split(" // ").next().unwrap_or(line)
}
