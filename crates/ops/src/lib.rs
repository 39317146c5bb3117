//! Operations of a computation graph: one file each, with its attributes, its shape rule and a
//! scalar evaluation that says what it means.
//!
//! A graph names an operation by its id; [`find`] gives the [`Op`]. An id that no file knows is
//! carried through by whoever reads graphs. Evaluation is the reference that fast kernels are tested
//! against and that constants are folded with: values are `f32`, sums are made in `f64` and rounded
//! once, in the order of the indices.
//!
//! Values of a text model have one row for each position of one sequence: `[positions, width]`. A
//! runtime that runs several sequences, or keeps earlier keys and values, does so around
//! [`attention`], which is the only operation that looks at more than one row.
#![forbid(unsafe_code)]

mod array;
mod attribute;
mod op;
mod registry;

pub mod add;
pub mod attention;
pub mod embedding;
pub mod gelu;
pub mod gelu_tanh;
pub mod layer_norm;
pub mod linear;
pub mod mul;
pub mod rms_norm;
pub mod rope;
pub mod scale;
pub mod silu;
pub mod slice;
pub mod softcap;

pub use array::Array;
pub use attribute::{Attribute, AttributeKind, AttributeRule, Attributes};
pub use op::{InputRule, Op};
pub use registry::{OPS, evaluate, find, shape};
