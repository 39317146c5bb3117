//! The zip container, as strictly as torch writes it.
//!
//! ```text
//! local header 1 | bytes 1 | [descriptor 1] | local header 2 | ... | central directory | [zip64 end] | end
//! ```
//!
//! Scanners and loaders that disagree about a zip are how malicious pickles get past the scanner. So
//! this reader accepts one reading only: it takes entries that are stored (not compressed), whose local
//! header says what the central directory says, whose names are unique and whose bytes do not
//! overlap and leave no gaps; the first entry starts the file and the end record ends it. Own code rather than the
//! `zip` crate because that merges entries of equal names silently and hides the local headers.
//! Spec: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.

use std::collections::HashMap;
use std::sync::Arc;

use gravure_base::{Error, Limits, ReadAt, Result, ResultExt, SliceReader};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: u64 = 22;
/// Flags that do not change the meaning: sizes follow the data (3), names are UTF-8 (11).
const HARMLESS_FLAGS: u16 = 0x0808;
/// The flag of an entry whose sizes follow its data.
const SIZES_FOLLOW: u16 = 0x0008;
/// Bytes of those sizes: with and without a signature, narrow and wide.
const DESCRIPTOR_BYTES: [u64; 4] = [12, 16, 20, 24];

/// One stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where its bytes start in the archive.
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

/// A checked archive.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) source: Arc<dyn ReadAt>,
    /// In the order of the central directory.
    pub(super) entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// Little-endian fields of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, at: usize) -> Result<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        self.0.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or_else(|| Error::input("a zip record is cut short"))
    }
}

impl Archive {
    /// Reads the central directory and every local header.
    pub(super) fn open(source: Arc<dyn ReadAt>, limits: &Limits) -> Result<Self> {
        let path = source.path().to_owned();
        Self::open_inner(source, limits).in_file(path)
    }

    fn open_inner(source: Arc<dyn ReadAt>, limits: &Limits) -> Result<Self> {
        let directory = find_directory(source.as_ref())?;
        Limits::check(directory.count, limits.tensors, "files in the archive")?;
        Limits::check(directory.bytes, limits.header_bytes, "bytes of the zip directory")?;
        if directory.count > directory.bytes / CENTRAL_BYTES as u64 {
            return Err(Error::input(format!("{} files cannot be listed in {} bytes", directory.count, directory.bytes)));
        }
        let mut bytes = vec![0; directory.bytes as usize];
        source.read_exact_at(&mut bytes, directory.offset)?;
        let (mut entries, mut starts) = (Vec::with_capacity(directory.count as usize), Vec::new());
        let mut rest = &bytes[..];
        for _ in 0..directory.count {
            let (central, tail) = parse_central(rest)?;
            let entry = check_local(source.as_ref(), &central, directory.offset).at_item(|| central.name.clone())?;
            starts.push((central.local, entry.offset + entry.bytes, central.flags & SIZES_FOLLOW != 0));
            entries.push(entry);
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(Error::input(format!("{} bytes of the zip directory list nothing", rest.len())));
        }
        check_order(&mut starts, &entries, directory.offset)?;
        let mut by_name = HashMap::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            if by_name.insert(entry.name.clone(), index).is_some() {
                return Err(Error::input("the archive holds two files of this name").at_item(&*entry.name));
            }
        }
        Ok(Self { source, entries, by_name })
    }

    /// The entry called `name`.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|&i| &self.entries[i])
    }

    /// A window over an entry's bytes.
    pub(super) fn reader(&self, entry: &Entry) -> Result<SliceReader> {
        SliceReader::new(Arc::clone(&self.source), entry.offset, entry.bytes)
    }

    /// A small entry's bytes, checked against its checksum.
    pub(super) fn read(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>> {
        Limits::check(entry.bytes, limit, "bytes of this file in the archive").at_item(|| entry.name.clone())?;
        let mut bytes = vec![0; entry.bytes as usize];
        self.source.read_exact_at(&mut bytes, entry.offset)?;
        if crc32(&bytes) != entry.crc {
            return Err(Error::input("its checksum is wrong: the file is damaged, or was changed")
                .at_item(&*entry.name)
                .in_file(self.source.path()));
        }
        Ok(bytes)
    }
}

struct Directory {
    offset: u64,
    bytes: u64,
    count: u64,
}

