//! BERT as an encoder of sentences (MiniLM, BGE): learned positions and token types, layer norms
//! after each half of a layer, attention to both sides, GELU. Heads for masked words, next
//! sentences and the pooler are left away: an embedding needs none of them.
//!
//! Reference: `modeling_bert.py` of transformers; `conversion/bert.py` of llama.cpp.

use gravure_base::{Error, Result};
use gravure_core::{Architecture, Graph, HyperKey, Hyperparameters, Part, Role, TensorMap, TensorRule, Value};
use gravure_ops::{add, embedding, gelu};

use crate::blocks::decoder::Bias;
use crate::blocks::graph::{AttentionShape, Builder};
use crate::blocks::pooling;
use crate::blocks::sizes;
use crate::blocks::sizes::{Set, Sizes};
use crate::blocks::tensors::{both, weight};
use crate::config::Config;

/// BERT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bert;

impl Architecture for Bert {
    fn id(&self) -> &'static str {
        "bert"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["BertModel", "BertForMaskedLM"]
    }

    fn doc(&self) -> &'static str {
        "BERT sentence encoders: MiniLM, BGE"
    }

    fn configure(&self, config: &serde_json::Value, lenient: bool) -> Result<Hyperparameters> {
        let config = Config::new(config, lenient)?;
        let heads: u64 = config.required("num_attention_heads")?;
        let width: u64 = config.required("hidden_size")?;
        let sizes = Sizes {
            layers: config.required("num_hidden_layers")?,
            context: config.or("max_position_embeddings", 512)?,
            width,
            feed_forward: config.required("intermediate_size")?,
            heads,
            kv_heads: heads,
            head: width / heads.max(1),
            head_is_given: false,
            vocabulary: config.or("vocab_size", 30_522)?,
        };
        sizes.check()?;
        config.only("hidden_act", &["gelu".to_owned()])?;
        config.only("position_embedding_type", &["absolute".to_owned()])?;
        config.only("is_decoder", &[false])?;
        config.only("add_cross_attention", &[false])?;
        // Ties an output that is left away.
        config.raw("tie_word_embeddings");

        let mut parameters = Hyperparameters::new();
        parameters.u32(HyperKey::BlockCount, sizes.layers);
        parameters.u32(HyperKey::ContextLength, sizes.context);
        parameters.u32(HyperKey::EmbeddingLength, sizes.width);
        parameters.u32(HyperKey::FeedForwardLength, sizes.feed_forward);
        parameters.u32(HyperKey::HeadCount, sizes.heads);
        parameters.f32(HyperKey::LayerNormEpsilon, config.epsilon("layer_norm_eps", 1e-12)?);
        parameters.u32(HyperKey::FileType, 0);
        parameters.bool(HyperKey::CausalAttention, false);
        pooling::set(&mut parameters, &config)?;
        if let Some(labels) = labels(&config) {
            parameters.set(HyperKey::ClassifierLabels, Value::Strings(labels.into()));
        }
        parameters.u32(HyperKey::TokenTypeCount, config.or("type_vocab_size", 2)?);

        parameters.text(HyperKey::Activation, "gelu");
        parameters.set_ignored(config.finish()?);
        Ok(parameters)
    }

    fn tensor_map(&self, _parameters: &Hyperparameters) -> Result<TensorMap> {
        let layer = |name: &str| format!("encoder.layer.{{layer}}.{name}");
        let norms = [
            ("embeddings.LayerNorm".to_owned(), Role::TokenEmbeddingNorm),
            (layer("attention.output.LayerNorm"), Role::AttentionOutputNorm),
            (layer("output.LayerNorm"), Role::LayerOutputNorm),
        ];
        let mut rules = vec![
            weight("embeddings.word_embeddings", Role::TokenEmbedding),
            weight("embeddings.position_embeddings", Role::PositionEmbedding),
            weight("embeddings.token_type_embeddings", Role::TokenTypes),
        ];
        rules.extend(norms.iter().flat_map(|(name, role)| both(name, *role)));
        rules.extend(both(&layer("attention.self.query"), Role::AttentionQuery));
        rules.extend(both(&layer("attention.self.key"), Role::AttentionKey));
        rules.extend(both(&layer("attention.self.value"), Role::AttentionValue));
        rules.extend(both(&layer("attention.output.dense"), Role::AttentionOutput));
        rules.extend(both(&layer("intermediate.dense"), Role::FeedForwardUp));
        rules.extend(both(&layer("output.dense"), Role::FeedForwardDown));
        // The names of the first releases, converted from TensorFlow.
        rules.extend(norms.iter().flat_map(|(name, role)| {
            [("gamma", Part::Weight), ("beta", Part::Bias)].map(|(end, part)| TensorRule {
                name: format!("{name}.{end}"),
                part,
                ..weight(name, *role)
            })
        }));
        let heads = [
            "embeddings.position_ids",
            "pooler.dense.weight",
            "pooler.dense.bias",
            "cls.predictions.bias",
            "cls.predictions.decoder.weight",
            "cls.predictions.decoder.bias",
            "cls.predictions.transform.dense.weight",
            "cls.predictions.transform.dense.bias",
            "cls.predictions.transform.LayerNorm.weight",
            "cls.predictions.transform.LayerNorm.bias",
            "cls.predictions.transform.LayerNorm.gamma",
            "cls.predictions.transform.LayerNorm.beta",
            "cls.seq_relationship.weight",
            "cls.seq_relationship.bias",
        ];
        let ignored = heads.map(str::to_owned).to_vec();
        Ok(TensorMap { rules, ignored, prefixes: vec!["bert.".to_owned()], generated: vec![] })
    }

    fn graph(&self, parameters: &Hyperparameters) -> Result<Graph> {
        let width = sizes::size(parameters, HyperKey::EmbeddingLength)?;
        let heads = sizes::size(parameters, HyperKey::HeadCount)?;
        let epsilon = parameters.f64(HyperKey::LayerNormEpsilon)?;
        let shape = AttentionShape {
            heads,
            kv_heads: heads,
            scale: 1.0 / ((width / heads.max(1)) as f64).sqrt(),
            causal: false,
            window: None,
            softcap: None,
        };
        let mut b = Builder::new();
        let mut x = None;
        let tables = [("tokens", Role::TokenEmbedding), ("positions", Role::PositionEmbedding), ("token_types", Role::TokenTypes)];
        for (name, role) in tables {
            let (numbers, table) = (b.input(name), b.weight(None, role));
            let rows = b.op(&format!("embedding.{name}"), embedding::ID, &[table, numbers], []);
            x = Some(match x {
                Some(sum) => b.op(&format!("embedding.with_{name}"), add::ID, &[sum, rows], []),
                None => rows,
            });
        }
        let mut x = x.ok_or_else(|| Error::bug("no embedding"))?;
        x = b.layer_norm("embedding.norm", x, None, Role::TokenEmbeddingNorm, epsilon);
        for layer in 0..sizes::layers(parameters)? {
            let at = |name: &str| format!("layers.{layer}.{name}");
            let here = Some(layer);
            let q = b.linear(&at("attention.query"), x, here, Role::AttentionQuery, Bias::Added);
            let k = b.linear(&at("attention.key"), x, here, Role::AttentionKey, Bias::Added);
            let v = b.linear(&at("attention.value"), x, here, Role::AttentionValue, Bias::Added);
            let mixed = b.attention(&at("attention"), [q, k, v], &shape);
            let out = b.linear(&at("attention.output"), mixed, here, Role::AttentionOutput, Bias::Added);
            let sum = b.op(&at("attention.residual"), add::ID, &[x, out], []);
            x = b.layer_norm(&at("attention.output.norm"), sum, here, Role::AttentionOutputNorm, epsilon);
            let up = b.linear(&at("feed_forward.up"), x, here, Role::FeedForwardUp, Bias::Added);
            let active = b.op(&at("feed_forward.activation"), gelu::ID, &[up], []);
            let out = b.linear(&at("feed_forward.down"), active, here, Role::FeedForwardDown, Bias::Added);
            let sum = b.op(&at("feed_forward.residual"), add::ID, &[x, out], []);
            x = b.layer_norm(&at("output.norm"), sum, here, Role::LayerOutputNorm, epsilon);
        }
        Ok(b.finish("embeddings", x))
    }
}

/// Names of classes in the order of their numbers, unless they are the two dummies that a missing
/// list stands for.
fn labels(config: &Config<'_>) -> Option<Vec<String>> {
    let object = config.raw("id2label")?.as_object()?;
    let mut numbered: Vec<(u64, &str)> =
        object.iter().filter_map(|(number, label)| Some((number.parse().ok()?, label.as_str()?))).collect();
    numbered.sort_unstable();
    if numbered.is_empty() || (numbered.len() == 2 && numbered[0] == (0, "LABEL_0")) {
        return None;
    }
    Some(numbered.into_iter().map(|(_, label)| label.to_owned()).collect())
}
