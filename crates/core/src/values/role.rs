//! What a tensor is for, whatever a file calls it.

/// The job of a weight in its layer. Bit widths are chosen by role, never by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Role {
    // Outside the layers.
    TokenEmbedding,
    TokenEmbeddingNorm,
    TokenTypes,
    PositionEmbedding,
    OutputNorm,
    Output,
    RopeFrequencies,
    RopeFactorsLong,
    RopeFactorsShort,
    Classifier,
    ClassifierOutput,
    ClassifierNorm,
    /// An embedding table with one slice for each layer.
    PerLayerTokenEmbedding,
    PerLayerModelProjection,
    PerLayerProjectionNorm,
    AltupUnembeddingProjection,
    AltupProjection,
    EncoderOutputNorm,
    DecoderOutputNorm,
    /// Dense layers after pooling (embedding models).
    SentenceDense2,
    SentenceDense3,
    NextTokenPreProjection,
    NextTokenPostProjection,
    // Of a layer.
    AttentionNorm,
    AttentionNorm2,
    AttentionQuery,
    AttentionKey,
    AttentionValue,
    /// Query, key and value in one matrix.
    AttentionQkv,
    AttentionOutput,
    AttentionGate,
    AttentionQueryNorm,
    AttentionKeyNorm,
    AttentionPostNorm,
    AttentionOutputNorm,
    AttentionSubNorm,
    AttentionSinks,
    AttentionRotary,
    /// Low-rank attention: into the small space.
    AttentionQueryDown,
    /// Low-rank attention: out of the small space.
    AttentionQueryUp,
    AttentionQueryDownNorm,
    AttentionKeyValue,
    AttentionKeyValueDown,
    AttentionKeyValueDownNorm,
    /// Low-rank attention: keys and values out of the small space.
    AttentionKeyValueUp,
    AttentionKeyUp,
    AttentionValueUp,
    FeedForwardNorm,
    FeedForwardPostNorm,
    FeedForwardPostNorm1,
    FeedForwardPostNorm2,
    FeedForwardPreNorm2,
    FeedForwardSubNorm,
    FeedForwardGate,
    FeedForwardUp,
    FeedForwardDown,
    FeedForwardActivation,
    ExpertRouter,
    ExpertRouterBias,
    /// Integers: expert of each token.
    ExpertTokenTable,
    ExpertNorm,
    /// All experts in one tensor, or one expert where the identity names it.
    ExpertGate,
    ExpertUp,
    ExpertDown,
    ExpertGateUp,
    SharedExpertRouter,
    SharedExpertGate,
    SharedExpertUp,
    SharedExpertDown,
    /// Experts shared by a chunk of experts.
    ChunkExpertGate,
    ChunkExpertUp,
    ChunkExpertDown,
    /// Experts in a smaller space: into it.
    LatentDown,
    LatentUp,
    LayerOutputNorm,
    LayerOutputScale,
    PerLayerInputGate,
    PerLayerProjection,
    PerLayerPostNorm,
    /// Alternating updates (Gemma 3n).
    AltupCorrectCoefficients,
    AltupCorrectScale,
    AltupPredictCoefficients,
    AltupRouter,
    AltupRouterNorm,
    /// Learned augmented residuals (Gemma 3n).
    LaurelLeft,
    LaurelRight,
    LaurelPostNorm,
    /// State-space models.
    StateIn,
    StateConvolution,
    StateConvolutionQuery,
    StateConvolutionKey,
    StateConvolutionValue,
    StateX,
    StateStep,
    StateStepNorm,
    StateBNorm,
    StateCNorm,
    StateNorm,
    StateOut,
    StateAlpha,
    StateBeta,
    StateBetaAlpha,
    StateForgetDown,
    StateForgetUp,
    StateGateDown,
    StateGateUp,
    /// Recurrent models of the RWKV family.
    TimeMixW0,
    TimeMixW1,
    TimeMixW2,
    TimeMixA0,
    TimeMixA1,
    TimeMixA2,
    TimeMixV0,
    TimeMixV1,
    TimeMixV2,
    TimeMixG1,
    TimeMixG2,
    TimeMixKeyKey,
    TimeMixKeyA,
    TimeMixReceptanceKey,
    TimeMixLerpX,
    TimeMixLerpW,
    TimeMixLerpK,
    TimeMixLerpV,
    TimeMixLerpR,
    TimeMixLerpG,
    TimeMixLerpFused,
    TimeMixFirst,
    TimeMixDecay,
    TimeMixDecayW1,
    TimeMixDecayW2,
    TimeMixKey,
    TimeMixValue,
    TimeMixReceptance,
    TimeMixGate,
    TimeMixNorm,
    TimeMixOutput,
    ChannelMixLerpK,
    ChannelMixLerpR,
    ChannelMixKey,
    ChannelMixValue,
    ChannelMixReceptance,
    /// Short convolutions (LFM2).
    ShortConvolution,
    ShortConvolutionIn,
    ShortConvolutionOut,
    /// Sparse attention: which positions are looked at.
    IndexerQuery,
    IndexerKey,
    IndexerQueryNorm,
    IndexerKeyNorm,
    IndexerProjection,
    IndexerAttentionKey,
    IndexerAttentionQueryUp,
    /// Layers that predict further tokens.
    NextTokenProjection,
    NextTokenEmbedding,
    NextTokenEmbeddingNorm,
    NextTokenHiddenNorm,
    NextTokenHead,
    NextTokenHeadNorm,
    // Of a layer of an encoder beside a decoder.
    EncoderAttentionNorm,
    EncoderAttentionQuery,
    EncoderAttentionKey,
    EncoderAttentionValue,
    EncoderAttentionOutput,
    EncoderAttentionBias,
    EncoderFeedForwardNorm,
    EncoderFeedForwardGate,
    EncoderFeedForwardDown,
    EncoderFeedForwardUp,
    // Of a layer of a decoder beside an encoder.
    DecoderAttentionNorm,
    DecoderAttentionQuery,
    DecoderAttentionKey,
    DecoderAttentionValue,
    DecoderAttentionOutput,
    DecoderAttentionBias,
    DecoderFeedForwardNorm,
    DecoderFeedForwardGate,
    DecoderFeedForwardDown,
    DecoderFeedForwardUp,
    CrossAttentionNorm,
    CrossAttentionQuery,
    CrossAttentionKey,
    CrossAttentionValue,
    CrossAttentionOutput,
    CrossAttentionBias,
    // Of an adapter.
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

    /// Whether a conversion to 16 bits leaves this tensor in 32, as engines expect it: vectors,
    /// biases, norms, tables of rotary factors, expert routers, position and type embeddings.
    /// `dimensions` is the number of dimensions.
    pub fn keeps_full_precision(&self, dimensions: usize) -> bool {
        dimensions <= 1 || self.part == Part::Bias || self.role.keeps_full_precision()
    }
}

