//! Which encoding each tensor gets, and why: plain, printable, editable data.

use serde::{Deserialize, Serialize};

/// The decision for one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanEntry {
    /// Tensor name in the output.
    pub tensor: String,
    /// Tensor name in the model, where it differs (layers that follow a pruned one move up).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Encoding id.
    pub encoding: String,
    /// Method id: `copy` where the source's bytes are kept, `rtn` where values are rounded.
    pub method: String,
    /// Why.
    pub reason: String,
}

/// In which order tensors are rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Each by itself.
    #[default]
    Apart,
    /// Layer by layer, each for the inputs that the rounded ones before it give.
    InTurn,
}

impl Order {
    fn is_apart(&self) -> bool {
        *self == Self::Apart
    }
}

/// A plan: the whole decision before any work is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What was asked for, for example `q4_k_m`.
    pub name: String,
    /// The number under which GGUF knows the mixture (`general.file_type`), where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_type: Option<u32>,
    /// Layers that are left out; the layers behind them move up and `block_count` shrinks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned_layers: Vec<u32>,
    /// Passes over the weights before they are rounded, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<String>,
    /// In which order tensors are rounded.
    #[serde(default, skip_serializing_if = "Order::is_apart")]
    pub order: Order,
    /// Exact size of the output's tensors in bytes, without header and padding.
    #[serde(default)]
    pub tensor_bytes: u64,
    /// One entry for each tensor of the output, in output order.
    pub tensors: Vec<PlanEntry>,
}
