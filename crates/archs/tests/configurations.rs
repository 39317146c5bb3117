//! Configurations as published checkpoints have them (`*.4.json`, as transformers 4 wrote them) and
//! as transformers 5 writes them again (`*.5.json`, by loading and saving), against what they say.

use std::collections::BTreeMap;

use gravure_core::contracts::POOLING_KEY;
use gravure_core::{ErrorKind, HyperKey, Hyperparameters};
use serde_json::{Value, json};

/// Every configuration: name, spelling and content.
fn configurations() -> Vec<(String, String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configurations");
    let mut out: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (name, spelling) = stem.rsplit_once('.').unwrap();
            (name.to_owned(), spelling.to_owned(), serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    out.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    out
}

fn architecture(config: &Value) -> &'static dyn gravure_core::Architecture {
    gravure_archs::find(config["architectures"][0].as_str().unwrap()).unwrap()
}

fn configure(config: &Value) -> Hyperparameters {
    architecture(config).configure(config, false).unwrap_or_else(|e| panic!("{config}\n{e}"))
}

#[test]
fn both_spellings_say_the_same() {
    let mut seen: BTreeMap<String, Hyperparameters> = BTreeMap::new();
    for (name, spelling, config) in configurations() {
        let parameters = configure(&config);
        assert!(parameters.ignored().is_empty(), "{name}: {:?}", parameters.ignored());
        match seen.get(&name) {
            Some(other) => assert_eq!(*other, parameters, "{name}, transformers {spelling}"),
            None => {
                seen.insert(name, parameters);
            }
        }
    }
    assert!(seen.len() >= 16, "{} configurations", seen.len());
}

/// A configuration's name, its architecture's id, and what is known of the model.
type Known = (&'static str, &'static str, &'static [(HyperKey, f64)]);

#[test]
fn they_mean_what_is_known_of_the_models() {
    use HyperKey::*;
    let expected: &[Known] = &[
        ("llama-3.2-1b", "llama", &[(BlockCount, 16.0), (HeadCount, 32.0), (HeadCountKv, 8.0), (KeyLength, 64.0), (RopeFreqBase, 5e5)]),
        ("llama-2-7b", "llama", &[(ContextLength, 4096.0), (HeadCountKv, 32.0), (RopeFreqBase, 1e4), (KeyLength, 128.0)]),
        ("smollm2-135m", "llama", &[(HeadCount, 9.0), (HeadCountKv, 3.0), (RopeFreqBase, 1e5), (VocabSize, 49_152.0)]),
        ("yi-6b", "llama", &[(HeadCountKv, 4.0), (RopeFreqBase, 5e6)]),
        ("mistral-7b-v0.1", "llama", &[(FeedForwardLength, 14_336.0), (AttentionWindow, 4096.0)]),
        ("qwen2.5-0.5b", "qwen2", &[(EmbeddingLength, 896.0), (HeadCountKv, 2.0), (RopeFreqBase, 1e6)]),
        ("qwen3-0.6b", "qwen3", &[(KeyLength, 128.0), (EmbeddingLength, 1024.0)]),
        ("phi-3-mini-4k", "phi3", &[(SlidingWindow, 2047.0), (RopeDimensionCount, 96.0)]),
        ("phi-3.5-mini", "phi3", &[(ContextLength, 131_072.0), (RopeScalingAttentionFactor, 1.190_238_1)]),
        ("phi-4-mini", "phi3", &[(RopeDimensionCount, 96.0), (HeadCountKv, 8.0)]),
        ("gemma-2-2b", "gemma2", &[(AttentionLogitSoftcap, 50.0), (FinalLogitSoftcap, 30.0), (SlidingWindow, 4096.0)]),
        ("gemma-3-1b", "gemma3", &[(RopeFreqBase, 1e6), (RopeFreqBaseSwa, 1e4), (SlidingWindow, 512.0), (KeyLength, 256.0)]),
        ("gpt2", "gpt2", &[(ContextLength, 1024.0), (FeedForwardLength, 3072.0), (LayerNormEpsilon, 1e-5)]),
        ("all-minilm-l6-v2", "bert", &[(BlockCount, 6.0), (EmbeddingLength, 384.0), (TokenTypeCount, 2.0)]),
        ("bge-small-en-v1.5", "bert", &[(BlockCount, 12.0), (LayerNormEpsilon, 1e-12)]),
    ];
    let configurations = configurations();
    for (name, id, facts) in expected {
        let (_, _, config) = configurations.iter().find(|(n, _, _)| n == name).unwrap();
        assert_eq!(architecture(config).id(), *id);
        let parameters = configure(config);
        for (key, value) in *facts {
            let got = parameters.f64(*key).unwrap();
            assert!((got - value).abs() <= value * 1e-6, "{name}: {key:?} is {got}");
        }
    }
    let find = |name: &str| configure(&configurations.iter().find(|(n, _, _)| n == name).unwrap().2);
    assert!(find("mistral-7b-instruct-v0.3").get(AttentionWindow).is_none());
    assert!(find("llama-3.2-1b").flag(TiedEmbeddings));
    assert!(!find("llama-2-7b").flag(TiedEmbeddings));
    assert!(find("llama-2-7b").get(RopeFactors).is_none());
}

#[test]
fn an_unknown_key_is_named() {
    for (name, _, mut config) in configurations() {
        config["flux_capacitance"] = json!(1.21);
        let error = architecture(&config).configure(&config, false).unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::Unsupported, Some("flux_capacitance")), "{name}");
        let lenient = architecture(&config).configure(&config, true).unwrap();
        assert_eq!(lenient.ignored().len(), 1, "{name}");
        assert!(lenient.ignored()[0].starts_with("flux_capacitance"), "{name}");
    }
}

