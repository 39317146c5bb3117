//! Low-rank adapters of the tiny models, as PEFT lays them out.

use std::collections::BTreeMap;
use std::path::Path;

use gravure_base::{Error, Result};
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::{Value, json};

use super::designs::{self, Kind, TensorSpec};
use super::{Dtype, Options, weights, write_bytes, write_json};

/// What to make.
#[derive(Debug, Clone)]
pub struct AdapterOptions {
    /// How the factors are stored.
    pub dtype: Dtype,
    /// Columns of the second factor.
    pub rank: usize,
    /// α of the configuration.
    pub alpha: f64,
    /// Ends of the names of the adapted modules; empty for every matrix of every layer.
    pub targets: Vec<String>,
    /// Whether the token embedding is adapted too.
    pub embedding: bool,
    /// Whether the gains of normalizations lie beside the pairs, as a merging tool leaves them.
    pub gains: bool,
    /// Entries of `adapter_config.json` that replace or join the usual ones; `null` takes one away.
    pub config: BTreeMap<String, Value>,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        Self { dtype: Dtype::F32, rank: 4, alpha: 8.0, targets: Vec::new(), embedding: false, gains: false, config: BTreeMap::new() }
    }
}

impl AdapterOptions {
    /// Reads options from an object with any of `dtype`, `rank`, `alpha`, `targets`, `embedding`, `gains` (flags) and
    /// `config` (entries of `adapter_config.json`).
    ///
    /// # Errors
    /// `Request` for anything else.
    pub fn from_json(given: &Value) -> Result<Self> {
        let mut options = Self::default();
        for (key, value) in given.as_object().ok_or_else(|| Error::request("the options are not an object"))? {
            let wrong = || Error::request(format!("the option `{key}` cannot be {value}"));
            match (key.as_str(), value) {
                ("dtype", value) => options.dtype = Dtype::parse(value).ok_or_else(wrong)?,
                ("rank", value) => options.rank = value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong)?,
                ("alpha", value) => options.alpha = value.as_f64().ok_or_else(wrong)?,
                ("targets", Value::Array(list)) => {
                    let names = list.iter().map(|name| name.as_str().map(str::to_owned));
                    options.targets = names.collect::<Option<_>>().ok_or_else(wrong)?;
                }
                ("embedding", Value::Bool(flag)) => options.embedding = *flag,
                ("gains", Value::Bool(flag)) => options.gains = *flag,
                ("config", Value::Object(config)) => options.config = config.clone().into_iter().collect(),
                _ => return Err(wrong()),
            }
        }
        Ok(options)
    }
}

/// Writes an adapter of the tiny model of `design` with `model`'s options into `folder`, which is created.
///
/// # Errors
/// `Request` for an unknown design or impossible options; `Environment` where a file cannot be written.
pub fn write_adapter(design: &str, model: &Options, options: &AdapterOptions, folder: &Path) -> Result<()> {
    let specs = designs::tensors(design, &super::configuration(design, model)?)?;
    let mut tensors = Vec::new();
    for spec in &specs {
        let module = spec.name.strip_suffix(".weight").unwrap_or(&spec.name);
        let elements: usize = spec.shape.iter().product();
        let at = |end: &str| format!("base_model.model.{module}.{end}");
        let mut pair = |inputs: usize, ends: [&str; 2]| {
            let outputs = elements / inputs.max(1);
            let a = TensorSpec { name: at(ends[0]), shape: vec![options.rank, inputs], kind: Kind::Matrix { inputs } };
            // Small, so that an adapted model is another one and no wreck.
            let b = TensorSpec { name: at(ends[1]), shape: vec![outputs, options.rank], kind: Kind::Bias };
            tensors.extend([a, b]);
        };
        match spec.kind {
            Kind::Matrix { inputs } if spec.name.ends_with(".weight") && is_target(module, options) => {
                pair(inputs, ["lora_A.weight", "lora_B.weight"]);
            }
            Kind::Embedding if options.embedding && ["embed_tokens", "wte"].iter().any(|end| module.ends_with(end)) => {
                pair(spec.shape[0], ["lora_embedding_A", "lora_embedding_B"]);
            }
            Kind::Gain | Kind::Offset if options.gains && (module.contains("_layernorm") || module.contains(".norm")) => {
                tensors.push(TensorSpec { name: at("weight"), ..spec.clone() });
            }
            _ => {}
        }
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create the folder", folder, e))?;
    let mut encoded: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|t| (t.name.clone(), t.shape.clone(), weights::encode(&weights::values(design, &t), options.dtype)))
        .collect();
    encoded.sort();
    let views = encoded
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(weights::dtype(options.dtype), shape.clone(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| Error::bug("a tensor of a wrong size").caused_by(e))?;
    let path = folder.join("adapter_model.safetensors");
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    serialize_to_file(views, Some(metadata), &path).map_err(|e| Error::io("write the weights", &path, std::io::Error::other(e)))?;
    write_config(options, folder)
}

fn is_target(module: &str, options: &AdapterOptions) -> bool {
    // Modules of layers have a number in their names.
    let in_layer = module.split('.').any(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if options.targets.is_empty() { in_layer } else { options.targets.iter().any(|target| module.ends_with(target.as_str())) }
}

fn write_config(options: &AdapterOptions, folder: &Path) -> Result<()> {
    let mut config = json!({
        "alpha_pattern": {}, "auto_mapping": null, "base_model_name_or_path": "somebody/Tiny-Base-7M", "bias": "none",
        "corda_config": null, "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true,
        "init_lora_weights": true, "layer_replication": null, "layers_pattern": null, "layers_to_transform": null, "loftq_config": {},
        "lora_alpha": options.alpha, "lora_bias": false, "lora_dropout": 0.0, "megatron_config": null,
        "megatron_core": "megatron.core", "modules_to_save": null, "peft_type": "LORA", "qalora_group_size": 16, "r": options.rank,
        "rank_pattern": {}, "revision": null, "target_modules": options.targets, "target_parameters": null, "task_type": "CAUSAL_LM",
        "trainable_token_indices": null, "use_dora": false, "use_qalora": false, "use_rslora": false,
    });
    if let Some(map) = config.as_object_mut() {
        for (key, value) in &options.config {
            match value {
                Value::Null => map.remove(key),
                value => map.insert(key.clone(), value.clone()),
            };
        }
    }
    write_json(folder, "adapter_config.json", &config)?;
    let card = "---\nbase_model: somebody/Tiny-Base-7M\nlibrary_name: peft\nlicense: mit\ntags:\n- lora\n- peft\n---\n\nAn adapter.\n";
    write_bytes(folder, "README.md", card.as_bytes())
}
