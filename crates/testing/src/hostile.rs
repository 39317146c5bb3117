//! Files that no reader should be fooled by, and their honest neighbours.
//!
//! Every sample is made here, byte by byte, the same on every machine; none is a copy of a published
//! attack. A sample says which class of weakness it tries and what a reader must answer: an error of
//! one kind, or the model. The honest ones are as unusual as a format allows, so that strictness
//! does not turn into false alarms.
//!
//! The builders ([`gguf::Gguf`], [`zip::Zip`], [`pickle`]) check nothing: that is what they are for.

pub mod gguf;
pub mod pickle;
pub mod zip;

mod config;
mod gguf_samples;
mod imatrix;
mod plans;
mod safetensors;
mod tokenizer;
mod torch;
mod valid;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gravure_core::{ErrorKind, Plan};

use crate::tiny_model;

pub use valid::samples as valid_samples;

/// What a sample tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Sizes whose products or sums leave 64 bits.
    Overflow,
    /// Sizes and offsets beyond the end of the file.
    BeyondFile,
    /// A few bytes that ask for hours or gigabytes.
    HugeWork,
    /// Two things of one name, between which readers would choose differently.
    Duplicate,
    /// Bytes that belong to two tensors, or to none.
    Overlap,
    /// Impossible alignments.
    Alignment,
    /// Nesting without end.
    Recursion,
    /// Ids, merge rules and pieces of a vocabulary that point nowhere.
    Vocabulary,
    /// Names that lead out of the folder.
    Traversal,
    /// Pickles that would run code.
    Pickle,
    /// Archives that two readers would read as two archives.
    Archive,
    /// Files that are two formats at once.
    Polyglot,
    /// Pointers that stand where a large file should be.
    Pointer,
    /// Files that end too early.
    Truncated,
    /// Numbers that no measurement and no training gives.
    Number,
    /// Bytes that are no text, and text that steers a terminal.
    Text,
    /// Files that contradict themselves or each other.
    Contradiction,
    /// Not what the format's grammar allows.
    Syntax,
    /// Well-formed, but of a kind that nobody here knows.
    Unknown,
    /// Nothing: an honest file.
    Honest,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 20] = [
        Self::Overflow,
        Self::BeyondFile,
        Self::HugeWork,
        Self::Duplicate,
        Self::Overlap,
        Self::Alignment,
        Self::Recursion,
        Self::Vocabulary,
        Self::Traversal,
        Self::Pickle,
        Self::Archive,
        Self::Polyglot,
        Self::Pointer,
        Self::Truncated,
        Self::Number,
        Self::Text,
        Self::Contradiction,
        Self::Syntax,
        Self::Unknown,
        Self::Honest,
    ];
}

/// What is done with a sample.
#[derive(Debug, Clone)]
pub enum Verb {
    /// It is opened as a model.
    Open,
    /// It is opened, and its blocks are validated; opening succeeds.
    Validate,
    /// It is opened and a quantization is planned; opening succeeds, and planning is what is judged.
    Convert,
    /// It is the importance matrix of a quantization of [`importance_target`].
    Importance,
    /// A quantization of [`importance_target`] by this plan.
    Plan(Box<Plan>),
}

/// What a reader must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// An error of this kind.
    Refused(ErrorKind),
    /// No error.
    Accepted,
}

/// One case: files and what must come of them.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Unique name: format, then what is wrong with it.
    pub name: String,
    /// What it tries.
    pub class: Class,
    /// Files by path within the sample's folder.
    pub files: Vec<(String, Vec<u8>)>,
    /// Length to which the opened file is stretched by a hole, which takes no space on the disk.
    pub stretched: Option<u64>,
    /// Which of them is opened; empty for the folder itself.
    pub open: String,
    /// What is done.
    pub verb: Verb,
    /// What must come of it.
    pub expect: Expect,
}

impl Sample {
    /// A sample of one file that must be refused when it is opened.
    pub(crate) fn file(name: &str, extension: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>) -> Self {
        let file = format!("model.{extension}");
        Self {
            name: name.to_owned(),
            class,
            files: vec![(file.clone(), bytes)],
            stretched: None,
            open: file,
            verb: Verb::Open,
            expect: Expect::Refused(kind),
        }
    }

    /// A sample of a folder that must be refused when it is opened.
    pub(crate) fn folder(name: &str, class: Class, kind: ErrorKind, files: Vec<(String, Vec<u8>)>) -> Self {
        Self { name: name.to_owned(), class, files, stretched: None, open: String::new(), verb: Verb::Open, expect: Expect::Refused(kind) }
    }

