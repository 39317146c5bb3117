//! GPT-2: learned positions, layer norms with biases, Q, K and V in one matrix, tanh-GELU, matrices
//! stored with their inputs as rows (`Conv1D`).
//!
//! Reference: `modeling_gpt2.py` of transformers; `conversion/gpt2.py` of llama.cpp. That converter
//! asks for `n_ctx`, which transformers 5 no longer writes, and takes four times the width for the
//! feed-forward length whatever `n_inner` says; here `n_positions` and `n_inner` count.

use gravure_base::Result;
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Role, TensorMap, Transform};
use gravure_ops::{add, embedding, gelu_tanh, linear};

use crate::blocks::decoder::Bias;
use crate::blocks::graph::{AttentionShape, Builder};
use crate::blocks::sizes;
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
        parameters.f32(HyperKey::LayerNormEpsilon, config.epsilon("layer_norm_epsilon", 1e-5)?);
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

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let width = sizes::size(parameters, HyperKey::EmbeddingLength)?;
        let heads = sizes::size(parameters, HyperKey::HeadCount)?;
        let epsilon = parameters.f64(HyperKey::LayerNormEpsilon)?;
        let shape = AttentionShape {
            heads,
            kv_heads: heads,
            scale: 1.0 / ((width / heads.max(1)) as f64).sqrt(),
            causal: true,
            window: None,
            softcap: None,
        };
        let mut b = Builder::new();
        let (tokens, positions) = (b.input("tokens"), b.input("positions"));
        let (table, places) = (b.weight(None, Role::TokenEmbedding), b.weight(None, Role::PositionEmbedding));
        let words = b.op("embedding.tokens", embedding::ID, &[table, tokens], []);
        let places = b.op("embedding.positions", embedding::ID, &[places, positions], []);
        let mut x = b.op("embedding", add::ID, &[words, places], []);
        for layer in 0..sizes::layers(parameters)? {
            let at = |name: &str| format!("layers.{layer}.{name}");
            let here = Some(layer);
            let normed = b.layer_norm(&at("attention.norm"), x, here, Role::AttentionNorm, epsilon);
            let all = b.linear(&at("attention.qkv"), normed, here, Role::AttentionQkv, Bias::Added);
            let q = b.slice(&at("attention.query"), all, 0, width);
            let k = b.slice(&at("attention.key"), all, width, width);
            let v = b.slice(&at("attention.value"), all, 2 * width, width);
            let mixed = b.attention(&at("attention"), [q, k, v], &shape);
            let out = b.linear(&at("attention.output"), mixed, here, Role::AttentionOutput, Bias::Added);
            x = b.op(&at("attention.residual"), add::ID, &[x, out], []);
            let normed = b.layer_norm(&at("feed_forward.norm"), x, here, Role::FeedForwardNorm, epsilon);
            let up = b.linear(&at("feed_forward.up"), normed, here, Role::FeedForwardUp, Bias::Added);
            let active = b.op(&at("feed_forward.activation"), gelu_tanh::ID, &[up], []);
            let out = b.linear(&at("feed_forward.down"), active, here, Role::FeedForwardDown, Bias::Added);
            x = b.op(&at("feed_forward.residual"), add::ID, &[x, out], []);
        }
        let x = b.layer_norm("output.norm", x, None, Role::OutputNorm, epsilon);
        let output = if parameters.flag(HyperKey::TiedEmbeddings) { table } else { b.weight(None, Role::Output) };
        let logits = b.op("output", linear::ID, &[x, output], []);
        Ok(b.finish("logits", logits))
    }
}
