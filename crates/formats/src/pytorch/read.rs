//! The reader: which container, which object, which of its entries are the weights.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Cursor, Error, ErrorKind, FileReader, Limits, ReadAt, Result, ResultExt};
use gravure_core::{Model, Note, ReadRequest, Tensor};

use super::PyTorch;
use super::archive::{Archive, Entry};
use super::heap::{Heap, Value};
use super::legacy;
use super::machine::{GlobalUse, Machine, Policy};
use super::tensors::{Builder, Placed};
use crate::safetensors::{Companions, Parts, assemble, folder, names_only, read_shards};

pub(super) const SINGLE: &str = "pytorch_model.bin";
pub(super) const INDEX: &str = "pytorch_model.bin.index.json";

/// Keys under which training scripts keep the weights, in order.
const WRAPPERS: &[&str] = &["state_dict", "model_state_dict", "model", "module", "net", "weights", "params"];
/// Bytes of the small text files in an archive.
const SMALL: u64 = 4096;

/// Reads a folder or one file.
pub(super) fn read(request: &ReadRequest<'_>) -> Result<Model> {
    let meta = std::fs::metadata(request.path).map_err(|e| Error::io("open the model", request.path, e))?;
    let parts = if meta.is_dir() { read_folder(request)? } else { read_bare(request)? };
    assemble(parts, request)
}

fn read_folder(request: &ReadRequest<'_>) -> Result<Parts> {
    let (single, index) = (request.path.join(SINGLE), request.path.join(INDEX));
    let mut notes = Vec::new();
    let companions = Companions::read(request.path, request)?;
    let (tensors, files, detail) = match (single.is_file(), index.is_file()) {
        (true, false) => {
            let (tensors, kind) = read_tensors(&single, request, &mut notes)?;
            (tensors, vec![single], format!("Hugging Face folder of PyTorch weights ({kind}), 1 file"))
        }
        (true, true) if !names_only(SINGLE, &index, request.path, "bin", request.limits)? => {
            return Err(Error::input(format!("holds both {SINGLE} and {INDEX}, which may be two models"))
                .in_file(request.path)
                .help("remove the one that is stale, or name the one file"));
        }
        (_, true) => {
            let mut inner = Vec::new();
            let read = &mut |shard: &Path| read_tensors(shard, request, &mut inner).map(|(tensors, _)| tensors);
            let (tensors, mut files) = read_shards(&index, "bin", request, &mut notes, read)?;
            notes.append(&mut inner);
            let detail = format!("Hugging Face folder of PyTorch weights, {} shards", files.len());
            files.insert(0, index);
            (tensors, files, detail)
        }
        (false, false) => {
            return Err(Error::new(ErrorKind::NotFound, format!("is no model: looked for {SINGLE} and {INDEX}")).in_file(request.path));
        }
    };
    Ok(Parts { format: PyTorch::ID, detail, files, companions: Some(companions), tensors, notes })
}

fn read_bare(request: &ReadRequest<'_>) -> Result<Parts> {
    let mut notes = Vec::new();
    let (tensors, kind) = read_tensors(request.path, request, &mut notes)?;
    let files: Vec<PathBuf> = vec![request.path.to_owned()];
    Ok(Parts { format: PyTorch::ID, detail: format!("PyTorch checkpoint ({kind})"), files, companions: None, tensors, notes })
}

/// The tensors of one checkpoint, in the order of its dictionary.
fn read_tensors(path: &Path, request: &ReadRequest<'_>, notes: &mut Vec<Note>) -> Result<(Vec<Tensor>, &'static str)> {
    let source: Arc<dyn ReadAt> = Arc::new(FileReader::open(path)?);
    read_source(&source, request, notes).in_file(path)
}

/// The container of a checkpoint by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Zip,
    /// A legacy stream, or a bare pickle.
    Stream,
}

