//! How the stored values of one tensor are chosen.

use crate::{Encoding, Importance, Result};

/// A way of choosing the values that an encoding stores. Works on whole rows of one tensor.
pub trait Method: Send + Sync + std::fmt::Debug {
    /// Lower-case name as plans spell it, for example `rtn`.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// Encodes `rows`, whole rows of `row_length` weights, into `out` (see [`Encoding::encode`]).
    ///
    /// # Errors
    /// Those of the encoding, and `Request` where the method lacks what it needs.
    fn encode(&self, target: &dyn Encoding, rows: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()>;
}
