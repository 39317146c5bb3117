//! Model architectures: one file each, built out of shared blocks.
//!
//! A file says five things: under which names its checkpoints go, how its `config.json` reads (see
//! `config`: a key that nobody reads is an error), what each tensor is and how its values differ
//! from the neutral form, which tensors are computed from the configuration, and the graph. No file
//! knows another one; what two of them share is a block.
#![forbid(unsafe_code)]

mod blocks;
mod config;
pub mod registry;

mod bert;
mod gemma2;
mod gemma3;
mod gpt2;
mod llama;
mod phi3;
mod qwen2;
mod qwen3;

pub use registry::{ARCHITECTURES, find};
