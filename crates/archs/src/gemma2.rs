//! Gemma 2: norms before and after both halves of a layer, stored as offsets from one; tanh-GELU;
//! capped attention scores and logits; every other layer (from the first) attends within a window;
//! embeddings multiplied by the square root of the width.
//!
//! Reference: `modeling_gemma2.py` of transformers; `conversion/gemma.py` of llama.cpp, which
//! leaves a separate output matrix away and writes no rotary base: the engine's is 10,000.

use gravure_base::Result;
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap, Transform};
use gravure_ops::gelu_tanh;

use crate::blocks::decoder;
use crate::blocks::decoder::{Design, Norms};
use crate::blocks::rope::{Rope, Scaling};
use crate::blocks::sizes::{Defaults, Set, Sizes};
use crate::blocks::tensors::{RuleExt, weight};
use crate::config::Config;

/// Gemma 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gemma2;

impl Architecture for Gemma2 {
    fn id(&self) -> &'static str {
        "gemma2"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["Gemma2ForCausalLM", "Gemma2Model"]
    }

    fn doc(&self) -> &'static str {
        "Gemma 2"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let defaults = Defaults { context: 8192, heads: Some(8), kv_heads: Some(4), head: Some(256), vocabulary: Some(256_000) };
        let sizes = Sizes::read(&config, defaults)?;
        let rope = Rope::read(&config, sizes.context, None)?;
        if rope.scaling != Scaling::None || rope.theta != 10_000.0 || rope.partial.is_some_and(|p| p != 1.0) {
            config.unsupported("rope_parameters", "this architecture has plain rotary embeddings on a base of 10000")?;
        }
        let activation = ["gelu_pytorch_tanh".to_owned()];
        config.only("hidden_activation", &activation)?;
        config.only("hidden_act", &activation)?;
        config.only("attention_bias", &[false])?;
        config.only("use_bidirectional_attention", &[false])?;
        config.only("tie_word_embeddings", &[true])?;
        decoder::expect_layer_types(&config, sizes.layers, |i| if i % 2 == 0 { "sliding_attention" } else { "full_attention" })?;
        let window: u64 = config.or("sliding_window", 4096)?;
        config.only("sliding_window_size", &[window])?;

        let mut parameters = Hyperparameters::new();
        parameters.u32(HyperKey::ContextLength, sizes.context);
        parameters.u32(HyperKey::EmbeddingLength, sizes.width);
        parameters.u32(HyperKey::BlockCount, sizes.layers);
        parameters.u32(HyperKey::FeedForwardLength, sizes.feed_forward);
        parameters.u32(HyperKey::HeadCount, sizes.heads);
        parameters.u32(HyperKey::HeadCountKv, sizes.kv_heads);
        parameters.f32(HyperKey::LayerNormRmsEpsilon, config.epsilon("rms_norm_eps", 1e-6)?);
        parameters.u32(HyperKey::KeyLength, sizes.head);
        parameters.u32(HyperKey::ValueLength, sizes.head);
        parameters.u32(HyperKey::FileType, 0);
        if let Some(cap) = config.nullable("attn_logit_softcapping", 50.0)? {
            parameters.f32(HyperKey::AttentionLogitSoftcap, cap);
        }
        if let Some(cap) = config.nullable("final_logit_softcapping", 30.0)? {
            parameters.f32(HyperKey::FinalLogitSoftcap, cap);
        }
        parameters.u32(HyperKey::SlidingWindow, window);

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
            norm("model.layers.{layer}.input_layernorm", Role::AttentionNorm),
            weight("model.layers.{layer}.self_attn.q_proj", Role::AttentionQuery),
            weight("model.layers.{layer}.self_attn.k_proj", Role::AttentionKey),
            weight("model.layers.{layer}.self_attn.v_proj", Role::AttentionValue),
            weight("model.layers.{layer}.self_attn.o_proj", Role::AttentionOutput),
            norm("model.layers.{layer}.post_attention_layernorm", Role::AttentionPostNorm),
            norm("model.layers.{layer}.pre_feedforward_layernorm", Role::FeedForwardNorm),
            weight("model.layers.{layer}.mlp.gate_proj", Role::FeedForwardGate),
            weight("model.layers.{layer}.mlp.up_proj", Role::FeedForwardUp),
            weight("model.layers.{layer}.mlp.down_proj", Role::FeedForwardDown),
            norm("model.layers.{layer}.post_feedforward_layernorm", Role::FeedForwardPostNorm),
        ];
        // Some quantizers store the tied output matrix again.
        let ignored = vec!["lm_head.weight".to_owned(), "model.layers.{layer}.self_attn.rotary_emb.inv_freq".to_owned()];
        Ok(TensorMap { rules, ignored, prefixes: vec!["model.".to_owned()], generated: vec![] })
    }

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let head = decoder::head_length(parameters)?;
        let rotation = decoder::shared_rotation(parameters)?;
        let window = parameters.u64(HyperKey::SlidingWindow).unwrap_or(4096);
        let (rotation, window) = (|_| rotation.clone(), |layer| (layer % 2 == 0).then_some(window));
        let design = Design {
            norms: Norms::BeforeAndAfter,
            activation: gelu_tanh::ID,
            scale_embedding: true,
            score_divisor: parameters.f64(HyperKey::QueryPreAttentionScalar).unwrap_or(head as f64),
            score_cap: parameters.f64(HyperKey::AttentionLogitSoftcap).ok(),
            logit_cap: parameters.f64(HyperKey::FinalLogitSoftcap).ok(),
            ..Design::plain(&rotation, &window, head)
        };
        decoder::graph(parameters, &design)
    }
}
