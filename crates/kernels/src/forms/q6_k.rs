//! `q6_k`: 6 bits and signed scales of 8 bits for 16 weights in blocks of 256.

use super::{nibbles, short};
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q6K;

impl Form for Q6K {
    type Like = Self;
    const ID: &'static str = "q6_k";
    const COLUMNS: usize = 256;
    const GROUP: usize = 16;
    const BITS: usize = 6;
    const OFFSET: i32 = 32;
    const SCALES: Scales = Scales::Signed;
    const ENCODED: usize = 210;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        for (bytes, codes) in row[..128].chunks_exact(64).zip(parts.codes.chunks_exact_mut(128)) {
            nibbles(bytes, codes);
        }
        for (bytes, codes) in row[128..192].chunks_exact(32).zip(parts.codes.chunks_exact_mut(128)) {
            for (k, codes) in codes.chunks_exact_mut(32).enumerate() {
                for (code, bits) in codes.iter_mut().zip(bytes) {
                    *code |= (bits >> (2 * k) & 3) << 4;
                }
            }
        }
        parts.scales.copy_from_slice(&row[192..208]);
        parts.d = short(row, 208).into();
    }
}
