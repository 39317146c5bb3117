//! A folder for what a verb makes on the way.

use std::path::{Path, PathBuf};

use gravure::{Error, Result};

/// A folder that goes when it is dropped, unless the user named it.
pub(crate) struct Folder {
    path: PathBuf,
    named: bool,
}

impl Folder {
    /// The folder that the user named, or a temporary one.
    pub(crate) fn named_or_temporary(named: Option<&PathBuf>, verb: &str) -> Result<Self> {
        let Some(named) = named else { return Self::temporary(verb) };
        std::fs::create_dir_all(named).map_err(|e| Error::io("make the folder", named, e))?;
        Ok(Self { path: named.clone(), named: true })
    }

    /// A temporary one.
    pub(crate) fn temporary(verb: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("gravure-{verb}-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| Error::io("make the folder", &path, e))?;
        Ok(Self { path, named: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed is in the system's folder for such things.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
