//! The pickle machine: opcodes in, plain data out, nothing called.
//!
//! Every opcode of protocols 0 to 5 is known by name. Those that build data are carried out; those
//! that would run code other than through an allowed name (`INST`, `OBJ`, `NEWOBJ`, the extension
//! registry, out-of-band buffers) are errors. Spec: Python's `Lib/pickletools.py`.

use std::collections::HashMap;

use gravure_base::{Cursor, Error, Limits, Result};

use super::globals::Global;
use super::heap::{Heap, Storage, Value};

/// What to do with a name that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// An error that says it.
    Refuse,
    /// Record it and go on, to list all of them.
    Record,
}

/// A use of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GlobalUse {
    /// `module.name`.
    pub(super) name: String,
    pub(super) allowed: bool,
    /// Where in the pickle's file.
    pub(super) offset: u64,
}

/// Longest line of the text opcodes; module names and numbers are short.
const MAX_LINE: usize = 4096;
/// Most opcodes of a pickle. One byte of it can make 40 bytes of values; a tensor takes about 45
/// opcodes, so that there is room for twenty thousand.
const MAX_OPCODES: u64 = 1 << 20;
/// Most values that are kept to be referred to again.
const MAX_MEMO: u64 = 1 << 19;
/// Most names that are recorded.
const MAX_USES: usize = 100_000;

/// One run over one pickle.
#[derive(Debug)]
pub(super) struct Machine<'m, 'c> {
    cursor: &'m mut Cursor<'c>,
    heap: &'m mut Heap,
    policy: Policy,
    limits: &'m Limits,
    stack: Vec<Value>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    uses: Vec<GlobalUse>,
    /// Storages by key, so that two references to one are one.
    storages: HashMap<String, usize>,
    /// Things besides names that a scan reports.
    oddities: Vec<String>,
}

/// What a pickle came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) value: Value,
    pub(super) uses: Vec<GlobalUse>,
    pub(super) oddities: Vec<String>,
}

impl<'m, 'c> Machine<'m, 'c> {
    pub(super) fn new(cursor: &'m mut Cursor<'c>, heap: &'m mut Heap, policy: Policy, limits: &'m Limits) -> Self {
        Self {
            cursor,
            heap,
            policy,
            limits,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            uses: Vec::new(),
            storages: HashMap::new(),
            oddities: Vec::new(),
        }
    }

    /// Runs to `STOP`. On an error the names seen so far are kept in `seen`.
    pub(super) fn run(mut self, seen: &mut Vec<GlobalUse>) -> Result<Outcome> {
        let mut count = 0u64;
        loop {
            let at = self.cursor.position();
            count += 1;
            let step = Limits::check(count, self.limits.array_elements.min(MAX_OPCODES), "opcodes of a pickle").and_then(|()| {
                let opcode = self.cursor.u8()?;
                if opcode == b'.' { self.stop().map(Some) } else { self.step(opcode, at).map(|()| None) }
            });
            match step {
                Ok(None) => {}
                Ok(Some(value)) => return Ok(Outcome { value, uses: self.uses, oddities: self.oddities }),
                Err(error) => {
                    seen.append(&mut self.uses);
                    return Err(error.at_offset(at));
                }
            }
        }
    }

