//! The header of one file: metadata and where each tensor lies.

use std::collections::HashSet;

use gravure_base::{Cursor, ReadAt};
use gravure_core::{Catalog, Encoding, Error, Limits, Metadata, Result, ResultExt, Shape, Value};

use super::types;
use super::value::Reader;

/// The first bytes of every file.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// The version that is written.
pub(crate) const VERSION: u32 = 3;
/// Alignment of tensors where the file does not say otherwise.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;
/// The key that says otherwise.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";
/// Largest alignment that is believed.
const MAX_ALIGNMENT: u64 = 1 << 20;
/// Dimensions of a tensor, as in ggml.
pub(crate) const MAX_DIMENSIONS: u32 = 4;
/// Bytes of the longest tensor name that is read. llama.cpp refuses 64 and more; other programs
/// write GGUFs with longer ones.
const MAX_NAME: u64 = 255;
/// Bytes of the longest key, from the specification.
const MAX_KEY: u64 = 65_535;

/// A tensor as the header describes it.
#[derive(Debug)]
pub(crate) struct TensorInfo {
    /// Name, unique within the file.
    pub(crate) name: String,
    /// Dimensions, outermost first.
    pub(crate) shape: Shape,
    /// How it is encoded.
    pub(crate) encoding: &'static dyn Encoding,
    /// Bytes of a row.
    pub(crate) row_bytes: u64,
    /// Bytes of all rows.
    pub(crate) bytes: u64,
    /// Offset from the start of the file.
    pub(crate) offset: u64,
}

/// A checked header: every tensor lies within the file and none overlaps another.
#[derive(Debug)]
pub(crate) struct Header {
    /// Format version, 1 to 3.
    pub(crate) version: u32,
    /// All pairs in file order.
    pub(crate) metadata: Metadata,
    /// All tensors in file order.
    pub(crate) tensors: Vec<TensorInfo>,
    /// Bytes of the data section that no tensor and no padding accounts for: gaps and the tail.
    pub(crate) unclaimed: u64,
}

impl Header {
    /// Reads and checks the header of `source`.
    ///
    /// # Errors
    /// `Input` for anything malformed, `Unsupported` for versions and tensor types that are unknown,
    /// `Limit` where the file asks for more than `limits` allow. Errors name the file, and the key
    /// or tensor.
    pub(crate) fn read(source: &dyn ReadAt, catalog: &Catalog, limits: &Limits) -> Result<Self> {
        Self::read_inner(source, catalog, limits).in_file(source.path())
    }

    fn read_inner(source: &dyn ReadAt, catalog: &Catalog, limits: &Limits) -> Result<Self> {
        let mut cursor = Cursor::new(source, limits);
        let version = read_version(&mut cursor)?;
        let mut reader = Reader { cursor, limits, short_lengths: version == 1 };
        let tensor_count = reader.length()?;
        let pair_count = reader.length()?;
        Limits::check(tensor_count, limits.tensors, "tensors").map_err(|e| reader.place(e))?;
        Limits::check(pair_count, limits.metadata_entries, "metadata entries").map_err(|e| reader.place(e))?;

        let metadata = read_metadata(&mut reader, pair_count)?;
        let alignment = alignment(&metadata)?;
        let mut tensors = read_tensors(&mut reader, tensor_count, catalog)?;

        let header_end = reader.cursor.position();
        if header_end == limits.header_bytes && source.len() > header_end {
            return Err(Error::limit(format!("the header is longer than the limit of {} bytes", limits.header_bytes)));
        }
        let data_start = header_end.next_multiple_of(alignment);
        let unclaimed = place_tensors(&mut tensors, data_start, header_end, alignment, source.len())?;
        Ok(Self { version, metadata, tensors, unclaimed })
    }
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32> {
    let magic: [u8; 4] = cursor.array()?;
    if magic != *MAGIC {
        return Err(Error::input(format!("is not a GGUF file: it starts with {:?}", magic.escape_ascii().to_string())).at_offset(0));
    }
    let version = cursor.u32()?;
    if version != 0 && version & 0xffff == 0 {
        let message = format!("is a big-endian GGUF (version {}), which this build does not read", version.swap_bytes());
        return Err(Error::unsupported(message).at_offset(4).help("get the little-endian file, or swap it with gguf_convert_endian"));
    }
    match version {
        1..=VERSION => Ok(version),
        0 => Err(Error::input("GGUF version 0 does not exist").at_offset(4)),
        _ => Err(Error::unsupported(format!("GGUF version {version} is newer than {VERSION}"))
            .at_offset(4)
            .help("look for a newer release of this tool, or get the file again if it is damaged")),
    }
}

fn read_metadata(reader: &mut Reader<'_>, count: u64) -> Result<Metadata> {
    // A pair is at least a length, a type and one byte of value.
    reader.cursor.check_count(count, if reader.short_lengths { 9 } else { 13 }, "metadata entries")?;
    let mut entries = Vec::with_capacity(count as usize);
    for index in 0..count {
        let start = reader.cursor.position();
        let key = reader.string("a metadata key").at_item(|| format!("metadata entry {index}"))?;
        if key.is_empty() || key.len() as u64 > MAX_KEY {
            let message = format!("a metadata key of {} bytes, where 1 to {MAX_KEY} are allowed", key.len());
            return Err(Error::input(message).at_item(format!("metadata entry {index}")).at_offset(start));
        }
        let value = reader.value().map_err(|e| e.at_item(&*key))?;
        entries.push((key, value));
    }
    Metadata::from_entries(entries)
}

/// The alignment that the metadata asks for.
pub(crate) fn alignment(metadata: &Metadata) -> Result<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(value) => check_alignment(value).map_err(|e| e.at_item(ALIGNMENT_KEY)),
    }
}

