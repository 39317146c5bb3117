//! The header of one safetensors file.
//!
//! ```text
//! 0          8              8 + n                                  end of file
//! | u64 n    | JSON, n bytes | bytes of the tensors, no holes, no overlap |
//!
//! JSON: { "__metadata__": {string: string}, "<name>": {"dtype", "shape", "data_offsets": [from, to]}, ... }
//! ```
//!
//! The offsets count from the end of the header. That they cover the rest of the file exactly is
//! checked by the reference crate's own [`Metadata`]; duplicate names, which its map would merge
//! silently, are refused here. The weights are not read.

use std::collections::HashSet;

use ::safetensors::tensor::{Metadata, SafeTensorError, TensorInfo};
use gravure_base::{Error, Limits, ReadAt, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::folder;

/// The reference implementation's own bound for a header.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The parsed header of one file.
#[derive(Debug)]
pub(crate) struct Header {
    /// `__metadata__`, in file order.
    pub(crate) metadata: Vec<(String, String)>,
    /// Tensors in the order of their bytes.
    pub(crate) tensors: Vec<(String, TensorInfo)>,
    /// Where the tensors' bytes start.
    pub(crate) data_start: u64,
}

/// Reads and checks the header of `source`.
pub(crate) fn read(source: &dyn ReadAt, limits: &Limits) -> Result<Header> {
    read_inner(source, limits).map_err(|e| e.in_file(source.path()))
}

fn read_inner(source: &dyn ReadAt, limits: &Limits) -> Result<Header> {
    let mut head = [0; 64];
    let known = source.len().min(64) as usize;
    source.read_exact_at(&mut head[..known], 0)?;
    if folder::is_lfs_pointer(&head[..known]) {
        return Err(folder::lfs_error());
    }
    if known < 8 {
        let message = format!("has {known} bytes, but a safetensors file starts with 8 bytes of header length");
        return Err(Error::input(message).at_offset(0).help("the download is incomplete: fetch the file again"));
    }
    let length = u64::from_le_bytes([head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]]);
    if known > 8 && !matches!(head[8], b'{' | b' ' | b'\t' | b'\n' | b'\r') {
        return Err(Error::input("is no safetensors file: its header is not JSON").at_offset(8));
    }
    Limits::check(length, limits.header_bytes.min(MAX_HEADER_BYTES), "bytes of header").map_err(|e| e.at_offset(0))?;
    let data_start = length + 8;
    if data_start > source.len() {
        let message = format!("the header needs {length} bytes, but the file ends at {}", source.len());
        return Err(Error::input(message).at_offset(8).help("the download is incomplete: fetch the file again"));
    }
    let mut bytes = vec![0; length as usize];
    source.read_exact_at(&mut bytes, 8)?;
    let (metadata, mut tensors) = parse(&bytes, limits)?;
    drop(bytes);
    // Empty tensors share their offset with the next one: the sort is stable and looks at both ends.
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    check_offsets(&tensors)?;
    let end = tensors.last().map_or(0, |(_, info)| info.data_offsets.1 as u64);
    let tensors = validate(tensors)?;
    let available = source.len() - data_start;
    if end > available {
        let message = format!("its tensors need {end} bytes, but only {available} are there");
        return Err(Error::input(message).at_offset(source.len()).help("the download is incomplete: fetch the file again"));
    }
    if end < available {
        let message = format!("{} bytes follow the last tensor and belong to nothing", available - end);
        return Err(Error::input(message)
            .at_offset(data_start + end)
            .help("the file carries more than it says: fetch it from a source that you trust"));
    }
    Ok(Header { metadata, tensors, data_start })
}

type Entries = (Vec<(String, String)>, Vec<(String, TensorInfo)>);

