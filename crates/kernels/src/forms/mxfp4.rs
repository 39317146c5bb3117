//! `mxfp4`: 4-bit floats, and a power of two as scale for 32 weights. Codes stand for twice their values,
//! which are whole numbers; the scale is halved.

use gravure_encodings::parts::{FP4_DOUBLED, half_of_power};

use super::q4_0::Q4_0;
use super::{nibbles, unsigned};
use crate::form::{Form, Parts};

/// Twice the largest value.
pub(super) const LARGEST: i32 = 12;
/// Twice the values, as unsigned bytes.
pub(super) static DOUBLED: [u8; 16] = unsigned(&FP4_DOUBLED, LARGEST);

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mxfp4;

impl Form for Mxfp4 {
    type Like = Q4_0;
    const ID: &'static str = "mxfp4";
    const COLUMNS: usize = 32;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = LARGEST;
    const WIDE: bool = true;
    const TABLE: Option<&'static [u8; 16]> = Some(&DOUBLED);
    const ENCODED: usize = 17;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = half_of_power(row[0]).to_bits();
        nibbles(&row[1..17], &mut parts.codes[..32]);
    }
}
