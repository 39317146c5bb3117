//! The numbers that define a model of an architecture, free of any format's spelling.

use crate::{Error, Result, Value};

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
    ExpertCount,
    ExpertUsedCount,
    ExpertFeedForwardLength,
    FileType,
    /// Not written to a file by every format: the activation of the feed-forward block
    /// (`silu`, `gelu`, `gelu_tanh`).
    Activation,
    /// Whether the output matrix is the token embedding.
    TiedEmbeddings,
}

/// Hyperparameters in the order in which the architecture gave them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hyperparameters {
    entries: Vec<(HyperKey, Value)>,
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
}
