//! From files to a model: headers of all shards, lazy tensors, hyperparameters, tokenizer.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use gravure_base::{FileReader, ReadAt};
use gravure_core::values::{Source, StoredTensor};
use gravure_core::{Error, ErrorKind, Limits, Metadata, Model, Naming, Note, ReadRequest, Result, ResultExt, Tensor, Value};

use super::header::Header;
use super::{adapter, hyper_keys, names, shards, tokenizer};

/// The key of the architecture's id.
pub(crate) const ARCHITECTURE_KEY: &str = "general.architecture";

/// Reads a model from one file, or from all the shards of which one is named.
pub(crate) fn read(request: &ReadRequest<'_>) -> Result<Model> {
    let first: Arc<dyn ReadAt> = Arc::new(FileReader::open(request.path)?);
    let header = Header::read(&*first, request.catalog, request.limits)?;
    let (headers, files) = match shards::paths(request.path, &header.metadata, request.limits.files).in_file(request.path)? {
        None => (vec![(first, header)], vec![request.path.to_owned()]),
        Some(paths) => (read_shards(&paths, request)?, paths),
    };
    assemble(headers, files, request)
}

/// What is made of a header besides tensors, without a model around it.
pub(crate) fn read_parts(header: &Header, limits: &Limits) -> Result<()> {
    for tensor in &header.tensors {
        names::identify(&tensor.name);
    }
    if let Some(id) = header.metadata.get(ARCHITECTURE_KEY).and_then(Value::as_str) {
        hyper_keys::read(&header.metadata, id);
    }
    tokenizer::read(&header.metadata, limits).map(|_| ())
}

type Opened = (Arc<dyn ReadAt>, Header);

fn read_shards(paths: &[PathBuf], request: &ReadRequest<'_>) -> Result<Vec<Opened>> {
    let mut out = Vec::with_capacity(paths.len());
    for (index, path) in paths.iter().enumerate() {
        let file: Arc<dyn ReadAt> = Arc::new(FileReader::open(path).map_err(|e| {
            let missing = e.kind() == ErrorKind::NotFound;
            if missing { e.help(format!("the model has {} files, which must lie in one folder", paths.len())) } else { e }
        })?);
        let header = Header::read(&*file, request.catalog, request.limits)?;
        check_shard(&header.metadata, index as u64, paths.len() as u64).in_file(path)?;
        out.push((file, header));
    }
    let total: u64 = out.iter().map(|(_, header)| header.tensors.len() as u64).sum();
    for ((_, header), path) in out.iter().zip(paths) {
        let said = shards::number(&header.metadata, shards::TENSORS_KEY).in_file(path)?;
        if said.is_some_and(|said| said != total) {
            let message = format!("the files hold {total} tensors together, where this one says {}", said.unwrap_or(0));
            return Err(Error::input(message).in_file(path).at_item(shards::TENSORS_KEY));
        }
    }
    Ok(out)
}

fn check_shard(metadata: &Metadata, index: u64, count: u64) -> Result<()> {
    for (key, expected) in [(shards::NUMBER_KEY, index), (shards::COUNT_KEY, count)] {
        let said = shards::number(metadata, key)?;
        if said != Some(expected) {
            let said = said.map_or("nothing".to_owned(), |s| s.to_string());
            return Err(Error::input(format!("says {said} where its name says {expected}"))
                .at_item(key)
                .help("the files of different models are mixed, or one was renamed"));
        }
    }
    Ok(())
}

fn assemble(mut opened: Vec<Opened>, files: Vec<PathBuf>, request: &ReadRequest<'_>) -> Result<Model> {
    let mut notes = Vec::new();
    let mut tensors = Vec::with_capacity(opened.iter().map(|(_, h)| h.tensors.len()).sum());
    let mut seen = HashSet::new();
    let split = opened.len() > 1;
    let file_tensors = if split { opened.iter().map(|(_, h)| h.tensors.len() as u64).collect() } else { Vec::new() };
    for (file, header) in &mut opened {
        if header.unclaimed > 0 {
            let text = format!("{} bytes of the file belong to no tensor", header.unclaimed);
            notes.push(Note { subject: file.path().display().to_string(), text });
        }
        for info in std::mem::take(&mut header.tensors) {
            if split && !seen.insert(info.name.clone()) {
                return Err(Error::input("two files have a tensor of this name").in_file(file.path()).at_item(info.name));
            }
            let data =
                StoredTensor::new(file.clone(), info.offset, info.row_bytes, info.shape.rows()).map_err(|e| e.at_item(&*info.name))?;
            let id = names::identify(&info.name);
            tensors.push(Tensor { name: info.name, id, shape: info.shape, encoding: info.encoding, data: Arc::new(data) });
        }
    }
    let version = opened[0].1.version;
    let metadata = std::mem::take(&mut opened[0].1.metadata);

    let architecture_id = match metadata.get(ARCHITECTURE_KEY) {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(Error::input("the architecture's id is no string").in_file(&files[0]).at_item(ARCHITECTURE_KEY)),
    };
    let architecture = architecture_id.as_deref().and_then(|id| request.catalog.architectures.iter().copied().find(|a| a.id() == id));
    let mut hyperparameters = hyper_keys::read(&metadata, architecture_id.as_deref().unwrap_or_default());
    if architecture_id.is_some() && !tensors.is_empty() {
        let present: HashSet<_> = tensors.iter().filter_map(|t| t.id).collect();
        hyperparameters.notice_tensors(|id| present.contains(id));
    }
    let read = if request.tokenizer_later { Ok(None) } else { tokenizer::read(&metadata, request.limits) };
    let tokenizer = match read {
        Ok(tokenizer) => tokenizer.map(Arc::new),
        Err(error) if request.lenient || error.kind() == ErrorKind::Unsupported => {
            notes.push(Note { subject: error.item().unwrap_or("tokenizer").to_owned(), text: error.message().to_owned() });
            None
        }
        Err(error) => return Err(error.in_file(&files[0])),
    };
    let adapter = adapter::read(&metadata).map_err(|e| e.in_file(&files[0]))?;
    let graph = architecture.and_then(|a| a.graph(&hyperparameters).ok());
    let detail = match files.len() {
        1 => format!("GGUF v{version}"),
        n => format!("GGUF v{version}, {n} files"),
    };
    Ok(Model {
        source: Source { format: "gguf", detail, path: request.path.to_owned(), files, file_tensors },
        architecture_id,
        architecture,
        naming: Naming::Neutral,
        hyperparameters,
        metadata,
        tokenizer,
        graph,
        adapter,
        tensors,
        notes,
    })
}
