//! How a model is laid out in files.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Limits, Storage};
use gravure_text::Tokenizer;

use crate::{Artifact, Catalog, Encoding, Error, Model, Naming, Package, Result};

/// How sure a format is that a path is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Not mine.
    No,
    /// By the name alone.
    Name,
    /// By its first bytes or by the files in the folder.
    Certain,
}

/// What a reader is handed.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest<'a> {
    /// File or folder.
    pub path: &'a Path,
    /// Encodings and architectures to resolve against.
    pub catalog: &'a Catalog,
    /// Bounds for what the files may ask.
    pub limits: &'a Limits,
    /// Whether unknown keys and tensors are notes in the model instead of errors.
    pub lenient: bool,
    /// Whether the tokenizer may be left to [`Format::tokenizer`].
    pub tokenizer_later: bool,
}

/// What a writer is handed.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// Target file or folder.
    pub path: PathBuf,
    /// Where the bytes go.
    pub storage: Arc<dyn Storage>,
    /// Names the request and its sources, so that an interrupted run of the same can be continued
    /// (see [`gravure_base::OutputFile`]); `None` to start anew in any case.
    pub fingerprint: Option<String>,
    /// Largest size of one file; the output is split where it would be larger.
    pub max_file_bytes: Option<u64>,
    /// Largest number of tensors in one file.
    pub max_file_tensors: Option<u64>,
    /// How many tensors each file gets, where the output is to be cut as the source was; empty where
    /// the limits above decide. A format whose files may hold any tensors may ignore it.
    pub file_tensors: Vec<u64>,
}

impl WriteRequest {
    /// One file, started anew.
    pub fn new(path: impl Into<PathBuf>, storage: Arc<dyn Storage>) -> Self {
        Self { path: path.into(), storage, fingerprint: None, max_file_bytes: None, max_file_tensors: None, file_tensors: Vec::new() }
    }

    /// Which tensors go into which file under the two limits, for tensors of these sizes in bytes: in
    /// order, each file as full as it may be; at least one file, and none without a tensor unless it is
    /// the only one.
    pub fn divide(&self, sizes: &[u64]) -> Vec<Range<usize>> {
        let mut out = Vec::new();
        let (mut start, mut bytes) = (0, 0u64);
        for (index, &size) in sizes.iter().enumerate() {
            let count = (index - start) as u64;
            let full = self.max_file_tensors.is_some_and(|most| count >= most.max(1))
                || self.max_file_bytes.is_some_and(|most| bytes.saturating_add(size) > most);
            if count > 0 && full {
                out.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes = bytes.saturating_add(size);
        }
        out.push(start..sizes.len());
        out
    }
}

/// A way of laying a model out in files. Reading and writing are optional halves.
pub trait Format: Send + Sync + std::fmt::Debug {
    /// Lower-case name, for example `gguf`.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// Extension of a file of this format without the dot, or `None` where it is a folder.
    fn extension(&self) -> Option<&'static str>;

    /// Whether `path` is of this format. `head` holds the first bytes (up to 4096) of a file and is
    /// empty for a folder.
    fn probe(&self, path: &Path, head: &[u8]) -> Confidence;

    /// Whose naming the tensors of a package for this format have.
    fn naming(&self) -> Naming {
        Naming::Neutral
    }

    /// Reads everything but the weights.
    fn read(&self, _request: &ReadRequest<'_>) -> Result<Model> {
        Err(Error::unsupported(format!("{} can only be written", self.id())))
    }

    /// Reads what a source says beside its tensors: hyperparameters, tokenizer, metadata. The tensors may be missing, in
    /// the source and in the result.
    fn read_configuration(&self, request: &ReadRequest<'_>) -> Result<Model> {
        self.read(request)
    }

    /// The tokenizer of a model that was read without it, because the request allows it; it takes as long as some weights.
    fn tokenizer(&self, _model: &Model, _limits: &Limits) -> Result<Option<Tokenizer>> {
        Ok(None)
    }

    /// The tokenizer as a program will read it that opens what this format wrote; `None` where the
    /// source's own files are carried along.
    fn tokenizer_as_written(&self, _tokenizer: &Tokenizer) -> Result<Option<Tokenizer>> {
        Ok(None)
    }

    /// Whether the format has a tag for this encoding.
    fn can_hold(&self, _encoding: &dyn Encoding) -> bool {
        false
    }

    /// The files that [`Format::write`] will make: names relative to the target and exact sizes.
    fn layout(&self, _package: &Package<'_>, _request: &WriteRequest) -> Result<Vec<(String, u64)>> {
        Err(Error::unsupported(format!("{} can only be read", self.id())))
    }

    /// Writes the package; nothing appears under a final name unless it is whole.
    fn write(&self, _package: &Package<'_>, _request: &WriteRequest) -> Result<Artifact> {
        Err(Error::unsupported(format!("{} can only be read", self.id())))
    }
}
