//! Changes of weights that cancel out in the computation and make rounding cheaper: one file for each pass, and a
//! registry.
#![forbid(unsafe_code)]

mod awq;
mod changed;
mod neighbours;
pub mod registry;
mod rotate;
mod rotation;

pub use awq::Awq;
pub use rotate::Rotate;
