//! What the rules ask of a model, read once.

use gravure_core::{HyperKey, Model, Value};

/// Numbers of a model that rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Architecture id; empty where the source does not say.
    pub(super) architecture: String,
    /// All layers, those that predict further tokens included; 0 where the source does not say.
    pub(super) layers: i64,
    /// Query heads for each key-value head in the first layer; 0 where it has none.
    pub(super) query_heads_per_key_head: u64,
    /// Experts of a layer; 0 for a dense model.
    pub(super) experts: u64,
    /// Whether it is one of the 70 B shapes, whose few value rows are cheap to keep precise.
    pub(super) is_70b: bool,
}

impl Facts {
    pub(super) fn of(model: &Model) -> Self {
        let architecture = model.architecture_id.clone().unwrap_or_default();
        // Projector files hold no language model: their layer counts have other names.
        if architecture == "clip" {
            return Self { architecture, layers: 0, query_heads_per_key_head: 0, experts: 0, is_70b: false };
        }
        let value = |key: HyperKey, name: &str| {
            let spelled = format!("{architecture}.{name}");
            model.hyperparameters.get(key).or_else(|| model.metadata.get(&spelled)).cloned()
        };
        let number = |key, name: &str| value(key, name).as_ref().and_then(Value::as_u64).unwrap_or(0);
        let first = |key, name: &str| value(key, name).and_then(|v| v.as_u64s()).and_then(|v| v.first().copied());
        let stored_layers = number(HyperKey::BlockCount, "block_count");
        let extra = model.metadata.get(&format!("{architecture}.nextn_predict_layers")).and_then(Value::as_u64).unwrap_or(0);
        let heads = first(HyperKey::HeadCount, "attention.head_count").unwrap_or(0);
        let key_heads = first(HyperKey::HeadCountKv, "attention.head_count_kv").unwrap_or(heads);
        let experts = number(HyperKey::ExpertCount, "expert_count");
        let trunk = stored_layers.saturating_sub(extra);
        // llama.cpp's models of these layer counts; its `llama` is told from an older 65 B by its heads.
        let is_70b = match architecture.as_str() {
            "llama" | "llama-embed" => experts != 8 && trunk == 80 && heads != key_heads,
            "qwen2" | "deci" | "olmo" => trunk == 80,
            "jais2" => trunk == 68,
            _ => false,
        };
        // Its router is a layer of its own behind the others, and is not in the stored count.
        let layers = if architecture == "graniteswitch" { trunk.saturating_add(1) } else { stored_layers };
        Self {
            architecture,
            layers: i64::try_from(layers).unwrap_or(i64::MAX / 16),
            query_heads_per_key_head: heads.checked_div(key_heads).unwrap_or(0),
            experts,
            is_70b,
        }
    }
}
