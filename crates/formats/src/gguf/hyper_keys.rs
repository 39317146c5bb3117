//! Hyperparameters and GGUF's keys for them.
//!
//! Keys start with the architecture's id (`llama.block_count`); the two that do not are named in
//! full below. Each key has the one type that gguf-py writes, and that llama.cpp insists on when it
//! reads: integers are `u32`, real numbers `f32`; a value for each layer is an array of `i32` (of
//! flags where the key is one).

use gravure_core::{HyperKey, Hyperparameters, Metadata, Result, Value};

/// Type of a value in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Real,
    Flag,
    Text,
}

use Kind::{Flag, Integer, Real, Text};

/// What stands before the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The architecture's id and a dot.
    Architecture,
    /// Nothing.
    File,
}

use Scope::{Architecture, File};

/// Keys that a hyperparameter has in a file. Those that are missing here are seen in the tensors.
const KEYS: &[(HyperKey, Scope, &str, Kind)] = &[
    (HyperKey::BlockCount, Architecture, "block_count", Integer),
    (HyperKey::ContextLength, Architecture, "context_length", Integer),
    (HyperKey::EmbeddingLength, Architecture, "embedding_length", Integer),
    (HyperKey::FeedForwardLength, Architecture, "feed_forward_length", Integer),
    (HyperKey::HeadCount, Architecture, "attention.head_count", Integer),
    (HyperKey::HeadCountKv, Architecture, "attention.head_count_kv", Integer),
    (HyperKey::RopeDimensionCount, Architecture, "rope.dimension_count", Integer),
    (HyperKey::RopeFreqBase, Architecture, "rope.freq_base", Real),
    (HyperKey::RopeFreqBaseSwa, Architecture, "rope.freq_base_swa", Real),
    (HyperKey::RopeScalingType, Architecture, "rope.scaling.type", Text),
    (HyperKey::RopeScalingFactor, Architecture, "rope.scaling.factor", Real),
    (HyperKey::RopeScalingOriginalContextLength, Architecture, "rope.scaling.original_context_length", Integer),
    (HyperKey::RopeScalingAttentionFactor, Architecture, "rope.scaling.attn_factor", Real),
    (HyperKey::RopeScalingYarnLogMultiplier, Architecture, "rope.scaling.yarn_log_multiplier", Real),
    (HyperKey::RopeScalingYarnExtFactor, Architecture, "rope.scaling.yarn_ext_factor", Real),
    (HyperKey::RopeScalingYarnAttentionFactor, Architecture, "rope.scaling.yarn_attn_factor", Real),
    (HyperKey::RopeScalingYarnBetaFast, Architecture, "rope.scaling.yarn_beta_fast", Real),
    (HyperKey::RopeScalingYarnBetaSlow, Architecture, "rope.scaling.yarn_beta_slow", Real),
    (HyperKey::LayerNormEpsilon, Architecture, "attention.layer_norm_epsilon", Real),
    (HyperKey::LayerNormRmsEpsilon, Architecture, "attention.layer_norm_rms_epsilon", Real),
    (HyperKey::KeyLength, Architecture, "attention.key_length", Integer),
    (HyperKey::ValueLength, Architecture, "attention.value_length", Integer),
    (HyperKey::VocabSize, Architecture, "vocab_size", Integer),
    (HyperKey::SlidingWindow, Architecture, "attention.sliding_window", Integer),
    (HyperKey::SlidingWindowPattern, Architecture, "attention.sliding_window_pattern", Integer),
    (HyperKey::AttentionLogitSoftcap, Architecture, "attn_logit_softcapping", Real),
    (HyperKey::FinalLogitSoftcap, Architecture, "final_logit_softcapping", Real),
    (HyperKey::AttentionScale, Architecture, "attention.scale", Real),
    (HyperKey::CausalAttention, Architecture, "attention.causal", Flag),
    (HyperKey::PoolingType, Architecture, "pooling_type", Integer),
    (HyperKey::ClassifierLabels, Architecture, "classifier.output_labels", Text),
    (HyperKey::TokenTypeCount, File, "tokenizer.ggml.token_type_count", Integer),
    (HyperKey::ExpertCount, Architecture, "expert_count", Integer),
    (HyperKey::ExpertUsedCount, Architecture, "expert_used_count", Integer),
    (HyperKey::ExpertFeedForwardLength, Architecture, "expert_feed_forward_length", Integer),
    (HyperKey::FileType, File, "general.file_type", Integer),
];

/// The key of a hyperparameter for an architecture, `None` where a file does not spell it.
pub(crate) fn key_of(hyper: HyperKey, architecture: &str) -> Option<String> {
    let (_, scope, suffix, _) = KEYS.iter().find(|(key, ..)| *key == hyper)?;
    Some(match scope {
        Architecture => format!("{architecture}.{suffix}"),
        File => (*suffix).to_owned(),
    })
}

