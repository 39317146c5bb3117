//! `adapter_config.json`.

use std::path::Path;

use gravure_core::values::{AdapterFacts, Invocation};
use gravure_core::{Error, Limits, Note, Result};
use serde_json::{Map, Value as Json};

use crate::safetensors::json;

pub(super) const FILE: &str = "adapter_config.json";

/// Keys that cannot change what the adapter adds: how it was trained, and which modules it has, which its tensors show.
const HARMLESS: &[&str] = &[
    "arrow_config",
    "auto_mapping",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "target_parameters",
    "task_type",
    "trainable_token_indices",
    "unsloth_fixed",
];

/// Settings under which the product of a pair is not all that is added, and what they are.
const UNKNOWN_WAYS: &[(&str, &str)] = &[
    ("use_dora", "DoRA scales the sum by a learned magnitude"),
    ("use_qalora", "QA-LoRA adapts averaged inputs"),
    ("use_bdlora", "the factors are block-diagonal"),
    ("lora_bias", "the pairs have biases"),
    ("layer_replication", "layers of the base are repeated"),
    ("alpha_pattern", "α differs from module to module"),
];

/// What the file says.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) facts: AdapterFacts,
    /// Where the factor of a pair is α / √rank (rsLoRA; Kalajdzievski 2023) instead of α / rank.
    pub(super) rank_stabilized: bool,
    pub(super) notes: Vec<Note>,
}

/// Reads the file at `path`.
///
/// # Errors
/// `Input` for a broken file, `Unsupported` for an adapter of another kind or with settings that are not known (a note
/// for the latter where `lenient`).
pub(super) fn read(path: &Path, lenient: bool, limits: &Limits) -> Result<Config> {
    parse(&json::read_file(path, limits)?, lenient).map_err(|e| e.in_file(path))
}

pub(super) fn parse(json: &Json, lenient: bool) -> Result<Config> {
    let map = json.as_object().ok_or_else(|| Error::input("is not a JSON object"))?;
    match text(map, "peft_type")?.as_deref() {
        Some("LORA") => {}
        Some(other) => {
            return Err(Error::unsupported(format!("an adapter of the kind {other} is not known"))
                .at_item("peft_type")
                .help("known: LORA; others may be merged into their base model first"));
        }
        None => return Err(Error::input("does not say the kind of the adapter").at_item("peft_type")),
    }
    for (key, what) in UNKNOWN_WAYS {
        if map.get(*key).is_some_and(|value| !is_off(value)) {
            return Err(Error::unsupported(format!("{what}, and that cannot be written as low-rank pairs with one factor"))
                .at_item(*key)
                .help("merge the adapter into its base model and convert that"));
        }
    }
    let alpha = map.get("lora_alpha").ok_or_else(|| Error::input("is missing").at_item("lora_alpha"))?;
    let alpha = alpha.as_f64().filter(|a| a.is_finite()).ok_or_else(|| Error::input("is not a number").at_item("lora_alpha"))?;
    let flag = |key: &str| match map.get(key) {
        None | Some(Json::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| Error::input("is neither true nor false").at_item(key)),
    };
    let known = |key: &str| {
        const READ: &[&str] = &[
            "peft_type",
            "lora_alpha",
            "r",
            "rank_pattern",
            "use_rslora",
            "base_model_name_or_path",
            "alora_invocation_tokens",
            "invocation_string",
        ];
        READ.contains(&key) || HARMLESS.contains(&key) || UNKNOWN_WAYS.iter().any(|(way, _)| *way == key)
    };
    let mut notes = Vec::new();
    for (key, value) in map.iter().filter(|(key, value)| !known(key) && !is_off(value)) {
        if !lenient {
            return Err(Error::unsupported(format!("this key of an adapter's configuration is not known: {value}"))
                .at_item(key)
                .help("--lenient goes on without it"));
        }
        notes.push(Note { subject: FILE.into(), text: format!("the key `{key}` was not read") });
    }
    Ok(Config {
        facts: AdapterFacts {
            kind: "lora".into(),
            alpha: alpha as f32,
            invocation: invocation(map)?,
            base: text(map, "base_model_name_or_path")?.filter(|base| !base.is_empty()),
        },
        rank_stabilized: flag("use_rslora")?,
        notes,
    })
}

