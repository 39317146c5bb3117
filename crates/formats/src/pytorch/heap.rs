//! The values that a pickle builds.
//!
//! Containers live in arenas and are referred to by index, so that a list may hold itself, a million
//! levels of nesting cost no stack when they are dropped, and copying a value costs nothing.

use gravure_base::{Error, Limits, Result};

use super::globals::{Element, Global};

/// A value; containers by index into a [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, as little-endian two's complement.
    Long(usize),
    Float(f64),
    Text(usize),
    Bytes(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Set(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
    /// What a refused name would have made; only while scanning.
    Opaque,
}

/// A block of elements in the file, as a persistent id names it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    /// Its name in the archive or in the list of keys.
    pub(super) key: String,
    /// Its element type, `None` where it is raw bytes.
    pub(super) element: Option<Element>,
    /// Elements (bytes where raw).
    pub(super) count: u64,
}

/// A tensor over a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorView {
    pub(super) storage: usize,
    pub(super) element: Element,
    /// Elements before the first.
    pub(super) offset: u64,
    pub(super) size: Vec<u64>,
    /// In elements.
    pub(super) stride: Vec<u64>,
}

/// The arenas.
#[derive(Debug, Default)]
pub(super) struct Heap {
    /// Items that were copied from one container into another.
    copied: u64,
    pub(super) texts: Vec<String>,
    pub(super) bytes: Vec<Vec<u8>>,
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<TensorView>,
}

/// Copies are the one thing that can grow faster than the pickle: a list of a million items may be
/// referred to, and copied, by every few bytes of it.
const MAX_COPIED: u64 = 4 << 20;

impl Heap {
    /// Counts a copy of `items`.
    pub(super) fn count_copy(&mut self, items: usize) -> Result<()> {
        self.copied = self.copied.saturating_add(items as u64);
        Limits::check(self.copied, MAX_COPIED, "items that the pickle copies")
    }

    pub(super) fn text(&mut self, text: String) -> Value {
        self.texts.push(text);
        Value::Text(self.texts.len() - 1)
    }

    pub(super) fn blob(&mut self, bytes: Vec<u8>) -> Value {
        self.bytes.push(bytes);
        Value::Bytes(self.bytes.len() - 1)
    }

    /// An integer from little-endian two's complement of any length.
    pub(super) fn long(&mut self, mut bytes: Vec<u8>) -> Value {
        if bytes.len() <= 8 {
            let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [fill; 8];
            wide[..bytes.len()].copy_from_slice(&bytes);
            return Value::Int(i64::from_le_bytes(wide));
        }
        bytes.shrink_to_fit();
        self.bytes.push(bytes);
        Value::Long(self.bytes.len() - 1)
    }

    pub(super) fn tuple(&mut self, items: Vec<Value>) -> Value {
        self.sequences.push(items);
        Value::Tuple(self.sequences.len() - 1)
    }

    pub(super) fn list(&mut self, items: Vec<Value>) -> Value {
        self.sequences.push(items);
        Value::List(self.sequences.len() - 1)
    }

    pub(super) fn set(&mut self, items: Vec<Value>) -> Value {
        self.sequences.push(items);
        Value::Set(self.sequences.len() - 1)
    }

    pub(super) fn dict(&mut self, entries: Vec<(Value, Value)>) -> Value {
        self.dicts.push(entries);
        Value::Dict(self.dicts.len() - 1)
    }

    /// The text of a value; an error that names `what` otherwise.
    pub(super) fn as_text(&self, value: Value, what: &str) -> Result<&str> {
        match value {
            Value::Text(i) => Ok(&self.texts[i]),
            other => Err(Error::input(format!("{what} is {} instead of text", self.describe(other)))),
        }
    }

    /// The items of a tuple or list.
    pub(super) fn as_items(&self, value: Value, what: &str) -> Result<&[Value]> {
        match value {
            Value::Tuple(i) | Value::List(i) => Ok(&self.sequences[i]),
            other => Err(Error::input(format!("{what} is {} instead of a tuple", self.describe(other)))),
        }
    }

    /// A count that cannot be negative.
    pub(super) fn as_count(&self, value: Value, what: &str) -> Result<u64> {
        match value {
            Value::Int(n) => u64::try_from(n).map_err(|_| Error::input(format!("{what} is {n}"))),
            other => Err(Error::input(format!("{what} is {} instead of a number", self.describe(other)))),
        }
    }

    /// What kind of value it is, for messages.
    pub(super) fn describe(&self, value: Value) -> &'static str {
        match value {
            Value::None => "nothing",
            Value::Bool(_) => "a flag",
            Value::Int(_) | Value::Long(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Set(_) => "a set",
            Value::Global(_) => "a name",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
            Value::Opaque => "something unknown",
        }
    }
}
