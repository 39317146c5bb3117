//! `mxfp4`: 4-bit floats, and a power of two as scale for 32 weights. Codes stand for twice their values,
//! which are whole numbers; the scale is halved.

use super::nibbles;
use crate::form::{Form, Parts};

/// Twice the values, with 128 added.
static DOUBLED: [u8; 16] = [128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116];

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mxfp4;

impl Form for Mxfp4 {
    const ID: &'static str = "mxfp4";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = 128;
    const WIDE: bool = true;
    const TABLE: Option<&'static [u8; 16]> = Some(&DOUBLED);
    const ENCODED: usize = 17;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        // 2^(e - 128): below the smallest normal number the exponent's bits are a fraction's.
        let exponent = u32::from(row[0]);
        parts.d = if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 };
        nibbles(&row[1..17], &mut parts.codes[..32]);
    }
}
