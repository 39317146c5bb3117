//! The reader: headers, index, companions; the weights stay where they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Error, ErrorKind, FileReader, Limits, ReadAt, Result, ResultExt};
use gravure_core::values::StoredTensor;
use gravure_core::{Catalog, Model, Note, ReadRequest, Shape, Tensor, Value};

use super::folder::{self, Weights};
use super::{Companions, HuggingFace, Parts, assemble, dtype, header, index};

/// Reads a folder or a bare file.
pub(super) fn read(request: &ReadRequest<'_>) -> Result<Model> {
    let meta = std::fs::metadata(request.path).map_err(|e| Error::io("open the model", request.path, e))?;
    let parts = if meta.is_dir() { read_folder(request)? } else { read_bare(request)? };
    assemble(parts, request)
}

fn read_folder(request: &ReadRequest<'_>) -> Result<Parts> {
    let weights = folder::find(request.path, request.limits)?;
    let mut companions = Companions::read(request.path, request)?;
    let mut notes = Vec::new();
    let mut entries = Vec::new();
    let (tensors, files, detail) = match weights {
        Weights::Single(path) => {
            let (tensors, found) = read_tensors(&path, request.catalog, request.limits)?;
            entries = found;
            (tensors, vec![path], "Hugging Face folder, 1 file".to_owned())
        }
        Weights::Index(path) => {
            let read = &mut |shard: &Path| {
                let (tensors, found) = read_tensors(shard, request.catalog, request.limits)?;
                entries.extend(found);
                Ok(tensors)
            };
            let (tensors, mut files) = read_shards(&path, "safetensors", request, &mut notes, read)?;
            let detail = match files.len() {
                1 => "Hugging Face folder, 1 file".to_owned(),
                shards => format!("Hugging Face folder, {shards} shards"),
            };
            files.insert(0, path);
            (tensors, files, detail)
        }
    };
    // Other keys would count as the model card's, which other converters do not look for here.
    entries.retain(|(key, _)| key.starts_with(OWN_PREFIX));
    take_metadata(&mut companions, entries, request)?;
    Ok(Parts { format: HuggingFace::ID, detail, files, companions: Some(companions), tensors, notes })
}

/// Takes what headers say beside their tensors; what is known of a key already stays.
fn take_metadata(companions: &mut Companions, entries: Vec<(String, String)>, request: &ReadRequest<'_>) -> Result<()> {
    Limits::check(entries.len() as u64, request.limits.metadata_entries.min(MAX_ENTRIES), "metadata entries").in_file(request.path)?;
    for (key, value) in entries {
        if companions.metadata.get(&key).is_none() {
            companions.metadata.set(key, Value::String(value));
        }
    }
    Ok(())
}

fn read_bare(request: &ReadRequest<'_>) -> Result<Parts> {
    let (tensors, entries) = read_tensors(request.path, request.catalog, request.limits)?;
    let mut companions = Companions::default();
    take_metadata(&mut companions, entries, request)?;
    let mut notes = Vec::new();
    if request.path.with_file_name("config.json").is_file() {
        let text = "lies beside this file and was not read: name the folder to read the whole model".into();
        notes.push(Note { subject: "config.json".into(), text });
    }
    let detail = "safetensors, a bare file".to_owned();
    Ok(Parts { format: HuggingFace::ID, detail, files: vec![request.path.to_owned()], companions: Some(companions), tensors, notes })
}

/// The tensors of all shards of the index at `path`, in order of the shards' names, each shard read
/// by `read`; and the shards.
pub(crate) fn read_shards(
    path: &Path,
    extension: &str,
    request: &ReadRequest<'_>,
    notes: &mut Vec<Note>,
    read: &mut dyn FnMut(&Path) -> Result<Vec<Tensor>>,
) -> Result<(Vec<Tensor>, Vec<PathBuf>)> {
    let index = index::read(path, request.path, extension, request.limits)?;
    let mut tensors = Vec::new();
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    for (file, shard) in &index.shards {
        let found = read(shard).map_err(|e| missing_shard(e, file))?;
        Limits::check((tensors.len() + found.len()) as u64, request.limits.tensors, "tensors in the model").in_file(path)?;
        for tensor in &found {
            if let Some(other) = held.insert(tensor.name.clone(), file.clone()) {
                return Err(Error::input(format!("is in {other} and in {file}")).at_item(&*tensor.name).in_file(path));
            }
        }
        tensors.extend(found);
    }
    let extra = index::compare(&index, &held).in_file(path)?;
    if let Some(first) = extra.first() {
        if !request.lenient {
            let message = format!("{} tensors are in the shards but not in the index", extra.len());
            return Err(Error::input(message).at_item(first).in_file(path).help("--lenient takes them all the same"));
        }
        notes.push(Note { subject: first.clone(), text: format!("and {} other tensors are not in the index", extra.len() - 1) });
    }
    Ok((tensors, index.shards.into_values().collect()))
}

fn missing_shard(error: Error, file: &str) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let path = error.file().map(Path::to_owned).unwrap_or_default();
    Error::new(ErrorKind::NotFound, format!("the shard {file}, which the index names, is not there"))
        .in_file(path)
        .help("the download is incomplete: fetch it again")
}

/// Start of the metadata keys that this project writes.
const OWN_PREFIX: &str = "gravure.";
/// Metadata entries of a bare file that are kept; real ones (LoRA trainers write the most) have 200.
const MAX_ENTRIES: u64 = 10_000;

/// The tensors of a file, and its `__metadata__`.
type Opened = (Vec<Tensor>, Vec<(String, String)>);

/// The tensors of one file, lazily.
pub(super) fn read_tensors(path: &Path, catalog: &Catalog, limits: &Limits) -> Result<Opened> {
    let source: Arc<dyn ReadAt> = Arc::new(FileReader::open(path)?);
    tensors_of(&source, catalog, limits)
}

/// The tensors of one opened file, in the order of their bytes.
pub(crate) fn tensors_of(source: &Arc<dyn ReadAt>, catalog: &Catalog, limits: &Limits) -> Result<Opened> {
    let header = header::read(source.as_ref(), limits)?;
    let tensors = header
        .tensors
        .into_iter()
        .map(|(name, info)| {
            let make = || {
                let shape = Shape::new(info.shape.iter().map(|&d| d as u64).collect::<Vec<_>>())?;
                let encoding = dtype::encoding(info.dtype, catalog)?;
                let row_bytes = encoding.row_bytes(shape.row_length())?;
                // The header has checked that this sum stays within the file.
                let offset = header.data_start + info.data_offsets.0 as u64;
                let data = StoredTensor::new(Arc::clone(source), offset, row_bytes, shape.rows())?;
                Ok((shape, encoding, data))
            };
            let (shape, encoding, data) = make().map_err(|e: Error| e.at_item(&*name).in_file(source.path()))?;
            Ok(Tensor { name, id: None, shape, encoding, data: Arc::new(data) })
        })
        .collect::<Result<_>>()?;
    Ok((tensors, header.metadata))
}
