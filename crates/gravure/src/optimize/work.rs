//! What an interrupted run leaves for the next one: every measurement under the digest of all that it
//! depends on, in a folder beside the output. A run with another budget finds them, too.
//!
//! A file has its final name only when it is whole. One that cannot be read is measured again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gravure_base::{AtomicFile, Error, ErrorKind, Result, ResultExt, Sha256, Storage};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Observer;

/// Name of the folder in the output folder.
pub(crate) const FOLDER: &str = ".work";

/// The folder.
#[derive(Debug)]
pub(crate) struct Work {
    folder: PathBuf,
    /// Digest of what all measurements of the run depend on.
    base: String,
    storage: Arc<dyn Storage>,
}

impl Work {
    /// The folder called `name` in `output`, made where it is missing; `inputs` names all that every measurement
    /// depends on.
    ///
    /// # Errors
    /// `Environment` where it cannot be made.
    pub(crate) fn new(output: &Path, name: &str, inputs: &[String], storage: Arc<dyn Storage>) -> Result<Self> {
        let folder = output.join(name);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("make the folder", &folder, e))?;
        let version = format!("gravure {}", env!("CARGO_PKG_VERSION"));
        Ok(Self { folder, base: digest(std::iter::once(&version).chain(inputs)), storage })
    }

    /// The folder's path.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of a measurement: a digest of its name and of all that it depends on.
    pub(crate) fn key(&self, name: &str, inputs: &[String]) -> String {
        let named = name.to_owned();
        digest([&self.base, &named].into_iter().chain(inputs))
    }

    /// Forgets a measurement, where there is one.
    pub(crate) fn forget(&self, name: &str, inputs: &[String]) {
        // One that cannot be removed is read again, and found wrong again.
        let _ = std::fs::remove_file(self.folder.join(format!("{}.json", self.key(name, inputs))));
    }

    /// The measurement called `name` that depends on `inputs` beside the run's own: as an earlier run left it,
    /// or made now and left for later ones.
    ///
    /// # Errors
    /// Those of `make`; `Environment` where the result cannot be written.
    pub(crate) fn once<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        inputs: &[String],
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let path = self.folder.join(format!("{}.json", self.key(name, inputs)));
        let found = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<T>(&bytes).ok());
        if let Some(value) = found {
            return Ok(value);
        }
        let value = make()?;
        let text = serde_json::to_vec(&value).map_err(|e| Error::bug(format!("a measurement cannot be kept: {e}")).at_item(name))?;
        let mut file = AtomicFile::create(Arc::clone(&self.storage), &path)?;
        file.write_all(&text).and_then(|()| file.commit()).in_file(&path)?;
        // What is read is what a later run will read, whatever a decimal spelling does to the last bit.
        serde_json::from_slice(&text).map_err(|e| Error::bug(format!("a measurement cannot be read: {e}")).at_item(name))
    }
}

/// A digest of a list of texts that no other list has.
fn digest<'a>(parts: impl IntoIterator<Item = &'a String>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    digest.finish()
}

/// An observer that stops the work when the time is over.
pub(crate) struct Timed<'a> {
    inner: &'a dyn Observer,
    limit: Option<(Duration, Instant)>,
}

impl<'a> Timed<'a> {
    /// Stops after `limit` from now.
    pub(crate) fn new(inner: &'a dyn Observer, limit: Option<Duration>) -> Self {
        Self { inner, limit: limit.map(|limit| (limit, Instant::now())) }
    }

    /// Whether the time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.limit.is_some_and(|(limit, start)| start.elapsed() >= limit)
    }

    /// The time that is left, where it is limited.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.limit.map(|(limit, start)| limit.saturating_sub(start.elapsed()))
    }

    /// Says so where it was the time limit that stopped the work.
    pub(crate) fn explain(&self, error: Error, output: &Path) -> Error {
        let Some((limit, _)) = self.limit.filter(|_| error.kind() == ErrorKind::Interrupted && !self.inner.cancelled()) else {
            return error;
        };
        Error::limit(format!("the time limit of {} s is over", limit.as_secs_f64()))
            .in_file(output)
            .help("what was measured so far is kept there: the same command goes on from it")
    }
}

impl Observer for Timed<'_> {
    fn begin(&self, what: &str, tensors: usize, total_bytes: u64) {
        self.inner.begin(what, tensors, total_bytes);
    }

    fn advance(&self, tensor: &str, bytes: u64) {
        self.inner.advance(tensor, bytes);
    }

    fn note(&self, text: &str) {
        self.inner.note(text);
    }

    fn end(&self) {
        self.inner.end();
    }

    fn cancelled(&self) -> bool {
        self.is_over() || self.inner.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gravure_base::Disk;

    #[test]
    fn a_measurement_is_made_once_for_its_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let work = |inputs: &str| Work::new(folder.path(), FOLDER, &[inputs.to_owned()], Arc::new(Disk)).unwrap();
        let made = std::cell::Cell::new(0);
        let measure = |work: &Work, name: &str| {
            work.once(name, &[], || {
                made.set(made.get() + 1);
                Ok(vec![0.1_f64 + 0.2, 1e-308, f64::from(made.get())])
            })
        };
        let first = measure(&work("a"), "x").unwrap();
        assert_eq!(measure(&work("a"), "x").unwrap(), first, "to the last bit");
        assert_eq!(made.get(), 1);
        measure(&work("a"), "y").unwrap();
        measure(&work("b"), "x").unwrap();
        assert_eq!(made.get(), 3);
        assert!(work("a").once::<f64>("z", &[], || Err(Error::bug("no"))).is_err());
        work("a").forget("x", &[]);
        assert_ne!(measure(&work("a"), "x").unwrap(), first);
        assert_eq!(work("a").once::<f64>("z", &[], || Ok(2.0)).unwrap(), 2.0, "an error is not kept");
    }

    #[test]
    fn what_cannot_be_read_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let work = Work::new(folder.path(), FOLDER, &[], Arc::new(Disk)).unwrap();
        work.once("x", &[], || Ok(1.5_f64)).unwrap();
        let file = std::fs::read_dir(work.folder()).unwrap().next().unwrap().unwrap().path();
        std::fs::write(&file, "1.").unwrap();
        assert_eq!(work.once("x", &[], || Ok(2.5_f64)).unwrap(), 2.5);
    }

    #[test]
    fn the_limit_is_told_from_the_user() {
        let timed = Timed::new(&crate::Quiet, Some(Duration::ZERO));
        let stopped = timed.go_on().unwrap_err();
        assert_eq!(timed.explain(stopped, Path::new("out")).kind(), ErrorKind::Limit);
        assert!(Timed::new(&crate::Quiet, None).go_on().is_ok());
        assert_eq!(timed.explain(Error::bug("x"), Path::new("out")).kind(), ErrorKind::Bug);
    }
}
