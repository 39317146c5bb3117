//! `q2_k`: 2 bits, scales and minima of 4 bits for 16 weights in blocks of 256.

use gravure_encodings::parts::unpack_two_bits;

use super::short;
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q2K;

impl Form for Q2K {
    type Like = Self;
    const ID: &'static str = "q2_k";
    const COLUMNS: usize = 256;
    const GROUP: usize = 16;
    const BITS: usize = 2;
    const SCALES: Scales = Scales::Halves;
    const MINIMA: bool = true;
    const ENCODED: usize = 84;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        for (byte, (scale, minimum)) in row[..16].iter().zip(parts.scales.iter_mut().zip(&mut parts.minima)) {
            (*scale, *minimum) = (byte & 15, byte >> 4);
        }
        parts.codes = unpack_two_bits(&row[16..80]);
        parts.d = short(row, 80).into();
        parts.m = short(row, 82).into();
    }
}
