//! Who executes models: one file or folder for each runtime, and their registry.
#![forbid(unsafe_code)]

use gravure_core::Runtime;

/// All runtimes of this build, in the order of preference.
pub static RUNTIMES: &[&dyn Runtime] = &[];
