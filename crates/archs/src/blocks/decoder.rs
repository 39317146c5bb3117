//! What the decoders of the Llama family have in common: the order of their hyperparameters and
//! their graph.
//!
//! ```text
//! tokens -> embedding -> layers -> norm -> output -> logits
//! layer: x + attention(norm(x)), then x + feed_forward(norm(x)); Gemma norms both results too
//! ```

use gravure_base::Result;
use gravure_core::values::{Attribute, Edge};
use gravure_core::{Graph, HyperKey, Hyperparameters, Role};
use gravure_ops as ops;

use crate::blocks::graph::{AttentionShape, Builder, Rotation, rotation_of};
use crate::blocks::rope::Rope;
use crate::blocks::sizes::{self, Set, Sizes};
use crate::config::Config;

/// Sets the common hyperparameters in the reference converter's general order. `head` is the length
/// of keys and values where it is written.
pub(crate) fn set_common(parameters: &mut Hyperparameters, sizes: &Sizes, rope: &Rope, epsilon: f64, head: Option<u64>) {
    parameters.u32(HyperKey::BlockCount, sizes.layers);
    parameters.u32(HyperKey::ContextLength, sizes.context);
    parameters.u32(HyperKey::EmbeddingLength, sizes.width);
    parameters.u32(HyperKey::FeedForwardLength, sizes.feed_forward);
    parameters.u32(HyperKey::HeadCount, sizes.heads);
    parameters.u32(HyperKey::HeadCountKv, sizes.kv_heads);
    rope.set(parameters);
    parameters.f32(HyperKey::LayerNormRmsEpsilon, epsilon);
    if let Some(head) = head {
        parameters.u32(HyperKey::KeyLength, head);
        parameters.u32(HyperKey::ValueLength, head);
    }
    parameters.u32(HyperKey::FileType, 0);
}

/// Reads `layer_types`, where it is there, and refuses it where it is not what `expected` says for
/// each layer: the kinds of layers are fixed by an architecture, and a GGUF has no word for others.
pub(crate) fn expect_layer_types(config: &Config<'_>, layers: u64, expected: impl Fn(u64) -> &'static str) -> Result<()> {
    let Some(types) = config.optional::<Vec<String>>("layer_types")? else { return Ok(()) };
    if types.len() as u64 != layers || !(0..).zip(&types).all(|(i, kind)| kind == expected(i)) {
        config.unsupported("layer_types", "this sequence of attention kinds is not the architecture's own")?;
    }
    Ok(())
}

/// Whether Q, K and V (and gate and up) are matrices of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projections {
    Separate,
    Fused,
}

/// Whether a linear map has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    None,
    Added,
}

impl Bias {
    /// [`Bias::Added`] where a flag of the parameters says so.
    pub(crate) fn flag(parameters: &Hyperparameters, key: HyperKey) -> Self {
        if parameters.flag(key) { Self::Added } else { Self::None }
    }
}

/// Where norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norms {
    /// Before attention and feed-forward.
    Before,
    /// Before, and over each head of Q and K.
    BeforeAndHeads,
    /// Before and after attention and feed-forward.
    BeforeAndAfter,
    /// All of these.
    All,
}

/// What distinguishes one decoder's graph from another's.
pub(crate) struct Design<'a> {
    pub(crate) projections: Projections,
    pub(crate) qkv_bias: Bias,
    pub(crate) output_bias: Bias,
    pub(crate) feed_forward_bias: Bias,
    pub(crate) norms: Norms,
    /// Id of the activation.
    pub(crate) activation: &'static str,
    /// Whether embeddings are multiplied by the square root of the width.
    pub(crate) scale_embedding: bool,
    /// Rotation of each layer.
    pub(crate) rotation: &'a dyn Fn(u32) -> Rotation,
    /// Window of each layer.
    pub(crate) window: &'a dyn Fn(u32) -> Option<u64>,
    /// Square of the divisor of scores.
    pub(crate) score_divisor: f64,
    pub(crate) score_cap: Option<f64>,
    pub(crate) logit_cap: Option<f64>,
}

impl<'a> Design<'a> {
    /// Llama's own, without biases.
    pub(crate) fn plain(rotation: &'a dyn Fn(u32) -> Rotation, window: &'a dyn Fn(u32) -> Option<u64>, head: u64) -> Self {
        Self {
            projections: Projections::Separate,
            qkv_bias: Bias::None,
            output_bias: Bias::None,
            feed_forward_bias: Bias::None,
            norms: Norms::Before,
            activation: ops::silu::ID,
            scale_embedding: false,
            rotation,
            window,
            score_divisor: head as f64,
            score_cap: None,
            logit_cap: None,
        }
    }
}

/// The rotation that all layers of a model share, from its hyperparameters.
pub(crate) fn shared_rotation(parameters: &Hyperparameters) -> Result<Rotation> {
    let head = head_length(parameters)?;
    rotation_of(parameters, parameters.u64(HyperKey::RopeDimensionCount).unwrap_or(head), None)
}

/// Length of a head: the stated length of keys, or width by heads.
pub(crate) fn head_length(parameters: &Hyperparameters) -> Result<u64> {
    match parameters.get(HyperKey::KeyLength) {
        Some(_) => sizes::size(parameters, HyperKey::KeyLength),
        None => Ok(sizes::size(parameters, HyperKey::EmbeddingLength)? / parameters.u64(HyperKey::HeadCount)?.max(1)),
    }
}

