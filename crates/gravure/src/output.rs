//! Checks before any work is done: may this output be written, and is there room?

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use gravure_base::{Error, ErrorKind, Result, Sha256, Storage, folder_of};
use gravure_core::{Format, Model, Plan, WriteRequest};

use crate::catalog;

/// Space left free on the disk beyond the output itself.
const SLACK_BYTES: u64 = 1 << 20;

/// How the output is cut into files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Split {
    /// One file, or what the format does by itself.
    #[default]
    Single,
    /// As a split source is cut, with numbers in the names even where that is one file.
    Keep,
    /// Files of at most this many bytes.
    MaxBytes(u64),
    /// Files of at most this many tensors.
    MaxTensors(u64),
}

/// The format to write: the one named, else the one whose extension the target has, else the
/// registry's first.
pub(crate) fn target_format(target: &Path, named: Option<&str>) -> Result<&'static dyn Format> {
    if let Some(id) = named {
        return catalog().format(id);
    }
    let extension = target.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    let by_extension = catalog().formats.iter().copied().find(|f| f.extension().is_some() && f.extension() == extension.as_deref());
    by_extension.or_else(|| catalog().formats.first().copied()).ok_or_else(|| Error::bug("no format is registered"))
}

/// `plan` is of tensors of `model`, which is as it was read.
pub(crate) fn write_request(target: &Path, storage: std::sync::Arc<dyn Storage>, split: Split, model: &Model, plan: &Plan) -> WriteRequest {
    let file_tensors = if split == Split::Keep { kept_split(model, plan) } else { Vec::new() };
    let (max_file_bytes, max_file_tensors) = match split {
        Split::Single => (None, None),
        Split::MaxBytes(bytes) => (Some(bytes), None),
        Split::MaxTensors(count) => (None, Some(count)),
        // The tensors are in another order than in the source: as many files, of about the same length.
        Split::Keep if file_tensors.is_empty() => {
            (None, Some((plan.tensors.len() as u64).div_ceil(model.source.file_tensors.len().max(1) as u64)))
        }
        Split::Keep => (None, None),
    };
    WriteRequest { max_file_bytes, max_file_tensors, file_tensors, ..WriteRequest::new(target, storage) }
}

/// How many of the plan's tensors come from each of the source's files; files without any are left
/// out. Empty where the plan is not in the order of the files.
fn kept_split(model: &Model, plan: &Plan) -> Vec<u64> {
    // A checkpoint's shards are joined by converting it.
    if model.source.file_tensors.is_empty() {
        return vec![plan.tensors.len() as u64];
    }
    let mut file_of = HashMap::with_capacity(model.tensors.len());
    let mut tensors = model.tensors.iter();
    for (file, &count) in model.source.file_tensors.iter().enumerate() {
        for tensor in tensors.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)) {
            file_of.insert(tensor.name.as_str(), file);
        }
    }
    let mut counts = vec![0u64; model.source.file_tensors.len()];
    let mut last = 0;
    for entry in &plan.tensors {
        match file_of.get(entry.source.as_deref().unwrap_or(&entry.tensor)) {
            Some(&file) if file >= last => {
                counts[file] += 1;
                last = file;
            }
            _ => return Vec::new(),
        }
    }
    counts.retain(|&count| count > 0);
    counts
}

/// Refuses a target that is the source, whose folder is missing, that is a folder where a file is to
/// be written, or for which the disk is too small.
pub(crate) fn check_target(format: &dyn Format, model: &Model, request: &WriteRequest, files: &[(String, u64)]) -> Result<()> {
    let target = &request.path;
    let folder = folder_of(target);
    if !folder.is_dir() {
        return Err(Error::new(ErrorKind::NotFound, "the folder of the output does not exist").in_file(folder).help("create it first"));
    }
    let real = |p: &Path| -> Option<PathBuf> { std::fs::canonicalize(p).ok() };
    let source: HashSet<PathBuf> =
        model.source.files.iter().map(PathBuf::as_path).chain([model.source.path.as_path()]).filter_map(real).collect();
    // A file has other names than the target's where it is cut.
    let beside = if format.extension().is_some() { files } else { &[] };
    let written = [target.clone()].into_iter().chain(beside.iter().map(|(name, _)| folder.join(name)));
    if let Some(path) = written.into_iter().find(|path| real(path).is_some_and(|path| source.contains(&path))) {
        return Err(Error::request("the output is the source itself").in_file(path).help("choose another output name"));
    }
    if format.extension().is_some() && target.is_dir() {
        return Err(Error::request(format!("the output is a folder, but {} is written to a file", format.id()))
            .in_file(target)
            .help("name a file in it"));
    }
    let needed: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let free = request.storage.free_space(folder)?;
    if needed.saturating_add(SLACK_BYTES) > free {
        return Err(Error::new(ErrorKind::Environment, format!("the output needs {needed} bytes, but only {free} are free on that disk"))
            .in_file(folder)
            .help("free some space, or write to another disk; nothing was written"));
    }
    Ok(())
}

/// Names a request and its sources: what a resumed run must have in common with the interrupted one.
/// Sources go by path, length and time of change, so that naming them does not read them.
pub(crate) fn fingerprint(decision: &str, sources: &[PathBuf]) -> String {
    let mut digest = Sha256::new();
    digest.update(concat!("gravure ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    digest.update(decision.as_bytes());
    for path in sources {
        let described = std::fs::metadata(path).map(|m| {
            let changed = m.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            format!("{} {} {changed:?}", path.display(), m.len())
        });
        digest.update(described.unwrap_or_else(|e| e.to_string()).as_bytes());
    }
    digest.finish()
}
