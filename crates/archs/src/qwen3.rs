//! Qwen3 (dense): the Llama design with RMS norms on each head of Q and K, rotary halves kept as
//! stored.
//!
//! Reference: `modeling_qwen3.py` of transformers; `conversion/qwen.py` of llama.cpp.

use gravure_base::Result;
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap};

use crate::blocks::decoder::{Bias, Design, Norms};
use crate::blocks::rope::{Rope, Scaling};
use crate::blocks::sizes::{Defaults, Set, Sizes};
use crate::blocks::tensors::{RuleExt, bias, weight};
use crate::blocks::{decoder, pooling};
use crate::config::Config;

/// Qwen3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Qwen3;

impl Architecture for Qwen3 {
    fn id(&self) -> &'static str {
        "qwen3"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["Qwen3ForCausalLM", "Qwen3Model"]
    }

    fn doc(&self) -> &'static str {
        "Qwen3, dense sizes"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let defaults = Defaults { context: 32_768, kv_heads: Some(32), head: Some(128), ..Defaults::default() };
        let sizes = Sizes::read(&config, defaults)?;
        let rope = Rope::read(&config, sizes.context, None)?;
        if matches!(rope.scaling, Scaling::LongRope { .. } | Scaling::Llama3 { .. }) {
            config.unsupported("rope_scaling", "this architecture has no factors for single frequencies")?;
        }
        config.only("hidden_act", &["silu".to_owned()])?;
        if rope.partial.is_some_and(|part| part != 1.0) {
            config.unsupported("partial_rotary_factor", "heads of this architecture are rotated whole")?;
        }
        config.only("use_sliding_window", &[false])?;
        // Without `use_sliding_window`, which says whether they mean anything.
        config.raw("sliding_window");
        config.raw("max_window_layers");
        decoder::expect_layer_types(&config, sizes.layers, |_| "full_attention")?;

        let mut parameters = Hyperparameters::new();
        decoder::set_common(&mut parameters, &sizes, &rope, config.epsilon("rms_norm_eps", 1e-6)?, Some(sizes.head));
        pooling::set(&mut parameters, &config)?;

        parameters.text(HyperKey::Activation, "silu");
        parameters.bool(HyperKey::TiedEmbeddings, config.or("tie_word_embeddings", false)?);
        parameters.bool(HyperKey::AttentionBias, config.or("attention_bias", false)?);
        parameters.set_ignored(config.finish()?);
        Ok(parameters)
    }

    fn tensor_map(&self, parameters: &Hyperparameters) -> Result<TensorMap> {
        let no_bias = !parameters.flag(HyperKey::AttentionBias);
        let attention = |name: &str| format!("model.layers.{{layer}}.self_attn.{name}");
        let feed_forward = |name: &str| format!("model.layers.{{layer}}.mlp.{name}");
        let rules = vec![
            weight("model.embed_tokens", Role::TokenEmbedding),
            weight("model.norm", Role::OutputNorm),
            weight("lm_head", Role::Output).optional(parameters.flag(HyperKey::TiedEmbeddings)),
            weight("model.layers.{layer}.input_layernorm", Role::AttentionNorm),
            weight(&attention("q_proj"), Role::AttentionQuery),
            weight(&attention("k_proj"), Role::AttentionKey),
            weight(&attention("v_proj"), Role::AttentionValue),
            weight(&attention("o_proj"), Role::AttentionOutput),
            bias(&attention("q_proj"), Role::AttentionQuery).optional(no_bias),
            bias(&attention("k_proj"), Role::AttentionKey).optional(no_bias),
            bias(&attention("v_proj"), Role::AttentionValue).optional(no_bias),
            bias(&attention("o_proj"), Role::AttentionOutput).optional(no_bias),
            weight(&attention("q_norm"), Role::AttentionQueryNorm),
            weight(&attention("k_norm"), Role::AttentionKeyNorm),
            weight("model.layers.{layer}.post_attention_layernorm", Role::FeedForwardNorm),
            weight(&feed_forward("gate_proj"), Role::FeedForwardGate),
            weight(&feed_forward("up_proj"), Role::FeedForwardUp),
            weight(&feed_forward("down_proj"), Role::FeedForwardDown),
        ];
        let ignored = vec![format!("{}.inv_freq", attention("rotary_emb"))];
        Ok(TensorMap { rules, ignored, prefixes: vec!["model.".to_owned()], generated: vec![] })
    }

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let rotation = decoder::shared_rotation(parameters)?;
        let rotation = |_| rotation.clone();
        let bias = Bias::flag(parameters, HyperKey::AttentionBias);
        let plain = Design::plain(&rotation, &|_| None, decoder::head_length(parameters)?);
        decoder::graph(parameters, &Design { qkv_bias: bias, output_bias: bias, norms: Norms::BeforeAndHeads, ..plain })
    }
}