/// The graph of a decoder: inputs `tokens` and `positions`, output `logits [positions, vocabulary]`.
pub(crate) fn graph(parameters: &Hyperparameters, design: &Design<'_>) -> Result<Graph> {
    let heads = sizes::size(parameters, HyperKey::HeadCount)?;
    let kv_heads = match parameters.get(HyperKey::HeadCountKv) {
        Some(_) => sizes::size(parameters, HyperKey::HeadCountKv)?,
        None => heads,
    };
    let head = head_length(parameters)?;
    let width = sizes::size(parameters, HyperKey::EmbeddingLength)?;
    let feed_forward = sizes::size(parameters, HyperKey::FeedForwardLength)?;
    let epsilon = parameters.f64(HyperKey::LayerNormRmsEpsilon)?;
    let layers = sizes::layers(parameters)?;

    let mut b = Builder::new();
    let tokens = b.input("tokens");
    let positions = b.input("positions");
    let table = b.weight(None, Role::TokenEmbedding);
    let mut x = b.op("embedding", ops::embedding::ID, &[table, tokens], []);
    if design.scale_embedding {
        x = b.op("embedding.scaled", ops::scale::ID, &[x], [(ops::scale::FACTOR, Attribute::Float((width as f64).sqrt()))]);
    }
    for layer in 0..layers {
        let at = |name: &str| format!("layers.{layer}.{name}");
        let after = matches!(design.norms, Norms::BeforeAndAfter | Norms::All);

        let normed = b.rms_norm(&at("attention.norm"), x, Some(layer), Role::AttentionNorm, epsilon);
        let (mut q, mut k, v) = match design.projections {
            Projections::Separate => {
                let mut project = |name: &str, role| b.linear(&at(name), normed, Some(layer), role, design.qkv_bias);
                let q = project("attention.query", Role::AttentionQuery);
                let k = project("attention.key", Role::AttentionKey);
                (q, k, project("attention.value", Role::AttentionValue))
            }
            Projections::Fused => {
                let all = b.linear(&at("attention.qkv"), normed, Some(layer), Role::AttentionQkv, design.qkv_bias);
                let (queries, keys) = (heads * head, kv_heads * head);
                (
                    b.slice(&at("attention.query"), all, 0, queries),
                    b.slice(&at("attention.key"), all, queries, keys),
                    b.slice(&at("attention.value"), all, queries + keys, keys),
                )
            }
        };
        if matches!(design.norms, Norms::BeforeAndHeads | Norms::All) {
            q = b.rms_norm(&at("attention.query.norm"), q, Some(layer), Role::AttentionQueryNorm, epsilon);
            k = b.rms_norm(&at("attention.key.norm"), k, Some(layer), Role::AttentionKeyNorm, epsilon);
        }
        let rotation = (design.rotation)(layer);
        let q = b.rope(&at("attention.query.rotated"), q, positions, heads, &rotation);
        let k = b.rope(&at("attention.key.rotated"), k, positions, kv_heads, &rotation);
        let shape = AttentionShape {
            heads,
            kv_heads,
            scale: 1.0 / design.score_divisor.sqrt(),
            causal: true,
            window: (design.window)(layer),
            softcap: design.score_cap,
        };
        let mixed = b.attention(&at("attention"), [q, k, v], &shape);
        let mut out = b.linear(&at("attention.output"), mixed, Some(layer), Role::AttentionOutput, design.output_bias);
        if after {
            out = b.rms_norm(&at("attention.output.norm"), out, Some(layer), Role::AttentionPostNorm, epsilon);
        }
        x = b.op(&at("attention.residual"), ops::add::ID, &[x, out], []);

        let normed = b.rms_norm(&at("feed_forward.norm"), x, Some(layer), Role::FeedForwardNorm, epsilon);
        let (gate, up) = match design.projections {
            Projections::Separate => {
                let bias = design.feed_forward_bias;
                let gate = b.linear(&at("feed_forward.gate"), normed, Some(layer), Role::FeedForwardGate, bias);
                (gate, b.linear(&at("feed_forward.up"), normed, Some(layer), Role::FeedForwardUp, bias))
            }
            Projections::Fused => {
                let both = b.linear(&at("feed_forward.gate_up"), normed, Some(layer), Role::FeedForwardUp, design.feed_forward_bias);
                let gate = b.slice(&at("feed_forward.gate"), both, 0, feed_forward);
                (gate, b.slice(&at("feed_forward.up"), both, feed_forward, feed_forward))
            }
        };
        let mut out = gated(&mut b, &at, layer, gate, up, design);
        if after {
            out = b.rms_norm(&at("feed_forward.output.norm"), out, Some(layer), Role::FeedForwardPostNorm, epsilon);
        }
        x = b.op(&at("feed_forward.residual"), ops::add::ID, &[x, out], []);
    }
    let x = b.rms_norm("output.norm", x, None, Role::OutputNorm, epsilon);
    let output = if parameters.flag(HyperKey::TiedEmbeddings) { table } else { b.weight(None, Role::Output) };
    let mut logits = b.op("output", ops::linear::ID, &[x, output], []);
    if let Some(limit) = design.logit_cap {
        logits = b.op("output.capped", ops::softcap::ID, &[logits], [(ops::softcap::LIMIT, Attribute::Float(limit))]);
    }
    Ok(b.finish("logits", logits))
}

/// `down(activation(gate) * up)`.
fn gated(b: &mut Builder, at: &dyn Fn(&str) -> String, layer: u32, gate: Edge, up: Edge, design: &Design<'_>) -> Edge {
    let active = b.op(&at("feed_forward.activation"), design.activation, &[gate], []);
    let product = b.op(&at("feed_forward.product"), ops::mul::ID, &[active, up], []);
    b.linear(&at("feed_forward.down"), product, Some(layer), Role::FeedForwardDown, design.feed_forward_bias)
}
