//! What the decoders of the Llama family have in common.

use gravure_base::Result;
use gravure_core::{HyperKey, Hyperparameters};

use crate::blocks::rope::Rope;
use crate::blocks::sizes::{Set, Sizes};
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
