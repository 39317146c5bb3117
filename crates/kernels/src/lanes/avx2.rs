//! AVX2 with FMA and F16C: two registers each.
//!
//! The product of bytes that AVX2 has sums two of them in 16 bits with saturation: unsigned bytes above 127
//! are split into their highest bit and the rest. AVX-VNNI has the product that AVX-512 has.

use std::arch::x86_64::*;

use super::Lanes;
use crate::dispatch::{self, Work};

/// See the module's page. `VNNI`: with AVX-VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

/// The product of bytes where unsigned ones are below 128, which no sum of two saturates.
#[inline(always)]
unsafe fn small_dot(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    // SAFETY: as for the trait's functions.
    unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(unsigned, signed), _mm256_set1_epi16(1))) }
}

#[inline(always)]
unsafe fn dot(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    // SAFETY: as for the trait's functions.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let low = _mm256_and_si256(unsigned, _mm256_set1_epi8(0x7f));
        let high = _mm256_and_si256(_mm256_srli_epi16::<7>(unsigned), _mm256_set1_epi8(1));
        let low = _mm256_madd_epi16(_mm256_maddubs_epi16(low, signed), ones);
        let high = _mm256_madd_epi16(_mm256_maddubs_epi16(high, signed), _mm256_set1_epi16(128));
        _mm256_add_epi32(sum, _mm256_add_epi32(low, high))
    }
}

/// Unsigned bytes as floats.
#[inline(always)]
unsafe fn bytes(value: __m128i) -> [__m256; 2] {
    // SAFETY: as for the trait's functions.
    unsafe {
        let (low, high) = (_mm256_cvtepu8_epi32(value), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(value)));
        [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
    }
}

