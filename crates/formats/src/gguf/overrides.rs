//! What the user's metadata does to a model before its encodings are chosen.
//!
//! `llama-quantize` reads the hyperparameters that its rules ask for through the overrides. What it applies, read
//! off its behaviour:
//! - an override of another kind than the key's (a float for an integer) only goes into the output;
//! - where the file has a list, one value for each layer, the list stays;
//! - a head count or a feed-forward length that the file does not state is not added, any other number is.

use gravure_core::{Error, HyperKey, Metadata, Model, Result, Value};

use super::hyper_keys;
use super::read::ARCHITECTURE_KEY;

/// Hyperparameters that may be a list with one value for each layer, and that no override adds.
const BY_LAYER: &[HyperKey] = &[HyperKey::HeadCount, HyperKey::HeadCountKv, HyperKey::FeedForwardLength, HyperKey::ExpertUsedCount];

/// Puts the overrides, spelled as GGUF's keys, into the hyperparameters and the metadata of `model`, as far as the rules
/// of mixtures see them. The output's own metadata is not made from this.
///
/// # Errors
/// `Request` for an override that contradicts the model: another number of layers than its lists have values, fewer
/// experts than are used at once, another architecture.
pub fn override_hyperparameters(model: &mut Model, overrides: &Metadata) -> Result<()> {
    let architecture = model.architecture.map(|a| a.id().to_owned()).or_else(|| model.architecture_id.clone()).unwrap_or_default();
    for (key, value) in overrides.iter() {
        if key == ARCHITECTURE_KEY && value.as_str().is_some_and(|other| other != architecture) {
            return Err(Error::request(format!("the model is of architecture `{architecture}`, after which its other keys are named"))
                .at_item(key)
                .help("leave this override out"));
        }
        let hyper = hyper_keys::parameter_of(key, &architecture);
        let stored = hyper.and_then(|hyper| model.hyperparameters.get(hyper)).or_else(|| model.metadata.get(key));
        let applies = match stored {
            Some(stored) => same_kind(stored, value),
            None => !hyper.is_some_and(|hyper| BY_LAYER.contains(&hyper)),
        };
        if !applies {
            continue;
        }
        if let Some(hyper) = hyper {
            model.hyperparameters.set(hyper, value.clone());
        }
        model.metadata.set(key, value.clone());
    }
    check(model, overrides, &architecture)
}

/// Both are whole numbers, or both floats, flags or texts. A list is of no kind.
fn same_kind(a: &Value, b: &Value) -> bool {
    let kind = |value: &Value| match value {
        Value::Bool(_) => Some(0),
        Value::String(_) => Some(1),
        Value::F32(_) | Value::F64(_) => Some(2),
        value => value.as_f64().map(|_| 3),
    };
    kind(a).is_some() && kind(a) == kind(b)
}

fn check(model: &Model, overrides: &Metadata, architecture: &str) -> Result<()> {
    let key = |hyper| hyper_keys::key_of(hyper, architecture).unwrap_or_default();
    let overridden = |hyper| overrides.get(&key(hyper)).and_then(Value::as_u64);
    if let Some(layers) = overridden(HyperKey::BlockCount) {
        if layers == 0 {
            return Err(Error::request("a model has at least one layer").at_item(key(HyperKey::BlockCount)));
        }
        for &hyper in BY_LAYER {
            let list = model.hyperparameters.get(hyper).filter(|value| value.as_u64().is_none()).and_then(Value::as_u64s);
            if let Some(list) = list.filter(|list| list.len() as u64 != layers) {
                let message = format!("{layers} layers are asked for, but `{}` has a value for each of {}", key(hyper), list.len());
                return Err(Error::request(message)
                    .at_item(key(HyperKey::BlockCount))
                    .help("to take layers out, use --prune-layers; otherwise leave this override out"));
            }
        }
    }
    if overridden(HyperKey::ExpertCount).or(overridden(HyperKey::ExpertUsedCount)).is_some() {
        let number = |hyper| model.hyperparameters.get(hyper).and_then(Value::as_u64).unwrap_or(0);
        let (experts, used) = (number(HyperKey::ExpertCount), number(HyperKey::ExpertUsedCount));
        if used > experts {
            return Err(Error::request(format!("{used} of {experts} experts cannot be used at once"))
                .at_item(key(HyperKey::ExpertUsedCount))
                .help("override both numbers of experts, or neither"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::testing;

    fn overridden(model: &Model, pairs: &[(&str, Value)]) -> Result<Model> {
        let mut model = model.clone();
        let mut overrides = Metadata::new();
        pairs.iter().for_each(|(key, value)| overrides.set(*key, value.clone()));
        override_hyperparameters(&mut model, &overrides).map(|()| model)
    }

    #[test]
    fn what_the_model_says_is_replaced_where_the_kinds_agree() {
        let mut model = testing::model("gguf");
        let architecture = model.architecture.map(|a| a.id().to_owned()).or(model.architecture_id.clone()).unwrap();
        let key = |name: &str| format!("{architecture}.{name}");
        model.hyperparameters.set(HyperKey::BlockCount, Value::U32(4));
        model.hyperparameters.set(HyperKey::HeadCount, Value::I32s(vec![8; 4]));
        let cases = [
            (key("block_count"), Value::F32(3.0), HyperKey::BlockCount, Some(Value::U32(4))),
            (key("block_count"), Value::U32(4), HyperKey::BlockCount, Some(Value::U32(4))),
            (key("attention.head_count"), Value::U32(1), HyperKey::HeadCount, Some(Value::I32s(vec![8; 4]))),
            (key("attention.head_count_kv"), Value::U32(1), HyperKey::HeadCountKv, None),
            (key("expert_count"), Value::U32(9), HyperKey::ExpertCount, Some(Value::U32(9))),
        ];
        for (key, value, hyper, expected) in cases {
            let after = overridden(&model, &[(&key, value)]).unwrap();
            assert_eq!(after.hyperparameters.get(hyper), expected.as_ref(), "{key}");
        }
        model.hyperparameters.set(HyperKey::HeadCountKv, Value::U32(2));
        let after = overridden(&model, &[(&key("attention.head_count_kv"), Value::U32(1))]).unwrap();
        assert_eq!(after.hyperparameters.get(HyperKey::HeadCountKv), Some(&Value::U32(1)));
        let after = overridden(&model, &[("x.nextn_predict_layers", Value::U32(1))]).unwrap();
        assert_eq!(after.metadata.get("x.nextn_predict_layers"), Some(&Value::U32(1)));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut model = testing::model("gguf");
        let architecture = model.architecture.map(|a| a.id().to_owned()).or(model.architecture_id.clone()).unwrap();
        let key = |name: &str| format!("{architecture}.{name}");
        model.hyperparameters.set(HyperKey::HeadCount, Value::I32s(vec![8; 4]));
        model.hyperparameters.set(HyperKey::ExpertUsedCount, Value::U32(2));
        for (key, value) in [
            (key("block_count"), Value::U32(0)),
            (key("block_count"), Value::U32(5)),
            (key("expert_count"), Value::U32(1)),
            (ARCHITECTURE_KEY.to_owned(), Value::String("another".into())),
        ] {
            let error = overridden(&model, &[(&key, value)]).unwrap_err();
            assert_eq!(error.kind(), gravure_core::ErrorKind::Request, "{error}");
        }
        overridden(&model, &[(ARCHITECTURE_KEY, Value::String(architecture.clone()))]).unwrap();
        overridden(&model, &[(&key("expert_count"), Value::U32(1)), (&key("expert_used_count"), Value::U32(1))]).unwrap();
    }
}
