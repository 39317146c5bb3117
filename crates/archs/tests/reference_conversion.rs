//! Hyperparameters and tensors of every tiny model against what llama.cpp's converter wrote:
//! `scripts/reference_conversion.py` made the fixtures.

mod common;

use common::{Tiny, fixtures};
use gravure_base::Sha256;
use gravure_core::{HyperKey, Part, Role, TensorId, Value};
use serde_json::json;

/// Keys of a GGUF, without the architecture's name. A copy of what the format knows, so that a
/// wrong entry there is not a right one here.
fn suffix(key: HyperKey) -> Option<&'static str> {
    use HyperKey::*;
    Some(match key {
        BlockCount => "block_count",
        ContextLength => "context_length",
        EmbeddingLength => "embedding_length",
        FeedForwardLength => "feed_forward_length",
        HeadCount => "attention.head_count",
        HeadCountKv => "attention.head_count_kv",
        RopeDimensionCount => "rope.dimension_count",
        RopeFreqBase => "rope.freq_base",
        RopeFreqBaseSwa => "rope.freq_base_swa",
        RopeScalingType => "rope.scaling.type",
        RopeScalingFactor => "rope.scaling.factor",
        RopeScalingOriginalContextLength => "rope.scaling.original_context_length",
        RopeScalingAttentionFactor => "rope.scaling.attn_factor",
        RopeScalingYarnAttentionFactor => "rope.scaling.yarn_attn_factor",
        RopeScalingYarnBetaFast => "rope.scaling.yarn_beta_fast",
        RopeScalingYarnBetaSlow => "rope.scaling.yarn_beta_slow",
        LayerNormEpsilon => "attention.layer_norm_epsilon",
        LayerNormRmsEpsilon => "attention.layer_norm_rms_epsilon",
        KeyLength => "attention.key_length",
        ValueLength => "attention.value_length",
        VocabSize => "vocab_size",
        SlidingWindow => "attention.sliding_window",
        AttentionLogitSoftcap => "attn_logit_softcapping",
        FinalLogitSoftcap => "final_logit_softcapping",
        CausalAttention => "attention.causal",
        PoolingType => "pooling_type",
        TokenTypeCount => "tokenizer.ggml.token_type_count",
        ClassifierLabels => "classifier.output_labels",
        FileType => "general.file_type",
        Activation | TiedEmbeddings | AttentionBias | FeedForwardBias | AttentionWindow => return None,
        QueryPreAttentionScalar | RopeFactors | RopeFactorsShort | RopeFactorsLong => return None,
        other => panic!("{other:?} has no key in this test"),
    })
}

fn entry(key: &str, value: &Value) -> serde_json::Value {
    match value {
        Value::U32(v) => json!({"key": key, "type": "uint32", "value": v}),
        Value::F32(v) => json!({"key": key, "type": "float32", "value": f64::from(*v)}),
        Value::Bool(v) => json!({"key": key, "type": "bool", "value": v}),
        Value::String(v) => json!({"key": key, "type": "string", "value": v}),
        Value::Strings(v) => json!({"key": key, "type": "array", "of": "string", "count": v.len(), "value": v.iter().collect::<Vec<_>>()}),
        other => panic!("{key}: {other:?}"),
    }
}

/// The GGUF name of a tensor: a copy again.
fn neutral_name(id: &TensorId) -> String {
    let stem = match id.role {
        Role::TokenEmbedding => "token_embd",
        Role::TokenEmbeddingNorm => "token_embd_norm",
        Role::TokenTypes => "token_types",
        Role::PositionEmbedding => "position_embd",
        Role::OutputNorm => "output_norm",
        Role::Output => "output",
        Role::RopeFrequencies => "rope_freqs",
        Role::RopeFactorsLong => "rope_factors_long",
        Role::RopeFactorsShort => "rope_factors_short",
        Role::AttentionNorm => "attn_norm",
        Role::AttentionQuery => "attn_q",
        Role::AttentionKey => "attn_k",
        Role::AttentionValue => "attn_v",
        Role::AttentionQkv => "attn_qkv",
        Role::AttentionOutput => "attn_output",
        Role::AttentionQueryNorm => "attn_q_norm",
        Role::AttentionKeyNorm => "attn_k_norm",
        Role::AttentionPostNorm => "post_attention_norm",
        Role::AttentionOutputNorm => "attn_output_norm",
        Role::FeedForwardNorm => "ffn_norm",
        Role::FeedForwardPostNorm => "post_ffw_norm",
        Role::FeedForwardGate => "ffn_gate",
        Role::FeedForwardUp => "ffn_up",
        Role::FeedForwardDown => "ffn_down",
        Role::LayerOutputNorm => "layer_output_norm",
        other => panic!("{other:?} has no name in this test"),
    };
    let layer = id.layer.map(|n| format!("blk.{n}.")).unwrap_or_default();
    format!("{layer}{stem}.{}", if id.part == Part::Bias { "bias" } else { "weight" })
}