/// Tells the containers apart; an error where it can be neither.
pub(super) fn container(source: &dyn ReadAt) -> Result<Container> {
    if source.is_empty() {
        return Err(Error::input("the file is empty").help("the download is incomplete: fetch it again"));
    }
    let mut head = [0; 32];
    let known = source.len().min(32) as usize;
    source.read_exact_at(&mut head[..known], 0)?;
    if folder::is_lfs_pointer(&head[..known]) {
        return Err(folder::lfs_error());
    }
    match head[0] {
        b'P' if head.starts_with(b"PK") => Ok(Container::Zip),
        // Protocol 2 and later start with 0x80, which torch always wrote; older pickles with one of these.
        0x80 | b'(' | b']' | b'}' | b')' | b'c' | b'N' | b'I' | b'L' | b'S' | b'V' | b'F' | b'i' => Ok(Container::Stream),
        _ => Err(Error::input("is neither a zip archive nor a pickle").at_offset(0)),
    }
}

/// The tensors of one opened checkpoint, and what kind of container it is.
pub(crate) fn read_source(
    source: &Arc<dyn ReadAt>,
    request: &ReadRequest<'_>,
    notes: &mut Vec<Note>,
) -> Result<(Vec<Tensor>, &'static str)> {
    let mut seen = Vec::new();
    let (heap, object, places, kind) = match container(source.as_ref())? {
        Container::Zip => {
            let archive = Archive::open(Arc::clone(source), request.limits)?;
            let (heap, object) = read_object(&archive, Policy::Refuse, request.limits, &mut seen)?;
            let places = places(&archive, &heap)?;
            (heap, object, places, "zip")
        }
        Container::Stream => {
            let stream = legacy::read(source, Policy::Refuse, request.limits, &mut seen)?;
            if stream.end != source.len() {
                let message = format!("{} bytes follow the last storage and belong to nothing", source.len() - stream.end);
                return Err(Error::input(message).at_offset(stream.end));
            }
            (stream.heap, stream.object.value, stream.places, "legacy stream")
        }
    };
    let weights = find_weights(&heap, object, notes)?;
    Limits::check(weights.len() as u64, request.limits.tensors, "tensors in the checkpoint")?;
    let mut builder = Builder::new(&heap, &places, request.catalog, request.limits);
    let tensors = weights.into_iter().map(|(name, index)| builder.tensor(index, name)).collect::<Result<_>>()?;
    Ok((tensors, kind))
}

/// The folder within the archive, from its one `data.pkl`.
pub(super) fn root(archive: &Archive) -> Result<String> {
    let mut pickles = archive.entries.iter().filter(|e| e.name.ends_with("/data.pkl") && e.name.matches('/').count() == 1);
    let (first, second) = (pickles.next(), pickles.next());
    match (first, second) {
        (Some(entry), None) => Ok(entry.name.trim_end_matches("data.pkl").to_owned()),
        (None, _) => Err(Error::input("is a zip archive, but no checkpoint of torch: it holds no data.pkl")),
        (Some(a), Some(b)) => Err(Error::input(format!("holds two objects: {} and {}", a.name, b.name))),
    }
}

/// Runs the archive's pickle.
pub(super) fn read_object(archive: &Archive, policy: Policy, limits: &Limits, seen: &mut Vec<GlobalUse>) -> Result<(Heap, Value)> {
    let root = root(archive)?;
    if archive.entries.iter().any(|e| e.name.starts_with(&format!("{root}code/"))) {
        return Err(Error::unsupported("is a TorchScript program, not a checkpoint of weights").help("save the model's state_dict instead"));
    }
    if let Some(entry) = archive.entry(&format!("{root}byteorder")) {
        let order = archive.read(entry, SMALL)?;
        if order != b"little" {
            return Err(Error::unsupported("the checkpoint was written by a big-endian machine").at_item(&*entry.name));
        }
    }
    let entry = archive.entry(&format!("{root}data.pkl")).ok_or_else(|| Error::bug("the pickle was there before"))?;
    let mut heap = Heap::default();
    let object = run_entry(archive, entry, &mut heap, policy, limits, seen)?;
    Ok((heap, object))
}

