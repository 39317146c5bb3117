//! Who executes models: one file or folder for each runtime, and their registry.
#![forbid(unsafe_code)]

mod llama_cpp;
mod native;
mod registry;
mod worker;

pub use registry::RUNTIMES;
