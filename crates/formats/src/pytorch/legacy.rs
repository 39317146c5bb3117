//! The stream that torch wrote before 1.6: five pickles, then the storages one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use gravure_base::{Cursor, Error, Limits, ReadAt, Result};

use super::heap::{Heap, Value};
use super::machine::{GlobalUse, Machine, Outcome, Policy};
use super::tensors::Placed;

/// 0x1950a86a20f9469cfc6c, the first value of the stream.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// How every such file starts: protocol 2, the magic number, stop.
pub(super) const HEAD: [u8; 15] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];

/// What one stream holds.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) heap: Heap,
    pub(super) object: Outcome,
    /// Bytes of each storage by its key.
    pub(super) places: HashMap<String, Placed>,
    /// Where the last storage ends.
    pub(super) end: u64,
}

/// Goes through the whole stream. Names of all its pickles are collected in `seen`, also on an error.
pub(super) fn read(source: &Arc<dyn ReadAt>, policy: Policy, limits: &Limits, seen: &mut Vec<GlobalUse>) -> Result<Stream> {
    let mut cursor = Cursor::new(source.as_ref(), limits);
    let mut heap = Heap::default();
    let mut pickle = |cursor: &mut Cursor<'_>, heap: &mut Heap| {
        let outcome = Machine::new(cursor, heap, policy, limits).run(seen)?;
        seen.extend(outcome.uses.iter().cloned());
        Ok::<_, Error>(outcome)
    };
    let magic = pickle(&mut cursor, &mut heap)?.value;
    if !matches!(magic, Value::Long(i) if heap.bytes[i] == MAGIC) {
        return Err(Error::input("is a pickle, but no checkpoint of torch: it does not start with its magic number").at_offset(0));
    }
    let protocol = pickle(&mut cursor, &mut heap)?.value;
    if protocol != Value::Int(PROTOCOL) {
        return Err(cursor.error("the protocol of the checkpoint is not 1001"));
    }
    let system = pickle(&mut cursor, &mut heap)?.value;
    check_system(&heap, system)?;
    let object = pickle(&mut cursor, &mut heap)?;
    let keys = pickle(&mut cursor, &mut heap)?.value;
    let keys: Vec<String> =
        heap.as_items(keys, "the list of storages")?.iter().map(|key| storage_key(&heap, *key)).collect::<Result<_>>()?;
    let (places, end) = place(source, &heap, keys, cursor.position())?;
    Ok(Stream { heap, object, places, end })
}

fn storage_key(heap: &Heap, key: Value) -> Result<String> {
    match key {
        Value::Int(number) => Ok(number.to_string()),
        key => heap.as_text(key, "the key of a storage").map(str::to_owned),
    }
}

/// `{'protocol_version', 'little_endian', 'type_sizes'}`.
fn check_system(heap: &Heap, system: Value) -> Result<()> {
    let Value::Dict(index) = system else {
        return Err(Error::input("the system info of the checkpoint is no dictionary"));
    };
    let little = heap.dicts[index].iter().find(|(key, _)| heap.as_text(*key, "").is_ok_and(|k| k == "little_endian"));
    match little {
        Some((_, Value::Bool(true))) => Ok(()),
        Some((_, Value::Bool(false))) => Err(Error::unsupported("the checkpoint was written by a big-endian machine")),
        _ => Err(Error::input("the checkpoint does not say its byte order")),
    }
}

/// Each storage is its number of elements and their bytes.
fn place(source: &Arc<dyn ReadAt>, heap: &Heap, keys: Vec<String>, mut at: u64) -> Result<(HashMap<String, Placed>, u64)> {
    let by_key: HashMap<&str, usize> = heap.storages.iter().enumerate().map(|(i, s)| (s.key.as_str(), i)).collect();
    let mut places = HashMap::with_capacity(keys.len());
    for key in keys {
        let storage = by_key.get(key.as_str()).map(|&i| &heap.storages[i]);
        let storage = storage.ok_or_else(|| Error::input("a storage in the file belongs to no tensor").at_item(&*key).at_offset(at))?;
        let mut count = [0; 8];
        source.read_exact_at(&mut count, at).map_err(|e| truncated(e, &key))?;
        let count = u64::from_le_bytes(count);
        if count != storage.count {
            let message = format!("has {count} elements in the file, but the pickle says {}", storage.count);
            return Err(Error::input(message).at_item(format!("storage {key}")).at_offset(at));
        }
        let offset = at + 8;
        let bytes = count.checked_mul(storage.element.map_or(1, |e| e.bytes));
        let end = bytes.and_then(|n| n.checked_add(offset)).filter(|&end| end <= source.len());
        let (Some(bytes), Some(end)) = (bytes, end) else {
            return Err(Error::input(format!("its {count} elements lie beyond the end of the file at {}", source.len()))
                .at_item(format!("storage {key}"))
                .at_offset(offset)
                .help("the download is incomplete: fetch the file again"));
        };
        if places.insert(key.clone(), Placed { source: Arc::clone(source), offset, bytes }).is_some() {
            return Err(Error::input("a storage is there twice").at_item(format!("storage {key}")).at_offset(at));
        }
        at = end;
    }
    Ok((places, at))
}

fn truncated(error: Error, key: &str) -> Error {
    error.at_item(format!("storage {key}")).help("the download is incomplete: fetch the file again")
}
