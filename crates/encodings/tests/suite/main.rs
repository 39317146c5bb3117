//! What every registered encoding is held to. Nobody writes these tests for an encoding: being in
//! the registry is enough.

mod every_isa;
mod golden;
mod grids;
mod inputs;
mod laws;
mod properties;
#[allow(clippy::print_stdout)]
mod speed;
