//! How stored values are chosen: one file for each method, and a registry.
#![forbid(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "loops over several arrays in step")]

mod apart;
mod correction;
mod descent;
mod error;
mod factor;
mod feedback;
mod gptq;
mod group;
mod hqq;
mod panel;
pub mod registry;
mod rtn;
mod scale_estimation;

pub use correction::Correction;
pub use descent::Descent;
pub use error::output_errors;
pub use gptq::Gptq;
pub use hqq::Hqq;
pub use rtn::Rtn;
pub use scale_estimation::ScaleEstimation;