impl Role {
    /// Whether a matrix of this role stays in 32 bits in a conversion to 16: see
    /// [`TensorId::keeps_full_precision`].
    pub fn keeps_full_precision(self) -> bool {
        self.is_norm()
            || matches!(
                self,
                Self::TokenTypes
                    | Self::PositionEmbedding
                    | Self::RopeFrequencies
                    | Self::RopeFactorsLong
                    | Self::RopeFactorsShort
                    | Self::ExpertRouter
                    | Self::SharedExpertRouter
            )
    }

    /// Whether it is the gain or bias of a normalization.
    pub fn is_norm(self) -> bool {
        matches!(
            self,
            Self::TokenEmbeddingNorm
                | Self::OutputNorm
                | Self::ClassifierNorm
                | Self::PerLayerProjectionNorm
                | Self::EncoderOutputNorm
                | Self::DecoderOutputNorm
                | Self::AttentionNorm
                | Self::AttentionNorm2
                | Self::AttentionQueryNorm
                | Self::AttentionKeyNorm
                | Self::AttentionPostNorm
                | Self::AttentionOutputNorm
                | Self::AttentionSubNorm
                | Self::AttentionQueryDownNorm
                | Self::AttentionKeyValueDownNorm
                | Self::FeedForwardNorm
                | Self::FeedForwardPostNorm
                | Self::FeedForwardPostNorm1
                | Self::FeedForwardPostNorm2
                | Self::FeedForwardPreNorm2
                | Self::FeedForwardSubNorm
                | Self::ExpertNorm
                | Self::LayerOutputNorm
                | Self::PerLayerPostNorm
                | Self::AltupRouterNorm
                | Self::LaurelPostNorm
                | Self::StateStepNorm
                | Self::StateBNorm
                | Self::StateCNorm
                | Self::StateNorm
                | Self::TimeMixNorm
                | Self::IndexerQueryNorm
                | Self::IndexerKeyNorm
                | Self::NextTokenEmbeddingNorm
                | Self::NextTokenHiddenNorm
                | Self::NextTokenHeadNorm
                | Self::EncoderAttentionNorm
                | Self::EncoderFeedForwardNorm
                | Self::DecoderAttentionNorm
                | Self::DecoderFeedForwardNorm
                | Self::CrossAttentionNorm
        )
    }
}
