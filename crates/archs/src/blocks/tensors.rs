//! Shorthand for tensor rules.

use gravure_core::values::GeneratedTensor;
use gravure_core::{HyperKey, Hyperparameters, Part, Role, TensorId, TensorRule, Transform, Value};

/// The rule of `<module>.weight`.
pub(crate) fn weight(module: &str, role: Role) -> TensorRule {
    TensorRule { name: format!("{module}.weight"), role, part: Part::Weight, transform: Transform::Identity, optional: false }
}

/// The rule of `<module>.bias`.
pub(crate) fn bias(module: &str, role: Role) -> TensorRule {
    TensorRule { name: format!("{module}.bias"), role, part: Part::Bias, transform: Transform::Identity, optional: false }
}

/// Both rules of a module that has a bias.
pub(crate) fn both(module: &str, role: Role) -> [TensorRule; 2] {
    [weight(module, role), bias(module, role)]
}

/// Changes of a rule.
pub(crate) trait RuleExt {
    /// With a transform.
    fn with(self, transform: Transform) -> Self;
    /// May be absent, where `optional`.
    fn optional(self, optional: bool) -> Self;
}

impl RuleExt for TensorRule {
    fn with(self, transform: Transform) -> Self {
        Self { transform, ..self }
    }

    fn optional(self, optional: bool) -> Self {
        Self { optional, ..self }
    }
}

/// The vector that a configuration generates under `key`, as a tensor of `role`.
pub(crate) fn generated(parameters: &Hyperparameters, key: HyperKey, role: Role) -> Option<GeneratedTensor> {
    match parameters.get(key) {
        Some(Value::F32s(values)) => Some(GeneratedTensor { id: TensorId::global(role, Part::Weight), values: values.clone() }),
        _ => None,
    }
}