#[test]
fn hyperparameters_are_the_converters() {
    for (name, fixture) in fixtures("conversion") {
        let tiny = Tiny::make(&fixture);
        let prefix = format!("{}.", tiny.architecture.id());
        let ours: Vec<serde_json::Value> = tiny
            .parameters
            .iter()
            .filter_map(|(key, value)| {
                let suffix = suffix(key)?;
                let key = if suffix.starts_with("general.") || suffix.starts_with("tokenizer.") {
                    suffix.to_owned()
                } else {
                    format!("{prefix}{suffix}")
                };
                Some(entry(&key, value))
            })
            .collect();
        let theirs: Vec<serde_json::Value> = fixture["f32"]["metadata"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| {
                let key = e["key"].as_str().unwrap();
                ["general.file_type", "tokenizer.ggml.token_type_count"].contains(&key) || key.starts_with(&prefix)
            })
            .cloned()
            .collect();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn tensors_are_the_converters() {
    for (name, fixture) in fixtures("conversion") {
        let tiny = Tiny::make(&fixture);
        let map = tiny.architecture.tensor_map(&tiny.parameters).unwrap();
        let mut ours = Vec::new();
        for generated in &map.generated {
            let bytes: Vec<u8> = generated.values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let mut digest = Sha256::new();
            digest.update(&bytes);
            ours.push((generated.id, vec![generated.values.len()], Some(digest.finish())));
        }
        for (stored, shape, _) in tiny.tensors() {
            match map.identify(&stored) {
                Some((id, rule)) => {
                    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
                    let neutral = rule.transform.neutral_shape(&gravure_core::Shape::new(shape).unwrap()).unwrap();
                    ours.push((id, neutral.dimensions().iter().map(|&n| n as usize).collect(), None));
                }
                None => assert!(map.is_ignored(&stored), "{name}: nobody knows {stored}"),
            }
        }
        for dtype in ["f32", "f16"] {
            let theirs = fixture[dtype]["tensors"].as_array().unwrap();
            assert_eq!(ours.len(), theirs.len(), "{name}");
            for ((id, shape, digest), theirs) in ours.iter().zip(theirs) {
                assert_eq!(neutral_name(id), theirs["name"], "{name}");
                assert_eq!(json!(shape), theirs["shape"], "{name}: {}", theirs["name"]);
                let expected = if dtype == "f32" || id.keeps_full_precision(shape.len()) { "f32" } else { "f16" };
                assert_eq!(expected, theirs["type"], "{name}: {}", theirs["name"]);
                if let Some(digest) = digest {
                    assert_eq!(json!(digest), theirs["sha256"], "{name}: {}", theirs["name"]);
                }
            }
        }
    }
}

/// Every rule that is not optional is met by every tiny model, and names lead back to themselves.
#[test]
fn maps_are_complete_and_bijective() {
    for (name, fixture) in fixtures("conversion") {
        let tiny = Tiny::make(&fixture);
        let map = tiny.architecture.tensor_map(&tiny.parameters).unwrap();
        let stored: Vec<String> = tiny.tensors().into_iter().map(|(name, _, _)| name).collect();
        let mut ids = std::collections::BTreeSet::new();
        for stored in stored.iter().filter(|stored| !map.is_ignored(stored)) {
            let (id, rule) = map.identify(stored).unwrap();
            assert!(ids.insert(id), "{name}: {stored} is there twice");
            let (back, same) = map.name_of(&id).unwrap();
            assert_eq!((&back, same), (stored, rule), "{name}");
            for prefix in &map.prefixes {
                let other = stored.strip_prefix(prefix.as_str()).map_or_else(|| format!("{prefix}{stored}"), str::to_owned);
                assert_eq!(map.identify(&other).map(|(id, _)| id), Some(id), "{name}: {other}");
            }
        }
        for rule in map.rules.iter().filter(|rule| !rule.optional) {
            assert!(ids.iter().any(|id| id.role == rule.role && id.part == rule.part), "{name}: no tensor for {}", rule.name);
        }
    }
}
