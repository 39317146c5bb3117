//! `q3_k`: 3 bits and signed scales of 6 bits for 16 weights in blocks of 256.

use gravure_encodings::parts::{unpack_three_bit_scales, unpack_two_bits};

use super::q6_k::Q6K;
use super::short;
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q3K;

impl Form for Q3K {
    type Like = Q6K;
    const ID: &'static str = "q3_k";
    const COLUMNS: usize = 256;
    const GROUP: usize = 16;
    const BITS: usize = 3;
    const OFFSET: i32 = 4;
    const SCALES: Scales = Scales::Signed;
    const ENCODED: usize = 110;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.codes = unpack_two_bits(&row[32..96]);
        for (k, codes) in parts.codes.chunks_exact_mut(32).enumerate() {
            for (code, bits) in codes.iter_mut().zip(&row[..32]) {
                *code |= (bits >> k & 1) << 2;
            }
        }
        parts.scales = unpack_three_bit_scales(&row[96..108]).map(|scale| scale.wrapping_sub(32));
        parts.d = short(row, 108).into();
    }
}
