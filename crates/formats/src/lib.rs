//! How models are laid out in files: one folder for each format, and a registry.
//!
//! A format reads a source into a lazy [`gravure_core::Model`] and writes a
//! [`gravure_core::Package`]; it owns the tables from encoding ids, neutral tensor identities and
//! hyperparameters to its own tags, names and keys. Bytes of weights are never touched here.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;
mod gguf;
mod imatrix;
mod peft;
mod pytorch;
mod registry;
mod safetensors;

pub use gguf::{Gguf, neutral_name, override_hyperparameters};
pub use imatrix::{read_importance_matrix, write_importance_matrix};
pub use peft::Peft;
pub use pytorch::{PickleScan, PyTorch, ScannedGlobal, scan_pickle};
pub use registry::FORMATS;
pub use safetensors::HuggingFace;
