//! A disk whose k-th operation fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gravure_base::{Disk, Error, OutputHandle, Result, Storage};

/// Which operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None; operations are only counted.
    None,
    /// The operation with this number, counted from 0, and every one after it.
    From(u64),
    /// Only the operation with this number.
    Once(u64),
}

/// The real disk, with one fault.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    fault: Fault,
    count: Arc<AtomicU64>,
}

impl FaultyDisk {
    /// A disk with this fault.
    pub fn new(fault: Fault) -> Self {
        Self { fault, count: Arc::default() }
    }

    /// Operations so far: opens, writes, syncs, renames, exchanges, new folders, folder syncs. Removals always succeed, since
    /// they are how the program cleans up.
    pub fn operations(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn step(&self, what: &str, path: &Path) -> Result<()> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let fails = match self.fault {
            Fault::None => false,
            Fault::From(k) => number >= k,
            Fault::Once(k) => number == k,
        };
        if fails {
            return Err(Error::io(what, path, std::io::Error::other("injected fault")));
        }
        Ok(())
    }
}

struct FaultyHandle {
    inner: Box<dyn OutputHandle>,
    disk: FaultyDisk,
    path: std::path::PathBuf,
}

impl OutputHandle for FaultyHandle {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.disk.step("write", &self.path)?;
        self.inner.write_all(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.disk.step("sync to disk", &self.path)?;
        self.inner.sync()
    }
}

impl Storage for FaultyDisk {
    fn open(&self, path: &Path, keep: u64) -> Result<Box<dyn OutputHandle>> {
        self.step("create the output file", path)?;
        let inner = Disk.open(path, keep)?;
        Ok(Box::new(FaultyHandle { inner, disk: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step("move the finished file into place", to)?;
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        Disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        self.step("sync the folder", folder)?;
        Disk.sync_folder(folder)
    }

    fn create_folder(&self, path: &Path) -> Result<()> {
        self.step("create the folder", path)?;
        Disk.create_folder(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<()> {
        Disk.remove_folder(path)
    }

    fn exchange(&self, a: &Path, b: &Path) -> Result<()> {
        self.step("exchange the finished folder for the old one", b)?;
        Disk.exchange(a, b)
    }

    fn free_space(&self, folder: &Path) -> Result<u64> {
        Disk.free_space(folder)
    }
}
