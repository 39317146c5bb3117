//! Makes tiny random models: a Hugging Face folder with `config.json`, `model.safetensors` and a
//! tokenizer, for each architecture, the same bytes on every machine.
//!
//! Names and shapes of tensors are written out here once more, apart from the architectures' own
//! files, so that a test that converts such a folder does not check a table against itself.
//!
//! ```text
//! folder/config.json  generation_config.json  model.safetensors (or shards and an index)
//!        tokenizer.json | tokenizer.model     tokenizer_config.json
//! ```

mod adapters;
mod designs;
mod tokenizers;
mod weights;

use std::collections::BTreeMap;
use std::path::Path;

use gravure_base::{Error, Result};
use serde_json::{Map, Value, json};

pub use adapters::{AdapterOptions, write_adapter};

/// The kinds of model that can be made: registry ids, and variants of them that real checkpoints
/// have.
pub const DESIGNS: &[&str] = &["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2", "bert"];

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, IEEE.
    F16,
    /// 16 bits, the upper half of 32.
    BF16,
}

impl Dtype {
    /// The one of this name: `f32`, `f16`, `bf16`.
    fn parse(name: &Value) -> Option<Self> {
        match name.as_str()? {
            "f32" => Some(Self::F32),
            "f16" => Some(Self::F16),
            "bf16" => Some(Self::BF16),
            _ => None,
        }
    }
}

/// Whose spelling `config.json` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `torch_dtype`, `rope_theta` and `rope_scaling`.
    Transformers4,
    /// `dtype` and `rope_parameters`.
    Transformers5,
}

/// Sizes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Width 64, feed-forward length 96, 4 heads: rows are multiples of 32.
    Small,
    /// Width 256, feed-forward length 512, 4 heads: rows are multiples of 256, so that every block
    /// encoding fits.
    Wide,
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// How weights are stored.
    pub dtype: Dtype,
    /// Number of safetensors files.
    pub shards: usize,
    /// Number of layers.
    pub layers: usize,
    /// Dimensions.
    pub size: Size,
    /// Spelling of the configuration.
    pub spelling: Spelling,
    /// Entries of `config.json` that replace or join the design's own; `null` takes one away.
    pub config: BTreeMap<String, Value>,
}

impl Default for Options {
    fn default() -> Self {
        Self { dtype: Dtype::F32, shards: 1, layers: 2, size: Size::Small, spelling: Spelling::Transformers5, config: BTreeMap::new() }
    }
}

impl Options {
    /// Reads options from an object with any of `dtype` (`f32`, `f16`, `bf16`), `shards`, `layers`,
    /// `wide`, `transformers4` (flags) and `config` (entries of `config.json`).
    ///
    /// # Errors
    /// `Request` for anything else.
    pub fn from_json(given: &Value) -> Result<Self> {
        let wrong = |key: &str, value: &Value| Error::request(format!("the option `{key}` cannot be {value}"));
        let mut options = Self::default();
        for (key, value) in given.as_object().ok_or_else(|| Error::request("the options are not an object"))? {
            let number = || value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| wrong(key, value));
            match (key.as_str(), value) {
                ("dtype", value) => options.dtype = Dtype::parse(value).ok_or_else(|| wrong(key, value))?,
                ("shards", _) => options.shards = number()?,
                ("layers", _) => options.layers = number()?,
                ("wide", Value::Bool(true)) => options.size = Size::Wide,
                ("transformers4", Value::Bool(true)) => options.spelling = Spelling::Transformers4,
                ("config", Value::Object(config)) => options.config = config.clone().into_iter().collect(),
                _ => return Err(wrong(key, value)),
            }
        }
        Ok(options)
    }
}

/// Writes a model of `design` (one of [`DESIGNS`]) into `folder`, which is created.
///
/// # Errors
/// `Request` for an unknown design or impossible options; `Environment` where a file cannot be
/// written.
pub fn write(design: &str, options: &Options, folder: &Path) -> Result<()> {
    let config = configuration(design, options)?;
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create the folder", folder, e))?;
    let tensors = designs::tensors(design, &config)?;
    let generation =
        json!({"_from_model_config": true, "bos_token_id": config.get("bos_token_id"), "eos_token_id": config.get("eos_token_id")});
    write_json(folder, "generation_config.json", &generation)?;
    tokenizers::write(design, &config, folder)?;
    weights::write(design, &tensors, options, folder)?;
    write_json(folder, "config.json", &Value::Object(config))
}

/// `config.json`.
fn configuration(design: &str, options: &Options) -> Result<Map<String, Value>> {
    let mut config = designs::config(design, options)?;
    for (key, value) in &options.config {
        match value {
            Value::Null => config.remove(key),
            value => config.insert(key.clone(), value.clone()),
        };
    }
    Ok(config)
}

fn write_json(folder: &Path, name: &str, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::bug("cannot write JSON").caused_by(e))?;
    write_bytes(folder, name, format!("{text}\n").as_bytes())
}

fn write_bytes(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).map_err(|e| Error::io("write the file", &path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_design_is_made_the_same_twice() {
        for design in DESIGNS {
            let made = || {
                let folder = tempfile::tempdir().unwrap();
                write(design, &Options { shards: 2, ..Options::default() }, folder.path()).unwrap();
                let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder.path())
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .filter(|path| path.is_file())
                    .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
                    .collect();
                files.sort();
                files
            };
            let (first, second) = (made(), made());
            assert!(first == second, "{design} differs from itself");
            assert!(first.iter().any(|(name, _)| name == "model-00002-of-00002.safetensors"), "{design} has one shard");
        }
    }

    #[test]
    fn unknown_designs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write("perceptron", &Options::default(), folder.path()).is_err());
    }
}
