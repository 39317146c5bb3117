//! Who executes models: one file or folder for each runtime, and their registry.
#![forbid(unsafe_code)]

mod native;
mod registry;

pub use registry::RUNTIMES;