/// The end record lies at the very end, before a comment of at most 64 KiB (torch writes none).
fn find_directory(source: &dyn ReadAt) -> Result<Directory> {
    let damaged =
        || Error::input("is no whole zip archive: its end record is missing").help("the download is incomplete: fetch the file again");
    let length = source.len();
    if length < END_BYTES {
        return Err(damaged());
    }
    let tail = length.min(END_BYTES + u64::from(u16::MAX));
    let mut bytes = vec![0; tail as usize];
    source.read_exact_at(&mut bytes, length - tail)?;
    let found = (0..=bytes.len() - END_BYTES as usize).rev().find(|&at| {
        let record = Fields(&bytes[at..]);
        record.u32(0).is_ok_and(|s| s == END) && record.u16(20).is_ok_and(|n| at + END_BYTES as usize + usize::from(n) == bytes.len())
    });
    let at = found.ok_or_else(damaged)?;
    let record = Fields(&bytes[at..]);
    let end = length - tail + at as u64;
    let (disk, first_disk) = (record.u16(4)?, record.u16(6)?);
    let (here, count) = (u64::from(record.u16(8)?), u64::from(record.u16(10)?));
    let (size, offset) = (u64::from(record.u32(12)?), u64::from(record.u32(16)?));
    let mut directory = Directory { offset, bytes: size, count };
    let mut directory_end = end;
    let mut locator = [0; 20];
    let has_locator = end >= 20 && source.read_exact_at(&mut locator, end - 20).is_ok() && Fields(&locator).u32(0)? == LOCATOR64;
    if has_locator {
        let at = Fields(&locator).u64(8)?;
        let mut record = [0; 56];
        if at.checked_add(56).is_none_or(|e| e > end - 20) {
            return Err(Error::input("the zip64 end record lies outside the file"));
        }
        source.read_exact_at(&mut record, at)?;
        let record = Fields(&record);
        if record.u32(0)? != END64 || record.u64(4)?.checked_add(12 + at) != Some(end - 20) || record.u32(16)? != 0 || record.u32(20)? != 0
        {
            return Err(Error::input("the zip64 end record is malformed").at_offset(at));
        }
        let wide = Directory { offset: record.u64(48)?, bytes: record.u64(40)?, count: record.u64(32)? };
        let agree = |narrow: u64, wide: u64, mark: u64| narrow == mark || narrow == wide;
        if record.u64(24)? != wide.count
            || !agree(count, wide.count, 0xffff)
            || !agree(size, wide.bytes, 0xffff_ffff)
            || !agree(offset, wide.offset, 0xffff_ffff)
        {
            return Err(Error::input("the two end records of the archive disagree").at_offset(end));
        }
        directory = wide;
        directory_end = at;
    }
    let split = |n: u16| n != 0 && n != u16::MAX;
    if split(disk) || split(first_disk) || (here != count) {
        return Err(Error::input("is one part of a split archive"));
    }
    if directory.offset.checked_add(directory.bytes) != Some(directory_end) {
        return Err(Error::input("the zip directory does not end where its end record starts").at_offset(end));
    }
    Ok(directory)
}

struct Central {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    bytes: u64,
    /// Where the local header starts.
    local: u64,
}

fn parse_central(bytes: &[u8]) -> Result<(Central, &[u8])> {
    let record = Fields(bytes);
    if record.u32(0)? != CENTRAL {
        return Err(Error::input("the zip directory is malformed"));
    }
    let (name_bytes, extra_bytes, comment_bytes) =
        (usize::from(record.u16(28)?), usize::from(record.u16(30)?), usize::from(record.u16(32)?));
    let cut = || Error::input("the zip directory is cut short");
    let name_end = CENTRAL_BYTES + name_bytes;
    let name = std::str::from_utf8(bytes.get(CENTRAL_BYTES..name_end).ok_or_else(cut)?)
        .map_err(|_| Error::input("a name in the archive is not UTF-8"))?
        .to_owned();
    let extra = bytes.get(name_end..name_end + extra_bytes).ok_or_else(cut)?;
    let rest = bytes.get(name_end + extra_bytes + comment_bytes..).ok_or_else(cut)?;
    let wide = |at| record.u32(at).map(u64::from);
    let (mut packed, mut bytes, mut local) = (wide(20)?, wide(24)?, wide(42)?);
    // The zip64 field holds, in this order, those of the three that are marked as too large.
    let mut zip64 = Fields(find_extra(extra, 1)?.unwrap_or_default());
    for value in [&mut bytes, &mut packed, &mut local] {
        if *value == 0xffff_ffff {
            *value = zip64.u64(0)?;
            zip64 = Fields(&zip64.0[8..]);
        }
    }
    if packed != bytes {
        return Err(Error::input("its two sizes differ").at_item(name));
    }
    Ok((Central { name, flags: record.u16(8)?, method: record.u16(10)?, crc: record.u32(16)?, bytes, local }, rest))
}

