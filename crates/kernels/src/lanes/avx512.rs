//! AVX-512 with VNNI: a register each.

use std::arch::x86_64::*;

use super::{Lanes, PairLanes, PointLanes};
use crate::dispatch::{self, PairWork, PointWork, Work};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY (of all blocks): callers promise that the processor has AVX-512 F, BW, VL and VNNI, and that
// pointers are good; loads and stores are the unaligned ones.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Avx512 {
    type Int = __m512i;
    type Float = __m512;
    const TILES: bool = true;
    const REGISTERS: usize = 32;

    #[inline(always)]
    unsafe fn apart<W: Work>(work: W) {
        unsafe { dispatch::avx512(work) }
    }

    #[inline(always)]
    unsafe fn with_points<W: PointWork>(work: W) {
        unsafe { dispatch::avx512_vbmi(work) }
    }

    #[inline(always)]
    unsafe fn with_pairs<W: PairWork>(work: W) {
        unsafe { dispatch::avx512_bf16(work) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(value: __m512i, to: *mut u8) {
        unsafe { _mm512_storeu_si512(to.cast(), value) }
    }
    #[inline(always)]
    unsafe fn every(from: *const i32) -> __m512i {
        unsafe { _mm512_set1_epi32(from.read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn and(value: __m512i, byte: u8) -> __m512i {
        unsafe { _mm512_and_si512(value, _mm512_set1_epi8(byte as i8)) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn shr(value: __m512i, count: i32) -> __m512i {
        unsafe { _mm512_srl_epi16(value, _mm_cvtsi32_si128(count)) }
    }
    #[inline(always)]
    unsafe fn shl(value: __m512i, count: i32) -> __m512i {
        unsafe { _mm512_sll_epi16(value, _mm_cvtsi32_si128(count)) }
    }
    #[inline(always)]
    unsafe fn twos(value: __m512i, bit: i32) -> __m512i {
        unsafe { _mm512_maskz_set1_epi32(_mm512_test_epi32_mask(value, _mm512_set1_epi32(1 << bit)), 0x0202_0202) }
    }
    #[inline(always)]
    unsafe fn look_up(table: *const u8, index: __m512i) -> __m512i {
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.cast())), index) }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, unsigned, signed) }
    }
    #[inline(always)]
    unsafe fn by_64(value: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi32::<6>(value) }
    }
    #[inline(always)]
    unsafe fn plus(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn float(value: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(value) }
    }
    #[inline(always)]
    unsafe fn float_zero() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn float_load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn float_store(value: __m512, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn float_every(from: *const f32) -> __m512 {
        unsafe { _mm512_set1_ps(from.read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn brains(from: *const u8) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())))) }
    }
    #[inline(always)]
    unsafe fn signed(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn unsigned(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u8) -> __m512 {
        unsafe {
            let bytes = _mm_and_si128(_mm_loadu_si128(from.cast()), _mm_set1_epi8(15));
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn high_halves(from: *const u8) -> __m512 {
        unsafe {
            let bytes = _mm_and_si128(_mm_srli_epi16::<4>(_mm_loadu_si128(from.cast())), _mm_set1_epi8(15));
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
    }
    #[inline(always)]
    unsafe fn eighths(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_slli_epi16::<7>(_mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())))) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}

/// Eight bytes of bits.
#[inline(always)]
unsafe fn mask(bits: *const u8) -> __mmask64 {
    // SAFETY: as for the trait's functions.
    unsafe { bits.cast::<u64>().read_unaligned() }
}

/// Bytes of a table of 256 at the indices; `eighth`: the highest bits of these.
#[inline(always)]
unsafe fn of_256(table: *const u8, numbers: __m512i, eighth: __mmask64) -> __m512i {
    // SAFETY: as for the trait's functions, with AVX-512 VBMI.
    unsafe {
        let lower = _mm512_permutex2var_epi8(Avx512::load(table), numbers, Avx512::load(table.add(64)));
        let upper = _mm512_permutex2var_epi8(Avx512::load(table.add(128)), numbers, Avx512::load(table.add(192)));
        _mm512_mask_blend_epi8(eighth, lower, upper)
    }
}

// SAFETY (of all blocks): as above, and callers promise AVX-512 BF16.
#[allow(clippy::undocumented_unsafe_blocks)]
impl PairLanes for Avx512 {
    #[inline(always)]
    unsafe fn dot_pairs(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        unsafe { _mm512_dpbf16_ps(sum, std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b)) }
    }
    #[inline(always)]
    unsafe fn lower(pairs: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)) }
    }
    #[inline(always)]
    unsafe fn upper(pairs: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32))) }
    }
    #[inline(always)]
    unsafe fn pairs(lower: __m512, upper: __m512) -> __m512i {
        /// Of 32 numbers, the lower ones first, one of the lower ones and one of the upper ones in turn.
        static TURNS: [u16; 32] = {
            let mut turns = [0; 32];
            let mut i = 0;
            while i < 32 {
                turns[i] = (i / 2 + i % 2 * 16) as u16;
                i += 1;
            }
            turns
        };
        unsafe {
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(upper, lower));
            _mm512_permutexvar_epi16(Self::load(TURNS.as_ptr().cast()), both)
        }
    }
    #[inline(always)]
    unsafe fn byte<const K: u32>(four: __m512i) -> __m512 {
        unsafe {
            _mm512_cvtepi32_ps(match K {
                0 => _mm512_and_si512(four, _mm512_set1_epi32(0xff)),
                1 => _mm512_and_si512(_mm512_srli_epi32::<8>(four), _mm512_set1_epi32(0xff)),
                2 => _mm512_and_si512(_mm512_srli_epi32::<16>(four), _mm512_set1_epi32(0xff)),
                _ => _mm512_srli_epi32::<24>(four),
            })
        }
    }
}

