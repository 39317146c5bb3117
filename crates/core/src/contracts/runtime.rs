//! Who executes a model?
//!
//! A runtime loads a model to a shared, owned handle. What the handle can do is asked for: a decoder
//! continues sequences of tokens, an encoder turns whole texts into vectors. Many sequences share one
//! handle, and each step takes chunks of several of them.

use std::io::{Read, Write};

use crate::{Error, Model, Result, TensorId};

/// Something in a model that a runtime cannot execute.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// The operation, tensor or feature concerned.
    pub subject: String,
    /// What is missing.
    pub text: String,
}

/// How keys and values of earlier positions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    #[default]
    F16,
    /// Blocks of 32 bytes with a 16-bit scale.
    Q8,
}

/// How a linear map treats its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// Rounded where the kernel of an encoding wants it, to 8 bits in blocks or to bf16: the fast way.
    #[default]
    Fast,
    /// Rounded to 8 bits where weights are integers, kept in 32-bit floats where they are floats: how an original is run that others
    /// are compared with, on every processor.
    Original,
    /// Kept in 32-bit floats, weights decoded: slow, the reference for quality.
    F32,
}

/// What to load and how.
#[derive(Debug)]
pub struct LoadRequest<'a> {
    /// The model in its graph's orientation: tensors have identities and the order of rows that the
    /// graph's operations expect.
    pub model: &'a Model,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Positions that all sequences together may hold.
    pub positions: usize,
    /// How keys and values are kept.
    pub cache: CacheType,
    /// Precision of inputs of linear maps.
    pub activations: Activations,
    /// Low-rank additions to weights.
    pub adapters: Vec<Adapter>,
}

/// A low-rank addition to linear maps: `x W^T + scale * (x A^T) B^T`.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// For each weight `a [rank, inputs]` and `b [outputs, rank]`, in the graph's orientation.
    pub pairs: Vec<(TensorId, crate::Tensor, crate::Tensor)>,
    /// Factor of the product, `alpha / rank` times what the user asked.
    pub scale: f32,
}

/// What a loaded model takes and what it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LoadFacts {
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Bytes of keys and values for each position.
    pub cache_bytes_per_position: u64,
    /// Positions that all sequences together may hold.
    pub positions: usize,
    /// Longest sequence that the model was made for.
    pub context: usize,
    /// Length of a row of logits, or of an embedding.
    pub width: usize,
    /// Kernels that run, by encoding, for people: `q4_0: avx512-vnni`.
    pub kernels: Vec<String>,
}

/// Executes models of one kind.
pub trait Runtime: Send + Sync + std::fmt::Debug {
    /// Lower-case name, for example `native`.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// Whether it is there: what was found, with its version.
    ///
    /// # Errors
    /// `Environment` with what is missing and how to get it.
    fn check(&self) -> Result<String>;

    /// Whether it reads the model's file itself, in place of its tensors: then that file must be one of the format that
    /// its profile names, and the model is handed over as it was read.
    fn opens_files(&self) -> bool {
        false
    }

    /// What it cannot execute of `model`; empty where it can execute it all.
    fn gaps(&self, model: &Model) -> Vec<Gap>;

    /// Bytes of all intermediate values of a step of `rows` tokens, the rounded inputs of matrices among them; `None`
    /// where it does not know before it has loaded the model.
    fn step_bytes(&self, _model: &Model, _rows: u64) -> Option<u64> {
        None
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// `Unsupported` where there are gaps, `Input` for weights that are no numbers, `Limit` where
    /// memory does not suffice.
    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Loaded>>;
}

/// A model that is ready to run.
pub trait Loaded: Send + Sync + std::fmt::Debug {
    /// What it takes.
    fn facts(&self) -> &LoadFacts;

    /// Number of the process that holds the weights, where it is another than this one.
    fn process(&self) -> Option<u32> {
        None
    }

    /// Continues sequences of tokens, where the model does that.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }

    /// Turns texts into vectors, where the model does that.
    fn encoder(&self) -> Option<&dyn Encoder> {
        None
    }
}

/// A sequence of a [`Decoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// What kind of work a chunk is: the only thing on which the choice of kernels may depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Many tokens that are known beforehand.
    Prefill,
    /// Many tokens whose logits, or what leads to them, are measured. Weights that are integers meet inputs in 8 bits, as they do in
    /// decode and on every processor, whatever is faster for a prompt here: what is measured holds elsewhere, too.
    Scoring,
    /// One token at a time, or some that are guessed.
    Decode,
}

/// Of which positions of a chunk logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Of none.
    Nothing,
    /// Of the last.
    Last,
    /// Of all from this index of the chunk.
    From(usize),
}

/// Tokens that a sequence is continued with.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// The tokens.
    pub tokens: &'a [u32],
    /// Which kernels run.
    pub phase: Phase,
    /// Which logits are wanted.
    pub wanted: Wanted,
}

/// Logits of one position.
#[derive(Debug, Clone, Copy)]
pub struct LogitsRow<'a> {
    /// Index of the chunk in the step.
    pub chunk: usize,
    /// Index of the token in the chunk.
    pub token: usize,
    /// One value for each entry of the vocabulary.
    pub values: &'a [f32],
}

