//! Positional reads: many threads share one file, nothing is mapped, nothing is loaded whole.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, Result};

/// Something with a fixed length that can be read at any offset by any thread.
pub trait ReadAt: Send + Sync + std::fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset`; an error where the range leaves the source.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;

    /// The path for messages.
    fn path(&self) -> &Path;
}

fn check_range(len: u64, offset: u64, count: usize, path: &Path) -> Result<()> {
    let end = offset.checked_add(count as u64);
    if end.is_none_or(|end| end > len) {
        return Err(Error::input(format!("needs {count} bytes where the data ends at {len}")).in_file(path).at_offset(offset));
    }
    Ok(())
}

/// A file on disk, read positionally.
#[derive(Debug)]
pub struct FileReader {
    file: File,
    len: u64,
    path: PathBuf,
}

impl FileReader {
    /// Opens a regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Without waiting: opening a named pipe would otherwise hang before it can be refused.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let open = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = open.map_err(|e| Error::io("open the file", path, e))?;
        let meta = file.metadata().map_err(|e| Error::io("inspect the file", path, e))?;
        if !meta.is_file() {
            return Err(Error::input("is not a regular file").in_file(path));
        }
        Ok(Self { file, len: meta.len(), path: path.to_owned() })
    }
}

impl ReadAt for FileReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        check_range(self.len, offset, buffer.len(), &self.path)?;
        self.file.read_exact_at(buffer, offset).map_err(|e| Error::io("read", &self.path, e).at_offset(offset))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Bytes in memory.
#[derive(Debug, Clone)]
pub struct MemoryReader {
    bytes: Arc<[u8]>,
    path: PathBuf,
}

impl MemoryReader {
    /// Wraps `bytes`; `name` stands in for a path in messages.
    pub fn new(bytes: impl Into<Arc<[u8]>>, name: &str) -> Self {
        Self { bytes: bytes.into(), path: PathBuf::from(name) }
    }
}

impl ReadAt for MemoryReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        check_range(self.len(), offset, buffer.len(), &self.path)?;
        let start = offset as usize;
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        Ok(())
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// A window of another reader.
#[derive(Debug, Clone)]
pub struct SliceReader {
    inner: Arc<dyn ReadAt>,
    start: u64,
    len: u64,
}

impl SliceReader {
    /// The bytes `start .. start + len` of `inner`, checked against its length.
    pub fn new(inner: Arc<dyn ReadAt>, start: u64, len: u64) -> Result<Self> {
        if start.checked_add(len).is_none_or(|end| end > inner.len()) {
            let message = format!("{len} bytes lie beyond the end of the file at {}", inner.len());
            return Err(Error::input(message).in_file(inner.path()).at_offset(start));
        }
        Ok(Self { inner, start, len })
    }
}

impl ReadAt for SliceReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        check_range(self.len, offset, buffer.len(), self.inner.path())?;
        self.inner.read_exact_at(buffer, self.start + offset)
    }

    fn path(&self) -> &Path {
        self.inner.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let pipe = std::env::temp_dir().join(format!("gravure-pipe-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: mkfifo is missing");
            return;
        }
        let error = FileReader::open(&pipe).unwrap_err();
        std::fs::remove_file(&pipe).unwrap();
        assert!(error.message().contains("not a regular file"), "{error}");
        assert!(FileReader::open(std::env::temp_dir()).is_err());
    }
}
