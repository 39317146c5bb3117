//! Fast execution: the thread pool of decode, and products of activations with encoded weights.
//!
//! [`Matrix`] holds a weight in the form that its kernel wants; [`Inputs`] holds rows of activations
//! and, beside them, the rounded forms that kernels ask for, so that several matrices share them;
//! [`linear`] multiplies. Which kernel runs depends on the encoding, the instruction set and the
//! phase, never on the number of rows, and each output is summed in one order: a row's result does
//! not depend on the rows that it is computed with, nor on the threads.

mod inputs;
mod linear;
mod matrix;
mod pool;
mod shared;

pub use inputs::Inputs;
pub use linear::linear;
pub use matrix::{Matrix, MatrixSource, Precision, ReadRows};
pub use pool::Pool;
pub use shared::SharedRows;
