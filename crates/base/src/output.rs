//! An atomic output file that knows its digest and can be continued after a crash.
//!
//! Beside `.<name>.partial` lies `.<name>.journal`: a first line that names the request by its
//! fingerprint, then one line for each finished unit (a tensor): its number, the length of the file at
//! that point, and the SHA-256 of the file up to there. A later run with the same fingerprint takes the
//! last line whose digest the partial file still has, and goes on behind it; anything else starts anew.
//! The digest check is what makes this safe after a power loss, when the journal may be newer than the
//! data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{AtomicFile, Error, FileReader, OutputHandle, ReadAt, Result, Sha256, Storage, partial_path};

const MAGIC: &str = "gravure-journal-1";
/// A journal longer than this is not ours.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;
const BLOCK: usize = 1 << 20;

/// A file under construction.
pub struct OutputFile {
    // Declared before `file`: an abandoned output removes its journal first.
    journal: Option<Journal>,
    file: AtomicFile,
    digest: Sha256,
    units: u64,
}

impl std::fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputFile").field("file", &self.file).field("units", &self.units).finish_non_exhaustive()
    }
}

/// What a finished file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedFile {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl OutputFile {
    /// Starts `target`, or continues it where an interrupted run with the same `fingerprint` left a
    /// partial file. Returns the number of units that are already there; [`Self::written`] is then
    /// the length to go on from.
    ///
    /// # Errors
    /// `Environment` where the disk fails or another process is writing the same target.
    pub fn begin(storage: Arc<dyn Storage>, target: &Path, fingerprint: Option<&str>) -> Result<(Self, u64)> {
        let kept = match fingerprint {
            Some(fingerprint) => Kept::find(target, fingerprint),
            None => None,
        };
        let (keep, digest, units, journal_bytes) = match kept {
            Some(kept) => (kept.bytes, kept.digest, kept.units, kept.journal_bytes),
            None => (0, Sha256::new(), 0, 0),
        };
        let file = AtomicFile::resume(storage.clone(), target, keep)?;
        let journal = match fingerprint {
            Some(fingerprint) => Some(Journal::open(storage, target, fingerprint, journal_bytes)?),
            None => None,
        };
        Ok((Self { journal, file, digest, units }, units))
    }

    /// Appends bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)
    }

    /// Length so far.
    pub fn written(&self) -> u64 {
        self.file.written()
    }

    /// Marks everything written so far as one more finished unit.
    pub fn end_unit(&mut self) -> Result<()> {
        self.units += 1;
        if let Some(journal) = &mut self.journal {
            let line = format!("{} {} {}\n", self.units, self.file.written(), self.digest.clone().finish());
            journal.handle.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    /// Syncs the bytes and gives them their final name later: for outputs of several files, all of
    /// which must be complete before the first is renamed.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }

    /// Syncs, renames into place, removes the journal.
    pub fn commit(self) -> Result<FinishedFile> {
        let Self { journal, file, digest, .. } = self;
        let finished = FinishedFile { bytes: file.written(), sha256: digest.finish() };
        file.commit()?;
        if let Some(journal) = journal {
            journal.remove()?;
        }
        Ok(finished)
    }
}

struct Journal {
    handle: Box<dyn OutputHandle>,
    storage: Arc<dyn Storage>,
    path: PathBuf,
    removed: bool,
}

/// Where the journal of `target` lies: `.<name>.journal` beside it.
pub fn journal_path(target: &Path) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.journal"))
}

impl Journal {
    fn open(storage: Arc<dyn Storage>, target: &Path, fingerprint: &str, keep: u64) -> Result<Self> {
        let path = journal_path(target);
        let handle = storage.open(&path, keep)?;
        let mut journal = Self { handle, storage, path, removed: false };
        if keep == 0 {
            journal.handle.write_all(format!("{MAGIC} {fingerprint}\n").as_bytes())?;
        }
        Ok(journal)
    }

    fn remove(mut self) -> Result<()> {
        self.removed = true;
        self.storage.remove(&self.path)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if !self.removed {
            // The error that brought us here is already on its way.
            let _ = self.storage.remove(&self.path);
        }
    }
}

/// What an interrupted run left that can be trusted.
struct Kept {
    bytes: u64,
    digest: Sha256,
    units: u64,
    journal_bytes: u64,
}

