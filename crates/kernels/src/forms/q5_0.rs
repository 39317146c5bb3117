//! `q5_0`: 5 bits and a scale for 32 weights.

use super::q4_0::Q4_0;
use super::{add_bits, nibbles, short, word};
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q5_0;

impl Form for Q5_0 {
    type Like = Q4_0;
    const ID: &'static str = "q5_0";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 5;
    const OFFSET: i32 = 16;
    const ENCODED: usize = 22;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        nibbles(&row[6..22], &mut parts.codes[..32]);
        add_bits(word(row, 2), 4, &mut parts.codes[..32]);
    }
}