/// The body of the extra field `id`.
fn find_extra(mut extra: &[u8], id: u16) -> Result<Option<&[u8]>> {
    while !extra.is_empty() {
        let record = Fields(extra);
        let (found, length) = (record.u16(0)?, usize::from(record.u16(2)?));
        let body = extra.get(4..4 + length).ok_or_else(|| Error::input("an extra field in the archive is cut short"))?;
        if found == id {
            return Ok(Some(body));
        }
        extra = &extra[4 + length..];
    }
    Ok(None)
}

fn check_local(source: &dyn ReadAt, central: &Central, limit: u64) -> Result<Entry> {
    if central.method != 0 {
        return Err(Error::input(format!("is compressed (method {}); torch stores its files as they are", central.method)));
    }
    if central.flags & !HARMLESS_FLAGS != 0 {
        return Err(Error::input(format!("has zip flags {:#06x}: it is encrypted or of an unknown kind", central.flags)));
    }
    let plain = !central.name.is_empty()
        && !central.name.starts_with('/')
        && !central.name.contains(['\\', ':'])
        && !central.name.chars().any(char::is_control)
        && central.name.split('/').all(|part| part != ".." && part != ".");
    if !plain {
        return Err(Error::input("is no plain name of a file in an archive"));
    }
    let beyond = || Error::input("its local header lies outside the archive").at_offset(central.local);
    let mut record = [0; LOCAL_BYTES as usize];
    let header_end = central.local.checked_add(LOCAL_BYTES).filter(|&end| end <= limit).ok_or_else(beyond)?;
    source.read_exact_at(&mut record, central.local)?;
    let record = Fields(&record);
    let (name_bytes, extra_bytes) = (u64::from(record.u16(26)?), u64::from(record.u16(28)?));
    let offset = header_end + name_bytes + extra_bytes;
    if record.u32(0)? != LOCAL || offset.checked_add(central.bytes).is_none_or(|end| end > limit) {
        return Err(beyond());
    }
    let mut tail = vec![0; (name_bytes + extra_bytes) as usize];
    source.read_exact_at(&mut tail, header_end)?;
    let (name, extra) = tail.split_at(name_bytes as usize);
    let differs =
        |what: &str| Err(Error::input(format!("its local header has another {what} than the directory")).at_offset(central.local));
    if name != central.name.as_bytes() {
        return differs("name");
    }
    if record.u16(8)? != central.method || record.u16(6)? != central.flags {
        return differs("method");
    }
    // Sizes and checksum may follow the data instead; then the local ones are zero.
    let deferred = central.flags & SIZES_FOLLOW != 0;
    let (crc, packed, bytes) = (record.u32(14)?, u64::from(record.u32(18)?), u64::from(record.u32(22)?));
    let zip64 = find_extra(extra, 1)?;
    let size_fits = |narrow: u64, at: usize| match (narrow, zip64) {
        (0xffff_ffff, Some(wide)) => Fields(wide).u64(at).is_ok_and(|n| n == central.bytes || (deferred && n == 0)),
        (narrow, _) => narrow == central.bytes || (deferred && narrow == 0),
    };
    if !size_fits(bytes, 0) || !size_fits(packed, 8) {
        return differs("size");
    }
    if crc != central.crc && !(deferred && crc == 0) {
        return differs("checksum");
    }
    Ok(Entry { name: central.name.clone(), offset, bytes: central.bytes, crc: central.crc })
}

/// Entries follow one another from the start of the file to the directory. Bytes between them could be
/// a file that the directory does not list, and that a reader of local headers would see.
///
/// `starts` are places of local headers, ends of data, and whether sizes may follow the data.
fn check_order(starts: &mut [(u64, u64, bool)], entries: &[Entry], directory: u64) -> Result<()> {
    starts.sort_unstable();
    let (mut end, mut deferred) = (0, false);
    let last = (directory, directory, false);
    for &(from, to, next_deferred) in starts.iter().chain([&last]) {
        let named = || entries.iter().find(|e| e.offset + e.bytes == to).map_or("the directory", |e| e.name.as_str());
        let Some(gap) = from.checked_sub(end) else {
            return Err(Error::input("its bytes overlap those of another file in the archive").at_item(named()).at_offset(from));
        };
        if gap != 0 && !(deferred && DESCRIPTOR_BYTES.contains(&gap)) {
            return Err(Error::input(format!("the {gap} bytes before it belong to no file in the archive"))
                .at_item(named())
                .at_offset(end));
        }
        (end, deferred) = (to, next_deferred);
    }
    Ok(())
}

/// CRC-32 as zip uses it (reflected polynomial 0xEDB88320).
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut value, mut bit) = (i as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests;