// SAFETY (of all blocks): as above, and callers promise AVX-512 VBMI.
#[allow(clippy::undocumented_unsafe_blocks)]
impl PointLanes for Avx512 {
    #[inline(always)]
    unsafe fn words(table: *const u8, numbers: *const u8, bits: Option<*const u8>) -> [__m512i; 2] {
        unsafe {
            let numbers = Self::load(numbers);
            let eighth = _mm512_movepi8_mask(numbers);
            let (lower, upper) = match bits {
                None => (of_256(table, numbers, eighth), of_256(table.add(256), numbers, eighth)),
                Some(bits) => {
                    let ninth = mask(bits);
                    let [a, b] = [of_256(table, numbers, eighth), of_256(table.add(256), numbers, eighth)];
                    let [c, d] = [of_256(table.add(512), numbers, eighth), of_256(table.add(768), numbers, eighth)];
                    (_mm512_mask_blend_epi8(ninth, a, b), _mm512_mask_blend_epi8(ninth, c, d))
                }
            };
            [_mm512_unpacklo_epi8(lower, upper), _mm512_unpackhi_epi8(lower, upper)]
        }
    }
    #[inline(always)]
    unsafe fn trits(table: *const u8, numbers: *const u8, halves: *const u8, half: usize, bits: *const u8) -> [__m512i; 2] {
        unsafe {
            let numbers = Self::load(numbers);
            let eighth = _mm512_movepi8_mask(numbers);
            let lower = of_256(table, numbers, eighth);
            let halves = Self::load(halves);
            let few = Self::and(if half == 0 { halves } else { Self::shr(halves, 4) }, 15);
            let few = _mm512_mask_add_epi8(few, mask(bits), few, _mm512_set1_epi8(16));
            let upper = Self::or(of_256(table.add(256), numbers, eighth), _mm512_permutexvar_epi8(few, Self::load(table.add(512))));
            [_mm512_unpacklo_epi8(lower, upper), _mm512_unpackhi_epi8(lower, upper)]
        }
    }
    #[inline(always)]
    unsafe fn fields(words: __m512i, fields: *const u8, table: *const u8) -> __m512i {
        unsafe { _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(Self::load(fields), words), Self::load(table)) }
    }
    #[inline(always)]
    unsafe fn mirrored(value: __m512i, bits: *const u8, twice: u8) -> __m512i {
        unsafe { _mm512_mask_sub_epi8(value, mask(bits), _mm512_set1_epi8(twice as i8), value) }
    }
}
