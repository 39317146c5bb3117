//! `q4_k`: halves of scale and minimum, 12 bytes of scales and minima of six bits, 128 bytes of codes;
//! byte `32 h + i` of the codes holds columns `64 h + i` (low) and `64 h + 32 + i` (high).

use gravure_simd::rows::Rows;

use super::{Cell, Packed};

pub(crate) struct Q4K;

impl Packed for Q4K {
    const COLUMNS: usize = 256;
    const BYTES: usize = 144;
    const FIELDS: &'static [(usize, usize)] = &[(2, 2), (2, 2), (12, 4), (128, 4)];
    const BITS: u32 = 4;
    const OFFSET: i32 = 0;
    const HALVES: bool = false;
    const MINIMUM: bool = true;
    type Head<S: Rows> = SixBits<S>;

    #[inline(always)]
    fn head<S: Rows>(isa: S, block: &[u8]) -> SixBits<S> {
        SixBits::new(isa, block)
    }

    #[inline(always)]
    fn cell<S: Rows>(isa: S, block: &[u8], head: &SixBits<S>, index: usize) -> Cell<S> {
        let low = isa.splat_word(0x0f0f_0f0f);
        let mut codes = [low; 8];
        let shift = 4 * (index as u32 % 2);
        for (i, code) in codes.iter_mut().enumerate() {
            let word = isa.words(&block[(16 + 32 * (index / 2) + 4 * i) * S::ROWS..]);
            *code = isa.and(isa.shr(word, shift), low);
        }
        let (scale, minimum) = head.at(isa, index);
        Cell { codes, scales: [scale; 2], minimum }
    }
}

/// Scales and minima of a block: bytes 0 to 3 of the twelve hold the first four scales, 4 to 7 the
/// first four minima, 8 to 11 the lower bits of the other scales and minima, whose upper two bits are
/// the upper two bits of the first eight bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SixBits<S: Rows> {
    scale: S::F32,
    minimum: S::F32,
    scales: [S::Word; 2],
    minima: [S::Word; 2],
}

impl<S: Rows> SixBits<S> {
    /// Of a block that begins with two halves and the twelve bytes.
    #[inline(always)]
    pub(crate) fn new(isa: S, block: &[u8]) -> Self {
        let (a, b, c) = (isa.words(&block[4 * S::ROWS..]), isa.words(&block[8 * S::ROWS..]), isa.words(&block[12 * S::ROWS..]));
        let (six, four, two) = (isa.splat_word(0x3f3f_3f3f), isa.splat_word(0x0f0f_0f0f), isa.splat_word(0x3030_3030));
        let scales = [isa.and(a, six), isa.or(isa.and(c, four), isa.and(isa.shr(a, 2), two))];
        let minima = [isa.and(b, six), isa.or(isa.and(isa.shr(c, 4), four), isa.and(isa.shr(b, 2), two))];
        let minimum = isa.mul(isa.halves(&block[2 * S::ROWS..]), isa.splat(-1.0));
        Self { scale: isa.halves(block), minimum, scales, minima }
    }

    /// Scale and negated minimum of cell `index`.
    #[inline(always)]
    pub(crate) fn at(&self, isa: S, index: usize) -> (S::F32, S::F32) {
        let (half, shift, byte) = (usize::from(index >= 4), 8 * (index as u32 % 4), isa.splat_word(0xff));
        let scale = isa.to_f32(isa.and(isa.shr(self.scales[half], shift), byte));
        let minimum = isa.to_f32(isa.and(isa.shr(self.minima[half], shift), byte));
        (isa.mul(self.scale, scale), isa.mul(self.minimum, minimum))
    }
}
