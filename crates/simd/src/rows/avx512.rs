//! AVX-512 with VNNI: 16 rows; unsigned bytes times signed ones are one instruction.

use std::arch::x86_64::*;

use super::{Rows, RowsKernel, four};
use crate::arch::operations;

const N: usize = 16;

/// Proof that the processor and the operating system support AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Rows(());

impl Avx512Rows {
    /// The token where the processor has all of them.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn enter<K: RowsKernel>(isa: Avx512Rows, kernel: K) -> K::Output {
    kernel.run(isa)
}

impl Rows for Avx512Rows {
    type F32 = __m512;
    type Word = __m512i;
    const NAME: &'static str = "avx512-vnni";
    const ROWS: usize = N;
    const GROUPS: usize = 2;
    const SIGNED_OFFSET: i32 = 128;

    #[inline(always)]
    fn enter<K: RowsKernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token proves that the processor has the features that `enter` is compiled for.
        unsafe { enter(self, kernel) }
    }

    #[inline(always)]
    fn words(self, bytes: &[u8]) -> __m512i {
        let bytes = &bytes[..4 * N];
        // SAFETY: 64 bytes are there; the load needs no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8]) -> __m512 {
        let bytes = &bytes[..2 * N];
        // SAFETY: 32 bytes are there; the load needs no alignment.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // one index for codes and activations
    fn dot<const BITS: u32, const FIRST: usize, const COUNT: usize>(
        self,
        codes: &[__m512i; 8],
        activations: &[i8; 32],
        start: i32,
    ) -> __m512i {
        let mut sum = self.splat_word(start as u32);
        for i in FIRST..FIRST + COUNT {
            // SAFETY: the token proves AVX-512 VNNI.
            sum = unsafe { _mm512_dpbusd_epi32(sum, codes[i], _mm512_set1_epi32(four(activations, i))) };
        }
        sum
    }

    #[inline(always)]
    fn store(self, a: __m512, out: &mut [f32]) {
        let out = &mut out[..N];
        // SAFETY: there is room for 16 values; the store needs no alignment.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), a) }
    }

    operations! {
        fn splat_word(value: u32) -> __m512i { _mm512_set1_epi32(value as i32) }
        fn and(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
        fn or(a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
        fn shr(a: __m512i, count: u32) -> __m512i { _mm512_srl_epi32(a, _mm_cvtsi32_si128(count as i32)) }
        fn shl(a: __m512i, count: u32) -> __m512i { _mm512_sll_epi32(a, _mm_cvtsi32_si128(count as i32)) }
        fn sar(a: __m512i, count: u32) -> __m512i { _mm512_sra_epi32(a, _mm_cvtsi32_si128(count as i32)) }
        fn signed(a: __m512i) -> __m512i { _mm512_xor_si512(a, _mm512_set1_epi8(-128)) }
        fn to_f32(a: __m512i) -> __m512 { _mm512_cvtepi32_ps(a) }
        fn splat(value: f32) -> __m512 { _mm512_set1_ps(value) }
        fn mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
    }
}
