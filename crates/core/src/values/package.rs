//! A model, a plan, and a stream of encoded row chunks: what a format writes.

use crate::{Encoding, Error, ImportanceMatrix, Metadata, Model, Result, Shape, TensorId};

/// A tensor of the output.
#[derive(Debug, Clone)]
pub struct PackageTensor {
    /// Name in the neutral convention (which GGUF shares), or in Hugging Face's for a format that
    /// wants that: see [`Package::naming`].
    pub name: String,
    /// Its place in the model, where it is known.
    pub id: Option<TensorId>,
    /// Dimensions, outermost first.
    pub shape: Shape,
    /// Encoding in the output.
    pub encoding: &'static dyn Encoding,
}

impl PackageTensor {
    /// Encoded size in bytes.
    pub fn bytes(&self) -> Result<u64> {
        let row = self.encoding.row_bytes(self.shape.row_length()).map_err(|e| e.at_item(&*self.name))?;
        row.checked_mul(self.shape.rows()).ok_or_else(|| Error::input("the tensor is impossibly large").at_item(&*self.name))
    }
}

/// Makes the encoded bytes of the output's tensors.
pub trait ChunkStream: Sync {
    /// Calls `sink` with `(tensor index, encoded bytes)` for the tensors from `first` on, in order,
    /// each tensor's bytes in order and whole rows at a time (at most 8 MiB). Stops at the first
    /// error of its own or of the sink.
    fn stream(&self, first: usize, sink: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()>;
}

/// Everything that a format needs to write an artifact.
pub struct Package<'a> {
    /// The source model: tokenizer, hyperparameters, source metadata.
    pub model: &'a Model,
    /// Number of layers that the plan leaves out.
    pub pruned_layers: u32,
    /// Keys that the user set by hand, in the target format's own spelling.
    pub overrides: Metadata,
    /// The importance matrix that rounding was weighted with, for provenance keys.
    pub importance: Option<&'a ImportanceMatrix>,
    /// Number under which GGUF knows the mixture.
    pub file_type: Option<u32>,
    /// Whose naming the tensors have.
    pub naming: crate::Naming,
    /// Tensors in output order.
    pub tensors: Vec<PackageTensor>,
    /// Their bytes.
    pub chunks: &'a dyn ChunkStream,
}

impl std::fmt::Debug for Package<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Package").field("tensors", &self.tensors.len()).finish_non_exhaustive()
    }
}
