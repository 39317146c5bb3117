//! Devices: the built-in ones, this machine, and a user's own file.

use std::path::Path;

use gravure_base::Result;
use gravure_core::values::Target;

use crate::host;

/// Name under which this machine is a target.
pub const HOST: &str = "host";

/// Whether this machine's memory is timed where it is the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measuring {
    /// Bandwidth is estimated from the kind of processor.
    #[default]
    Estimate,
    /// Bandwidth is measured, and what products reach of it: some seconds and 512 MiB.
    Measure,
}

/// The target that `text` names: [`HOST`], a path of a TOML file (it has a `/` or ends in `.toml`), or the id
/// of a built-in one.
///
/// # Errors
/// `Request`, with near names, for an unknown id; those of reading for a file, with the line.
pub fn find_target(text: &str, measuring: Measuring, threads: usize) -> Result<Target> {
    if text == HOST {
        return host::detect(measuring, threads);
    }
    if text.contains(['/', '\\']) || text.to_ascii_lowercase().ends_with(".toml") {
        return gravure_targets::read(Path::new(text));
    }
    gravure_targets::target(text).cloned()
}

/// The file of a built-in target, to be edited: its figures, sources and all.
pub fn target_file(id: &str) -> Option<&'static str> {
    gravure_targets::registry::DEVICES.iter().find(|(name, _)| *name == id).map(|(_, text)| *text)
}