/// Checks the value of the alignment key.
pub(crate) fn check_alignment(value: &Value) -> Result<u64> {
    let &Value::U32(alignment) = value else {
        return Err(Error::input("the alignment is not a 32-bit unsigned integer"));
    };
    if !alignment.is_power_of_two() || u64::from(alignment) > MAX_ALIGNMENT {
        return Err(Error::input(format!("an alignment of {alignment}, where a power of two up to {MAX_ALIGNMENT} is allowed")));
    }
    Ok(alignment.into())
}

/// Reads the tensor table; offsets still count from the data section.
fn read_tensors(reader: &mut Reader<'_>, count: u64, catalog: &Catalog) -> Result<Vec<TensorInfo>> {
    // A tensor is at least a length, a number of dimensions, a type and an offset.
    reader.cursor.check_count(count, if reader.short_lengths { 20 } else { 24 }, "tensors")?;
    let mut tensors = Vec::with_capacity(count as usize);
    let mut names = HashSet::with_capacity(count as usize);
    for index in 0..count {
        let start = reader.cursor.position();
        let name = reader.string("a tensor name").at_item(|| format!("tensor {index}"))?;
        if name.is_empty() || name.len() as u64 > MAX_NAME {
            let message = format!("a tensor name of {} bytes, where 1 to {MAX_NAME} are allowed", name.len());
            return Err(Error::input(message).at_item(format!("tensor {index}")).at_offset(start));
        }
        if !names.insert(name.clone()) {
            return Err(Error::input("two tensors have the same name").at_item(name).at_offset(start));
        }
        let tensor = read_tensor(reader, &name, catalog).map_err(|e| e.at_item(&*name).at_offset(start))?;
        tensors.push(tensor);
    }
    Ok(tensors)
}

fn read_tensor(reader: &mut Reader<'_>, name: &str, catalog: &Catalog) -> Result<TensorInfo> {
    let count = reader.cursor.u32()?;
    let most = MAX_DIMENSIONS.min(reader.limits.dimensions);
    if count > most {
        return Err(Error::input(format!("has {count} dimensions, where at most {most} are allowed")));
    }
    let mut dimensions = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let dimension = reader.length()?;
        if dimension > i64::MAX as u64 {
            return Err(Error::input(format!("has an impossible dimension of {dimension}")));
        }
        dimensions.push(dimension);
    }
    dimensions.reverse();
    let shape = Shape::new(dimensions)?;
    let encoding = types::encoding_of(reader.cursor.u32()?, catalog)?;
    let row_bytes = encoding.row_bytes(shape.row_length()).map_err(|e| Error::input(e.message()))?;
    let bytes = row_bytes.checked_mul(shape.rows()).ok_or_else(|| Error::input(format!("is impossibly large: {shape}")))?;
    let offset = reader.cursor.u64()?;
    Ok(TensorInfo { name: name.to_owned(), shape, encoding, row_bytes, bytes, offset })
}

/// Makes offsets count from the start of the file, checks that each tensor is aligned, inside and
/// alone, and returns how many bytes belong to no one.
fn place_tensors(tensors: &mut [TensorInfo], data_start: u64, header_end: u64, alignment: u64, length: u64) -> Result<u64> {
    for tensor in &mut *tensors {
        if !tensor.offset.is_multiple_of(alignment) {
            let message = format!("the tensor's offset {} is not a multiple of the alignment {alignment}", tensor.offset);
            return Err(Error::input(message).at_item(&*tensor.name));
        }
        let start = tensor.offset.checked_add(data_start);
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        match (start, end) {
            (Some(start), Some(_)) if tensor.bytes == 0 => tensor.offset = start.min(length),
            (Some(start), Some(end)) if end <= length => tensor.offset = start,
            _ => {
                let message =
                    format!("the tensor's {} bytes at {} of the data section lie beyond the end of the file", tensor.bytes, tensor.offset);
                return Err(Error::input(message)
                    .at_item(&*tensor.name)
                    .at_offset(data_start)
                    .help("the file is incomplete: get it again and compare its size with the publisher's"));
            }
        }
    }
    let mut order: Vec<usize> = (0..tensors.len()).filter(|&i| tensors[i].bytes > 0).collect();
    order.sort_by_key(|&i| tensors[i].offset);
    let mut unclaimed = 0;
    let mut free = if tensors.is_empty() { header_end } else { data_start };
    let mut last: Option<usize> = None;
    for &index in &order {
        let tensor = &tensors[index];
        let end_of_last = last.map_or(data_start, |l| tensors[l].offset + tensors[l].bytes);
        if tensor.offset < end_of_last {
            let other = last.map_or("", |l| tensors[l].name.as_str());
            return Err(Error::input(format!("the tensor overlaps `{other}`")).at_item(&*tensor.name).at_offset(tensor.offset));
        }
        unclaimed += tensor.offset.saturating_sub(free);
        free = (tensor.offset + tensor.bytes).next_multiple_of(alignment);
        last = Some(index);
    }
    Ok(unclaimed + length.saturating_sub(free))
}