// SAFETY (of all blocks): callers promise that the processor has AVX2, FMA and F16C, and that pointers are
// good; loads and stores are the unaligned ones.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    type Int = [__m256i; 2];
    type Float = [__m256; 2];
    const REGISTERS: usize = 8;

    #[inline(always)]
    unsafe fn apart<W: Work>(work: W) {
        unsafe { if VNNI { dispatch::avx_vnni(work) } else { dispatch::avx2(work) } }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> [__m256i; 2] {
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())] }
    }
    #[inline(always)]
    unsafe fn store(value: [__m256i; 2], to: *mut u8) {
        unsafe {
            _mm256_storeu_si256(to.cast(), value[0]);
            _mm256_storeu_si256(to.add(32).cast(), value[1]);
        }
    }
    #[inline(always)]
    unsafe fn every(from: *const i32) -> [__m256i; 2] {
        unsafe { [_mm256_set1_epi32(from.read_unaligned()); 2] }
    }
    #[inline(always)]
    unsafe fn zero() -> [__m256i; 2] {
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn and(value: [__m256i; 2], byte: u8) -> [__m256i; 2] {
        unsafe {
            let mask = _mm256_set1_epi8(byte as i8);
            [_mm256_and_si256(value[0], mask), _mm256_and_si256(value[1], mask)]
        }
    }
    #[inline(always)]
    unsafe fn or(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn shr(value: [__m256i; 2], count: i32) -> [__m256i; 2] {
        unsafe {
            let count = _mm_cvtsi32_si128(count);
            [_mm256_srl_epi16(value[0], count), _mm256_srl_epi16(value[1], count)]
        }
    }
    #[inline(always)]
    unsafe fn shl(value: [__m256i; 2], count: i32) -> [__m256i; 2] {
        unsafe {
            let count = _mm_cvtsi32_si128(count);
            [_mm256_sll_epi16(value[0], count), _mm256_sll_epi16(value[1], count)]
        }
    }
    #[inline(always)]
    unsafe fn twos(value: [__m256i; 2], bit: i32) -> [__m256i; 2] {
        unsafe {
            let (bit, twos) = (_mm256_set1_epi32(1 << bit), _mm256_set1_epi32(0x0202_0202));
            let spread = |value| _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_and_si256(value, bit), bit), twos);
            [spread(value[0]), spread(value[1])]
        }
    }
    #[inline(always)]
    unsafe fn look_up(table: *const u8, index: [__m256i; 2]) -> [__m256i; 2] {
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.cast()));
            [_mm256_shuffle_epi8(table, index[0]), _mm256_shuffle_epi8(table, index[1])]
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: [__m256i; 2], unsigned: [__m256i; 2], signed: [__m256i; 2]) -> [__m256i; 2] {
        unsafe {
            if VNNI {
                [_mm256_dpbusd_avx_epi32(sum[0], unsigned[0], signed[0]), _mm256_dpbusd_avx_epi32(sum[1], unsigned[1], signed[1])]
            } else {
                [dot(sum[0], unsigned[0], signed[0]), dot(sum[1], unsigned[1], signed[1])]
            }
        }
    }
    #[inline(always)]
    unsafe fn dot_of_small(sum: [__m256i; 2], unsigned: [__m256i; 2], signed: [__m256i; 2]) -> [__m256i; 2] {
        unsafe {
            if VNNI {
                [_mm256_dpbusd_avx_epi32(sum[0], unsigned[0], signed[0]), _mm256_dpbusd_avx_epi32(sum[1], unsigned[1], signed[1])]
            } else {
                [small_dot(sum[0], unsigned[0], signed[0]), small_dot(sum[1], unsigned[1], signed[1])]
            }
        }
    }
    #[inline(always)]
    unsafe fn by_64(value: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_slli_epi32::<6>(value[0]), _mm256_slli_epi32::<6>(value[1])] }
    }
    #[inline(always)]
    unsafe fn plus(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn float(value: [__m256i; 2]) -> [__m256; 2] {
        unsafe { [_mm256_cvtepi32_ps(value[0]), _mm256_cvtepi32_ps(value[1])] }
    }
    #[inline(always)]
    unsafe fn float_zero() -> [__m256; 2] {
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn float_load(from: *const f32) -> [__m256; 2] {
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn float_store(value: [__m256; 2], to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, value[0]);
            _mm256_storeu_ps(to.add(8), value[1]);
        }
    }
    #[inline(always)]
    unsafe fn float_every(from: *const f32) -> [__m256; 2] {
        unsafe { [_mm256_set1_ps(from.read_unaligned()); 2] }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> [__m256; 2] {
        unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(from.cast())), _mm256_cvtph_ps(_mm_loadu_si128(from.add(16).cast()))] }
    }
    #[inline(always)]
    unsafe fn brains(from: *const u8) -> [__m256; 2] {
        unsafe {
            let (low, high) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()));
            let (low, high) = (_mm256_cvtepu16_epi32(low), _mm256_cvtepu16_epi32(high));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high))]
        }
    }
    #[inline(always)]
    unsafe fn signed(from: *const u8) -> [__m256; 2] {
        unsafe {
            let (low, high) = (_mm_loadl_epi64(from.cast()), _mm_loadl_epi64(from.add(8).cast()));
            [_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))]
        }
    }
    #[inline(always)]
    unsafe fn unsigned(from: *const u8) -> [__m256; 2] {
        unsafe {
            let (low, high) = (_mm_loadl_epi64(from.cast()), _mm_loadl_epi64(from.add(8).cast()));
            [_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high))]
        }
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u8) -> [__m256; 2] {
        unsafe { bytes(_mm_and_si128(_mm_loadu_si128(from.cast()), _mm_set1_epi8(15))) }
    }
    #[inline(always)]
    unsafe fn high_halves(from: *const u8) -> [__m256; 2] {
        unsafe { bytes(_mm_and_si128(_mm_srli_epi16::<4>(_mm_loadu_si128(from.cast())), _mm_set1_epi8(15))) }
    }
    #[inline(always)]
    unsafe fn eighths(from: *const u8) -> [__m256; 2] {
        unsafe {
            let halves = _mm256_slli_epi16::<7>(_mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())));
            [_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves))]
        }
    }
    #[inline(always)]
    unsafe fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn fma(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
}