    /// The same sample, opened under another name.
    #[must_use]
    pub(crate) fn opened_as(mut self, open: &str) -> Self {
        self.open = open.to_owned();
        self
    }

    /// The same sample with another verb.
    #[must_use]
    pub(crate) fn verb(mut self, verb: Verb) -> Self {
        self.verb = verb;
        self
    }

    /// The same sample, stretched.
    #[must_use]
    pub(crate) fn stretched(mut self, length: u64) -> Self {
        self.stretched = Some(length);
        self
    }

    /// An honest sample.
    #[must_use]
    pub(crate) fn honest(mut self) -> Self {
        self.class = Class::Honest;
        self.expect = Expect::Accepted;
        self
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// Writes the files into `folder` and returns the path to open.
    pub fn write(&self, folder: &Path) -> std::io::Result<PathBuf> {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, bytes)?;
        }
        let path = if self.open.is_empty() { folder.to_owned() } else { folder.join(&self.open) };
        if let Some(length) = self.stretched {
            std::fs::OpenOptions::new().write(true).open(&path)?.set_len(length)?;
        }
        Ok(path)
    }
}

/// All hostile samples.
pub fn samples() -> Vec<Sample> {
    let groups = [
        gguf_samples::samples(),
        safetensors::samples(),
        torch::samples(),
        tokenizer::samples(),
        config::samples(),
        imatrix::samples(),
        plans::samples(),
    ];
    groups.into_iter().flatten().collect()
}

/// A small honest GGUF that importance matrices and plans are tried on: one embedding and two
/// matrices of one layer, in `f32`.
pub fn importance_target() -> Vec<u8> {
    gguf::Gguf::new()
        .pair("general.architecture", gguf::text("llama"))
        .pair("llama.block_count", gguf::number(1))
        .pair("llama.attention.head_count", gguf::number(4))
        .tensor("token_embd.weight", &[256, 8], 0, 8192)
        .tensor("blk.0.ffn_up.weight", &[256, 4], 0, 4096)
        .tensor("blk.0.ffn_down.weight", &[256, 4], 0, 4096)
        .build()
}

/// The files of a tiny Llama with one layer, made once.
pub fn tiny_folder() -> Vec<(String, Vec<u8>)> {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| design_folder("llama", &tiny_model::Options { layers: 1, ..tiny_model::Options::default() })).clone()
}

/// The files of a tiny model; none where it cannot be made, which the tests that count samples notice.
pub(crate) fn design_folder(design: &str, options: &tiny_model::Options) -> Vec<(String, Vec<u8>)> {
    fn walk(folder: &Path, prefix: &str, out: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), out);
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                out.push((name, bytes));
            }
        }
    }
    let folder = std::env::temp_dir().join(format!("gravure-hostile-{}-{design}-{}", std::process::id(), options.shards));
    let mut out = Vec::new();
    if tiny_model::write(design, options, &folder).is_ok() {
        walk(&folder, "", &mut out);
        out.sort();
    }
    let _ = std::fs::remove_dir_all(folder);
    out
}

/// The files with one of them replaced or added.
pub(crate) fn with(mut files: Vec<(String, Vec<u8>)>, name: &str, bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    files.retain(|(n, _)| n != name);
    files.push((name.to_owned(), bytes));
    files
}

/// The first bytes that git-lfs leaves where a large file should be.
pub(crate) fn lfs_pointer() -> Vec<u8> {
    let digest = "0".repeat(64);
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 4000000000\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn samples_are_many_and_their_names_unique() {
        let (hostile, honest) = (samples(), valid_samples());
        let mut seen = BTreeSet::new();
        for sample in hostile.iter().chain(&honest) {
            assert!(seen.insert(sample.name.clone()), "{} is there twice", sample.name);
            assert!(!sample.files.is_empty() || matches!(sample.verb, Verb::Plan(_)), "{} has no file", sample.name);
        }
        let mut classes: BTreeMap<Class, usize> = BTreeMap::new();
        hostile.iter().for_each(|s| *classes.entry(s.class).or_default() += 1);
        for class in Class::ALL.iter().filter(|c| **c != Class::Honest) {
            assert!(classes.contains_key(class), "no sample tries {class:?}");
        }
        assert!(hostile.len() >= 200, "{} hostile samples", hostile.len());
        assert!(honest.len() >= 30, "{} honest samples", honest.len());
        assert!(honest.iter().all(|s| s.expect == Expect::Accepted && s.class == Class::Honest));
        assert!(hostile.iter().all(|s| s.class != Class::Honest));
    }
}
