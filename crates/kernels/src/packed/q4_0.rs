//! `q4_0`: a half and 16 bytes; byte `i` holds columns `i` (low) and `i + 16` (high).

use gravure_simd::rows::Rows;

use super::{Cell, Packed};

pub(crate) struct Q4_0;

impl Packed for Q4_0 {
    const COLUMNS: usize = 32;
    const BYTES: usize = 18;
    const FIELDS: &'static [(usize, usize)] = &[(2, 2), (16, 4)];
    const BITS: u32 = 4;
    const OFFSET: i32 = 8;
    const HALVES: bool = false;
    const MINIMUM: bool = false;
    type Head<S: Rows> = ();

    #[inline(always)]
    fn head<S: Rows>(_isa: S, _block: &[u8]) {}

    #[inline(always)]
    fn cell<S: Rows>(isa: S, block: &[u8], (): &(), _index: usize) -> Cell<S> {
        let low = isa.splat_word(0x0f0f_0f0f);
        let mut codes = [low; 8];
        for i in 0..4 {
            let word = isa.words(&block[(2 + 4 * i) * S::ROWS..]);
            codes[i] = isa.and(word, low);
            codes[4 + i] = isa.and(isa.shr(word, 4), low);
        }
        let scale = isa.halves(block);
        Cell { codes, scales: [scale; 2], minimum: scale }
    }
}
