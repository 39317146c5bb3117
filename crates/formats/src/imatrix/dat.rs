//! The older layout.

use gravure_base::{Cursor, ReadAt};
use gravure_core::values::ImportanceEntry;
use gravure_core::{Error, ImportanceMatrix, Limits, Result};

/// Bytes of the smallest entry: three numbers, one byte of name, one value.
const MIN_ENTRY: u64 = 17;

pub(super) fn read(source: &dyn ReadAt, limits: &Limits) -> Result<ImportanceMatrix> {
    let mut cursor = Cursor::new(source, limits);
    let count = positive(&mut cursor, "entries")
        .map_err(|e| e.help("an importance matrix is a GGUF, or a .dat file of an older llama-imatrix: this is neither"))?;
    Limits::check(count, limits.tensors, "entries of an importance matrix")?;
    cursor.check_count(count, MIN_ENTRY, "entries")?;
    let mut out = ImportanceMatrix::default();
    for index in 0..count {
        let start = cursor.position();
        let name = name(&mut cursor).map_err(|e| e.at_item(format!("entry {index}")))?;
        let entry = entry(&mut cursor, limits).map_err(|e| e.at_item(&*name))?;
        if out.entries.insert(name.clone(), entry).is_some() {
            return Err(Error::input("the importance matrix has this entry twice").at_item(name).at_offset(start));
        }
    }
    if cursor.remaining() > 0 {
        out.chunk_count = cursor.i32()?.try_into().map_err(|_| cursor.error("a negative number of chunks"))?;
    }
    if cursor.remaining() > 0 {
        let dataset = text(&mut cursor, 0)?;
        out.datasets.extend(Some(dataset).filter(|d| !d.is_empty()));
    }
    match cursor.remaining() {
        0 => Ok(out),
        left => Err(cursor.error(format!("{left} bytes follow the importance matrix"))),
    }
}

fn positive(cursor: &mut Cursor<'_>, what: &str) -> Result<u64> {
    let number = cursor.i32()?;
    u64::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| cursor.error(format!("a number of {number} {what}")))
}

fn name(cursor: &mut Cursor<'_>) -> Result<String> {
    text(cursor, 1)
}

/// A length and text of at least `min` bytes.
fn text(cursor: &mut Cursor<'_>, min: i32) -> Result<String> {
    let length = cursor.i32()?;
    let bytes = u64::try_from(length).ok().filter(|_| length >= min).ok_or_else(|| cursor.error(format!("a name of {length} bytes")))?;
    let bytes = cursor.bytes(bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(cursor.error("a name is not text")),
    }
}

fn entry(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<ImportanceEntry> {
    let calls = cursor.i32()?;
    let count = positive(cursor, "values")?;
    Limits::check(count, limits.array_elements, "values of an entry")?;
    cursor.check_count(count, 4, "values")?;
    // Stored are means over the calls times the number of calls.
    let mean = |sum: f32| if calls > 0 { sum / calls as f32 } else { sum };
    let values = (0..count).map(|_| cursor.f32().map(mean)).collect::<Result<_>>()?;
    Ok(ImportanceEntry { values, counts: vec![calls as f32] })
}
