//! `q8_0`: a half and 32 signed bytes.

use gravure_simd::rows::Rows;

use super::{Cell, Packed};

pub(crate) struct Q8_0;

impl Packed for Q8_0 {
    const COLUMNS: usize = 32;
    const BYTES: usize = 34;
    const FIELDS: &'static [(usize, usize)] = &[(2, 2), (32, 4)];
    const BITS: u32 = 8;
    const OFFSET: i32 = 0;
    const HALVES: bool = false;
    const MINIMUM: bool = false;
    type Head<S: Rows> = ();

    #[inline(always)]
    fn head<S: Rows>(_isa: S, _block: &[u8]) {}

    #[inline(always)]
    fn cell<S: Rows>(isa: S, block: &[u8], (): &(), _index: usize) -> Cell<S> {
        let scale = isa.halves(block);
        let mut codes = [isa.splat_word(0); 8];
        for (i, code) in codes.iter_mut().enumerate() {
            *code = isa.signed(isa.words(&block[(2 + 4 * i) * S::ROWS..]));
        }
        Cell { codes, scales: [scale; 2], minimum: scale }
    }
}
