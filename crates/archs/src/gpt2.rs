//! GPT-2: learned positions, layer norms with biases, Q, K and V in one matrix, tanh-GELU, matrices
//! stored with their inputs as rows (`Conv1D`).
//!
//! Reference: `modeling_gpt2.py` of transformers; `conversion/gpt2.py` of llama.cpp. That converter
//! asks for `n_ctx`, which transformers 5 no longer writes, and takes four times the width for the
//! feed-forward length whatever `n_inner` says; here `n_positions` and `n_inner` count.

use gravure_base::{Error, Result};
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap, Transform};

use crate::blocks::sizes::{Set, Sizes};
use crate::blocks::tensors::{RuleExt, bias, both, weight};
use crate::config::Config;

/// GPT-2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gpt2;

impl Architecture for Gpt2 {
    fn id(&self) -> &'static str {
        "gpt2"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["GPT2LMHeadModel", "GPT2Model"]
    }

    fn doc(&self) -> &'static str {
        "GPT-2"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let positions: u64 = config.or("n_positions", 1024)?;
        let width: u64 = config.required("n_embd")?;
        let heads: u64 = config.required("n_head")?;
        let sizes = Sizes {
            layers: config.required("n_layer")?,
            context: config.or("n_ctx", positions)?,
            width,
            feed_forward: config.or("n_inner", width.saturating_mul(4))?,
            heads,
            kv_heads: heads,
            head: width / heads.max(1),
            head_is_given: false,
            vocabulary: config.or("vocab_size", 50_257)?,
        };
        sizes.check()?;
        config.only("activation_function", &["gelu_new".to_owned(), "gelu_pytorch_tanh".to_owned()])?;
        config.only("scale_attn_weights", &[true])?;
        config.only("scale_attn_by_inverse_layer_idx", &[false])?;
        config.only("add_cross_attention", &[false])?;
        config.only("tie_word_embeddings", &[true])?;
        // How the upper classes of transformers make one vector of a sentence, and in which
        // precision scores are computed.
        for key in [
            "summary_type",
            "summary_use_proj",
            "summary_activation",
            "summary_proj_to_labels",
            "summary_first_dropout",
            "reorder_and_upcast_attn",
        ] {
            config.raw(key);
        }

        let mut parameters = Hyperparameters::new();
        parameters.u32(HyperKey::BlockCount, sizes.layers);
        parameters.u32(HyperKey::ContextLength, sizes.context);
        parameters.u32(HyperKey::EmbeddingLength, sizes.width);
        parameters.u32(HyperKey::FeedForwardLength, sizes.feed_forward);
        parameters.u32(HyperKey::HeadCount, sizes.heads);
        parameters.f32(HyperKey::LayerNormEpsilon, config.or("layer_norm_epsilon", 1e-5)?);
        parameters.u32(HyperKey::FileType, 0);

        parameters.text(HyperKey::Activation, "gelu_tanh");
        parameters.bool(HyperKey::TiedEmbeddings, true);
        parameters.set_ignored(config.finish()?);
        Ok(parameters)
    }

    fn tensor_map(&self, _parameters: &Hyperparameters) -> Result<TensorMap> {
        let layer = |name: &str| format!("transformer.h.{{layer}}.{name}");
        let turned = |name: &str, role| [weight(&layer(name), role).with(Transform::Transpose), bias(&layer(name), role)];
        let mut rules = vec![
            weight("transformer.wte", Role::TokenEmbedding),
            weight("transformer.wpe", Role::PositionEmbedding),
            weight("lm_head", Role::Output).optional(true),
        ];
        rules.extend(both("transformer.ln_f", Role::OutputNorm));
        rules.extend(both(&layer("ln_1"), Role::AttentionNorm));
        rules.extend(turned("attn.c_attn", Role::AttentionQkv));
        rules.extend(turned("attn.c_proj", Role::AttentionOutput));
        rules.extend(both(&layer("ln_2"), Role::FeedForwardNorm));
        rules.extend(turned("mlp.c_fc", Role::FeedForwardUp));
        rules.extend(turned("mlp.c_proj", Role::FeedForwardDown));
        // Masks that older checkpoints store.
        let ignored = vec![layer("attn.bias"), layer("attn.masked_bias")];
        Ok(TensorMap { rules, ignored, prefixes: vec!["transformer.".to_owned()], generated: vec![] })
    }

    fn graph(&self, _parameters: &Hyperparameters) -> Result<Graph> {
        Err(Error::unsupported("no graph is built for this architecture yet"))
    }
}
