//! Metadata values in bytes and back.
//!
//! ```text
//! value of a pair:  type u32, then
//!   0 u8  1 i8  2 u16  3 i16  4 u32  5 i32  6 f32  7 bool (one byte, 0 or 1)  10 u64  11 i64  12 f64
//!   8 string   u64 length, UTF-8 bytes
//!   9 array    u32 type of the elements, u64 count, the elements (which may be arrays again)
//! ```

use gravure_base::{Cursor, Texts};
use gravure_core::{Error, Limits, Result, Value};

use super::sink::Sink;

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Reads lengths as this version of the format writes them, strings and values.
pub(crate) struct Reader<'a> {
    /// Where the bytes come from.
    pub(crate) cursor: Cursor<'a>,
    /// Bounds for what may be asked.
    pub(crate) limits: &'a Limits,
    /// Whether lengths and counts are `u32` (version 1).
    pub(crate) short_lengths: bool,
}

impl Reader<'_> {
    /// A length or count.
    pub(crate) fn length(&mut self) -> Result<u64> {
        if self.short_lengths { self.cursor.u32().map(u64::from) } else { self.cursor.u64() }
    }

    /// Bytes of the smallest string.
    fn min_string(&self) -> u64 {
        if self.short_lengths { 4 } else { 8 }
    }

    /// A string; `what` names it in messages.
    pub(crate) fn string(&mut self, what: &str) -> Result<String> {
        let start = self.cursor.position();
        let length = self.string_length(what)?;
        String::from_utf8(self.cursor.bytes(length)?).map_err(|_| not_text(what, start))
    }

    fn string_length(&mut self, what: &str) -> Result<u64> {
        let start = self.cursor.position();
        let length = self.length()?;
        Limits::check(length, self.limits.string_bytes, what).map_err(|e| e.at_offset(start))?;
        Ok(length)
    }

    /// A type number and the value after it.
    pub(crate) fn value(&mut self) -> Result<Value> {
        let kind = self.cursor.u32()?;
        Ok(match kind {
            0 => Value::U8(self.cursor.u8()?),
            1 => Value::I8(self.cursor.i8()?),
            2 => Value::U16(self.cursor.u16()?),
            3 => Value::I16(self.cursor.i16()?),
            4 => Value::U32(self.cursor.u32()?),
            5 => Value::I32(self.cursor.i32()?),
            6 => Value::F32(self.cursor.f32()?),
            7 => Value::Bool(self.flag()?),
            STRING => Value::String(self.string("a metadata string")?),
            ARRAY => self.array(1)?,
            10 => Value::U64(self.cursor.u64()?),
            11 => Value::I64(self.cursor.i64()?),
            12 => Value::F64(self.cursor.f64()?),
            _ => return Err(self.unknown(kind)),
        })
    }

    fn unknown(&self, kind: u32) -> Error {
        self.cursor.error(format!("metadata type {kind} is unknown")).help("the file is damaged, or newer than this build")
    }

    fn flag(&mut self) -> Result<bool> {
        match self.cursor.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.cursor.error(format!("a flag is neither 0 nor 1 but {other}"))),
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value> {
        Limits::check(depth.into(), self.limits.depth.into(), "nesting of metadata arrays").map_err(|e| self.place(e))?;
        let kind = self.cursor.u32()?;
        let count = self.length()?;
        Limits::check(count, self.limits.array_elements, "elements of a metadata array").map_err(|e| self.place(e))?;
        Ok(match kind {
            0 => Value::U8s(self.cursor.bytes(count)?),
            1 => Value::I8s(self.items(count, 1, |r| r.cursor.i8())?),
            2 => Value::U16s(self.items(count, 2, |r| r.cursor.u16())?),
            3 => Value::I16s(self.items(count, 2, |r| r.cursor.i16())?),
            4 => Value::U32s(self.items(count, 4, |r| r.cursor.u32())?),
            5 => Value::I32s(self.items(count, 4, |r| r.cursor.i32())?),
            6 => Value::F32s(self.items(count, 4, |r| r.cursor.f32())?),
            7 => Value::Bools(self.items(count, 1, Self::flag)?),
            STRING => Value::Strings(self.strings(count)?),
            ARRAY => Value::Arrays(self.items(count, 4 + self.min_string(), |r| r.array(depth + 1))?),
            10 => Value::U64s(self.items(count, 8, |r| r.cursor.u64())?),
            11 => Value::I64s(self.items(count, 8, |r| r.cursor.i64())?),
            12 => Value::F64s(self.items(count, 8, |r| r.cursor.f64())?),
            _ => return Err(self.unknown(kind)),
        })
    }

    /// `count` items of at least `min_bytes` each; memory is taken only once they can be there.
    fn items<T>(&mut self, count: u64, min_bytes: u64, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.cursor.check_count(count, min_bytes, "array elements")?;
        let mut out = Vec::with_capacity(count as usize);
        for _ in 0..count {
            out.push(item(self)?);
        }
        Ok(out)
    }

    fn strings(&mut self, count: u64) -> Result<Texts> {
        self.cursor.check_count(count, self.min_string(), "array elements")?;
        let mut out = Texts::with_capacity(count as usize);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let start = self.cursor.position();
            let length = self.string_length("a metadata string")?;
            self.cursor.bytes_into(length, &mut bytes)?;
            out.push(std::str::from_utf8(&bytes).map_err(|_| not_text("a metadata string", start))?);
        }
        Ok(out)
    }

    /// Adds the present offset to an error.
    pub(crate) fn place(&self, error: Error) -> Error {
        error.at_offset(self.cursor.position())
    }
}

