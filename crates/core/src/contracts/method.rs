//! How the stored values of one tensor are chosen.

use crate::values::Hessian;
use crate::{Encoding, Importance, Result};

/// What is known of the vectors that a matrix multiplies.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inputs<'a> {
    /// Mean square of each column's input.
    pub importance: Importance<'a>,
    /// Mean products of all pairs of columns' inputs.
    pub hessian: Option<&'a Hessian>,
}

/// What a method has to be told of the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing; it uses importance where there is some.
    Nothing,
    /// The Hessian.
    Hessian,
}

/// A way of choosing the values that an encoding stores.
pub trait Method: Send + Sync + std::fmt::Debug {
    /// Lower-case name as plans spell it, for example `rtn`.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// What it has to be told.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// Does the work that all rows of a matrix share. `row_length` is the number of columns.
    ///
    /// # Errors
    /// `Request` where the method lacks what it needs, `Input` where that does not fit the rows or holds
    /// values that are not finite.
    fn prepare(&self, target: &'static dyn Encoding, row_length: usize, inputs: Inputs<'_>) -> Result<Box<dyn Rounder>>;
}

/// Encodes rows of one matrix. Rows do not depend on each other, so that any number of threads may share
/// one and the bytes do not depend on how many.
pub trait Rounder: Send + Sync {
    /// Encodes whole rows of weights into `out` (see [`Encoding::encode`]).
    ///
    /// # Errors
    /// Those of the encoding.
    fn encode(&self, rows: &[f32], out: &mut [u8]) -> Result<()>;
}
