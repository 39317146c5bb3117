//! A folder that appears under its final name whole, or not at all.
//!
//! It is built beside its target as `.<name>.partial`. Committing it renames it; where the target is
//! there already, the two change places in one step and the old one is removed afterwards. A lock
//! file in the hidden folder keeps a second process out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, OutputHandle, Result, Storage, folder_of, partial_path};

const LOCK: &str = ".lock";

/// A folder under construction. Dropped before [`AtomicFolder::commit`], it removes what is in it.
pub struct AtomicFolder {
    storage: Arc<dyn Storage>,
    /// Held as long as this value lives.
    lock: Option<Box<dyn OutputHandle>>,
    partial: PathBuf,
    target: PathBuf,
    replaces: bool,
    done: bool,
}

impl std::fmt::Debug for AtomicFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AtomicFolder").field("target", &self.target).finish_non_exhaustive()
    }
}

impl AtomicFolder {
    /// Starts the folder `target`. A folder of that name may be replaced only where `is_ours` knows
    /// the names of all its entries. Of what an interrupted run left in the hidden folder, entries
    /// that `keep` names stay; the rest is removed.
    ///
    /// # Errors
    /// `Request` where the target is something that must not be replaced, `Environment` where the
    /// disk fails or another process is writing the same target.
    pub fn begin(storage: Arc<dyn Storage>, target: &Path, is_ours: &dyn Fn(&str) -> bool, keep: &dyn Fn(&str) -> bool) -> Result<Self> {
        let replaces = check_target(target, is_ours)?;
        let partial = partial_path(target);
        storage.create_folder(&partial)?;
        let lock = storage.open(&partial.join(LOCK), 0).inspect_err(|_| {
            // Ours was just made and is empty; that of another process is not, and stays.
            let _ = storage.remove_folder(&partial);
        })?;
        let out = Self { storage, lock: Some(lock), partial, target: target.to_owned(), replaces, done: false };
        empty(out.storage.as_ref(), &out.partial, &|name| name == LOCK || keep(name))?;
        Ok(out)
    }

    /// The hidden folder, in which files are made.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Gives the folder its name. Its files must have been synced.
    pub fn commit(mut self) -> Result<()> {
        let storage = Arc::clone(&self.storage);
        storage.remove(&self.partial.join(LOCK))?;
        storage.sync_folder(&self.partial)?;
        if self.replaces {
            storage.exchange(&self.partial, &self.target)?;
        } else {
            storage.rename(&self.partial, &self.target)?;
        }
        self.done = true;
        storage.sync_folder(folder_of(&self.target))?;
        if self.replaces {
            empty(storage.as_ref(), &self.partial, &|_| false)?;
            storage.remove_folder(&self.partial)?;
        }
        self.lock = None;
        Ok(())
    }
}

impl Drop for AtomicFolder {
    fn drop(&mut self) {
        if !self.done {
            // Nothing better can be done here; the error that brought us here is already on its way.
            let _ = empty(self.storage.as_ref(), &self.partial, &|_| false);
            let _ = self.storage.remove_folder(&self.partial);
        }
    }
}

/// Removes a file, or a folder with all that is in it; nothing where there is neither.
///
/// # Errors
/// `Environment` where something cannot be removed.
pub fn remove_all(storage: &dyn Storage, path: &Path) -> Result<()> {
    if !std::fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
        return storage.remove(path);
    }
    empty(storage, path, &|_| false)?;
    storage.remove_folder(path)
}

/// Whether there is a folder to be replaced; an error where it must not be.
fn check_target(target: &Path, is_ours: &dyn Fn(&str) -> bool) -> Result<bool> {
    let meta = match std::fs::symlink_metadata(target) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        result => result.map_err(|e| Error::io("inspect the output", target, e))?,
    };
    if !meta.is_dir() {
        return Err(Error::request("the output is a folder, but a file or link of this name is there")
            .in_file(target)
            .help("choose another output name"));
    }
    let mut foreign: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(target).map_err(|e| Error::io("list the folder", target, e))? {
        let name = entry.map_err(|e| Error::io("list the folder", target, e))?.file_name().to_string_lossy().into_owned();
        if !is_ours(&name) {
            foreign.push(name);
        }
    }
    foreign.sort();
    if let Some(first) = foreign.first() {
        let message = format!("the folder would be replaced, but it holds {} entries that this output has no part in", foreign.len());
        return Err(Error::request(message).at_item(first).in_file(target).help("choose another output name, or move them away"));
    }
    Ok(true)
}

/// Removes the files of a folder and of its folders, but for the entries at its top that `keep` names.
fn empty(storage: &dyn Storage, folder: &Path, keep: &dyn Fn(&str) -> bool) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(|e| Error::io("list the folder", folder, e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list the folder", folder, e))?;
        if keep(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // A link is removed, not followed.
        let kind = entry.file_type().map_err(|e| Error::io("inspect", &entry.path(), e))?;
        if kind.is_dir() {
            empty(storage, &entry.path(), &|_| false)?;
            storage.remove_folder(&entry.path())?;
        } else {
            storage.remove(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Disk;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("gravure-folder-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn begin(target: &Path) -> Result<AtomicFolder> {
        AtomicFolder::begin(Arc::new(Disk), target, &|name| name == "a" || name == "sub", &|name| name == "kept")
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn appears_whole_and_replaces_in_one_step() {
        let root = folder("whole");
        let target = root.join("out");
        for content in ["one", "two"] {
            let out = begin(&target).unwrap();
            std::fs::write(out.path().join("a"), content).unwrap();
            std::fs::create_dir_all(out.path().join("sub")).unwrap();
            std::fs::write(out.path().join("sub/b"), content).unwrap();
            out.commit().unwrap();
            assert_eq!(names(&root), ["out"]);
            assert_eq!(std::fs::read_to_string(target.join("a")).unwrap(), content);
            assert_eq!(names(&target), ["a", "sub"]);
        }
        drop(begin(&target).unwrap());
        assert_eq!(names(&root), ["out"], "an abandoned one leaves nothing and touches nothing");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_foreign_is_not_replaced() {
        let root = folder("foreign");
        let target = root.join("out");
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("diary.txt"), "x").unwrap();
        let error = begin(&target).unwrap_err();
        assert_eq!((error.kind(), error.item()), (crate::ErrorKind::Request, Some("diary.txt")));
        std::fs::write(root.join("file"), "x").unwrap();
        assert_eq!(begin(&root.join("file")).unwrap_err().kind(), crate::ErrorKind::Request);
        assert_eq!(names(&root), ["file", "out"]);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn one_process_at_a_time_and_leftovers_go() {
        let root = folder("lock");
        let target = root.join("out");
        let partial = partial_path(&target);
        std::fs::create_dir(&partial).unwrap();
        std::fs::write(partial.join("stale"), "x").unwrap();
        std::fs::write(partial.join("kept"), "x").unwrap();
        let first = begin(&target).unwrap();
        assert_eq!(names(&partial), [".lock", "kept"]);
        assert_eq!(begin(&target).unwrap_err().kind(), crate::ErrorKind::Environment);
        assert_eq!(names(&partial), [".lock", "kept"], "the second one has touched nothing");
        drop(first);
        assert!(names(&root).is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }
}