/// What a key that was left alone holds.
fn is_off(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Object(map) => map.is_empty(),
        Json::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn text(map: &Map<String, Json>, key: &str) -> Result<Option<String>> {
    match map.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::input("is not a string").at_item(key)),
    }
}

/// The tokens after which an activated adapter (aLoRA; Greenewald et al. 2025) begins to work.
fn invocation(map: &Map<String, Json>) -> Result<Invocation> {
    const TOKENS: &str = "alora_invocation_tokens";
    match map.get(TOKENS) {
        None | Some(Json::Null) => {}
        Some(Json::Array(tokens)) if tokens.is_empty() => {}
        Some(Json::Array(tokens)) => {
            let tokens = tokens.iter().map(|t| t.as_u64().and_then(|t| u32::try_from(t).ok())).collect::<Option<_>>();
            return tokens.map(Invocation::Tokens).ok_or_else(|| Error::input("is not a list of tokens").at_item(TOKENS));
        }
        Some(_) => return Err(Error::input("is not a list of tokens").at_item(TOKENS)),
    }
    Ok(text(map, "invocation_string")?.filter(|t| !t.is_empty()).map_or(Invocation::Always, Invocation::Text))
}

#[cfg(test)]
mod tests {
    use gravure_core::ErrorKind;
    use serde_json::json;

    use super::*;

    fn with(extra: &Json) -> Json {
        let mut config = json!({"peft_type": "LORA", "lora_alpha": 16, "r": 8, "base_model_name_or_path": "a/b", "task_type": "CAUSAL_LM"});
        let map = config.as_object_mut().unwrap();
        map.extend(extra.as_object().unwrap().clone());
        config
    }

    #[test]
    fn an_ordinary_configuration_is_understood() {
        let off = json!({"use_dora": false, "alpha_pattern": {}, "layer_replication": null, "a_later_key": null, "target_modules": ["q"]});
        let config = parse(&with(&off), false).unwrap();
        assert_eq!((config.facts.alpha, config.rank_stabilized), (16.0, false));
        assert_eq!((config.facts.base.as_deref(), config.facts.invocation), (Some("a/b"), Invocation::Always));
        let activated = parse(&with(&json!({"alora_invocation_tokens": [5, 6], "invocation_string": "x"})), false).unwrap();
        assert_eq!(activated.facts.invocation, Invocation::Tokens(vec![5, 6]));
        let activated = parse(&with(&json!({"alora_invocation_tokens": [], "invocation_string": "x"})), false).unwrap();
        assert_eq!(activated.facts.invocation, Invocation::Text("x".into()));
    }

    #[test]
    fn what_pairs_cannot_hold_is_refused() {
        let cases = [
            json!({"use_dora": true}),
            json!({"peft_type": "IA3"}),
            json!({"alpha_pattern": {"q_proj": 4}}),
            json!({"lora_bias": true}),
            json!({"layer_replication": [[0, 4], [2, 5]]}),
            json!({"a_later_key": 7}),
        ];
        for case in cases {
            let error = parse(&with(&case), false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{case}: {error}");
        }
        assert_eq!(parse(&with(&json!({"a_later_key": 7})), true).unwrap().notes.len(), 1);
        for case in
            [json!({"peft_type": null}), json!({"lora_alpha": "16"}), json!({"alora_invocation_tokens": [-1]}), json!({"use_rslora": 1})]
        {
            assert_eq!(parse(&with(&case), true).unwrap_err().kind(), ErrorKind::Input, "{case}");
        }
    }
}
