//! A model before any weight byte has been read.

use std::path::PathBuf;
use std::sync::Arc;

use gravure_text::Tokenizer;

use crate::{Architecture, Graph, Hyperparameters, Metadata, Tensor};

/// Where a model came from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Format id.
    pub format: &'static str,
    /// Format details for people, for example `GGUF v3, 2 files`.
    pub detail: String,
    /// The path as given.
    pub path: PathBuf,
    /// Every file that belongs to it.
    pub files: Vec<PathBuf>,
    /// Of a model in several files that each hold some of its tensors: how many, in the order of
    /// [`Model::tensors`]. Empty otherwise.
    pub file_tensors: Vec<u64>,
}

/// Whose conventions the tensors follow: their names, the order of rotary rows, added constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Hugging Face's.
    HuggingFace,
    /// The neutral form of an architecture's tensor map, which GGUF shares. A GGUF of an
    /// architecture that no file knows is in it too.
    Neutral,
}

/// Something that was ignored under `--lenient`, or that a user should know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// The key, tensor or file concerned.
    pub subject: String,
    /// What about it.
    pub text: String,
}

/// A model: metadata, hyperparameters, tokenizer, graph, lazy tensors.
#[derive(Debug, Clone)]
pub struct Model {
    /// Where it came from.
    pub source: Source,
    /// Architecture id in the source's spelling, `None` where the source does not say.
    pub architecture_id: Option<String>,
    /// The architecture's file, where one knows it.
    pub architecture: Option<&'static dyn Architecture>,
    /// Whose conventions the tensors follow.
    pub naming: Naming,
    /// Hyperparameters; empty where the architecture is unknown.
    pub hyperparameters: Hyperparameters,
    /// The source's own metadata: all key-value pairs of a GGUF; of a Hugging Face folder the front
    /// matter of its `README.md` (`license`, `language`, `tags`, `base_model`, ...), flattened.
    pub metadata: Metadata,
    /// The tokenizer, where the source has one that was understood.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The graph, where the source or the architecture gives one.
    pub graph: Option<Graph>,
    /// Tensors in file order.
    pub tensors: Vec<Tensor>,
    /// What was ignored.
    pub notes: Vec<Note>,
}

impl Model {
    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|t| t.shape.elements()).sum()
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }
}
