//! Fast execution: the thread pool of decode, and products of activations with encoded weights.
//!
//! [`Matrix`] holds a weight in the form that its kernel wants; [`Inputs`] holds rows of activations
//! and, beside them, the rounded forms that kernels ask for, so that several matrices share them;
//! [`linear`] multiplies. Which kernel runs depends on the encoding, the instruction set and the
//! phase, never on the number of rows, and each output is summed in one order: a row's result does
//! not depend on the rows that it is computed with, nor on the threads.

mod ahead;
mod arena;
mod attention;
mod bf16;
mod cache;
mod dispatch;
mod elementwise;
#[allow(clippy::needless_range_loop, reason = "numbered loops over arrays of registers unroll, iterators may not")]
mod floats;
mod form;
mod forms;
mod inputs;
#[allow(clippy::needless_range_loop, reason = "numbered loops over arrays of registers unroll, iterators may not")]
mod integer;
mod lanes;
mod linear;
mod matrix;
mod norms;
#[allow(clippy::needless_range_loop, reason = "numbered loops over arrays of registers unroll, iterators may not")]
mod pairs;
mod parallel;
mod pool;
mod results;
mod rope;
mod rounded;
#[allow(clippy::needless_range_loop, reason = "numbered loops over arrays of registers unroll, iterators may not")]
mod scores;
mod shared;
#[cfg_attr(not(any(target_arch = "x86_64", test)), allow(dead_code, reason = "no other processor has tiles"))]
mod tiles;
#[cfg_attr(not(any(target_arch = "x86_64", test)), allow(dead_code, reason = "no other processor has tiles"))]
mod tiles_bf16;
mod together;
mod zeros;

pub use attention::{AttentionRows, AttentionShape, attention};
pub use cache::{Cache, CacheShape, PAGE};
pub use elementwise::{Binary, Unary, add_scaled, binary, gated, unary};
pub use inputs::Inputs;
pub use linear::linear;
pub use matrix::{GroupedSource, Matrix, MatrixSource, ReadGrouped, ReadRows};
pub use norms::{layer_norm, rms_norm};
pub use pool::Pool;
pub use rope::rope;
pub use shared::SharedRows;