fn parse(bytes: &[u8], limits: &Limits) -> Result<Entries> {
    let mut too_many = None;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let entries = HeaderSeed { limits, too_many: &mut too_many }.deserialize(&mut deserializer);
    if let Some(error) = too_many {
        return Err(error);
    }
    let entries = entries.map_err(|e| gravure_base::json::to_error(e).at_item("header").at_offset(8))?;
    deserializer.end().map_err(|e| gravure_base::json::to_error(e).at_item("header").at_offset(8))?;
    Ok(entries)
}

/// Says which of the two faults an offset has; the reference crate has one error for both.
fn check_offsets(tensors: &[(String, TensorInfo)]) -> Result<()> {
    let mut at = 0;
    let mut before = "";
    for (name, info) in tensors {
        let (from, to) = info.data_offsets;
        if to < from {
            return Err(Error::input(format!("its bytes end at {to}, before they start at {from}")).at_item(name));
        }
        if from < at {
            return Err(Error::input(format!("its bytes {from}..{to} overlap those of `{before}`, which end at {at}")).at_item(name));
        }
        if from > at {
            return Err(Error::input(format!("{} bytes before it belong to no tensor", from - at)).at_item(name));
        }
        (at, before) = (to, name);
    }
    Ok(())
}

/// Lets the reference crate check shapes, types and offsets.
fn validate(tensors: Vec<(String, TensorInfo)>) -> Result<Vec<(String, TensorInfo)>> {
    // The crate's error does not name the tensor; look for it only when there is an error.
    match Metadata::new(None, tensors.clone()) {
        Ok(_) => Ok(tensors),
        Err(error) => {
            let culprit = tensors.iter().find(|(_, info)| {
                let elements = info.shape.iter().try_fold(1usize, |p, &d| p.checked_mul(d));
                let bits = elements.and_then(|n| n.checked_mul(info.dtype.bitsize()));
                bits.is_none_or(|bits| bits % 8 != 0 || bits / 8 != info.data_offsets.1 - info.data_offsets.0)
            });
            let message = match (&error, culprit) {
                (SafeTensorError::TensorInvalidInfo, Some((_, info))) => format!(
                    "shape {:?} of {:?} does not fill its {} bytes",
                    info.shape,
                    info.dtype,
                    info.data_offsets.1 - info.data_offsets.0
                ),
                (SafeTensorError::ValidationOverflow, Some((_, info))) => format!("shape {:?} is impossibly large", info.shape),
                _ => format!("the header is inconsistent: {error}"),
            };
            let error = Error::input(message);
            Err(match culprit {
                Some((name, _)) => error.at_item(name),
                None => error,
            })
        }
    }
}

struct HeaderSeed<'a> {
    limits: &'a Limits,
    too_many: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = Entries;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Entries, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = Entries;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Entries, A::Error> {
        let (mut metadata, mut tensors) = (None, Vec::new());
        let mut seen = HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name == "__metadata__" {
                if metadata.replace(entries.next_value_seed(Strings)?).is_some() {
                    return Err(A::Error::custom("`__metadata__` is there twice"));
                }
                continue;
            }
            let info = entries.next_value::<TensorInfo>().map_err(|e| A::Error::custom(format!("tensor `{name}`: {e}")))?;
            let limit = Limits::check(tensors.len() as u64 + 1, self.limits.tensors, "tensors in a file")
                .and_then(|()| Limits::check(info.shape.len() as u64, self.limits.dimensions.into(), "dimensions of a tensor"));
            if let Err(error) = limit {
                *self.too_many = Some(error.at_item(name));
                return Err(A::Error::custom("limit"));
            }
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("the tensor `{name}` is there twice")));
            }
            tensors.push((name, info));
        }
        Ok((metadata.unwrap_or_default(), tensors))
    }
}

/// An object of strings with unique keys, or null.
struct Strings;

impl<'de> DeserializeSeed<'de> for Strings {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Self::Value, A::Error> {
        let mut out: Vec<(String, String)> = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, value)) = entries.next_entry::<String, String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("`{key}` is there twice in `__metadata__`")));
            }
            out.push((key, value));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