    fn stop(&mut self) -> Result<Value> {
        let value = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err(Error::input(format!("the pickle stops with {} values left over", self.stack.len())));
        }
        Ok(value)
    }

    fn step(&mut self, opcode: u8, at: u64) -> Result<()> {
        match opcode {
            0x80 => {
                let protocol = self.cursor.u8()?;
                if protocol > 5 {
                    return Err(Error::input(format!("pickle protocol {protocol} is not known")));
                }
            }
            0x95 => {
                let length = self.cursor.u64()?;
                self.cursor.check_count(length, 1, "bytes of a pickle frame")?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // Python pops a mark where there is nothing above it.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'I' | b'J' | b'K' | b'M' | b'L' | 0x8a | 0x8b | b'F' | b'G' => {
                let value = self.number(opcode)?;
                self.stack.push(value);
            }
            b'S' | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 | b'V' | b'X' | 0x8c | 0x8d => {
                let value = self.string(opcode)?;
                self.stack.push(value);
            }
            b']' | b')' | b'}' | 0x8f | b'a' | b'e' | b'l' | b't' | 0x85..=0x87 | b'd' | b's' | b'u' | 0x90 | 0x91 => {
                self.container(opcode)?
            }
            0x94 => self.put(self.memo.len() as u64)?,
            b'p' => {
                let index = self.parsed_line()?;
                self.put(index)?;
            }
            b'q' => {
                let index = self.cursor.u8()?;
                self.put(index.into())?;
            }
            b'r' => {
                let index = self.cursor.u32()?;
                self.put(index.into())?;
            }
            b'g' => {
                let index = self.parsed_line()?;
                self.get(index)?;
            }
            b'h' => {
                let index = self.cursor.u8()?;
                self.get(index.into())?;
            }
            b'j' => {
                let index = self.cursor.u32()?;
                self.get(index.into())?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name, at)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let name = self.heap.as_text(name, "the name of a global")?.to_owned();
                let module = self.heap.as_text(module, "the module of a global")?.to_owned();
                self.global(&module, &name, at)?;
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.stack.push(storage);
            }
            b'P' | b'i' | b'o' | 0x81 | 0x92 | 0x82..=0x84 | 0x97 | 0x98 => self.forbidden(opcode, at)?,
            other => return Err(Error::input(format!("{other:#04x} is no opcode of a pickle"))),
        }
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value> {
        if self.stack.len() <= self.floor() {
            return Err(Error::input("the pickle takes a value where there is none"));
        }
        self.stack.pop().ok_or_else(|| Error::input("the pickle takes a value where there is none"))
    }

    fn top(&self) -> Result<Value> {
        let above = self.stack.get(self.floor()..).and_then(<[Value]>::last);
        above.copied().ok_or_else(|| Error::input("the pickle takes a value where there is none"))
    }

    /// The values above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let height = self.marks.pop().ok_or_else(|| Error::input("the pickle goes back to a mark that it did not set"))?;
        Ok(self.stack.split_off(height.min(self.stack.len())))
    }

    fn put(&mut self, index: u64) -> Result<()> {
        let value = self.top()?;
        Limits::check(self.memo.len() as u64, MAX_MEMO, "values that a pickle keeps")?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn get(&mut self, index: u64) -> Result<()> {
        let value =
            self.memo.get(&index).ok_or_else(|| Error::input(format!("the pickle refers to value {index}, which it did not make")))?;
        self.stack.push(*value);
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        loop {
            match self.cursor.u8()? {
                b'\n' => break,
                byte if bytes.len() < MAX_LINE => bytes.push(byte),
                _ => return Err(Error::input(format!("a line of the pickle has more than {MAX_LINE} bytes"))),
            }
        }
        String::from_utf8(bytes).map_err(|_| Error::input("a line of the pickle is not UTF-8"))
    }

    fn parsed_line<T: std::str::FromStr>(&mut self) -> Result<T> {
        let line = self.line()?;
        line.trim_end_matches('\r').parse().map_err(|_| Error::input(format!("`{line}` is no number")))
    }

    fn number(&mut self, opcode: u8) -> Result<Value> {
        Ok(match opcode {
            b'I' => match self.line()?.as_str() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                line => Value::Int(line.parse().map_err(|_| Error::input(format!("`{line}` is no integer")))?),
            },
            b'J' => Value::Int(self.cursor.i32()?.into()),
            b'K' => Value::Int(self.cursor.u8()?.into()),
            b'M' => Value::Int(self.cursor.u16()?.into()),
            b'L' => {
                let line = self.line()?;
                let digits = line.strip_suffix('L').unwrap_or(&line);
                Value::Int(digits.parse().map_err(|_| Error::input(format!("`{line}` is no integer of 64 bits")))?)
            }
            0x8a => {
                let length = self.cursor.u8()?;
                let bytes = self.cursor.bytes(length.into())?;
                self.heap.long(bytes)
            }
            0x8b => {
                let length = self.cursor.i32()?;
                let length = u64::try_from(length).map_err(|_| Error::input(format!("an integer of {length} bytes")))?;
                let bytes = self.cursor.bytes(length)?;
                self.heap.long(bytes)
            }
            b'F' => Value::Float(self.parsed_line()?),
            _ => Value::Float(f64::from_be_bytes(self.cursor.array()?)),
        })
    }

    fn string(&mut self, opcode: u8) -> Result<Value> {
        if matches!(opcode, b'S' | b'V') {
            let line = self.line()?;
            return text_line(opcode, line.trim_end_matches('\r')).map(|text| self.heap.text(text));
        }
        let length = match opcode {
            b'U' | b'C' | 0x8c => self.cursor.u8()?.into(),
            b'T' => {
                let length = self.cursor.i32()?;
                u64::try_from(length).map_err(|_| Error::input(format!("a string of {length} bytes")))?
            }
            b'B' | b'X' => self.cursor.u32()?.into(),
            _ => self.cursor.u64()?,
        };
        self.cursor.check_count(length, 1, "bytes of a string")?;
        Limits::check(length, self.limits.string_bytes, "bytes of a string in a pickle")?;
        let bytes = self.cursor.bytes(length)?;
        match opcode {
            b'X' | 0x8c | 0x8d => {
                let text = String::from_utf8(bytes).map_err(|_| Error::input("text in the pickle is not UTF-8"))?;
                Ok(self.heap.text(text))
            }
            // Python 2 wrote its names as byte strings.
            b'T' | b'U' => Ok(match String::from_utf8(bytes) {
                Ok(text) => self.heap.text(text),
                Err(error) => self.heap.blob(error.into_bytes()),
            }),
            _ => Ok(self.heap.blob(bytes)),
        }
    }

    fn container(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b']' => self.heap.list(Vec::new()),
            b')' => self.heap.tuple(Vec::new()),
            b'}' => self.heap.dict(Vec::new()),
            0x8f => self.heap.set(Vec::new()),
            b'l' => {
                let items = self.pop_mark()?;
                self.heap.list(items)
            }
            b't' => {
                let items = self.pop_mark()?;
                self.heap.tuple(items)
            }
            0x91 => {
                let items = self.pop_mark()?;
                self.heap.set(items)
            }
            b'd' => {
                let items = self.pop_mark()?;
                let entries = pairs(&items)?;
                self.heap.dict(entries)
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let from = self.stack.len().checked_sub(count).filter(|&from| from >= self.floor());
                let from = from.ok_or_else(|| Error::input("the pickle takes a value where there is none"))?;
                let items = self.stack.split_off(from);
                self.heap.tuple(items)
            }
            b'a' => {
                let item = self.pop()?;
                return self.extend(&[item]);
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                return self.extend(&items);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                return self.insert(&[(key, value)]);
            }
            _ => {
                let items = self.pop_mark()?;
                return self.insert(&pairs(&items)?);
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// Adds items to the list or set on top of the stack.
    fn extend(&mut self, items: &[Value]) -> Result<()> {
        match self.top()? {
            Value::List(i) | Value::Set(i) => self.heap.sequences[i].extend_from_slice(items),
            Value::Opaque => {}
            other => return Err(Error::input(format!("the pickle appends to {}", self.heap.describe(other)))),
        }
        Ok(())
    }

    /// Adds entries to the dictionary on top of the stack.
    fn insert(&mut self, entries: &[(Value, Value)]) -> Result<()> {
        match self.top()? {
            Value::Dict(i) => self.heap.dicts[i].extend_from_slice(entries),
            Value::Opaque => {}
            other => return Err(Error::input(format!("the pickle sets an entry of {}", self.heap.describe(other)))),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str, at: u64) -> Result<()> {
        let found = Global::find(module, name);
        let full = format!("{module}.{name}");
        if self.uses.len() < MAX_USES {
            self.uses.push(GlobalUse { name: full.clone(), allowed: found.is_some(), offset: at });
        }
        match (found, self.policy) {
            (Some(global), _) => self.stack.push(Value::Global(global)),
            (None, Policy::Record) => self.stack.push(Value::Global(Global::Refused)),
            (None, Policy::Refuse) => {
                return Err(Error::input(format!("the pickle refers to `{full}`, which weights do not need; nothing was run"))
                    .at_item(full)
                    .help("`gravure scan` lists every name in it; if you trust its maker, save it again as safetensors"));
            }
        }
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let value = match callable {
            Value::Global(Global::Refused) | Value::Opaque => Value::Opaque,
            Value::Global(global) => {
                let items = self.heap.as_items(arguments, "the arguments of a constructor")?;
                // Constructors take at most 8; a longer tuple is not worth a copy.
                if items.len() > 16 {
                    return Err(Error::input(format!("{global:?} is given {} arguments", items.len())));
                }
                let items = items.to_vec();
                // Arguments that were made by a refused name make the result unknown too.
                if items.contains(&Value::Opaque) || items.contains(&Value::Global(Global::Refused)) {
                    Value::Opaque
                } else {
                    global.construct(&items, self.heap)?
                }
            }
            other => return Err(Error::input(format!("the pickle calls {}; nothing was run", self.heap.describe(other)))),
        };
        self.stack.push(value);
        Ok(())
    }

    /// A state dictionary carries its `_metadata` as an attribute; that is all that is built here.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        match (self.top()?, state) {
            (Value::Dict(_), Value::Dict(_) | Value::None) => Ok(()),
            (Value::Opaque | Value::Global(Global::Refused), _) => Ok(()),
            (_, Value::Opaque) => Ok(()),
            (object, _) => Err(Error::input(format!("the pickle sets the state of {}; nothing was run", self.heap.describe(object)))),
        }
    }

    /// `('storage', type, key, location, count[, view])`.
    fn storage(&mut self, id: Value) -> Result<Value> {
        if self.policy == Policy::Record && id == Value::Opaque {
            return Ok(Value::Opaque);
        }
        let parts = self.heap.as_items(id, "a persistent id")?;
        let (kind, class, key, count, view) = match parts {
            [kind, class, key, _location, count] => (*kind, *class, *key, *count, Value::None),
            [kind, class, key, _location, count, view] => (*kind, *class, *key, *count, *view),
            other => return Err(Error::input(format!("a persistent id has {} parts", other.len()))),
        };
        if self.heap.as_text(kind, "the kind of a persistent id")? != "storage" {
            return Err(Error::input("a persistent id is no storage"));
        }
        if view != Value::None {
            return Err(Error::unsupported("a storage is a window of another one, as torch before 0.4 wrote them")
                .help("save the checkpoint again with a newer torch"));
        }
        let element = match class {
            Value::Global(Global::TypedStorage(element)) => Some(*element),
            Value::Global(Global::RawStorage) => None,
            Value::Global(Global::Refused) | Value::Opaque if self.policy == Policy::Record => return Ok(Value::Opaque),
            other => return Err(Error::input(format!("the type of a storage is {}", self.heap.describe(other)))),
        };
        let key = match key {
            Value::Int(number) => number.to_string(),
            key => self.heap.as_text(key, "the key of a storage")?.to_owned(),
        };
        let storage = Storage { key, element, count: self.heap.as_count(count, "the length of a storage")? };
        if let Some(&index) = self.storages.get(&storage.key) {
            let known = &self.heap.storages[index];
            if *known != storage {
                let message = format!(
                    "the storage is {} elements of {:?} here and {} of {:?} there",
                    known.count, known.element, storage.count, element
                );
                return Err(Error::input(message).at_item(storage.key));
            }
            return Ok(Value::Storage(index));
        }
        self.heap.storages.push(storage.clone());
        let index = self.heap.storages.len() - 1;
        self.storages.insert(storage.key, index);
        Ok(Value::Storage(index))
    }

    /// Opcodes that make objects of classes, or that refer outside of the pickle.
    fn forbidden(&mut self, opcode: u8, at: u64) -> Result<()> {
        let name = match opcode {
            b'P' => "PERSID",
            b'i' => "INST",
            b'o' => "OBJ",
            0x81 => "NEWOBJ",
            0x92 => "NEWOBJ_EX",
            0x82 => "EXT1",
            0x83 => "EXT2",
            0x84 => "EXT4",
            0x97 => "NEXT_BUFFER",
            _ => "READONLY_BUFFER",
        };
        if self.policy == Policy::Refuse {
            if opcode == b'i' {
                // Say which class, by the same message as for every other name.
                let (module, class) = (self.line()?, self.line()?);
                if Global::find(&module, &class).is_none() {
                    return self.global(&module, &class, at);
                }
            }
            return Err(Error::input(format!("the pickle uses {name}, which weights do not need; nothing was run")).at_item(name));
        }
        self.oddities.push(format!("uses {name} at byte {at}"));
        if self.oddities.len() > 1000 {
            return Err(Error::input("the pickle has more than 1000 forbidden opcodes"));
        }
        match opcode {
            b'P' => drop(self.line()?),
            b'i' => {
                let (module, class) = (self.line()?, self.line()?);
                self.global(&module, &class, at)?;
                self.pop()?;
                self.pop_mark()?;
            }
            b'o' => drop(self.pop_mark()?),
            0x81 => drop((self.pop()?, self.pop()?)),
            0x92 => drop((self.pop()?, self.pop()?, self.pop()?)),
            0x82 => drop(self.cursor.u8()?),
            0x83 => drop(self.cursor.u16()?),
            0x84 => drop(self.cursor.u32()?),
            0x97 => {}
            _ => {
                self.top()?;
                return Ok(());
            }
        }
        self.stack.push(Value::Opaque);
        Ok(())
    }
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>> {
    if !items.len().is_multiple_of(2) {
        return Err(Error::input("a key of a dictionary in the pickle has no value"));
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// The text of a `STRING` (quoted, Python escapes) or `UNICODE` (`\u` escapes) line.
fn text_line(opcode: u8, line: &str) -> Result<String> {
    let bad = || Error::input("a quoted string in the pickle is malformed");
    let body = if opcode == b'S' {
        let quote = line.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(bad)?;
        line[1..].strip_suffix(quote).ok_or_else(bad)?
    } else {
        line
    };
    let mut out = String::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let hex = |digits: usize, rest: &mut std::str::Chars<'_>| {
            let text: String = rest.by_ref().take(digits).collect();
            let code = (text.len() == digits).then(|| u32::from_str_radix(&text, 16).ok()).flatten();
            code.and_then(char::from_u32).ok_or_else(bad)
        };
        match (opcode, rest.next()) {
            (b'V', Some('u')) => out.push(hex(4, &mut rest)?),
            (b'V', Some('U')) => out.push(hex(8, &mut rest)?),
            (b'V', Some(other)) => out.extend(['\\', other]),
            (_, Some('x')) => out.push(hex(2, &mut rest)?),
            (_, Some('n')) => out.push('\n'),
            (_, Some('r')) => out.push('\r'),
            (_, Some('t')) => out.push('\t'),
            (_, Some(c @ ('\\' | '\'' | '"'))) => out.push(c),
            _ => return Err(bad()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
