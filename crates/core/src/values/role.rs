//! What a tensor is for, whatever a file calls it.

/// The job of a weight in its layer. Bit widths are chosen by role, never by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Role {
    TokenEmbedding,
    TokenEmbeddingNorm,
    TokenTypes,
    PositionEmbedding,
    OutputNorm,
    Output,
    RopeFrequencies,
    RopeFactorsLong,
    RopeFactorsShort,
    AttentionNorm,
    AttentionNorm2,
    AttentionQuery,
    AttentionKey,
    AttentionValue,
    AttentionQkv,
    AttentionOutput,
    AttentionQueryNorm,
    AttentionKeyNorm,
    AttentionPostNorm,
    AttentionOutputNorm,
    AttentionSinks,
    FeedForwardNorm,
    FeedForwardPostNorm,
    FeedForwardGate,
    FeedForwardUp,
    FeedForwardDown,
    ExpertRouter,
    ExpertGate,
    ExpertUp,
    ExpertDown,
    SharedExpertRouter,
    SharedExpertGate,
    SharedExpertUp,
    SharedExpertDown,
    LayerOutputNorm,
    Classifier,
    ClassifierOutput,
    LoraA,
    LoraB,
    /// Anything that no file knows: carried through, quantized by shape alone.
    Other,
}

/// Which part of a layer's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The matrix, or the gain of a norm.
    Weight,
    /// The additive vector.
    Bias,
}

/// A tensor's place in a model, free of any format's naming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct TensorId {
    /// Its job.
    pub role: Role,
    /// Layer, counted from zero; `None` outside the layers.
    pub layer: Option<u32>,
    /// Which expert, where experts are separate tensors.
    pub expert: Option<u32>,
    /// Weight or bias.
    pub part: Part,
}

impl TensorId {
    /// A weight outside the layers.
    pub fn global(role: Role, part: Part) -> Self {
        Self { role, layer: None, expert: None, part }
    }

    /// A weight of a layer.
    pub fn layer(role: Role, layer: u32, part: Part) -> Self {
        Self { role, layer: Some(layer), expert: None, part }
    }
}
