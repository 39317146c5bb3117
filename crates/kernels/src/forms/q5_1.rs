//! `q5_1`: 5 bits, a scale and a minimum for 32 weights. The minimum is added, so it is kept negated.

use super::q4_1::Q4_1;
use super::{add_bits, nibbles, short, word};
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q5_1;

impl Form for Q5_1 {
    type Like = Q4_1;
    const ID: &'static str = "q5_1";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 5;
    const MINIMA: bool = true;
    const ENCODED: usize = 24;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        parts.m = (short(row, 2) ^ 0x8000).into();
        nibbles(&row[8..24], &mut parts.codes[..32]);
        add_bits(word(row, 4), 4, &mut parts.codes[..32]);
    }
}