/// Runs one pickle of an archive, after checking its checksum.
pub(super) fn run_entry(
    archive: &Archive,
    entry: &Entry,
    heap: &mut Heap,
    policy: Policy,
    limits: &Limits,
    seen: &mut Vec<GlobalUse>,
) -> Result<Value> {
    drop(archive.read(entry, limits.header_bytes)?);
    let window = archive.reader(entry)?;
    let mut cursor = Cursor::new(&window, limits);
    let outcome = Machine::new(&mut cursor, heap, policy, limits).run(seen).at_item(|| entry.name.clone())?;
    seen.extend(outcome.uses);
    if let Some(oddity) = outcome.oddities.first() {
        return Err(Error::input(format!("the pickle {oddity}")).at_item(&*entry.name));
    }
    if cursor.remaining() > 0 {
        return Err(cursor.error(format!("{} bytes follow the end of the pickle", cursor.remaining())).at_item(&*entry.name));
    }
    Ok(outcome.value)
}

fn places(archive: &Archive, heap: &Heap) -> Result<HashMap<String, Placed>> {
    let root = root(archive)?;
    let mut places = HashMap::with_capacity(heap.storages.len());
    for storage in &heap.storages {
        if let Some(entry) = archive.entry(&format!("{root}data/{}", storage.key)) {
            places.insert(storage.key.clone(), Placed { source: Arc::clone(&archive.source), offset: entry.offset, bytes: entry.bytes });
        }
    }
    Ok(places)
}

type Weights = Vec<(String, usize)>;

/// The dictionary of tensors: the object itself, or what training scripts wrap around it.
fn find_weights(heap: &Heap, object: Value, notes: &mut Vec<Note>) -> Result<Weights> {
    if let Some(weights) = dictionary(heap, object, notes)? {
        return Ok(weights);
    }
    let Value::Dict(index) = object else {
        return Err(Error::input(format!("the checkpoint is {} instead of a dictionary of tensors", heap.describe(object))));
    };
    let entries = &heap.dicts[index];
    let key_of = |key: Value| heap.as_text(key, "a key").ok().map(str::to_owned);
    for wrapper in WRAPPERS {
        let mut found = entries.iter().filter(|(key, _)| key_of(*key).as_deref() == Some(wrapper));
        let (Some((_, value)), None) = (found.next(), found.next()) else { continue };
        let mut inner = Vec::new();
        if let Some(weights) = dictionary(heap, *value, &mut inner)? {
            let others: Vec<String> = entries.iter().filter_map(|(key, _)| key_of(*key)).filter(|key| key != wrapper).take(20).collect();
            if !others.is_empty() {
                let text = format!("its weights were taken; beside them lie, and were left: {}", others.join(", "));
                notes.push(Note { subject: (*wrapper).to_owned(), text });
            }
            notes.append(&mut inner);
            return Ok(weights);
        }
    }
    let keys: Vec<String> = entries.iter().filter_map(|(key, _)| key_of(*key)).take(8).collect();
    Err(Error::input(format!("the checkpoint holds no dictionary of tensors; its keys are: {}", keys.join(", ")))
        .help(format!("weights are looked for at the top and under {}", WRAPPERS.join(", "))))
}

/// The tensors of a dictionary, or `None` where the value is no dictionary with a tensor in it.
fn dictionary(heap: &Heap, value: Value, notes: &mut Vec<Note>) -> Result<Option<Weights>> {
    let Value::Dict(index) = value else { return Ok(None) };
    let entries = &heap.dicts[index];
    if !entries.iter().any(|(_, value)| matches!(value, Value::Tensor(_))) {
        return Ok(None);
    }
    let mut seen = HashSet::with_capacity(entries.len());
    let mut weights = Vec::with_capacity(entries.len());
    let mut others = Vec::new();
    for (key, value) in entries {
        let name = heap.as_text(*key, "the name of a tensor")?;
        if !seen.insert(name) {
            return Err(Error::input("the checkpoint has this name twice").at_item(name));
        }
        match value {
            Value::Tensor(index) => weights.push((name.to_owned(), *index)),
            other => others.push(format!("{name} ({})", heap.describe(*other))),
        }
    }
    if !others.is_empty() {
        let shown = others.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        notes.push(Note { subject: "checkpoint".into(), text: format!("{} entries are no tensors and were left: {shown}", others.len()) });
    }
    Ok(Some(weights))
}
