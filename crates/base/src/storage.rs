//! The few file-system operations that output needs, behind a trait so that tests can make the
//! k-th of them fail.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// An open output file.
pub trait OutputHandle: Send {
    /// Appends all of `bytes`.
    fn write_all(&mut self, bytes: &[u8]) -> Result<()>;
    /// Waits until everything written is on the disk.
    fn sync(&mut self) -> Result<()>;
}

/// Where output goes.
pub trait Storage: Send + Sync + std::fmt::Debug {
    /// Opens `path` for appending after its first `keep` bytes: creates it where absent, cuts it at
    /// `keep`, takes an exclusive lock. An error where another process holds the lock.
    fn open(&self, path: &Path, keep: u64) -> Result<Box<dyn OutputHandle>>;
    /// Renames within one file system, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file; absent is no error.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Makes renames in `folder` durable.
    fn sync_folder(&self, folder: &Path) -> Result<()>;
    /// Creates a folder; one that is already there is no error, anything else of that name is.
    fn create_folder(&self, path: &Path) -> Result<()>;
    /// Removes an empty folder; absent is no error.
    fn remove_folder(&self, path: &Path) -> Result<()>;
    /// Lets two existing folders change places in one step.
    fn exchange(&self, a: &Path, b: &Path) -> Result<()>;
    /// Bytes that an unprivileged user may still write under `folder`.
    fn free_space(&self, folder: &Path) -> Result<u64>;
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

struct DiskFile {
    file: File,
    path: std::path::PathBuf,
}

impl OutputHandle for DiskFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io("write", &self.path, e))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io("sync to disk", &self.path, e))
    }
}

impl Storage for Disk {
    fn open(&self, path: &Path, keep: u64) -> Result<Box<dyn OutputHandle>> {
        use std::io::{Seek, SeekFrom};
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(path)
            .map_err(|e| Error::io("create the output file", path, e))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Error::new(crate::ErrorKind::Environment, "another process is writing this output")
                .in_file(path)
                .help("wait for it to end, or choose another output name")
        })?;
        let io = |e| Error::io("prepare the output file", path, e);
        file.set_len(keep).map_err(io)?;
        file.seek(SeekFrom::Start(keep)).map_err(io)?;
        Ok(Box::new(DiskFile { file, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to).map_err(|e| Error::io("move the finished file into place", to, e))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        let file = File::open(folder).map_err(|e| Error::io("open the folder", folder, e))?;
        file.sync_all().map_err(|e| Error::io("sync the folder", folder, e))
    }

    fn create_folder(&self, path: &Path) -> Result<()> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && is_real_folder(path) => Ok(()),
            result => result.map_err(|e| Error::io("create the folder", path, e)),
        }
    }

    fn remove_folder(&self, path: &Path) -> Result<()> {
        match std::fs::remove_dir(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove the folder", path, e)),
            _ => Ok(()),
        }
    }

    fn exchange(&self, a: &Path, b: &Path) -> Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).map_err(|e| {
            Error::io("exchange the finished folder for the old one", b, e.into())
                .help("where the file system cannot do that, remove the old folder or choose another name")
        })
    }

    fn free_space(&self, folder: &Path) -> Result<u64> {
        free_space(folder)
    }
}

/// A folder, and not a link to one.
fn is_real_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

/// Bytes that an unprivileged user may still write under `folder`.
pub fn free_space(folder: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(folder).map_err(|e| Error::io("ask for free space", folder, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
