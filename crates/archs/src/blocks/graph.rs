//! Builds graphs: an operation in a line.

use gravure_base::Result;
use gravure_core::values::{Attribute, Edge};
use gravure_core::{Graph, HyperKey, Hyperparameters, Part, Role, TensorId};
use gravure_ops as ops;

use crate::blocks::decoder::Bias;

/// How heads are turned.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    attributes: Vec<(&'static str, Attribute)>,
    /// Roles of the generated vectors that divide frequencies.
    divisors: Vec<Role>,
}

impl Rotation {
    /// On a base, unscaled.
    pub(crate) fn plain(dimensions: u64, base: f64) -> Self {
        let attributes = vec![(ops::rope::DIMENSIONS, integer(dimensions)), (ops::rope::BASE, Attribute::Float(base))];
        Self { attributes, divisors: vec![] }
    }
}

/// The rotation of `dimensions` elements of a head that hyperparameters describe, on their base or on
/// another one.
pub(crate) fn rotation_of(parameters: &Hyperparameters, dimensions: u64, base: Option<f64>) -> Result<Rotation> {
    let base = base.or(parameters.f64(HyperKey::RopeFreqBase).ok()).unwrap_or(10_000.0);
    let mut rotation = Rotation::plain(dimensions, base);
    let mut float = |name, value| rotation.attributes.push((name, Attribute::Float(value)));
    let original = parameters.u64(HyperKey::RopeScalingOriginalContextLength).ok();
    match parameters.get(HyperKey::RopeScalingType).and_then(|v| v.as_str()) {
        Some("linear") => float(ops::rope::FACTOR, parameters.f64(HyperKey::RopeScalingFactor)?),
        Some("yarn") => {
            let factor = parameters.f64(HyperKey::RopeScalingFactor)?;
            let magnitude = parameters.f64(HyperKey::RopeScalingYarnAttentionFactor).ok();
            float(ops::rope::YARN_FACTOR, factor);
            float(ops::rope::MAGNITUDE, magnitude.unwrap_or(if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 }));
            for (key, name) in [
                (HyperKey::RopeScalingYarnBetaFast, ops::rope::YARN_BETA_FAST),
                (HyperKey::RopeScalingYarnBetaSlow, ops::rope::YARN_BETA_SLOW),
            ] {
                if let Ok(value) = parameters.f64(key) {
                    float(name, value);
                }
            }
        }
        _ => {}
    }
    if let Ok(magnitude) = parameters.f64(HyperKey::RopeScalingAttentionFactor) {
        float(ops::rope::MAGNITUDE, magnitude);
    }
    if let Some(original) = original {
        rotation.attributes.push((ops::rope::ORIGINAL_CONTEXT, integer(original)));
    }
    if parameters.get(HyperKey::RopeFactors).is_some() {
        rotation.divisors.push(Role::RopeFrequencies);
    } else if parameters.get(HyperKey::RopeFactorsShort).is_some() {
        rotation.divisors.extend([Role::RopeFactorsShort, Role::RopeFactorsLong]);
    }
    Ok(rotation)
}

/// How rows see each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) heads: u64,
    pub(crate) kv_heads: u64,
    pub(crate) scale: f64,
    pub(crate) causal: bool,
    pub(crate) window: Option<u64>,
    pub(crate) softcap: Option<f64>,
}

/// A graph under construction.
#[derive(Debug)]
pub(crate) struct Builder {
    graph: Graph,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { graph: Graph::new() }
    }

    /// The graph with its one output.
    pub(crate) fn finish(mut self, name: &str, edge: Edge) -> Graph {
        self.graph.output(name, edge);
        self.graph
    }

    pub(crate) fn input(&mut self, name: &str) -> Edge {
        self.graph.input(name)
    }

    pub(crate) fn weight(&mut self, layer: Option<u32>, role: Role) -> Edge {
        self.graph.weight(TensorId { role, layer, expert: None, part: Part::Weight })
    }

    fn bias(&mut self, layer: Option<u32>, role: Role) -> Edge {
        self.graph.weight(TensorId { role, layer, expert: None, part: Part::Bias })
    }

    pub(crate) fn op(
        &mut self,
        name: &str,
        op: &'static str,
        inputs: &[Edge],
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) -> Edge {
        self.graph.node(name, op, inputs, attributes)
    }

    pub(crate) fn linear(&mut self, name: &str, x: Edge, layer: Option<u32>, role: Role, bias: Bias) -> Edge {
        let mut inputs = vec![x, self.weight(layer, role)];
        if bias == Bias::Added {
            inputs.push(self.bias(layer, role));
        }
        self.op(name, ops::linear::ID, &inputs, [])
    }

    pub(crate) fn rms_norm(&mut self, name: &str, x: Edge, layer: Option<u32>, role: Role, epsilon: f64) -> Edge {
        let gain = self.weight(layer, role);
        self.op(name, ops::rms_norm::ID, &[x, gain], [(ops::rms_norm::EPSILON, Attribute::Float(epsilon))])
    }

    pub(crate) fn layer_norm(&mut self, name: &str, x: Edge, layer: Option<u32>, role: Role, epsilon: f64) -> Edge {
        let inputs = [x, self.weight(layer, role), self.bias(layer, role)];
        self.op(name, ops::layer_norm::ID, &inputs, [(ops::layer_norm::EPSILON, Attribute::Float(epsilon))])
    }

    pub(crate) fn slice(&mut self, name: &str, x: Edge, start: u64, length: u64) -> Edge {
        let attributes = [(ops::slice::START, integer(start)), (ops::slice::LENGTH, integer(length))];
        self.op(name, ops::slice::ID, &[x], attributes)
    }

    pub(crate) fn rope(&mut self, name: &str, x: Edge, positions: Edge, heads: u64, rotation: &Rotation) -> Edge {
        let mut inputs = vec![x, positions];
        inputs.extend(rotation.divisors.iter().map(|&role| self.weight(None, role)));
        let attributes = rotation.attributes.iter().cloned().chain([(ops::rope::HEADS, integer(heads))]);
        self.op(name, ops::rope::ID, &inputs, attributes)
    }

    pub(crate) fn attention(&mut self, name: &str, qkv: [Edge; 3], shape: &AttentionShape) -> Edge {
        let mut attributes = vec![
            (ops::attention::HEADS, integer(shape.heads)),
            (ops::attention::KV_HEADS, integer(shape.kv_heads)),
            (ops::attention::SCALE, Attribute::Float(shape.scale)),
            (ops::attention::CAUSAL, Attribute::Flag(shape.causal)),
        ];
        attributes.extend(shape.window.map(|window| (ops::attention::WINDOW, integer(window))));
        attributes.extend(shape.softcap.map(|cap| (ops::attention::SOFTCAP, Attribute::Float(cap))));
        self.op(name, ops::attention::ID, &qkv, attributes)
    }
}

fn integer(value: u64) -> Attribute {
    Attribute::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}
