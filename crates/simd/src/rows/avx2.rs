//! AVX2 with FMA and F16C: 8 rows. Products of bytes are added in pairs to 16 bits, which saturate:
//! narrow codes add up to the limit before they are widened, signed bytes lend their sign to the
//! activation.

use std::arch::x86_64::*;

use super::{Rows, RowsKernel, four};
use crate::arch::operations;

const N: usize = 8;

/// Proof that the processor and the operating system support AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2Rows(());

impl Avx2Rows {
    /// The token where the processor has all three.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn enter<K: RowsKernel>(isa: Avx2Rows, kernel: K) -> K::Output {
    kernel.run(isa)
}

impl Rows for Avx2Rows {
    type F32 = __m256;
    type Word = __m256i;
    const NAME: &'static str = "avx2";
    const ROWS: usize = N;
    const GROUPS: usize = 1;
    const SIGNED_OFFSET: i32 = 0;

    #[inline(always)]
    fn enter<K: RowsKernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token proves that the processor has the features that `enter` is compiled for.
        unsafe { enter(self, kernel) }
    }

    #[inline(always)]
    fn words(self, bytes: &[u8]) -> __m256i {
        let bytes = &bytes[..4 * N];
        // SAFETY: 32 bytes are there; the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8]) -> __m256 {
        let bytes = &bytes[..2 * N];
        // SAFETY: 16 bytes are there; the load needs no alignment.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // one index for codes and activations
    fn dot<const BITS: u32, const FIRST: usize, const COUNT: usize>(
        self,
        codes: &[__m256i; 8],
        activations: &[i8; 32],
        start: i32,
    ) -> __m256i {
        let mut sum = self.splat_word(start as u32);
        // SAFETY: the token proves AVX2; the intrinsics work on registers alone.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            if BITS >= 8 {
                for i in FIRST..FIRST + COUNT {
                    // At most 2 * 128 * 127, which 16 bits hold.
                    let a = _mm256_sign_epi8(_mm256_set1_epi32(four(activations, i)), codes[i]);
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes[i]), a);
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
                }
                return sum;
            }
            // A pair of products is less than 2^(BITS + 8): so many of them fit in 15 bits.
            let most = 1usize << 7u32.saturating_sub(BITS);
            let mut i = FIRST;
            while i < FIRST + COUNT {
                let end = (i + most).min(FIRST + COUNT);
                let mut pairs = _mm256_maddubs_epi16(codes[i], _mm256_set1_epi32(four(activations, i)));
                i += 1;
                while i < end {
                    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes[i], _mm256_set1_epi32(four(activations, i))));
                    i += 1;
                }
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        sum
    }

    #[inline(always)]
    fn store(self, a: __m256, out: &mut [f32]) {
        let out = &mut out[..N];
        // SAFETY: there is room for 8 values; the store needs no alignment.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), a) }
    }

    #[inline(always)]
    fn signed(self, a: __m256i) -> __m256i {
        a
    }

    operations! {
        fn splat_word(value: u32) -> __m256i { _mm256_set1_epi32(value as i32) }
        fn and(a: __m256i, b: __m256i) -> __m256i { _mm256_and_si256(a, b) }
        fn or(a: __m256i, b: __m256i) -> __m256i { _mm256_or_si256(a, b) }
        fn shr(a: __m256i, count: u32) -> __m256i { _mm256_srl_epi32(a, _mm_cvtsi32_si128(count as i32)) }
        fn shl(a: __m256i, count: u32) -> __m256i { _mm256_sll_epi32(a, _mm_cvtsi32_si128(count as i32)) }
        fn sar(a: __m256i, count: u32) -> __m256i { _mm256_sra_epi32(a, _mm_cvtsi32_si128(count as i32)) }
        fn to_f32(a: __m256i) -> __m256 { _mm256_cvtepi32_ps(a) }
        fn splat(value: f32) -> __m256 { _mm256_set1_ps(value) }
        fn mul(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
    }
}
