//! Lists what a pickle refers to, for `gravure scan`. Nothing is run, as everywhere here; the scan
//! only goes on where reading would stop, so that all of it can be seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gravure_base::{Cursor, FileReader, Limits, ReadAt, Result};
use serde::Serialize;

use super::archive::{Archive, Entry};
use super::heap::{Heap, Value};
use super::legacy;
use super::machine::{GlobalUse, Machine, Policy};
use super::read::{self, Container};

/// A name that a pickle refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScannedGlobal {
    /// `module.name`.
    pub name: String,
    /// Whether weights need it. Anything else runs code when the file is unpickled.
    pub allowed: bool,
    /// How often it is referred to.
    pub uses: u64,
    /// The first reference: the entry of a zip archive, if it is one.
    pub entry: Option<String>,
    /// The first reference: byte offset in the pickle.
    pub offset: u64,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PickleScan {
    /// `zip`, `legacy stream` or `bare pickle`.
    pub container: &'static str,
    /// Every name, refused ones first, then by name.
    pub globals: Vec<ScannedGlobal>,
    /// Everything else that is wrong: forbidden opcodes, malformed containers, trailing bytes.
    pub problems: Vec<String>,
}

impl PickleScan {
    /// Whether nothing but allowed names and no problem was found.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.globals.iter().all(|g| g.allowed)
    }
}

/// Scans a `.bin`, `.pt`, `.pth` or `.th` file, or a bare pickle.
///
/// # Errors
/// Only where the file cannot be read; whatever is wrong with its content is in the result.
pub fn scan_pickle(path: &Path, limits: &Limits) -> Result<PickleScan> {
    let source: Arc<dyn ReadAt> = Arc::new(FileReader::open(path)?);
    Ok(scan(&source, limits))
}

/// Scans an opened file.
pub(crate) fn scan(source: &Arc<dyn ReadAt>, limits: &Limits) -> PickleScan {
    let mut out = PickleScan::default();
    let mut found = Found::default();
    match read::container(source.as_ref()) {
        Err(error) => out.problems.push(one_line(&error)),
        Ok(Container::Zip) => {
            out.container = "zip";
            scan_archive(source, limits, &mut out, &mut found);
        }
        Ok(Container::Stream) => scan_stream(source, limits, &mut out, &mut found),
    }
    out.globals = found.finish();
    out
}

fn scan_archive(source: &Arc<dyn ReadAt>, limits: &Limits, out: &mut PickleScan, found: &mut Found) {
    let archive = match Archive::open(Arc::clone(source), limits) {
        Ok(archive) => archive,
        Err(error) => return out.problems.push(one_line(&error)),
    };
    if let Err(error) = read::root(&archive) {
        out.problems.push(one_line(&error));
    }
    // A storage is raw bytes and is never unpickled; everything else that may be a pickle is looked at.
    let suspects = archive.entries.iter().filter(|entry| !is_storage(&entry.name) && may_be_pickle(&archive, entry));
    for entry in suspects {
        let mut seen = Vec::new();
        let mut heap = Heap::default();
        let result = run_entry(&archive, entry, &mut heap, limits, &mut seen, &mut out.problems);
        if let Err(error) = result {
            out.problems.push(one_line(&error.at_item(&*entry.name)));
        }
        found.add(seen, Some(&entry.name));
    }
}

fn is_storage(name: &str) -> bool {
    let mut parts = name.split('/').skip(1);
    parts.next() == Some("data") && parts.next().is_some_and(|key| key.bytes().all(|b| b.is_ascii_digit())) && parts.next().is_none()
}

/// By its name, or by the opcode with which pickles of protocol 2 and later start.
fn may_be_pickle(archive: &Archive, entry: &Entry) -> bool {
    let mut head = [0; 2];
    let starts = entry.bytes >= 2 && archive.source.read_exact_at(&mut head, entry.offset).is_ok() && head[0] == 0x80 && head[1] <= 5;
    starts || [".pkl", ".pickle", ".pt", ".bin", ".pth"].iter().any(|end| entry.name.ends_with(end))
}

fn run_entry(
    archive: &Archive,
    entry: &Entry,
    heap: &mut Heap,
    limits: &Limits,
    seen: &mut Vec<GlobalUse>,
    problems: &mut Vec<String>,
) -> Result<Value> {
    if let Err(error) = archive.read(entry, limits.header_bytes) {
        problems.push(one_line(&error));
    }
    let window = archive.reader(entry)?;
    let mut cursor = Cursor::new(&window, limits);
    let outcome = Machine::new(&mut cursor, heap, Policy::Record, limits).run(seen)?;
    seen.extend(outcome.uses);
    problems.extend(outcome.oddities.into_iter().map(|oddity| format!("{}: {oddity}", entry.name)));
    if cursor.remaining() > 0 {
        problems.push(format!("{}: {} bytes follow the end of the pickle", entry.name, cursor.remaining()));
    }
    Ok(outcome.value)
}

fn scan_stream(source: &Arc<dyn ReadAt>, limits: &Limits, out: &mut PickleScan, found: &mut Found) {
    let mut head = [0; legacy::HEAD.len()];
    let is_legacy = source.read_exact_at(&mut head, 0).is_ok() && head == legacy::HEAD;
    let mut seen = Vec::new();
    if is_legacy {
        out.container = "legacy stream";
        match legacy::read(source, Policy::Record, limits, &mut seen) {
            Ok(stream) => {
                out.problems.extend(stream.object.oddities);
                if stream.end != source.len() {
                    out.problems.push(format!("{} bytes follow the last storage", source.len() - stream.end));
                }
            }
            Err(error) => out.problems.push(one_line(&error)),
        }
    } else {
        out.container = "bare pickle";
        let mut cursor = Cursor::new(source.as_ref(), limits);
        let mut heap = Heap::default();
        match Machine::new(&mut cursor, &mut heap, Policy::Record, limits).run(&mut seen) {
            Ok(outcome) => {
                seen.extend(outcome.uses);
                out.problems.extend(outcome.oddities);
                if cursor.remaining() > 0 {
                    out.problems.push(format!("{} bytes follow the end of the pickle", cursor.remaining()));
                }
            }
            Err(error) => out.problems.push(one_line(&error)),
        }
    }
    found.add(seen, None);
}

fn one_line(error: &gravure_base::Error) -> String {
    let mut text = error.message().to_owned();
    if let Some(item) = error.item() {
        text = format!("{item}: {text}");
    }
    if let Some(offset) = error.offset() {
        text.push_str(&format!(" (byte {offset})"));
    }
    text
}

/// Names with their first place.
#[derive(Debug, Default)]
struct Found(BTreeMap<(bool, String), ScannedGlobal>);

impl Found {
    fn add(&mut self, seen: Vec<GlobalUse>, entry: Option<&str>) {
        for GlobalUse { name, allowed, offset } in seen {
            let first = ScannedGlobal { name: name.clone(), allowed, uses: 0, entry: entry.map(str::to_owned), offset };
            self.0.entry((allowed, name)).or_insert(first).uses += 1;
        }
    }

    fn finish(self) -> Vec<ScannedGlobal> {
        self.0.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
