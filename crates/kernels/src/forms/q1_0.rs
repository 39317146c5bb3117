//! `q1_0`: signs of weights; a scale for 128. Codes are 0 and 2.

use super::short;
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q1_0;

impl Form for Q1_0 {
    type Like = Self;
    const ID: &'static str = "q1_0";
    const COLUMNS: usize = 128;
    const GROUP: usize = 32;
    const BITS: usize = 1;
    const LOWEST: usize = 1;
    const OFFSET: i32 = 1;
    const ENCODED: usize = 18;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        for (eight, byte) in parts.codes.chunks_exact_mut(8).zip(&row[2..18]) {
            for (i, code) in eight.iter_mut().enumerate() {
                *code = byte >> i & 1;
            }
        }
    }
}
