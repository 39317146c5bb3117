//! How stored values are chosen: one file for each method, and a registry.
#![forbid(unsafe_code)]

pub mod registry;
mod rtn;

pub use rtn::Rtn;
