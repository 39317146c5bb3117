//! How a sentence embedding is made from those of its tokens.

use gravure_base::Result;
use gravure_core::contracts::POOLING_KEY;
use gravure_core::{HyperKey, Hyperparameters};

use crate::blocks::sizes::Set;
use crate::config::Config;

/// GGUF's numbers.
const MEAN: u64 = 1;
const FIRST: u64 = 2;
const LAST: u64 = 3;

/// Sets the pooling type from the folder's pooling module, where it has one: either flags
/// (`pooling_mode_mean_tokens`, ...) or a word (`pooling_mode`).
pub(crate) fn set(parameters: &mut Hyperparameters, config: &Config<'_>) -> Result<()> {
    let Some(module) = config.raw(POOLING_KEY) else { return Ok(()) };
    let flag = |key: &str| module.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false);
    let word = module.get("pooling_mode").and_then(serde_json::Value::as_str);
    let kind = match word {
        _ if flag("pooling_mode_mean_tokens") => MEAN,
        _ if flag("pooling_mode_cls_token") => FIRST,
        _ if flag("pooling_mode_lasttoken") => LAST,
        Some("mean") => MEAN,
        Some("cls") => FIRST,
        Some("lasttoken") => LAST,
        _ => return config.unsupported(POOLING_KEY, "only the mean, the first or the last token can be taken as the sentence's embedding"),
    };
    parameters.u32(HyperKey::PoolingType, kind);
    Ok(())
}
