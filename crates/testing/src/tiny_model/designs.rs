//! Configurations and tensors of the designs.

use gravure_base::{Error, Result};
use serde_json::{Map, Value, json};

use super::{Dtype, Options, Size, Spelling};

/// What a tensor is, which decides the spread of its numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Matrix {
        inputs: usize,
    },
    Embedding,
    /// A gain around one.
    Gain,
    /// A gain stored as its offset from one.
    Offset,
    Bias,
}

/// A tensor to make.
#[derive(Debug, Clone)]
pub(super) struct TensorSpec {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
}

/// The tokens of the small vocabularies.
const SMALL_VOCABULARY: usize = 320;

/// The configuration of a design.
pub(super) fn config(design: &str, options: &Options) -> Result<Map<String, Value>> {
    let (width, feed_forward, head, vocabulary) = match options.size {
        Size::Small => (64, 96, 16, SMALL_VOCABULARY),
        Size::Wide => (256, 512, 64, SMALL_VOCABULARY),
    };
    let layers = options.layers;
    let dtype = match options.dtype {
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
    };
    // What all decoders of the Llama family say.
    let common = json!({
        "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": width, "initializer_range": 0.02,
        "intermediate_size": feed_forward, "max_position_embeddings": 512, "num_attention_heads": 4,
        "num_hidden_layers": layers, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "use_cache": true,
        "tie_word_embeddings": false, "vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 1,
    });
    let own = match design {
        "llama" => json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false, "mlp_bias": false,
            "head_dim": head, "pretraining_tp": 1,
        }),
        "mistral" => json!({
            "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 24,
            "bos_token_id": 1, "eos_token_id": 2,
        }),
        "qwen2" => json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_window_layers": layers,
            "sliding_window": null, "use_sliding_window": false, "tie_word_embeddings": true,
        }),
        "qwen3" => json!({
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": false,
            "head_dim": 32, "max_window_layers": layers, "sliding_window": null, "use_sliding_window": false,
        }),
        "phi3" => json!({
            "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "embd_pdrop": 0.0, "resid_pdrop": 0.0,
            "original_max_position_embeddings": 128, "sliding_window": 100, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2,
        }),
        "gemma2" => json!({
            "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "attention_bias": false,
            "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "head_dim": 32,
            "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 24, "sliding_window": 16, "tie_word_embeddings": true,
            "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
        }),
        "gemma3" => json!({
            "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "attention_bias": false,
            "attn_logit_softcapping": null, "final_logit_softcapping": null, "head_dim": 32, "hidden_act": null,
            "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 32, "sliding_window": 16,
            "tie_word_embeddings": true, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
        }),
        "gpt2" => {
            let mut config = object(json!({
                "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
                "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1, "initializer_range": 0.02,
                "layer_norm_epsilon": 1e-5, "n_ctx": 128, "n_embd": width, "n_head": 4, "n_layer": layers,
                "n_positions": 128, "vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 1,
                "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
                "summary_type": "cls_index", "summary_use_proj": true,
                "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
            }));
            config.insert(dtype_key(options), json!(dtype));
            return Ok(config);
        }
        "bert" => {
            let mut config = object(json!({
                "architectures": ["BertModel"], "model_type": "bert", "attention_probs_dropout_prob": 0.1,
                "classifier_dropout": null, "gradient_checkpointing": false, "hidden_act": "gelu",
                "hidden_dropout_prob": 0.1, "hidden_size": width, "initializer_range": 0.02,
                "intermediate_size": feed_forward, "layer_norm_eps": 1e-12, "max_position_embeddings": 128,
                "num_attention_heads": 4, "num_hidden_layers": layers, "pad_token_id": 0,
                "position_embedding_type": "absolute", "type_vocab_size": 2, "use_cache": true,
                "vocab_size": vocabulary,
            }));
            config.insert(dtype_key(options), json!(dtype));
            return Ok(config);
        }
        other => return Err(Error::request(format!("there is no tiny model of the design `{other}`"))),
    };
    let mut config = object(common);
    config.extend(object(own));
    config.retain(|key, value| !(key == "hidden_act" && value.is_null()));
    config.insert(dtype_key(options), json!(dtype));
    spell_rope(&mut config, design, options.spelling);
    Ok(config)
}

fn dtype_key(options: &Options) -> String {
    match options.spelling {
        Spelling::Transformers4 => "torch_dtype".to_owned(),
        Spelling::Transformers5 => "dtype".to_owned(),
    }
}

