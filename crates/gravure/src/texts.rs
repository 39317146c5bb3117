//! Two small texts for those who have none at hand: public-domain English of five kinds, no paragraph of
//! which is in both (`data/README.md`). A text of the model's own purpose is always the better choice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{AtomicFile, Error, Result, ResultExt, Storage};

/// One of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltInText {
    /// For importance and sensitivity: 99 kB.
    Calibration,
    /// For measuring what was made: 59 kB.
    Evaluation,
}

impl BuiltInText {
    /// The text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Calibration => include_str!("../data/calibration.txt"),
            Self::Evaluation => include_str!("../data/evaluation.txt"),
        }
    }

    /// Writes each of them; see [`BuiltInText::write`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn write_all(texts: &[Self], folder: &Path, storage: &Arc<dyn Storage>) -> Result<()> {
        texts.iter().try_for_each(|text| text.write(folder, Arc::clone(storage)).map(|_| ()))
    }

    /// The named text, or the path in `output` that this one will have, noted in `built_in`.
    pub fn instead_of(self, named: Option<&Path>, output: &Path, built_in: &mut Vec<Self>) -> PathBuf {
        named.map_or_else(
            || {
                built_in.push(self);
                output.join(self.file_name())
            },
            Path::to_path_buf,
        )
    }

    /// Name of its file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Calibration => "calibration.txt",
            Self::Evaluation => "evaluation.txt",
        }
    }

    /// Writes it into `folder`, which is made where it is missing: whoever wants to measure again finds it
    /// beside what was measured. The path of the file.
    ///
    /// # Errors
    /// `Environment` where it cannot be written.
    pub fn write(self, folder: &Path, storage: Arc<dyn Storage>) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder, e))?;
        let path = folder.join(self.file_name());
        if std::fs::read(&path).is_ok_and(|found| found == self.text().as_bytes()) {
            return Ok(path);
        }
        let mut file = AtomicFile::create(storage, &path)?;
        file.write_all(self.text().as_bytes()).and_then(|()| file.commit()).in_file(&path)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_paragraph_is_in_both() {
        let (a, b) = (BuiltInText::Calibration.text(), BuiltInText::Evaluation.text());
        assert!(a.len() > 90_000 && b.len() > 50_000);
        // Short ones, such as the names of speakers, are common English.
        let long = |text: &'static str| text.split("\n\n").filter(|p| p.len() > 80);
        let seen: std::collections::HashSet<_> = long(a).collect();
        assert_eq!(long(b).find(|p| seen.contains(p)), None);
    }

    #[test]
    fn it_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = || BuiltInText::Evaluation.write(&folder.path().join("a"), Arc::new(gravure_base::Disk)).unwrap();
        let path = write();
        let made = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(write(), path);
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), made);
        assert_eq!(std::fs::read_to_string(path).unwrap(), BuiltInText::Evaluation.text());
    }
}
