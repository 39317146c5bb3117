//! AVX2 with F16C: 8 lanes, masks as vectors of all ones or zeros.

use std::arch::x86_64::*;

use super::operations;
use crate::token::{Kernel, Simd};

const N: usize = 8;

/// Proof that the processor and the operating system support AVX2 and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The token where the processor has both.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")).then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,f16c")]
fn enter<K: Kernel>(isa: Avx2, kernel: K) -> K::Output {
    kernel.run(isa)
}

/// Transposes 8 by 8: lane `k` of row `i` goes to lane `i` of row `k`.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: &mut [__m256; N]) {
    // Within each 128-bit half: 4 by 4.
    for four in rows.chunks_exact_mut(4) {
        let (a, b, c, d) = (four[0], four[1], four[2], four[3]);
        let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        four[0] = _mm256_shuffle_ps::<0x44>(ab_low, cd_low);
        four[1] = _mm256_shuffle_ps::<0xee>(ab_low, cd_low);
        four[2] = _mm256_shuffle_ps::<0x44>(ab_high, cd_high);
        four[3] = _mm256_shuffle_ps::<0xee>(ab_high, cd_high);
    }
    for j in 0..4 {
        let (a, b) = (rows[j], rows[4 + j]);
        rows[j] = _mm256_permute2f128_ps::<0x20>(a, b);
        rows[4 + j] = _mm256_permute2f128_ps::<0x31>(a, b);
    }
}

impl Simd for Avx2 {
    type F32 = __m256;
    type I32 = __m256i;
    type Mask = __m256;
    type Table = __m256;
    type F32Array = [f32; N];
    type I32Array = [i32; N];
    const LANES: usize = N;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token proves that the processor has the features that `enter` is compiled for.
        unsafe { enter(self, kernel) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> __m256 {
        let values = &values[..N];
        // SAFETY: 8 values are there; the load needs no alignment.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, a: __m256, values: &mut [f32]) {
        let values = &mut values[..N];
        // SAFETY: there is room for 8 values; the store needs no alignment.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), a) }
    }

    #[inline(always)]
    fn to_array(self, a: __m256) -> [f32; N] {
        let mut out = [0.0; N];
        self.store(a, &mut out);
        out
    }

    #[inline(always)]
    fn columns(self, source: &[f32], offsets: &[usize], out: &mut [__m256]) {
        super::check_columns(source, offsets, N, out.len());
        let mut start = 0;
        let mut blocks = out.chunks_exact_mut(N);
        for block in &mut blocks {
            let mut rows = [self.splat(0.0); N];
            for (row, &offset) in rows.iter_mut().zip(offsets) {
                *row = self.load(&source[offset + start..]);
            }
            // SAFETY: the token proves AVX2.
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
    fn table(self, values: &[f32; 8]) -> __m256 {
        self.load(values)
    }

    #[inline(always)]
    fn load_i32(self, values: &[i32]) -> __m256i {
        let values = &values[..N];
        // SAFETY: 8 values are there; the load needs no alignment.
        unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn to_array_i32(self, a: __m256i) -> [i32; N] {
        let mut out = [0i32; N];
        // SAFETY: there is room for 8 values; the store needs no alignment.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), a) };
        out
    }

    #[inline(always)]
    fn shl_i32<const B: u32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2. (The intrinsic wants an `i32` constant, which `B` is not.)
        unsafe { _mm256_sllv_epi32(a, _mm256_set1_epi32(B as i32)) }
    }

    #[inline(always)]
    fn shr_i32<const B: u32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2. (The intrinsic wants an `i32` constant, which `B` is not.)
        unsafe { _mm256_srlv_epi32(a, _mm256_set1_epi32(B as i32)) }
    }

    operations! {
        fn look_up(table: __m256, index: __m256i) -> __m256 { _mm256_permutevar8x32_ps(table, index) }
        fn least(a: __m256) -> f32 {
            {
                let four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)))
            }
        }
        fn least_i32(a: __m256i) -> i32 {
            {
                let four = _mm_min_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
                let two = _mm_min_epi32(four, _mm_shuffle_epi32::<0x4e>(four));
                _mm_cvtsi128_si32(_mm_min_epi32(two, _mm_shuffle_epi32::<0xb1>(two)))
            }
        }
        fn splat(value: f32) -> __m256 { _mm256_set1_ps(value) }
        fn add(a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        fn sub(a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
        fn mul(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn div(a: __m256, b: __m256) -> __m256 { _mm256_div_ps(a, b) }
        fn sqrt(a: __m256) -> __m256 { _mm256_sqrt_ps(a) }
        fn abs(a: __m256) -> __m256 { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
        fn min(a: __m256, b: __m256) -> __m256 { _mm256_min_ps(a, b) }
        fn max(a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
        fn nearest(a: __m256) -> __m256 { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        fn floor(a: __m256) -> __m256 { _mm256_floor_ps(a) }
        fn lt(a: __m256, b: __m256) -> __m256 { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
        fn le(a: __m256, b: __m256) -> __m256 { _mm256_cmp_ps::<_CMP_LE_OQ>(a, b) }
        fn eq(a: __m256, b: __m256) -> __m256 { _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b) }
        fn select(mask: __m256, a: __m256, b: __m256) -> __m256 { _mm256_blendv_ps(b, a, mask) }
        fn mask_and(a: __m256, b: __m256) -> __m256 { _mm256_and_ps(a, b) }
        fn mask_or(a: __m256, b: __m256) -> __m256 { _mm256_or_ps(a, b) }
        fn mask_not(a: __m256) -> __m256 { _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))) }
        fn mask_bits(a: __m256) -> u32 { _mm256_movemask_ps(a) as u32 }
        fn splat_i32(value: i32) -> __m256i { _mm256_set1_epi32(value) }
        fn add_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_add_epi32(a, b) }
        fn sub_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_sub_epi32(a, b) }
        fn mul_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_mullo_epi32(a, b) }
        fn min_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_min_epi32(a, b) }
        fn max_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_max_epi32(a, b) }
        fn and_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_and_si256(a, b) }
        fn or_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_or_si256(a, b) }
        fn xor_i32(a: __m256i, b: __m256i) -> __m256i { _mm256_xor_si256(a, b) }
        fn eq_i32(a: __m256i, b: __m256i) -> __m256 { _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)) }
        fn lt_i32(a: __m256i, b: __m256i) -> __m256 { _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)) }
        fn select_i32(mask: __m256, a: __m256i, b: __m256i) -> __m256i { _mm256_blendv_epi8(b, a, _mm256_castps_si256(mask)) }
        fn to_f32(a: __m256i) -> __m256 { _mm256_cvtepi32_ps(a) }
        fn to_i32(a: __m256) -> __m256i { _mm256_cvttps_epi32(a) }
        fn bits(a: __m256) -> __m256i { _mm256_castps_si256(a) }
        fn with_bits(a: __m256i) -> __m256 { _mm256_castsi256_ps(a) }
        fn to_f16_bits(a: __m256) -> __m256i { _mm256_cvtepu16_epi32(_mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(a)) }
        fn with_f16_bits(a: __m256i) -> __m256 {
            // Packing saturates as unsigned: the upper halves of the lanes are zeroed before.
            {
                let low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
                let packed = _mm256_permute4x64_epi64::<0x08>(_mm256_packus_epi32(low, low));
                _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
            }
        }
    }
}
