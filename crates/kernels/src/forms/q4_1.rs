//! `q4_1`: 4 bits, a scale and a minimum for 32 weights. The minimum is added, so it is kept negated.

use super::{nibbles, short};
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q4_1;

impl Form for Q4_1 {
    type Like = Self;
    const ID: &'static str = "q4_1";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const MINIMA: bool = true;
    const ENCODED: usize = 20;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        parts.m = (short(row, 2) ^ 0x8000).into();
        nibbles(&row[4..20], &mut parts.codes[..32]);
    }
}
