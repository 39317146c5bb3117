//! Llama 1 to 3.x, and those built like it: Mistral, SmolLM, TinyLlama, Yi.
//!
//! RMS norms, rotary embeddings on interleaved pairs (Hugging Face stores the rows of Q and K in
//! halves, GGUF in pairs), grouped queries, gated feed-forward with SiLU. Llama 3.1 and later scale
//! their rotary frequencies by generated factors. Mistral's sliding window has no key in a GGUF of
//! this architecture, and llama.cpp attends to the whole context: the window is kept for graphs.
//!
//! Reference: `modeling_llama.py` and `modeling_mistral.py` of transformers; `conversion/llama.py`
//! of llama.cpp for what a GGUF holds.

use gravure_base::Result;
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap, Transform};

use crate::blocks::decoder;
use crate::blocks::decoder::{Bias, Design};
use crate::blocks::rope::{Rope, Scaling};
use crate::blocks::sizes::{Defaults, Set, Sizes};
use crate::blocks::tensors::{RuleExt, bias, generated, weight};
use crate::config::Config;

/// The Llama family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Llama;

impl Architecture for Llama {
    fn id(&self) -> &'static str {
        "llama"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel", "MistralForCausalLM", "MistralModel", "mistral"]
    }

    fn doc(&self) -> &'static str {
        "Llama 1 to 3.x, Mistral, SmolLM, TinyLlama, Yi"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let mistral = config.optional::<String>("model_type")?.as_deref() == Some("mistral");
        let defaults = match mistral {
            true => Defaults { context: 131_072, kv_heads: Some(8), ..Defaults::default() },
            false => Defaults { context: 2048, ..Defaults::default() },
        };
        let sizes = Sizes::read(&config, defaults)?;
        let rope = Rope::read(&config, sizes.context, None)?;
        config.only("hidden_act", &["silu".to_owned()])?;
        if rope.partial.is_some_and(|part| part != 1.0) {
            config.unsupported("partial_rotary_factor", "heads of this architecture are rotated whole")?;
        }
        if matches!(rope.scaling, Scaling::LongRope { .. }) {
            config.unsupported("rope_scaling", "this architecture has no factors for short and long contexts")?;
        }
        // SmolLM says of itself that it is what the architecture's name says.
        config.only("is_llama_config", &[true])?;
        config.only("rope_interleaved", &[false])?;
        let epsilon = config.epsilon("rms_norm_eps", 1e-6)?;

        let mut parameters = Hyperparameters::new();
        decoder::set_common(&mut parameters, &sizes, &rope, epsilon, Some(sizes.head));
        parameters.u32(HyperKey::VocabSize, sizes.vocabulary);
        parameters.u32(HyperKey::RopeDimensionCount, sizes.head);

        parameters.text(HyperKey::Activation, "silu");
        parameters.bool(HyperKey::TiedEmbeddings, config.or("tie_word_embeddings", false)?);
        parameters.bool(HyperKey::AttentionBias, config.or("attention_bias", false)?);
        parameters.bool(HyperKey::FeedForwardBias, config.or("mlp_bias", false)?);
        if mistral && let Some(window) = config.nullable("sliding_window", 4096)? {
            parameters.u32(HyperKey::AttentionWindow, window);
        }
        if let Some(factors) = rope.llama3_factors(sizes.head) {
            parameters.set(HyperKey::RopeFactors, gravure_core::Value::F32s(factors));
        }
        parameters.set_ignored(config.finish()?);
        Ok(parameters)
    }

    fn tensor_map(&self, parameters: &Hyperparameters) -> Result<TensorMap> {
        let query = Transform::InterleaveRope { heads: parameters.u64(HyperKey::HeadCount)? };
        let key = Transform::InterleaveRope { heads: parameters.u64(HyperKey::HeadCountKv)? };
        let attention_bias = parameters.flag(HyperKey::AttentionBias);
        let feed_forward_bias = parameters.flag(HyperKey::FeedForwardBias);
        let attention = |name: &str| format!("model.layers.{{layer}}.self_attn.{name}");
        let feed_forward = |name: &str| format!("model.layers.{{layer}}.mlp.{name}");
        let rules = vec![
            weight("model.embed_tokens", Role::TokenEmbedding),
            weight("model.norm", Role::OutputNorm),
            weight("lm_head", Role::Output).optional(parameters.flag(HyperKey::TiedEmbeddings)),
            weight("model.layers.{layer}.input_layernorm", Role::AttentionNorm),
            weight(&attention("q_proj"), Role::AttentionQuery).with(query),
            weight(&attention("k_proj"), Role::AttentionKey).with(key),
            weight(&attention("v_proj"), Role::AttentionValue),
            weight(&attention("o_proj"), Role::AttentionOutput),
            bias(&attention("q_proj"), Role::AttentionQuery).with(query).optional(!attention_bias),
            bias(&attention("k_proj"), Role::AttentionKey).with(key).optional(!attention_bias),
            bias(&attention("v_proj"), Role::AttentionValue).optional(!attention_bias),
            bias(&attention("o_proj"), Role::AttentionOutput).optional(!attention_bias),
            weight("model.layers.{layer}.post_attention_layernorm", Role::FeedForwardNorm),
            weight(&feed_forward("gate_proj"), Role::FeedForwardGate),
            weight(&feed_forward("up_proj"), Role::FeedForwardUp),
            weight(&feed_forward("down_proj"), Role::FeedForwardDown),
            bias(&feed_forward("gate_proj"), Role::FeedForwardGate).optional(!feed_forward_bias),
            bias(&feed_forward("up_proj"), Role::FeedForwardUp).optional(!feed_forward_bias),
            bias(&feed_forward("down_proj"), Role::FeedForwardDown).optional(!feed_forward_bias),
        ];
        Ok(TensorMap {
            rules,
            ignored: vec![format!("{}.inv_freq", attention("rotary_emb"))],
            prefixes: vec!["model.".to_owned()],
            generated: generated(parameters, HyperKey::RopeFactors, Role::RopeFrequencies).into_iter().collect(),
        })
    }

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let rotation = decoder::shared_rotation(parameters)?;
        let window = parameters.u64(HyperKey::AttentionWindow).ok();
        let (rotation, window) = (|_| rotation.clone(), |_| window);
        let attention_bias = Bias::flag(parameters, HyperKey::AttentionBias);
        let design = Design {
            qkv_bias: attention_bias,
            output_bias: attention_bias,
            feed_forward_bias: Bias::flag(parameters, HyperKey::FeedForwardBias),
            ..Design::plain(&rotation, &window, decoder::head_length(parameters)?)
        };
        decoder::graph(parameters, &design)
    }
}
