//! `tq2_0`: ternary weights as codes of 2 bits; a scale for 256.

use gravure_encodings::parts::unpack_two_bits;

use super::iq3_s::Iq3S;
use super::short;
use crate::form::{Form, Parts};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tq2_0;

impl Form for Tq2_0 {
    type Like = Iq3S;
    const ID: &'static str = "tq2_0";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 2;
    const OFFSET: i32 = 1;
    const ENCODED: usize = 66;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 64).into();
        parts.codes = unpack_two_bits(&row[..64]);
    }
}