impl Kept {
    /// `None` for anything that does not fit: a wrong guess here only costs time.
    fn find(target: &Path, fingerprint: &str) -> Option<Self> {
        let journal = FileReader::open(journal_path(target)).ok()?;
        let partial = FileReader::open(partial_path(target)).ok()?;
        let text = read_text(&journal).ok()?;
        let mut lines = text.split_inclusive('\n');
        let first = lines.next()?;
        if first != format!("{MAGIC} {fingerprint}\n") {
            return None;
        }
        let mut digest = Sha256::new();
        let mut at = 0;
        let mut journal_bytes = first.len() as u64;
        let mut best = None;
        for line in lines.filter(|l| l.ends_with('\n')) {
            let mut words = line.split_whitespace();
            let (units, end, expected) = (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?, words.next()?);
            if end < at || end > partial.len() || update(&mut digest, &partial, at, end).is_err() {
                break;
            }
            at = end;
            journal_bytes += line.len() as u64;
            if digest.clone().finish() != expected {
                break;
            }
            best = Some(Self { bytes: at, digest: digest.clone(), units, journal_bytes });
        }
        best
    }
}

fn read_text(journal: &FileReader) -> Result<String> {
    crate::Limits::check(journal.len(), MAX_JOURNAL_BYTES, "journal bytes")?;
    let mut bytes = vec![0; journal.len() as usize];
    journal.read_exact_at(&mut bytes, 0)?;
    String::from_utf8(bytes).map_err(|_| Error::input("the journal is not text"))
}

fn update(digest: &mut Sha256, file: &FileReader, mut at: u64, end: u64) -> Result<()> {
    let mut block = vec![0; BLOCK];
    while at < end {
        let n = BLOCK.min((end - at) as usize);
        file.read_exact_at(&mut block[..n], at)?;
        digest.update(&block[..n]);
        at += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Disk;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("gravure-output-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn leave_behind(target: &Path, fingerprint: &str, finished: &[&[u8]], unfinished: &[u8]) {
        let (mut out, kept) = OutputFile::begin(Arc::new(Disk), target, Some(fingerprint)).unwrap();
        assert_eq!(kept, 0);
        for unit in finished {
            out.write_all(unit).unwrap();
            out.end_unit().unwrap();
        }
        out.write_all(unfinished).unwrap();
        // As a killed process leaves it: nothing is dropped. The lock is released by forgetting through a raw copy.
        let (partial, journal) = (partial_path(target), journal_path(target));
        let (p, j) = (std::fs::read(&partial).unwrap(), std::fs::read(&journal).unwrap());
        drop(out);
        assert!(!partial.exists() && !journal.exists(), "an abandoned output leaves nothing");
        std::fs::write(partial, p).unwrap();
        std::fs::write(journal, j).unwrap();
    }

    #[test]
    fn goes_on_after_the_last_finished_unit() {
        let target = folder().join("resume.bin");
        leave_behind(&target, "abc", &[b"one", b"two"], b"thr");
        let (mut out, kept) = OutputFile::begin(Arc::new(Disk), &target, Some("abc")).unwrap();
        assert_eq!((kept, out.written()), (2, 6));
        out.write_all(b"three").unwrap();
        out.end_unit().unwrap();
        let finished = out.commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"onetwothree");
        let mut whole = Sha256::new();
        whole.update(b"onetwothree");
        assert_eq!(finished.sha256, whole.finish());
        assert!(!journal_path(&target).exists());
    }

    #[test]
    fn another_request_or_changed_bytes_start_anew() {
        let target = folder().join("anew.bin");
        leave_behind(&target, "abc", &[b"one", b"two"], b"");
        let (out, kept) = OutputFile::begin(Arc::new(Disk), &target, Some("other")).unwrap();
        assert_eq!((kept, out.written()), (0, 0));
        drop(out);
        leave_behind(&target, "abc", &[b"one", b"two"], b"");
        std::fs::write(partial_path(&target), b"oneTwo").unwrap();
        let (out, kept) = OutputFile::begin(Arc::new(Disk), &target, Some("abc")).unwrap();
        assert_eq!((kept, out.written()), (1, 3));
    }

    #[test]
    fn two_writers_of_one_target_are_refused() {
        let target = folder().join("locked.bin");
        let _first = OutputFile::begin(Arc::new(Disk), &target, None).unwrap();
        let second = OutputFile::begin(Arc::new(Disk), &target, None).unwrap_err();
        assert!(second.message().contains("another process"), "{second}");
    }
}