/// The hyperparameter that a key of a file of this architecture stands for.
pub(crate) fn parameter_of(key: &str, architecture: &str) -> Option<HyperKey> {
    let suffix = key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.'));
    let known = KEYS.iter().find(|(_, scope, name, _)| match scope {
        Architecture => suffix == Some(*name),
        File => key == *name,
    });
    known.map(|(hyper, ..)| *hyper)
}

/// The hyperparameters that a file's metadata gives, in file order. Unknown keys are left to the
/// metadata: most architectures have some that only their own graph reads.
pub(crate) fn read(metadata: &Metadata, architecture: &str) -> Hyperparameters {
    let mut out = Hyperparameters::new();
    for (key, value) in metadata.iter() {
        if let Some(hyper) = parameter_of(key, architecture) {
            out.set(hyper, value.clone());
        }
    }
    out
}

/// The pairs to write, in the architecture's order.
///
/// # Errors
/// `Bug` where an architecture's file gave a value that the key's type cannot hold.
pub(crate) fn write(parameters: &Hyperparameters, architecture: &str) -> Result<Vec<(String, Value)>> {
    let mut out = Vec::new();
    for (hyper, value) in parameters.iter() {
        let Some((.., kind)) = KEYS.iter().find(|(key, ..)| *key == hyper) else { continue };
        let key = key_of(hyper, architecture).unwrap_or_default();
        let value = typed(value, *kind)
            .ok_or_else(|| gravure_core::Error::bug(format!("{hyper:?} is {value:?}, which is no {kind:?}")).at_item(&*key))?;
        out.push((key, value));
    }
    Ok(out)
}

/// `value` with the type that the file wants.
fn typed(value: &Value, kind: Kind) -> Option<Value> {
    match (kind, value) {
        (_, Value::Bools(_)) | (Text, Value::String(_) | Value::Strings(_)) | (Flag, Value::Bool(_)) => Some(value.clone()),
        (Real, Value::F32s(_)) => Some(value.clone()),
        (Real, Value::F64s(v)) => Some(Value::F32s(v.iter().map(|&v| v as f32).collect())),
        (Real, _) => value.as_f64().map(|v| Value::F32(v as f32)),
        (Integer, Value::I32s(_)) => Some(value.clone()),
        (Integer, _) => match value.as_u64() {
            Some(v) => u32::try_from(v).ok().map(Value::U32),
            None => value.as_u64s()?.iter().map(|&v| i32::try_from(v).ok()).collect::<Option<_>>().map(Value::I32s),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_stands_once() {
        let hypers: BTreeSet<_> = KEYS.iter().map(|(h, ..)| *h).collect();
        let keys: BTreeSet<_> = KEYS.iter().map(|(_, _, k, _)| *k).collect();
        assert_eq!((hypers.len(), keys.len()), (KEYS.len(), KEYS.len()));
    }

    #[test]
    fn values_get_the_type_of_the_key_and_come_back() {
        let mut parameters = Hyperparameters::new();
        parameters.set(HyperKey::BlockCount, Value::U64(8));
        parameters.set(HyperKey::FileType, Value::U32(0));
        parameters.set(HyperKey::RopeFreqBase, Value::F64(10000.0));
        parameters.set(HyperKey::TiedEmbeddings, Value::Bool(true));
        parameters.set(HyperKey::HeadCountKv, Value::U64s(vec![2, 4]));
        parameters.set(HyperKey::TokenTypeCount, Value::I64(2));
        let pairs = write(&parameters, "x").unwrap();
        let expected = [
            ("x.block_count", Value::U32(8)),
            ("general.file_type", Value::U32(0)),
            ("x.rope.freq_base", Value::F32(10000.0)),
            ("x.attention.head_count_kv", Value::I32s(vec![2, 4])),
            ("tokenizer.ggml.token_type_count", Value::U32(2)),
        ];
        assert_eq!(pairs.iter().map(|(k, v)| (k.as_str(), v.clone())).collect::<Vec<_>>(), expected);

        let metadata = Metadata::from_entries(pairs).unwrap();
        let again = read(&metadata, "x");
        assert_eq!(again.u64(HyperKey::BlockCount).unwrap(), 8);
        assert_eq!(again.u64(HyperKey::TokenTypeCount).unwrap(), 2);
        assert!(read(&metadata, "y").get(HyperKey::BlockCount).is_none());
        parameters.set(HyperKey::BlockCount, Value::String("8".into()));
        assert!(write(&parameters, "x").is_err());
    }
}
