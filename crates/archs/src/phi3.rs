//! Phi-3, Phi-3.5 and Phi-4 (dense text models): the Llama design with Q, K and V in one matrix,
//! gate and up in another, a partly rotated head (Phi-4-mini), and LongRoPE's factors, which come
//! from the configuration and become tensors.
//!
//! A GGUF has the fused matrices as they are stored. llama.cpp's graph switches the sliding window
//! off; the value is written all the same.
//!
//! Reference: `modeling_phi3.py` of transformers; `conversion/phi.py` of llama.cpp.

use gravure_base::{Error, Result};
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap, Value};

use crate::blocks::decoder;
use crate::blocks::decoder::{Design, Projections};
use crate::blocks::rope::{Rope, Scaling};
use crate::blocks::sizes::{Defaults, Set, Sizes};
use crate::blocks::tensors::{RuleExt, generated, weight};
use crate::config::Config;

/// Phi-3 and its kin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phi3;

impl Architecture for Phi3 {
    fn id(&self) -> &'static str {
        "phi3"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["Phi3ForCausalLM", "Phi3Model"]
    }

    fn doc(&self) -> &'static str {
        "Phi-3, Phi-3.5 and Phi-4, dense text models"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let sizes = Sizes::read(&config, Defaults { context: 4096, ..Defaults::default() })?;
        let original: u64 = config.or("original_max_position_embeddings", 4096)?;
        let rope = Rope::read(&config, sizes.context, Some(original))?;
        config.only("hidden_act", &["silu".to_owned()])?;
        for key in ["attention_bias", "mlp_bias", "lm_head_bias"] {
            config.only(key, &[false])?;
        }
        // Phi-4-mini names what it has in common with its larger kin.
        config.only("full_attn_mod", &[1_u64])?;
        config.only("interpolate_factor", &[1_u64])?;
        if sizes.head != sizes.width / sizes.heads {
            config.unsupported("head_dim", "heads of this architecture have the length of the width by their number")?;
        }
        let partial = rope.partial.unwrap_or(1.0);
        if !(partial > 0.0 && partial <= 1.0) {
            return Err(Error::input(format!("{partial} is not a part of a head")).at_item("partial_rotary_factor"));
        }
        let rotated = (partial * sizes.width as f64) as u64 / sizes.heads;

        let mut parameters = Hyperparameters::new();
        if let Some(scale) = long_rope_scale(&config, &rope, &sizes, original, rotated)? {
            parameters.f32(HyperKey::RopeScalingAttentionFactor, scale);
        }
        parameters.u32(HyperKey::ContextLength, sizes.context);
        parameters.u32(HyperKey::RopeScalingOriginalContextLength, original);
        parameters.u32(HyperKey::EmbeddingLength, sizes.width);
        parameters.u32(HyperKey::FeedForwardLength, sizes.feed_forward);
        parameters.u32(HyperKey::BlockCount, sizes.layers);
        parameters.u32(HyperKey::HeadCount, sizes.heads);
        parameters.u32(HyperKey::HeadCountKv, sizes.kv_heads);
        parameters.f32(HyperKey::LayerNormRmsEpsilon, config.epsilon("rms_norm_eps", 1e-5)?);
        parameters.u32(HyperKey::RopeDimensionCount, rotated);
        parameters.f32(HyperKey::RopeFreqBase, rope.theta);
        parameters.u32(HyperKey::FileType, 0);
        // Zero is how a GGUF says that there is none.
        parameters.u32(HyperKey::SlidingWindow, config.or("sliding_window", 0)?);

        parameters.text(HyperKey::Activation, "silu");
        parameters.bool(HyperKey::TiedEmbeddings, config.or("tie_word_embeddings", false)?);
        if let Scaling::LongRope { short, long, .. } = &rope.scaling {
            parameters.set(HyperKey::RopeFactorsLong, floats(long));
            parameters.set(HyperKey::RopeFactorsShort, floats(short));
        }
        parameters.set_ignored(config.finish()?);
        Ok(parameters)
    }

    fn tensor_map(&self, parameters: &Hyperparameters) -> Result<TensorMap> {
        let rules = vec![
            weight("model.embed_tokens", Role::TokenEmbedding),
            weight("model.norm", Role::OutputNorm),
            weight("lm_head", Role::Output).optional(parameters.flag(HyperKey::TiedEmbeddings)),
            weight("model.layers.{layer}.input_layernorm", Role::AttentionNorm),
            weight("model.layers.{layer}.self_attn.qkv_proj", Role::AttentionQkv),
            weight("model.layers.{layer}.self_attn.o_proj", Role::AttentionOutput),
            weight("model.layers.{layer}.post_attention_layernorm", Role::FeedForwardNorm),
            // Gate rows first, then up rows; a GGUF calls the whole `ffn_up`.
            weight("model.layers.{layer}.mlp.gate_up_proj", Role::FeedForwardUp),
            weight("model.layers.{layer}.mlp.down_proj", Role::FeedForwardDown),
        ];
        let generated = [
            generated(parameters, HyperKey::RopeFactorsLong, Role::RopeFactorsLong),
            generated(parameters, HyperKey::RopeFactorsShort, Role::RopeFactorsShort),
        ];
        Ok(TensorMap {
            rules,
            ignored: vec!["model.layers.{layer}.self_attn.rotary_emb.inv_freq".to_owned()],
            prefixes: vec!["model.".to_owned()],
            generated: generated.into_iter().flatten().collect(),
        })
    }

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let rotation = decoder::shared_rotation(parameters)?;
        let window = parameters.u64(HyperKey::SlidingWindow).ok().filter(|&window| window > 0);
        let (rotation, window) = (|_| rotation.clone(), |_| window);
        let plain = Design::plain(&rotation, &window, decoder::head_length(parameters)?);
        decoder::graph(parameters, &Design { projections: Projections::Fused, ..plain })
    }
}

/// Checks the settings of LongRoPE; the factor of cosines and sines that goes with them.
fn long_rope_scale(config: &Config<'_>, rope: &Rope, sizes: &Sizes, original: u64, rotated: u64) -> Result<Option<f64>> {
    let (short, long, attention, factor) = match &rope.scaling {
        Scaling::None => return Ok(None),
        Scaling::LongRope { short, long, attention, factor, .. } => (short, long, attention, factor),
        _ => {
            config.unsupported("rope_scaling", "this architecture scales its rotary embedding by LongRoPE only")?;
            return Ok(None);
        }
    };
    if short.len() as u64 != rotated / 2 || long.len() as u64 != rotated / 2 {
        let message = format!("{} short and {} long factors, and {} are needed", short.len(), long.len(), rotated / 2);
        return Err(Error::input(message).at_item("rope_scaling"));
    }
    if original < 2 {
        return Err(Error::input(format!("{original} is too short")).at_item("original_max_position_embeddings"));
    }
    let stretch = sizes.context as f64 / original as f64;
    if attention.is_some() || factor.is_some_and(|factor| factor != stretch) {
        config.unsupported("rope_scaling", "a stated attention factor that does not follow from the context lengths")?;
    }
    Ok(Some(if stretch > 1.0 { (1.0 + stretch.ln() / (original as f64).ln()).sqrt() } else { 1.0 }))
}

fn floats(values: &[f64]) -> Value {
    Value::F32s(values.iter().map(|&v| v as f32).collect())
}