/// Values of one node while it runs.
#[derive(Debug, Clone, Copy)]
pub struct Tap<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The weight that the values are about to meet, where the node is a linear map.
    pub weight: Option<TensorId>,
    /// Rows of `width` values.
    pub values: &'a [f32],
    /// Length of a row.
    pub width: usize,
}

/// Sees intermediate values, for calibration.
pub trait Taps {
    /// Whether the input of this node is wanted.
    fn wants(&self, node: &str, weight: Option<TensorId>) -> bool;
    /// Sees the first input of a node: of every linear map, and of other nodes by name.
    ///
    /// # Errors
    /// Whatever stops the step, such as values that are no numbers.
    fn see(&mut self, tap: &Tap<'_>) -> Result<()>;
}

/// One step of several sequences.
pub struct Step<'a> {
    /// What each sequence is continued with; no sequence twice.
    pub chunks: &'a [Chunk<'a>],
    /// Who sees intermediate values.
    pub taps: Option<&'a mut dyn Taps>,
    /// Whether to stop: asked between nodes.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}

impl<'a> Step<'a> {
    /// A step without taps that cannot be cancelled.
    pub fn new(chunks: &'a [Chunk<'a>]) -> Self {
        Self { chunks, taps: None, cancelled: &|| false }
    }
}

/// Continues sequences.
pub trait Decoder: Send + Sync {
    /// A new sequence without tokens.
    ///
    /// # Errors
    /// `Limit` where there are too many.
    fn open(&self) -> Result<SequenceId>;

    /// Runs the chunks and hands out the wanted logits, row by row in the order of chunks. A step
    /// that fails or is cancelled leaves every sequence as it was.
    ///
    /// # Errors
    /// `Request` for an unknown sequence, an empty chunk or a token beyond the vocabulary; `Limit`
    /// where a sequence would leave the context or the cache is full; `Interrupted` where it was cancelled.
    fn step(&self, step: Step<'_>, logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>) -> Result<()>;

    /// The tokens of a sequence.
    fn tokens(&self, sequence: SequenceId) -> Result<Vec<u32>>;

    /// A new sequence that begins with the first `positions` of another, whose keys and values it shares.
    fn fork(&self, sequence: SequenceId, positions: usize) -> Result<SequenceId>;

    /// Forgets all but the first `positions` of a sequence.
    fn truncate(&self, sequence: SequenceId, positions: usize) -> Result<()>;

    /// Forgets a sequence.
    fn close(&self, sequence: SequenceId) -> Result<()>;

    /// Writes a sequence's tokens, keys and values.
    fn save(&self, sequence: SequenceId, out: &mut dyn Write) -> Result<()>;

    /// A new sequence from what [`Decoder::save`] wrote for the same model.
    ///
    /// # Errors
    /// `Input` where the bytes are no saved sequence of this model.
    fn restore(&self, input: &mut dyn Read) -> Result<SequenceId>;
}

/// Turns texts into vectors.
pub trait Encoder: Send + Sync {
    /// The vectors of all positions of one text: `tokens.len()` rows, one after the other.
    ///
    /// # Errors
    /// `Request` for no or too many tokens, or one beyond the vocabulary.
    fn encode(&self, tokens: &[u32], token_types: &[u32]) -> Result<Vec<f32>>;
}

/// The error of a sequence that is not open.
pub fn not_open(sequence: SequenceId) -> Error {
    Error::request(format!("sequence {} is not open", sequence.0))
}

/// Checks the chunks of a step as [`Decoder::step`] promises; `length_of` tells how long an open sequence is.
///
/// # Errors
/// `Request` for what `length_of` does not know, an empty chunk, a sequence that is there twice, or a token beyond the
/// vocabulary; `Limit` where a sequence would leave the context.
pub fn check_chunks(
    chunks: &[Chunk<'_>],
    vocabulary: usize,
    context: usize,
    length_of: impl Fn(SequenceId) -> Result<usize>,
) -> Result<()> {
    for (i, chunk) in chunks.iter().enumerate() {
        let length = length_of(chunk.sequence)?;
        if chunk.tokens.is_empty() {
            return Err(Error::request("a chunk without tokens"));
        }
        if chunks.iter().take(i).any(|c| c.sequence == chunk.sequence) {
            return Err(Error::request(format!("sequence {} is twice in one step", chunk.sequence.0)));
        }
        if let Some(beyond) = chunk.tokens.iter().find(|t| **t as usize >= vocabulary) {
            return Err(Error::request(format!("token {beyond} is beyond the vocabulary of {vocabulary}")));
        }
        let end = length + chunk.tokens.len();
        if end > context {
            return Err(Error::limit(format!("a sequence of {end} tokens leaves the model's context of {context}")));
        }
    }
    Ok(())
}

/// The error of a step that was cancelled.
pub fn cancelled() -> Error {
    Error::new(crate::ErrorKind::Interrupted, "the step was cancelled")
}
