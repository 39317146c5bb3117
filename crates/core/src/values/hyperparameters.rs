//! The numbers that define a model of an architecture, free of any format's spelling.

use crate::{Error, Part, Result, Role, TensorId, Value};

/// A hyperparameter. A format owns the table from these to its own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum HyperKey {
    BlockCount,
    ContextLength,
    EmbeddingLength,
    FeedForwardLength,
    HeadCount,
    HeadCountKv,
    RopeDimensionCount,
    RopeFreqBase,
    RopeScalingType,
    RopeScalingFactor,
    RopeScalingOriginalContextLength,
    RopeScalingAttentionFactor,
    RopeScalingYarnLogMultiplier,
    RopeScalingYarnExtFactor,
    RopeScalingYarnAttentionFactor,
    RopeScalingYarnBetaFast,
    RopeScalingYarnBetaSlow,
    LayerNormEpsilon,
    LayerNormRmsEpsilon,
    KeyLength,
    ValueLength,
    VocabSize,
    SlidingWindow,
    SlidingWindowPattern,
    RopeFreqBaseSwa,
    AttentionLogitSoftcap,
    FinalLogitSoftcap,
    AttentionScale,
    CausalAttention,
    PoolingType,
    TokenTypeCount,
    ClassifierLabels,
    ExpertCount,
    ExpertUsedCount,
    ExpertFeedForwardLength,
    /// `general.file_type` of a GGUF. An architecture gives the *place* among the other keys with
    /// the value 0; the writer puts the package's own number there.
    FileType,
    /// Not written to a file by every format: the activation of the feed-forward block
    /// (`silu`, `gelu`, `gelu_tanh`).
    Activation,
    /// Whether the output matrix is the token embedding.
    TiedEmbeddings,
    /// Whether the attention projections have biases. Not written to a GGUF: its tensors show it.
    AttentionBias,
    /// Whether the feed-forward projections have biases. Not written to a GGUF: its tensors show it.
    FeedForwardBias,
    /// Tokens that a position attends to in the layers with a window, where the architecture's
    /// GGUF convention has no key for it (Mistral as `llama`). Not written to a GGUF.
    AttentionWindow,
    /// Square root of the divisor of attention scores, where it is not the length of a head
    /// (`query_pre_attn_scalar` of Gemma: scores are divided by its square root). Not written to a GGUF.
    QueryPreAttentionScalar,
    /// Generated vectors by which rotary frequencies are divided, for contexts up to and beyond the
    /// original length, or for all. Not keys of a GGUF but tensors (`rope_freqs`, `rope_factors_*`).
    RopeFactors,
    /// See [`HyperKey::RopeFactors`].
    RopeFactorsShort,
    /// See [`HyperKey::RopeFactors`].
    RopeFactorsLong,
}

/// Hyperparameters in the order in which the architecture gave them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hyperparameters {
    entries: Vec<(HyperKey, Value)>,
    ignored: Vec<String>,
}

impl Hyperparameters {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value: in place where the key exists, at the end where it is new.
    pub fn set(&mut self, key: HyperKey, value: Value) {
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some((_, v)) => *v = value,
            None => self.entries.push((key, value)),
        }
    }

    /// The value under `key`.
    pub fn get(&self, key: HyperKey) -> Option<&Value> {
        self.entries.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// An integer that must be there.
    pub fn u64(&self, key: HyperKey) -> Result<u64> {
        self.get(key).and_then(Value::as_u64).ok_or_else(|| Error::input(format!("the model does not say its {key:?}")))
    }

    /// A float that must be there.
    pub fn f64(&self, key: HyperKey) -> Result<f64> {
        self.get(key).and_then(Value::as_f64).ok_or_else(|| Error::input(format!("the model does not say its {key:?}")))
    }

    /// Entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (HyperKey, &Value)> {
        self.entries.iter().map(|(k, v)| (*k, v))
    }

    /// A flag, false where it is not there.
    pub fn flag(&self, key: HyperKey) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Sets what a source without a configuration shows by its tensors alone: whether the output is
    /// the token embedding, which projections have biases, which rotary factors there are. `has` says
    /// whether a tensor is there.
    pub fn notice_tensors(&mut self, has: impl Fn(&TensorId) -> bool) {
        let global = |role| has(&TensorId::global(role, Part::Weight));
        let biased = |role| has(&TensorId::layer(role, 0, Part::Bias));
        let facts = [
            (HyperKey::TiedEmbeddings, !global(Role::Output)),
            (HyperKey::AttentionBias, biased(Role::AttentionQuery)),
            (HyperKey::FeedForwardBias, biased(Role::FeedForwardUp)),
        ];
        let factors = [
            (HyperKey::RopeFactors, global(Role::RopeFrequencies)),
            (HyperKey::RopeFactorsShort, global(Role::RopeFactorsShort)),
            (HyperKey::RopeFactorsLong, global(Role::RopeFactorsLong)),
        ];
        // A factor that is a tensor already is not generated: the flag stands for it.
        for (key, fact) in facts.into_iter().chain(factors.into_iter().filter(|(_, there)| *there)) {
            self.set(key, Value::Bool(fact));
        }
    }

    /// What a lenient reading of the configuration passed over, for the model's notes: the key, and
    /// what about it.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Records something that was passed over.
    pub fn set_ignored(&mut self, ignored: Vec<String>) {
        self.ignored = ignored;
    }
}
