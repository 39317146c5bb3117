//! `q5_k`: 5 bits, scales and minima of 6 bits for 32 weights in blocks of 256.

use gravure_encodings::parts::unpack_six_bits;

use super::q4_k::Q4K;
use super::{nibbles, short};
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q5K;

impl Form for Q5K {
    type Like = Q4K;
    const ID: &'static str = "q5_k";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 5;
    const SCALES: Scales = Scales::Unsigned;
    const MINIMA: bool = true;
    const ENCODED: usize = 176;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        parts.m = short(row, 2).into();
        let (scales, minima) = unpack_six_bits(&std::array::from_fn(|i| row[4 + i]));
        parts.scales[..8].copy_from_slice(&scales);
        parts.minima[..8].copy_from_slice(&minima);
        for (bytes, codes) in row[48..176].chunks_exact(32).zip(parts.codes.chunks_exact_mut(64)) {
            nibbles(bytes, codes);
        }
        for (k, codes) in parts.codes.chunks_exact_mut(32).enumerate() {
            for (code, bits) in codes.iter_mut().zip(&row[16..48]) {
                *code |= (bits >> k & 1) << 4;
            }
        }
    }
}
