//! How stored values are chosen: one file for each method, and a registry.
#![forbid(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "loops over several arrays in step")]

mod descent;
mod error;
mod factor;
mod feedback;
mod gptq;
mod group;
mod panel;
pub mod registry;
mod rtn;

pub use descent::Descent;
pub use error::output_errors;
pub use gptq::Gptq;
pub use rtn::Rtn;
