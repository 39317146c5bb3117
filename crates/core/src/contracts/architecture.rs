//! What graph do these tensors form?

use crate::{Graph, Hyperparameters, Result, TensorMap};

/// One model architecture: its configuration, its tensor names, the roles of its tensors, its graph.
pub trait Architecture: Send + Sync + std::fmt::Debug {
    /// Name as the GGUF world spells it, for example `llama`.
    fn id(&self) -> &'static str;

    /// Class names and model types under which Hugging Face knows it (`LlamaForCausalLM`, `mistral`).
    fn aliases(&self) -> &'static [&'static str];

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// Reads a Hugging Face `config.json`. Keys that were not read and are not on the shared list
    /// of harmless ones are errors that name them, or notes where `lenient`.
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
