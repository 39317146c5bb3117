//! What graph do these tensors form?

use crate::{Graph, Hyperparameters, Result, TensorMap};

/// Reserved key of the configuration that [`Architecture::configure`] is given, under which the
/// reader of a folder puts the `config.json` of its pooling module: the one that `modules.json`
/// names (a type that ends in `Pooling`), usually `1_Pooling/config.json`. No architecture is
/// hindered by it; those that make sentence embeddings read it.
pub const POOLING_KEY: &str = "_pooling";

/// One model architecture: its configuration, its tensor names, the roles of its tensors, its graph.
pub trait Architecture: Send + Sync + std::fmt::Debug {
    /// Name as the GGUF world spells it, for example `llama`.
    fn id(&self) -> &'static str;

    /// Class names and model types under which Hugging Face knows it (`LlamaForCausalLM`, `mistral`).
    fn aliases(&self) -> &'static [&'static str];

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// Reads a Hugging Face `config.json`, to which the reader of the folder has added the object
    /// of a sentence-transformers pooling module's `config.json`, where there is one, under
    /// [`POOLING_KEY`]. Keys that were not read and are not on the shared list
    /// of harmless ones are errors that name them, or notes where `lenient`
    /// (see [`Hyperparameters::ignored`]).
    ///
    /// The result holds the keys in the order and with the value types in which GGUF's reference
    /// converter writes them for this architecture; keys that no GGUF has follow at the end.
    ///
    /// # Errors
    /// `Unsupported` for an unknown key or an unknown value of a known key; `Input` for a missing
    /// or ill-typed one.
    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters>;

    /// Hugging Face's tensor names, what each is, and how its values differ from the neutral form.
    fn tensor_map(&self, parameters: &Hyperparameters) -> Result<TensorMap>;

    /// The graph, built out of shared blocks.
    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph>;
}
