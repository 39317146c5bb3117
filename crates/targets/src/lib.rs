//! Devices as data: one TOML file for each in `data/devices`, and one for each runtime that models are
//! deployed on in `data/runtimes`.
//!
//! A new device is one file and one line in [`registry`]. Every figure in these files names its source, or
//! says that it is an estimate and how it was reasoned; a figure that does neither is refused, in a user's
//! own file too. Memory, bandwidth and operations are in bytes, bytes a second and operations a second;
//! numbers such as `17.1e9` are welcome.
#![forbid(unsafe_code)]

mod check;
mod host;
mod load;
pub mod registry;

pub use host::{BackendByFeature, HostRules, HostRuntime, Rate, host_rules};
pub use load::{parse, parse_runtime, read, runtime, runtimes, target, targets};