/// Rotary settings in either spelling.
fn spell_rope(config: &mut Map<String, Value>, design: &str, spelling: Spelling) {
    let mut put = |key: &str, value: Value| config.insert(key.to_owned(), value);
    let plain = |theta: f64| json!({"rope_theta": theta, "rope_type": "default"});
    match (design, spelling) {
        ("gemma3", Spelling::Transformers4) => {
            put("rope_theta", json!(1e6));
            put("rope_local_base_freq", json!(1e4));
            put("rope_scaling", Value::Null);
            put("sliding_window_pattern", json!(6));
        }
        ("gemma3", Spelling::Transformers5) => {
            put("rope_parameters", json!({"full_attention": plain(1e6), "sliding_attention": plain(1e4)}));
        }
        ("phi3", spelling) => {
            // Eight factors of a half-rotated head of 16, or as many as the head asks for.
            let pairs = if config.get("hidden_size") == Some(&json!(256)) { 16 } else { 4 };
            let factors = |step: f64| (0..pairs).map(|i| 1.0 + step * f64::from(i)).collect::<Vec<_>>();
            let mut settings = object(json!({"short_factor": factors(0.05), "long_factor": factors(1.25)}));
            match spelling {
                Spelling::Transformers4 => {
                    settings.insert("type".to_owned(), json!("longrope"));
                    config.insert("rope_theta".to_owned(), json!(10000.0));
                    config.insert("partial_rotary_factor".to_owned(), json!(0.5));
                    config.insert("rope_scaling".to_owned(), Value::Object(settings));
                }
                Spelling::Transformers5 => {
                    settings.insert("rope_type".to_owned(), json!("longrope"));
                    settings.insert("rope_theta".to_owned(), json!(10000.0));
                    settings.insert("partial_rotary_factor".to_owned(), json!(0.5));
                    settings.insert("original_max_position_embeddings".to_owned(), json!(128));
                    config.insert("rope_parameters".to_owned(), Value::Object(settings));
                }
            }
        }
        (_, Spelling::Transformers4) => {
            put("rope_theta", json!(10000.0));
            put("rope_scaling", Value::Null);
        }
        (_, Spelling::Transformers5) => {
            put("rope_parameters", plain(10000.0));
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// Collects the tensors of a model.
struct List(Vec<TensorSpec>);

impl List {
    fn matrix(&mut self, module: &str, rows: usize, inputs: usize) {
        self.0.push(TensorSpec { name: format!("{module}.weight"), shape: vec![rows, inputs], kind: Kind::Matrix { inputs } });
    }

    /// A matrix with its inputs as rows.
    fn turned(&mut self, module: &str, inputs: usize, columns: usize) {
        self.0.push(TensorSpec { name: format!("{module}.weight"), shape: vec![inputs, columns], kind: Kind::Matrix { inputs } });
        self.vector(&format!("{module}.bias"), columns, Kind::Bias);
    }

    fn embedding(&mut self, module: &str, rows: usize, width: usize) {
        self.0.push(TensorSpec { name: format!("{module}.weight"), shape: vec![rows, width], kind: Kind::Embedding });
    }

    fn vector(&mut self, name: &str, length: usize, kind: Kind) {
        self.0.push(TensorSpec { name: name.to_owned(), shape: vec![length], kind });
    }

    fn norm(&mut self, module: &str, length: usize) {
        self.vector(&format!("{module}.weight"), length, Kind::Gain);
        self.vector(&format!("{module}.bias"), length, Kind::Bias);
    }

    fn linear(&mut self, module: &str, rows: usize, inputs: usize, bias: bool) {
        self.matrix(module, rows, inputs);
        if bias {
            self.vector(&format!("{module}.bias"), rows, Kind::Bias);
        }
    }
}

/// The tensors of a design under a configuration.
pub(super) fn tensors(design: &str, config: &Map<String, Value>) -> Result<Vec<TensorSpec>> {
    let number = |key: &str| {
        let value = config.get(key).and_then(Value::as_u64).and_then(|v| usize::try_from(v).ok());
        value.ok_or_else(|| Error::request(format!("the configuration of the tiny model needs `{key}`")))
    };
    let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let mut list = List(Vec::new());
    match design {
        "gpt2" => gpt2(&mut list, number("n_embd")?, number("n_layer")?, number("n_positions")?, number("vocab_size")?),
        "bert" => {
            let width = number("hidden_size")?;
            list.embedding("embeddings.word_embeddings", number("vocab_size")?, width);
            list.embedding("embeddings.position_embeddings", number("max_position_embeddings")?, width);
            list.embedding("embeddings.token_type_embeddings", number("type_vocab_size")?, width);
            list.norm("embeddings.LayerNorm", width);
            bert_layers(&mut list, width, number("intermediate_size")?, number("num_hidden_layers")?);
            list.linear("pooler.dense", width, width, true);
        }
        _ => {
            let (width, heads) = (number("hidden_size")?, number("num_attention_heads")?);
            let head = number("head_dim").unwrap_or(width / heads.max(1));
            let decoder = Decoder {
                width,
                feed_forward: number("intermediate_size")?,
                queries: heads * head,
                keys: number("num_key_value_heads")? * head,
                head,
                attention_bias: flag("attention_bias"),
                feed_forward_bias: flag("mlp_bias"),
            };
            let vocabulary = number("vocab_size")?;
            list.embedding("model.embed_tokens", vocabulary, width);
            for layer in 0..number("num_hidden_layers")? {
                decoder.layer(&mut list, design, &format!("model.layers.{layer}"));
            }
            let kind = if design.starts_with("gemma") { Kind::Offset } else { Kind::Gain };
            list.vector("model.norm.weight", width, kind);
            if !flag("tie_word_embeddings") {
                list.matrix("lm_head", vocabulary, width);
            }
        }
    }
    Ok(list.0)
}

/// Sizes of a layer of the Llama family.
struct Decoder {
    width: usize,
    feed_forward: usize,
    queries: usize,
    keys: usize,
    head: usize,
    attention_bias: bool,
    feed_forward_bias: bool,
}

impl Decoder {
    fn layer(&self, list: &mut List, design: &str, at: &str) {
        let gemma = design.starts_with("gemma");
        let gain = if gemma { Kind::Offset } else { Kind::Gain };
        let norms: &[&str] = match gemma {
            true => &["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"],
            false => &["input_layernorm", "post_attention_layernorm"],
        };
        for norm in norms {
            list.vector(&format!("{at}.{norm}.weight"), self.width, gain);
        }
        if matches!(design, "qwen3" | "gemma3") {
            list.vector(&format!("{at}.self_attn.q_norm.weight"), self.head, gain);
            list.vector(&format!("{at}.self_attn.k_norm.weight"), self.head, gain);
        }
        let qkv_bias = self.attention_bias || design == "qwen2";
        if design == "phi3" {
            list.matrix(&format!("{at}.self_attn.qkv_proj"), self.queries + 2 * self.keys, self.width);
            list.matrix(&format!("{at}.mlp.gate_up_proj"), 2 * self.feed_forward, self.width);
        } else {
            list.linear(&format!("{at}.self_attn.q_proj"), self.queries, self.width, qkv_bias);
            list.linear(&format!("{at}.self_attn.k_proj"), self.keys, self.width, qkv_bias);
            list.linear(&format!("{at}.self_attn.v_proj"), self.keys, self.width, qkv_bias);
            list.linear(&format!("{at}.mlp.gate_proj"), self.feed_forward, self.width, self.feed_forward_bias);
            list.linear(&format!("{at}.mlp.up_proj"), self.feed_forward, self.width, self.feed_forward_bias);
        }
        list.linear(&format!("{at}.self_attn.o_proj"), self.width, self.queries, self.attention_bias);
        list.linear(&format!("{at}.mlp.down_proj"), self.width, self.feed_forward, self.feed_forward_bias);
    }
}

fn gpt2(list: &mut List, width: usize, layers: usize, positions: usize, vocabulary: usize) {
    list.embedding("transformer.wte", vocabulary, width);
    list.embedding("transformer.wpe", positions, width);
    for layer in 0..layers {
        let at = format!("transformer.h.{layer}");
        list.norm(&format!("{at}.ln_1"), width);
        list.turned(&format!("{at}.attn.c_attn"), width, 3 * width);
        list.turned(&format!("{at}.attn.c_proj"), width, width);
        list.norm(&format!("{at}.ln_2"), width);
        list.turned(&format!("{at}.mlp.c_fc"), width, 4 * width);
        list.turned(&format!("{at}.mlp.c_proj"), 4 * width, width);
    }
    list.norm("transformer.ln_f", width);
}

fn bert_layers(list: &mut List, width: usize, feed_forward: usize, layers: usize) {
    for layer in 0..layers {
        let at = format!("encoder.layer.{layer}");
        for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            list.linear(&format!("{at}.{part}"), width, width, true);
        }
        list.norm(&format!("{at}.attention.output.LayerNorm"), width);
        list.linear(&format!("{at}.intermediate.dense"), feed_forward, width, true);
        list.linear(&format!("{at}.output.dense"), width, feed_forward, true);
        list.norm(&format!("{at}.output.LayerNorm"), width);
    }
}
