//! `q4_0`: 4 bits and a scale for 32 weights.

use super::{nibbles, short};
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q4_0;

impl Form for Q4_0 {
    type Like = Self;
    const ID: &'static str = "q4_0";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = 8;
    const ENCODED: usize = 18;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        nibbles(&row[2..18], &mut parts.codes[..32]);
    }
}
