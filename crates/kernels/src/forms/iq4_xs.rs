//! `iq4_xs`: 4 bits that stand for uneven levels, signed scales of 6 bits for 32 weights in blocks of 256.

use super::iq4_nl::LEVELS;
use super::{nibbles, short};
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq4Xs;

impl Form for Iq4Xs {
    type Like = Self;
    const ID: &'static str = "iq4_xs";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = 128;
    const SCALES: Scales = Scales::Signed;
    const TABLE: Option<&'static [u8; 16]> = Some(&LEVELS);
    const ENCODED: usize = 136;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 0).into();
        let high = short(row, 2);
        for group in 0..8 {
            let low = row[4 + group / 2] >> (4 * (group % 2)) & 15;
            parts.scales[group] = (low | ((high >> (2 * group) & 3) << 4) as u8).wrapping_sub(32);
        }
        for (bytes, codes) in row[8..136].chunks_exact(16).zip(parts.codes.chunks_exact_mut(32)) {
            nibbles(bytes, codes);
        }
    }
}