#[test]
fn values_that_change_the_computation_are_refused() {
    let cases: &[(&str, &str, Value)] = &[
        ("llama-3.2-1b", "hidden_act", json!("relu")),
        ("llama-2-7b", "rope_scaling", json!({"type": "dynamic", "factor": 2.0})),
        ("llama-2-7b", "rope_scaling", json!({"type": "linear", "factor": 2.0, "twist": 1})),
        ("llama-2-7b", "rope_scaling", json!({"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]})),
        ("llama-2-7b", "partial_rotary_factor", json!(0.5)),
        ("smollm2-135m", "rope_interleaved", json!(true)),
        ("qwen2.5-0.5b", "use_sliding_window", json!(true)),
        ("qwen3-0.6b", "layer_types", json!(["sliding_attention"])),
        ("phi-4-mini", "mlp_bias", json!(true)),
        ("phi-3-mini-4k", "rope_scaling", json!({"type": "linear", "factor": 2.0})),
        ("gemma-2-2b", "hidden_activation", json!("gelu")),
        ("gemma-2-2b", "rope_theta", json!(20_000.0)),
        ("gemma-3-1b", "sliding_window_pattern", json!(4)),
        ("gemma-3-1b", "attn_logit_softcapping", json!(50.0)),
        ("gpt2", "activation_function", json!("relu")),
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true)),
        ("bge-small-en-v1.5", "position_embedding_type", json!("relative_key")),
        ("bge-small-en-v1.5", "is_decoder", json!(true)),
    ];
    let configurations = configurations();
    for (name, key, value) in cases {
        let (_, _, mut config) = configurations.iter().find(|(n, s, _)| n == name && s == "4").unwrap().clone();
        config[*key] = value.clone();
        let error = architecture(&config).configure(&config, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {key}: {error}");
        assert!(error.help_text().is_some_and(|h| h.contains("--lenient")), "{name}: {key}");
        let lenient = architecture(&config).configure(&config, true).unwrap_or_else(|e| panic!("{name}: {key}: {e}"));
        assert!(!lenient.ignored().is_empty(), "{name}: {key}");
    }
}

#[test]
fn pooling_comes_from_its_module() {
    let (_, _, config) = configurations().into_iter().find(|(n, _, _)| n == "bge-small-en-v1.5").unwrap();
    let pooled = |module: Value| {
        let mut config = config.clone();
        config[POOLING_KEY] = module;
        architecture(&config).configure(&config, false).map(|p| p.u64(HyperKey::PoolingType).ok())
    };
    assert_eq!(configure(&config).get(HyperKey::PoolingType), None);
    assert_eq!(pooled(json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})).unwrap(), Some(2));
    assert_eq!(pooled(json!({"pooling_mode_mean_tokens": true})).unwrap(), Some(1));
    assert_eq!(pooled(json!({"pooling_mode": "lasttoken"})).unwrap(), Some(3));
    assert!(pooled(json!({"pooling_mode_max_tokens": true})).is_err());
}

/// Any value in the place of any other gives an error or an answer, never a panic, up to the graph.
#[test]
fn hostile_values_are_errors_or_answers() {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(3),
        json!(0.5),
        json!(1e300),
        json!(u64::MAX),
        json!(4_294_967_295_u64),
        json!(1_000_000),
        json!("text"),
        json!([]),
        json!([1e300]),
        json!({}),
        json!({"rope_type": "yarn"}),
        json!({"type": "yarn", "factor": 1e300, "original_max_position_embeddings": 0}),
        json!({"rope_type": "llama3", "factor": 1e-300, "low_freq_factor": 1e300, "high_freq_factor": 1e300}),
        json!({"type": "longrope", "short_factor": [], "long_factor": []}),
    ];
    let mut answers = 0;
    for (_, _, config) in configurations() {
        let keys: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        for key in keys.iter().filter(|key| *key != "architectures") {
            for value in &values {
                for lenient in [false, true] {
                    let mut config = config.clone();
                    config[key.as_str()] = value.clone();
                    let architecture = architecture(&config);
                    let Ok(parameters) = architecture.configure(&config, lenient) else { continue };
                    answers += 1;
                    let _ = architecture.tensor_map(&parameters);
                    if parameters.u64(HyperKey::BlockCount).is_ok_and(|n| n <= 3) {
                        let _ = architecture.graph(&parameters);
                    }
                }
            }
        }
    }
    assert!(answers > 1000, "{answers}");
}
