//! `q8_0`: 8 bits and a scale for 32 weights. Signed bytes become unsigned ones by flipping their sign bit.

use super::short;
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q8_0;

impl Form for Q8_0 {
    type Like = Self;
    const ID: &'static str = "q8_0";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 8;
    const OFFSET: i32 = 128;
    const ENCODED: usize = 34;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        for (code, byte) in parts.codes.iter_mut().zip(&row[2..34]) {
            *code = byte ^ 0x80;
        }
    }
}
