//! Qwen2 and Qwen2.5: the Llama design with biases on Q, K and V and rotary halves kept as stored.
//!
//! Reference: `modeling_qwen2.py` of transformers; `conversion/qwen.py` of llama.cpp.

use gravure_base::Result;
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap};

use crate::blocks::decoder::{Bias, Design};
use crate::blocks::rope::{Rope, Scaling};
use crate::blocks::sizes::{Defaults, Set, Sizes};
use crate::blocks::tensors::{RuleExt, bias, both, weight};
use crate::blocks::{decoder, pooling};
use crate::config::Config;

/// Qwen2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Qwen2;

impl Architecture for Qwen2 {
    fn id(&self) -> &'static str {
        "qwen2"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["Qwen2ForCausalLM", "Qwen2Model"]
    }

    fn doc(&self) -> &'static str {
        "Qwen2 and Qwen2.5"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let sizes = Sizes::read(&config, Defaults { context: 32_768, kv_heads: Some(32), ..Defaults::default() })?;
        let rope = Rope::read(&config, sizes.context, None)?;
        if matches!(rope.scaling, Scaling::LongRope { .. } | Scaling::Llama3 { .. }) {
            config.unsupported("rope_scaling", "this architecture has no factors for single frequencies")?;
        }
        config.only("hidden_act", &["silu".to_owned()])?;
        if rope.partial.is_some_and(|part| part != 1.0) {
            config.unsupported("partial_rotary_factor", "heads of this architecture are rotated whole")?;
        }
        config.only("use_sliding_window", &[false])?;
        config.only("use_mrope", &[false])?;
        // Without `use_sliding_window`, which says whether they mean anything.
        config.raw("sliding_window");
        config.raw("max_window_layers");
        decoder::expect_layer_types(&config, sizes.layers, |_| "full_attention")?;

        let mut parameters = Hyperparameters::new();
        let head = sizes.head_is_given.then_some(sizes.head);
        decoder::set_common(&mut parameters, &sizes, &rope, config.epsilon("rms_norm_eps", 1e-6)?, head);
        pooling::set(&mut parameters, &config)?;

        parameters.text(HyperKey::Activation, "silu");
        parameters.bool(HyperKey::TiedEmbeddings, config.or("tie_word_embeddings", false)?);
        parameters.bool(HyperKey::AttentionBias, true);
        parameters.set_ignored(config.finish()?);
        Ok(parameters)
    }

    fn tensor_map(&self, parameters: &Hyperparameters) -> Result<TensorMap> {
        let attention = |name: &str| format!("model.layers.{{layer}}.self_attn.{name}");
        let feed_forward = |name: &str| format!("model.layers.{{layer}}.mlp.{name}");
        let mut rules = vec![
            weight("model.embed_tokens", Role::TokenEmbedding),
            weight("model.norm", Role::OutputNorm),
            weight("lm_head", Role::Output).optional(parameters.flag(HyperKey::TiedEmbeddings)),
            weight("model.layers.{layer}.input_layernorm", Role::AttentionNorm),
        ];
        rules.extend(both(&attention("q_proj"), Role::AttentionQuery));
        rules.extend(both(&attention("k_proj"), Role::AttentionKey));
        rules.extend(both(&attention("v_proj"), Role::AttentionValue));
        rules.extend([
            weight(&attention("o_proj"), Role::AttentionOutput),
            bias(&attention("o_proj"), Role::AttentionOutput).optional(true),
            weight("model.layers.{layer}.post_attention_layernorm", Role::FeedForwardNorm),
            weight(&feed_forward("gate_proj"), Role::FeedForwardGate),
            weight(&feed_forward("up_proj"), Role::FeedForwardUp),
            weight(&feed_forward("down_proj"), Role::FeedForwardDown),
        ]);
        let ignored = vec![format!("{}.inv_freq", attention("rotary_emb"))];
        Ok(TensorMap { rules, ignored, prefixes: vec!["model.".to_owned()], generated: vec![] })
    }

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let rotation = decoder::shared_rotation(parameters)?;
        let rotation = |_| rotation.clone();
        let plain = Design::plain(&rotation, &|_| None, decoder::head_length(parameters)?);
        decoder::graph(parameters, &Design { qkv_bias: Bias::Added, ..plain })
    }
}
