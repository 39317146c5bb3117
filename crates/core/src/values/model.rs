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

/// What a source says that holds no model but what is added to one.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFacts {
    /// `lora` for pairs of low rank, called `WEIGHT.lora_a` and `WEIGHT.lora_b`.
    pub kind: String,
    /// α: the product of a pair of rank r is multiplied by α / r; 0 for a factor of 1.
    pub alpha: f32,
    /// When it works.
    pub invocation: Invocation,
    /// The model that it changes, as the source names it: a path, or a name at a hub.
    pub base: Option<String>,
}

/// When an adapter works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// From the first token.
    Always,
    /// After these tokens.
    Tokens(Vec<u32>),
    /// After the tokens of this text, without its first.
    Text(String),
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
    /// Where the source is an adapter: what it is. Its tensors are the adapter's.
    pub adapter: Option<AdapterFacts>,
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
