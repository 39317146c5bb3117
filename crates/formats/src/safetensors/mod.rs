//! Hugging Face's layout: a folder of `config.json`, safetensors weights and tokenizer files.
//!
//! ```text
//! model/
//!   config.json                        architecture and hyperparameters
//!   generation_config.json             sampling defaults                       (optional)
//!   model.safetensors                  all weights, or
//!   model-00001-of-00002.safetensors   shards, with
//!   model.safetensors.index.json       tensor name -> shard
//!   tokenizer.json, tokenizer.model, tokenizer_config.json, ...               (optional)
//!   README.md                          model card with YAML front matter       (optional)
//! ```
//!
//! A bare `.safetensors` file is read too: tensors without an architecture.
//! Normative: <https://github.com/huggingface/safetensors#format>.

mod assemble;
mod card;
mod companions;
mod dtype;
pub(crate) mod folder;
mod format;
mod header;
mod index;
pub(crate) mod json;
mod outline;
pub(crate) mod quantized;
mod read;
#[cfg(test)]
pub(crate) mod testing;
mod write;

pub(crate) use assemble::{Parts, assemble, configuration};
pub(crate) use companions::Companions;
pub use format::HuggingFace;
pub(crate) use index::{names_only, parse as parse_index};
pub(crate) use read::{read_shards, tensors_of};
