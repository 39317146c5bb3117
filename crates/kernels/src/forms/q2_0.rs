//! `q2_0`: 2 bits for four levels; a scale for 64 weights.

use super::short;
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q2_0;

impl Form for Q2_0 {
    type Like = Self;
    const ID: &'static str = "q2_0";
    const COLUMNS: usize = 64;
    const GROUP: usize = 32;
    const BITS: usize = 2;
    const OFFSET: i32 = 1;
    const ENCODED: usize = 18;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        for (four, byte) in parts.codes.chunks_exact_mut(4).zip(&row[2..18]) {
            for (i, code) in four.iter_mut().enumerate() {
                *code = byte >> (2 * i) & 3;
            }
        }
    }
}