fn not_text(what: &str, start: u64) -> Error {
    Error::input(format!("{what} is not valid UTF-8")).at_offset(start)
}

/// Writes a string.
pub(crate) fn put_string(sink: &mut dyn Sink, text: &str) -> Result<()> {
    sink.put(&(text.len() as u64).to_le_bytes())?;
    sink.put(text.as_bytes())
}

/// The type number of a value: of its elements where it is an array.
fn kind_of(value: &Value) -> u32 {
    match value {
        Value::U8(_) | Value::U8s(_) => 0,
        Value::I8(_) | Value::I8s(_) => 1,
        Value::U16(_) | Value::U16s(_) => 2,
        Value::I16(_) | Value::I16s(_) => 3,
        Value::U32(_) | Value::U32s(_) => 4,
        Value::I32(_) | Value::I32s(_) => 5,
        Value::F32(_) | Value::F32s(_) => 6,
        Value::Bool(_) | Value::Bools(_) => 7,
        Value::String(_) | Value::Strings(_) => STRING,
        Value::Arrays(_) => ARRAY,
        Value::U64(_) | Value::U64s(_) => 10,
        Value::I64(_) | Value::I64s(_) => 11,
        Value::F64(_) | Value::F64s(_) => 12,
    }
}

fn put_number(sink: &mut dyn Sink, number: u32) -> Result<()> {
    sink.put(&number.to_le_bytes())
}

/// Writes the type number of a value and the value.
///
/// # Errors
/// `Bug` for an array of values that are not arrays, which the reader never makes; errors of the sink.
pub(crate) fn put_value(sink: &mut dyn Sink, value: &Value) -> Result<()> {
    match value {
        Value::U8(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::I8(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::U16(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::I16(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::U32(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::I32(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::F32(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::Bool(v) => put_scalar(sink, value, &[u8::from(*v)]),
        Value::U64(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::I64(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::F64(v) => put_scalar(sink, value, &v.to_le_bytes()),
        Value::String(text) => {
            put_number(sink, STRING)?;
            put_string(sink, text)
        }
        array => {
            put_number(sink, ARRAY)?;
            put_array(sink, array)
        }
    }
}

fn put_scalar(sink: &mut dyn Sink, value: &Value, bytes: &[u8]) -> Result<()> {
    put_number(sink, kind_of(value))?;
    sink.put(bytes)
}

/// Writes element type, count and elements of an array.
fn put_array(sink: &mut dyn Sink, array: &Value) -> Result<()> {
    let kind = kind_of(array);
    macro_rules! numbers {
        ($items:expr) => {{
            head(sink, kind, $items.len())?;
            $items.iter().try_for_each(|v| sink.put(&v.to_le_bytes()))
        }};
    }
    match array {
        Value::U8s(v) => {
            head(sink, kind, v.len())?;
            sink.put(v)
        }
        Value::I8s(v) => numbers!(v),
        Value::U16s(v) => numbers!(v),
        Value::I16s(v) => numbers!(v),
        Value::U32s(v) => numbers!(v),
        Value::I32s(v) => numbers!(v),
        Value::F32s(v) => numbers!(v),
        Value::U64s(v) => numbers!(v),
        Value::I64s(v) => numbers!(v),
        Value::F64s(v) => numbers!(v),
        Value::Bools(v) => {
            head(sink, kind, v.len())?;
            v.iter().try_for_each(|v| sink.put(&[u8::from(*v)]))
        }
        Value::Strings(v) => {
            head(sink, kind, v.len())?;
            v.iter().try_for_each(|v| put_string(sink, v))
        }
        Value::Arrays(v) => {
            head(sink, kind, v.len())?;
            v.iter().try_for_each(|v| put_array(sink, v))
        }
        _ => Err(Error::bug("an array of arrays holds a value that is none")),
    }
}

fn head(sink: &mut dyn Sink, kind: u32, count: usize) -> Result<()> {
    put_number(sink, kind)?;
    sink.put(&(count as u64).to_le_bytes())
}
