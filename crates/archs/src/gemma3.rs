//! Gemma 3, text models: Gemma 2 without caps on attention scores, with norms on each head of Q and
//! K, and five layers with a window and a rotary base of their own before each one without.
//!
//! Reference: `modeling_gemma3.py` of transformers; `conversion/gemma.py` of llama.cpp. That
//! converter cuts the embedding to the tokenizer's vocabulary: who has both at hand does so too.

use gravure_base::Result;
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap, Transform};
use gravure_ops::gelu_tanh;

use crate::blocks::decoder;
use crate::blocks::decoder::{Design, Norms};
use crate::blocks::graph::Rotation;
use crate::blocks::rope::{Rope, Scaling};
use crate::blocks::sizes::{Defaults, Set, Sizes};
use crate::blocks::tensors::{RuleExt, weight};
use crate::config::Config;

/// Each so many layers, the last one attends to everything.
const PERIOD: u64 = 6;

/// Gemma 3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gemma3;

impl Architecture for Gemma3 {
    fn id(&self) -> &'static str {
        "gemma3"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["Gemma3ForCausalLM", "gemma3_text"]
    }

    fn doc(&self) -> &'static str {
        "Gemma 3, text models"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let defaults = Defaults { context: 131_072, heads: Some(8), kv_heads: Some(4), head: Some(256), vocabulary: Some(262_208) };
        let sizes = Sizes::read(&config, defaults)?;
        let (global, local) = Rope::read_two(&config, sizes.context)?;
        if !matches!(global.scaling, Scaling::None | Scaling::Linear { .. }) || local.scaling != Scaling::None {
            config.unsupported("rope_parameters", "this architecture scales its global rotary embedding by one factor only")?;
        }
        let activation = ["gelu_pytorch_tanh".to_owned()];
        config.only("hidden_activation", &activation)?;
        config.only("hidden_act", &activation)?;
        config.only("attention_bias", &[false])?;
        config.only("use_bidirectional_attention", &[false])?;
        config.only("tie_word_embeddings", &[true])?;
        config.only("sliding_window_pattern", &[PERIOD])?;
        decoder::expect_layer_types(&config, sizes.layers, |i| {
            if (i + 1).is_multiple_of(PERIOD) { "full_attention" } else { "sliding_attention" }
        })?;
        if config.optional::<f64>("attn_logit_softcapping")?.is_some() {
            config.unsupported("attn_logit_softcapping", "this architecture does not cap attention scores")?;
        }

        let mut parameters = Hyperparameters::new();
        parameters.u32(HyperKey::BlockCount, sizes.layers);
        parameters.u32(HyperKey::ContextLength, sizes.context);
        parameters.u32(HyperKey::EmbeddingLength, sizes.width);
        parameters.u32(HyperKey::FeedForwardLength, sizes.feed_forward);
        parameters.u32(HyperKey::HeadCount, sizes.heads);
        parameters.u32(HyperKey::HeadCountKv, sizes.kv_heads);
        global.set(&mut parameters);
        parameters.f32(HyperKey::RopeFreqBaseSwa, local.theta);
        parameters.f32(HyperKey::LayerNormRmsEpsilon, config.epsilon("rms_norm_eps", 1e-6)?);
        parameters.u32(HyperKey::KeyLength, sizes.head);
        parameters.u32(HyperKey::ValueLength, sizes.head);
        parameters.u32(HyperKey::FileType, 0);
        if let Some(cap) = config.optional::<f64>("final_logit_softcapping")?.filter(|&cap| cap != 0.0) {
            parameters.f32(HyperKey::FinalLogitSoftcap, cap);
        }
        parameters.u32(HyperKey::SlidingWindow, config.or("sliding_window", 4096)?);

        parameters.text(HyperKey::Activation, "gelu_tanh");
        parameters.bool(HyperKey::TiedEmbeddings, true);
        parameters.f32(HyperKey::QueryPreAttentionScalar, config.or("query_pre_attn_scalar", 256.0)?);
        parameters.set_ignored(config.finish()?);
        Ok(parameters)
    }

    fn tensor_map(&self, _parameters: &Hyperparameters) -> Result<TensorMap> {
        let norm = |name: &str, role| weight(name, role).with(Transform::Add(1.0));
        let rules = vec![
            weight("model.embed_tokens", Role::TokenEmbedding),
            norm("model.norm", Role::OutputNorm),
            weight("lm_head", Role::Output).optional(true),
            norm("model.layers.{layer}.input_layernorm", Role::AttentionNorm),
            weight("model.layers.{layer}.self_attn.q_proj", Role::AttentionQuery),
            weight("model.layers.{layer}.self_attn.k_proj", Role::AttentionKey),
            weight("model.layers.{layer}.self_attn.v_proj", Role::AttentionValue),
            weight("model.layers.{layer}.self_attn.o_proj", Role::AttentionOutput),
            norm("model.layers.{layer}.self_attn.q_norm", Role::AttentionQueryNorm),
            norm("model.layers.{layer}.self_attn.k_norm", Role::AttentionKeyNorm),
            norm("model.layers.{layer}.post_attention_layernorm", Role::AttentionPostNorm),
            norm("model.layers.{layer}.pre_feedforward_layernorm", Role::FeedForwardNorm),
            weight("model.layers.{layer}.mlp.gate_proj", Role::FeedForwardGate),
            weight("model.layers.{layer}.mlp.up_proj", Role::FeedForwardUp),
            weight("model.layers.{layer}.mlp.down_proj", Role::FeedForwardDown),
            norm("model.layers.{layer}.post_feedforward_layernorm", Role::FeedForwardPostNorm),
        ];
        let ignored = vec!["model.layers.{layer}.self_attn.rotary_emb.inv_freq".to_owned()];
        Ok(TensorMap { rules, ignored, prefixes: vec!["model.".to_owned()], generated: vec![] })
    }

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let head = decoder::head_length(parameters)?;
        let global = decoder::shared_rotation(parameters)?;
        // Layers with a window keep the base that the model was first trained with, unscaled.
        let local = Rotation::plain(head, parameters.f64(HyperKey::RopeFreqBaseSwa).unwrap_or(10_000.0));
        let window = parameters.u64(HyperKey::SlidingWindow).ok();
        let is_local = |layer: u32| !(u64::from(layer) + 1).is_multiple_of(PERIOD);
        let rotation = |layer| if is_local(layer) { local.clone() } else { global.clone() };
        let window = |layer| window.filter(|_| is_local(layer));
        let design = Design {
            norms: Norms::All,
            activation: gelu_tanh::ID,
            scale_embedding: true,
            score_divisor: parameters.f64(HyperKey::QueryPreAttentionScalar).unwrap_or(head as f64),
            logit_cap: parameters.f64(HyperKey::FinalLogitSoftcap).ok(),
            ..Design::plain(&rotation, &window, head)
        };
        decoder::graph(parameters, &design)
    }
}
