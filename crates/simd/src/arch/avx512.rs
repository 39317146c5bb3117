//! AVX-512 F, BW, DQ, VL: 16 lanes, masks in their own registers.

use std::arch::x86_64::*;

use super::operations;
use crate::token::{Kernel, Simd};

const N: usize = 16;

/// Proof that the processor and the operating system support AVX-512 F, BW, DQ and VL.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// The token where the processor has all four.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn enter<K: Kernel>(isa: Avx512, kernel: K) -> K::Output {
    kernel.run(isa)
}

/// Transposes 16 by 16: lane `k` of row `i` goes to lane `i` of row `k`.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &mut [__m512; N]) {
    // Within each 128-bit quarter: 4 by 4.
    for four in rows.chunks_exact_mut(4) {
        let (a, b, c, d) = (four[0], four[1], four[2], four[3]);
        let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        four[0] = _mm512_shuffle_ps::<0x44>(ab_low, cd_low);
        four[1] = _mm512_shuffle_ps::<0xee>(ab_low, cd_low);
        four[2] = _mm512_shuffle_ps::<0x44>(ab_high, cd_high);
        four[3] = _mm512_shuffle_ps::<0xee>(ab_high, cd_high);
    }
    // Row 4 i + j now holds, in its quarter q, column 4 q + j of rows 4 i .. 4 i + 4.
    for j in 0..4 {
        let (a, b, c, d) = (rows[j], rows[4 + j], rows[8 + j], rows[12 + j]);
        let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
        rows[j] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
        rows[4 + j] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
        rows[8 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
        rows[12 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
    }
}

impl Simd for Avx512 {
    type F32 = __m512;
    type I32 = __m512i;
    type Mask = __mmask16;
    type Table = __m512;
    type F32Array = [f32; N];
    type I32Array = [i32; N];
    const LANES: usize = N;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token proves that the processor has the features that `enter` is compiled for.
        unsafe { enter(self, kernel) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> __m512 {
        let values = &values[..N];
        // SAFETY: 16 values are there; the load needs no alignment.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, a: __m512, values: &mut [f32]) {
        let values = &mut values[..N];
        // SAFETY: there is room for 16 values; the store needs no alignment.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), a) }
    }

    #[inline(always)]
    fn to_array(self, a: __m512) -> [f32; N] {
        let mut out = [0.0; N];
        self.store(a, &mut out);
        out
    }

    #[inline(always)]
    fn columns(self, source: &[f32], offsets: &[usize], out: &mut [__m512]) {
        super::check_columns(source, offsets, N, out.len());
        let mut start = 0;
        let mut blocks = out.chunks_exact_mut(N);
        for block in &mut blocks {
            let mut rows = [self.splat(0.0); N];
            for (row, &offset) in rows.iter_mut().zip(offsets) {
                *row = self.load(&source[offset + start..]);
            }
            // SAFETY: the token proves AVX-512 F.
            unsafe { transpose(&mut rows) };
            block.copy_from_slice(&rows);
            start += N;
        }
        for (i, column) in blocks.into_remainder().iter_mut().enumerate() {
            let mut values = [0.0; N];
            for (value, &offset) in values.iter_mut().zip(offsets) {
                *value = source[offset + start + i];
            }
            *column = self.load(&values);
        }
    }

    #[inline(always)]
    fn table(self, values: &[f32; 8]) -> __m512 {
        // Twice, so that the fourth bit of an index does not matter.
        // SAFETY: eight values are there; the token proves AVX-512 DQ.
        unsafe { _mm512_broadcast_f32x8(_mm256_loadu_ps(values.as_ptr())) }
    }

    #[inline(always)]
    fn load_i32(self, values: &[i32]) -> __m512i {
        let values = &values[..N];
        // SAFETY: 16 values are there; the load needs no alignment.
        unsafe { _mm512_loadu_epi32(values.as_ptr()) }
    }

    #[inline(always)]
    fn to_array_i32(self, a: __m512i) -> [i32; N] {
        let mut out = [0; N];
        // SAFETY: there is room for 16 values; the store needs no alignment.
        unsafe { _mm512_storeu_epi32(out.as_mut_ptr(), a) };
        out
    }

    #[inline(always)]
    fn shl_i32<const B: u32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe { _mm512_slli_epi32::<B>(a) }
    }

    #[inline(always)]
    fn shr_i32<const B: u32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe { _mm512_srli_epi32::<B>(a) }
    }

    operations! {
        fn look_up(table: __m512, index: __m512i) -> __m512 { _mm512_permutexvar_ps(index, table) }
        fn least(a: __m512) -> f32 { _mm512_reduce_min_ps(a) }
        fn least_i32(a: __m512i) -> i32 { _mm512_reduce_min_epi32(a) }
        fn splat(value: f32) -> __m512 { _mm512_set1_ps(value) }
        fn add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        fn mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn div(a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
        fn sqrt(a: __m512) -> __m512 { _mm512_sqrt_ps(a) }
        fn abs(a: __m512) -> __m512 { _mm512_abs_ps(a) }
        fn min(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(a, b) }
        fn max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        fn nearest(a: __m512) -> __m512 { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        fn floor(a: __m512) -> __m512 { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a) }
        fn lt(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
        fn le(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
        fn eq(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
        fn select(mask: __mmask16, a: __m512, b: __m512) -> __m512 { _mm512_mask_blend_ps(mask, b, a) }
        fn splat_i32(value: i32) -> __m512i { _mm512_set1_epi32(value) }
        fn add_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
        fn sub_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_sub_epi32(a, b) }
        fn mul_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_mullo_epi32(a, b) }
        fn min_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_min_epi32(a, b) }
        fn max_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_max_epi32(a, b) }
        fn and_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
        fn or_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
        fn xor_i32(a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
        fn eq_i32(a: __m512i, b: __m512i) -> __mmask16 { _mm512_cmpeq_epi32_mask(a, b) }
        fn lt_i32(a: __m512i, b: __m512i) -> __mmask16 { _mm512_cmplt_epi32_mask(a, b) }
        fn select_i32(mask: __mmask16, a: __m512i, b: __m512i) -> __m512i { _mm512_mask_blend_epi32(mask, b, a) }
        fn to_f32(a: __m512i) -> __m512 { _mm512_cvtepi32_ps(a) }
        fn to_i32(a: __m512) -> __m512i { _mm512_cvttps_epi32(a) }
        fn bits(a: __m512) -> __m512i { _mm512_castps_si512(a) }
        fn with_bits(a: __m512i) -> __m512 { _mm512_castsi512_ps(a) }
        fn to_f16_bits(a: __m512) -> __m512i { _mm512_cvtepu16_epi32(_mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)) }
        fn with_f16_bits(a: __m512i) -> __m512 { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)) }
    }

    #[inline(always)]
    fn mask_and(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }

    #[inline(always)]
    fn mask_or(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }

    #[inline(always)]
    fn mask_not(self, a: __mmask16) -> __mmask16 {
        !a
    }

    #[inline(always)]
    fn mask_bits(self, a: __mmask16) -> u32 {
        u32::from(a)
    }
}
