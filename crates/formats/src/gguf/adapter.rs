//! The keys by which a file says that it is an adapter.

use gravure_core::values::{AdapterFacts, Invocation};
use gravure_core::{Error, Metadata, Result, Value};

use super::pairs::TYPE_KEY;

const ADAPTER: &str = "adapter";
const KIND_KEY: &str = "adapter.type";
const ALPHA_KEY: &str = "adapter.lora.alpha";
const INVOCATION_KEY: &str = "adapter.alora.invocation_tokens";

/// What the metadata says of an adapter; `None` for a model.
///
/// # Errors
/// `Input` where a key holds something else than it should.
pub(crate) fn read(metadata: &Metadata) -> Result<Option<AdapterFacts>> {
    if metadata.get(TYPE_KEY).and_then(Value::as_str) != Some(ADAPTER) {
        return Ok(None);
    }
    let kind = match metadata.get(KIND_KEY) {
        None => "lora".to_owned(),
        Some(value) => value.as_str().ok_or_else(|| Error::input("is not a string").at_item(KIND_KEY))?.to_owned(),
    };
    let alpha = match metadata.get(ALPHA_KEY) {
        None => 0.0,
        Some(value) => value.as_f64().ok_or_else(|| Error::input("is not a number").at_item(ALPHA_KEY))? as f32,
    };
    let invocation = match metadata.get(INVOCATION_KEY) {
        None => Invocation::Always,
        Some(value) => {
            let tokens = value.as_u64s().and_then(|list| list.iter().map(|&t| u32::try_from(t).ok()).collect());
            Invocation::Tokens(tokens.ok_or_else(|| Error::input("is not a list of tokens").at_item(INVOCATION_KEY))?)
        }
    };
    Ok(Some(AdapterFacts { kind, alpha, invocation, base: None }))
}

/// What stands right behind the architecture.
pub(crate) fn kind_keys(facts: &AdapterFacts) -> [(&'static str, Value); 2] {
    [(TYPE_KEY, Value::String(ADAPTER.to_owned())), (KIND_KEY, Value::String(facts.kind.clone()))]
}

/// What stands where a model has its hyperparameters.
pub(crate) fn own_keys(facts: &AdapterFacts) -> Vec<(&'static str, Value)> {
    let mut out = vec![(ALPHA_KEY, Value::F32(facts.alpha))];
    if let Invocation::Tokens(tokens) = &facts.invocation {
        out.push((INVOCATION_KEY, Value::U32s(tokens.clone())));
    }
    out
}
