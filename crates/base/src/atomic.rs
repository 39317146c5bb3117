//! Output that appears under its final name whole, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{OutputHandle, Result, Storage};

/// The temporary name beside `target` under which it is written: `.<name>.partial`.
pub fn partial_path(target: &Path) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.partial"))
}

/// The folder that holds `path`, `.` where it is bare.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that is written beside its target, then synced, renamed, and the folder synced. Dropped
/// before [`AtomicFile::commit`], it removes what it wrote.
pub struct AtomicFile {
    storage: Arc<dyn Storage>,
    handle: Option<Box<dyn OutputHandle>>,
    partial: PathBuf,
    target: PathBuf,
    written: u64,
    done: bool,
}

impl std::fmt::Debug for AtomicFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AtomicFile").field("target", &self.target).field("written", &self.written).finish()
    }
}

impl AtomicFile {
    /// Starts `target` afresh; a partial file of an earlier run is overwritten.
    pub fn create(storage: Arc<dyn Storage>, target: &Path) -> Result<Self> {
        Self::resume(storage, target, 0)
    }

    /// Continues the partial file of an interrupted run after its first `keep` bytes.
    pub fn resume(storage: Arc<dyn Storage>, target: &Path, keep: u64) -> Result<Self> {
        let partial = partial_path(target);
        let handle = storage.open(&partial, keep)?;
        Ok(Self { storage, handle: Some(handle), partial, target: target.to_owned(), written: keep, done: false })
    }

    /// Appends bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let handle = self.handle.as_mut().ok_or_else(|| crate::Error::bug("write after commit"))?;
        handle.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Waits until everything written is on the disk, without giving it its name yet.
    pub fn sync(&mut self) -> Result<()> {
        match self.handle.as_mut() {
            Some(handle) => handle.sync(),
            None => Ok(()),
        }
    }

    /// Syncs, renames into place, syncs the folder.
    pub fn commit(mut self) -> Result<()> {
        self.sync()?;
        self.handle = None;
        self.storage.rename(&self.partial, &self.target)?;
        self.done = true;
        self.storage.sync_folder(folder_of(&self.target))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.done {
            self.handle = None;
            // Nothing better can be done here; the error that brought us here is already on its way.
            let _ = self.storage.remove(&self.partial);
        }
    }
}
