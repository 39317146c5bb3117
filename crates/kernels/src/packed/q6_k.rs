//! `q6_k`: 128 bytes of the lower four bits, 64 of the upper two, 16 signed scales of 16 columns each, a
//! half. In each half `h` of 128 columns, byte `64 h + i` of the lower bits holds columns `i` and
//! `i + 64`, byte `32 h + i` of the upper bits holds columns `i + 32 k` at bit `2 k`.

use gravure_simd::rows::Rows;

use super::{Cell, Packed};

pub(crate) struct Q6K;

impl Packed for Q6K {
    const COLUMNS: usize = 256;
    const BYTES: usize = 210;
    const FIELDS: &'static [(usize, usize)] = &[(128, 4), (64, 4), (16, 4), (2, 2)];
    const BITS: u32 = 6;
    const OFFSET: i32 = 32;
    const HALVES: bool = true;
    const MINIMUM: bool = false;
    type Head<S: Rows> = S::F32;

    #[inline(always)]
    fn head<S: Rows>(isa: S, block: &[u8]) -> S::F32 {
        isa.halves(&block[208 * S::ROWS..])
    }

    #[inline(always)]
    fn cell<S: Rows>(isa: S, block: &[u8], head: &S::F32, index: usize) -> Cell<S> {
        let (half, part) = (index / 4, index % 4);
        let (low, high) = (isa.splat_word(0x0f0f_0f0f), isa.splat_word(0x3030_3030));
        let mut codes = [low; 8];
        for (i, code) in codes.iter_mut().enumerate() {
            let lower = isa.words(&block[(64 * half + 32 * (part % 2) + 4 * i) * S::ROWS..]);
            let upper = isa.words(&block[(128 + 32 * half + 4 * i) * S::ROWS..]);
            let lower = isa.and(isa.shr(lower, 4 * (part as u32 / 2)), low);
            // The two bits go from bit 2 * part of their byte to bit 4.
            let upper = if part < 2 { isa.shl(upper, 4 - 2 * part as u32) } else { isa.shr(upper, 2 * part as u32 - 4) };
            *code = isa.or(lower, isa.and(upper, high));
        }
        let words = isa.words(&block[(192 + 4 * (index / 2)) * S::ROWS..]);
        // Scales 2 index and 2 index + 1 are bytes of word index / 2.
        let first = 16 * (index as u32 % 2);
        let left = isa.mul(*head, isa.to_f32(isa.sar(isa.shl(words, 24 - first), 24)));
        let right = isa.mul(*head, isa.to_f32(isa.sar(isa.shl(words, 16 - first), 24)));
        Cell { codes, scales: [left, right], minimum: *head }
    }
}
