//! GGUF, the file format of llama.cpp: typed metadata and block-quantized tensors in one file, or
//! in numbered shards.
//!
//! ```text
//! "GGUF"  version u32  tensors u64  pairs u64
//! pairs   × { key string  type u32  value }
//! tensors × { name string  n u32  n × u64 dimensions, innermost first  type u32  offset u64 }
//! padding to the alignment, then the data section: offsets count from here
//! ```
//! Strings are a `u64` length and UTF-8 bytes, arrays a type, a `u64` count and the elements; all
//! numbers are little-endian. Version 1 has `u32` wherever later versions have `u64`.
//! Specification: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod adapter;
mod format;
mod general;
pub(crate) mod header;
mod hyper_keys;
mod model_id;
mod names;
mod overrides;
mod pairs;
mod read;
mod shards;
mod sink;
mod tokenizer;
pub(crate) mod types;
pub(crate) mod value;
mod write;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use format::Gguf;
pub use names::name_of as neutral_name;
pub use overrides::override_hyperparameters;
pub(crate) use read::read_parts;
