//! Hostile `config.json` files and what lies beside them, in the folder of a tiny Llama.

use gravure_core::ErrorKind::{self, Input, Limit, NotFound, Unsupported};
use serde_json::{Value, json};

use super::{Class, Sample, lfs_pointer, tiny_folder, with};

fn raw(name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>) -> Sample {
    Sample::folder(&format!("config: {name}"), class, kind, with(tiny_folder(), "config.json", bytes))
}

/// The configuration of the tiny Llama.
fn honest() -> Value {
    let files = tiny_folder();
    let bytes = files.iter().find(|(name, _)| name == "config.json").map_or(&b"null"[..], |(_, bytes)| bytes);
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// The honest one with one key set, or taken away by null where `null` means that anyway.
fn set(name: &str, class: Class, kind: ErrorKind, key: &str, value: Value) -> Sample {
    let mut config = honest();
    if let Some(map) = config.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
    raw(name, class, kind, config.to_string().into_bytes())
}

/// The honest one with the text of one number replaced, so that any spelling can stand there.
fn spelled(name: &str, class: Class, kind: ErrorKind, key: &str, text: &str) -> Sample {
    let mut config = honest();
    if let Some(map) = config.as_object_mut() {
        map.insert(key.to_owned(), json!("@"));
    }
    raw(name, class, kind, config.to_string().replacen("\"@\"", text, 1).into_bytes())
}

fn scaling(name: &str, class: Class, kind: ErrorKind, value: Value) -> Sample {
    set(&format!("rope: {name}"), class, kind, "rope_parameters", value)
}

/// A document with a list of so many equal values in front.
fn many(text: &str, value: &str, count: usize) -> Vec<u8> {
    format!(r#"{{"_x":[{value}{}],{}"#, format!(",{value}").repeat(count - 1), &text[1..]).into_bytes()
}

pub(super) fn samples() -> Vec<Sample> {
    [documents(), sizes(), meanings(), quantization(), beside()].into_iter().flatten().collect()
}

fn documents() -> Vec<Sample> {
    let text = honest().to_string();
    vec![
        raw("empty", Class::Truncated, Input, vec![]),
        raw("half of it", Class::Truncated, Input, text.as_bytes()[..text.len() / 2].to_vec()),
        raw("pointer", Class::Pointer, Input, lfs_pointer()),
        raw("a list", Class::Syntax, Input, b"[]".to_vec()),
        raw("65 deep", Class::Recursion, Input, format!(r#"{{"_x":{}{}}}"#, "[".repeat(65), "]".repeat(65)).into_bytes()),
        raw("100000 deep", Class::Recursion, Input, b"[".repeat(100_000)),
        raw("objects 100000 deep", Class::Recursion, Input, br#"{"a":"#.repeat(100_000)),
        raw("17 MiB", Class::HugeWork, Limit, [text.as_bytes(), &b" ".repeat(17 << 20)].concat()),
        raw("7 million numbers", Class::HugeWork, Limit, many(&text, "0", 7 << 20)),
        raw("a million lists", Class::HugeWork, Limit, many(&text, "[0]", 1 << 20)),
        raw("a million objects", Class::HugeWork, Limit, many(&text, r#"{"a":0}"#, 1 << 20)),
        raw("not UTF-8", Class::Text, Input, b"{\"\xff\":1}".to_vec()),
        raw("byte order mark", Class::Text, Input, format!("\u{feff}{text}").into_bytes()),
        raw("a key twice", Class::Duplicate, Input, format!(r#"{{"hidden_size":64,{}"#, &text[1..]).into_bytes()),
        raw("a nested key twice", Class::Duplicate, Input, format!(r#"{{"_x":{{"a":1,"a":2}},{}"#, &text[1..]).into_bytes()),
        raw("a comment", Class::Syntax, Input, format!("// x\n{text}").into_bytes()),
    ]
}

fn sizes() -> Vec<Sample> {
    let zero = |key: &str| set(&format!("{key} 0"), Class::Number, Input, key, json!(0));
    let negative = |key: &str| set(&format!("{key} -1"), Class::Number, Input, key, json!(-1));
    let keys = [
        "num_attention_heads",
        "num_key_value_heads",
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "max_position_embeddings",
        "vocab_size",
        "head_dim",
    ];
    let mut out: Vec<Sample> = keys.iter().copied().map(zero).collect();
    out.extend(keys.iter().copied().map(negative));
    out.extend([
        set("layers of 1.0", Class::Number, Input, "num_hidden_layers", json!(1.0)),
        set("layers of 1.5", Class::Number, Input, "num_hidden_layers", json!(1.5)),
        set("layers in text", Class::Number, Input, "num_hidden_layers", json!("1")),
        set("layers in a list", Class::Number, Input, "num_hidden_layers", json!([1])),
        set("layers that are true", Class::Number, Input, "num_hidden_layers", json!(true)),
        set("2^32 layers", Class::HugeWork, Limit, "num_hidden_layers", json!(1u64 << 32)),
        set("2^64-1 layers", Class::Overflow, Limit, "num_hidden_layers", json!(u64::MAX)),
        set("4999 layers", Class::HugeWork, Input, "num_hidden_layers", json!(4999)),
        spelled("2^64 layers", Class::Overflow, Input, "num_hidden_layers", "18446744073709551616"),
        spelled("1e999 layers", Class::Overflow, Input, "num_hidden_layers", "1e999"),
        spelled("layers that are NaN", Class::Number, Input, "num_hidden_layers", "NaN"),
        spelled("epsilon of infinity", Class::Number, Input, "rms_norm_eps", "Infinity"),
        set("negative epsilon", Class::Number, Input, "rms_norm_eps", json!(-1e-5)),
        set("width of 2^40", Class::Overflow, Input, "hidden_size", json!(1u64 << 40)),
        set("head of 2^20", Class::HugeWork, Limit, "head_dim", json!(1 << 20)),
        set("three heads over two", Class::Contradiction, Input, "num_attention_heads", json!(3)),
        set("context of 2^40", Class::Overflow, Input, "max_position_embeddings", json!(1u64 << 40)),
        set("vocabulary of 2^40", Class::HugeWork, Limit, "vocab_size", json!(1u64 << 40)),
        set("vocabulary of 16 million", Class::HugeWork, Limit, "vocab_size", json!(16 << 20)),
        set("vocabulary of 5", Class::Contradiction, Input, "vocab_size", json!(5)),
        set("vocabulary in text", Class::Number, Input, "vocab_size", json!("320")),
        set("width of none", Class::Contradiction, Input, "hidden_size", json!(null)),
        set("two layers over one", Class::Contradiction, Input, "num_hidden_layers", json!(2)),
        set("width of half", Class::Contradiction, Input, "hidden_size", json!(32)),
        set("width of double", Class::Contradiction, Input, "hidden_size", json!(128)),
        set("heads of half", Class::Contradiction, Input, "num_attention_heads", json!(2)),
        set("heads of double length", Class::Contradiction, Input, "head_dim", json!(32)),
        set("feed-forward of half", Class::Contradiction, Input, "intermediate_size", json!(48)),
        set("key-value heads of double", Class::Contradiction, Input, "num_key_value_heads", json!(4)),
    ]);
    out
}

fn meanings() -> Vec<Sample> {
    vec![
        set("unknown key", Class::Unknown, Unsupported, "secret_sauce", json!(1)),
        set("unknown activation", Class::Unknown, Unsupported, "hidden_act", json!("evil")),
        set("activation that is a number", Class::Syntax, Input, "hidden_act", json!(7)),
        set("class that is a number", Class::Syntax, Input, "architectures", json!([7])),
        set("classes in an object", Class::Syntax, Input, "architectures", json!({})),
        set("model type in a list", Class::Syntax, Input, "model_type", json!(["llama"])),
        set("tie that is text", Class::Syntax, Input, "tie_word_embeddings", json!("yes")),
        set("biases that are not there", Class::Contradiction, Input, "attention_bias", json!(true)),
        set("reserved key", Class::Contradiction, Input, "_pooling", json!({})),
        scaling("a list", Class::Syntax, Input, json!([1])),
        scaling("unknown type", Class::Unknown, Unsupported, json!({"rope_type": "evil"})),
        scaling("type that is a number", Class::Syntax, Input, json!({"rope_type": 1})),
        scaling("no factor", Class::Contradiction, Input, json!({"rope_type": "linear"})),
        scaling("factor 0", Class::Number, Input, json!({"rope_type": "linear", "factor": 0.0})),
        scaling("factor -1", Class::Number, Input, json!({"rope_type": "linear", "factor": -1.0})),
        scaling("base 0", Class::Number, Input, json!({"rope_type": "default", "rope_theta": 0.0})),
        scaling("base in text", Class::Syntax, Input, json!({"rope_type": "default", "rope_theta": "1"})),
        scaling("unknown key", Class::Unknown, Unsupported, json!({"rope_type": "default", "rope_theta": 1e4, "x": 1})),
        scaling(
            "factors of another model",
            Class::Contradiction,
            Unsupported,
            json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}),
        ),
        scaling(
            "a million factors",
            Class::HugeWork,
            Unsupported,
            json!({"rope_type": "longrope", "short_factor": vec![1.0; 1 << 18], "long_factor": [1.0]}),
        ),
        scaling(
            "part of two heads",
            Class::Contradiction,
            Unsupported,
            json!({"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 2.0}),
        ),
    ]
}

/// Claims about how the weights are stored, over weights that are plain.
fn quantization() -> Vec<Sample> {
    let case = |name: &str, class: Class, kind: ErrorKind, value: Value| {
        set(&format!("quantization: {name}"), class, kind, "quantization_config", value)
    };
    vec![
        case("gptq that is not there", Class::Contradiction, Input, json!({"quant_method": "gptq", "bits": 4, "group_size": 128})),
        case("fp8 that is not there", Class::Contradiction, Input, json!({"quant_method": "fp8"})),
        case("an unknown method", Class::Unknown, Unsupported, json!({"quant_method": "magic"})),
        case("a method that is a number", Class::Syntax, Input, json!({"quant_method": 4})),
        case("a list", Class::Syntax, Input, json!([4])),
        case("0 bits", Class::Number, Unsupported, json!({"quant_method": "gptq", "bits": 0, "group_size": 128})),
        case("2^40 bits", Class::Overflow, Unsupported, json!({"quant_method": "awq", "bits": 1u64 << 40, "group_size": 128})),
        case("groups of 0", Class::Number, Input, json!({"quant_method": "gptq", "bits": 4, "group_size": 0})),
        case("groups of -2", Class::Number, Input, json!({"quant_method": "gptq", "bits": 4, "group_size": -2})),
        case("blocks of 0", Class::Number, Input, json!({"quant_method": "fp8", "weight_block_size": [0, 128]})),
        set("quantization: two that differ", Class::Contradiction, Input, "quantization", json!({"group_size": 64, "bits": 4})),
    ]
}

/// Files beside the configuration.
fn beside() -> Vec<Sample> {
    let side = |name: &str, class: Class, kind: ErrorKind, file: &str, bytes: &[u8]| {
        Sample::folder(&format!("config: {file}: {name}"), class, kind, with(tiny_folder(), file, bytes.to_vec()))
    };
    let keys: Vec<String> = (0..20_000).map(|i| format!(r#""k{i}":1"#)).collect();
    let many = format!("{{{}}}", keys.join(","));
    let pooling = |path: &str| json!([{"type": "sentence_transformers.models.Pooling", "path": path}]).to_string().into_bytes();
    vec![
        side("a list", Class::Syntax, Input, "generation_config.json", b"[]"),
        side("100000 deep", Class::Recursion, Input, "generation_config.json", &b"[".repeat(100_000)),
        side("a key twice", Class::Duplicate, Input, "generation_config.json", br#"{"a":1,"a":2}"#),
        side("20000 keys", Class::HugeWork, Limit, "generation_config.json", many.as_bytes()),
        side("an object", Class::Syntax, Input, "modules.json", b"{}"),
        side("leads up", Class::Traversal, Input, "modules.json", &pooling("../x")),
        side("leads to the root", Class::Traversal, Input, "modules.json", &pooling("/etc")),
        side("leads to another system", Class::Traversal, Input, "modules.json", &pooling("C:\\x")),
        side("leads to itself", Class::Traversal, Input, "modules.json", &pooling("")),
        side("leads to nothing", Class::Truncated, NotFound, "modules.json", &pooling("1_Pooling")),
    ]
}
