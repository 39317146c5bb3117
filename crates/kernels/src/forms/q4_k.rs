//! `q4_k`: 4 bits, scales and minima of 6 bits for 32 weights in blocks of 256.

use gravure_encodings::parts::unpack_six_bits;

use super::{nibbles, short};
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q4K;

impl Form for Q4K {
    type Like = Self;
    const ID: &'static str = "q4_k";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const SCALES: Scales = Scales::Unsigned;
    const MINIMA: bool = true;
    const ENCODED: usize = 144;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        parts.m = short(row, 2).into();
        let (scales, minima) = unpack_six_bits(&std::array::from_fn(|i| row[4 + i]));
        parts.scales[..8].copy_from_slice(&scales);
        parts.minima[..8].copy_from_slice(&minima);
        for (bytes, codes) in row[16..144].chunks_exact(32).zip(parts.codes.chunks_exact_mut(64)) {
            nibbles(bytes, codes);
        }
    }
}
