//! NEON, which every AArch64 processor has: 4 lanes.

use std::arch::aarch64::*;

use half::f16;

use super::operations;
use crate::token::{Kernel, Simd};

const N: usize = 4;

/// Proof that the processor supports NEON.
#[derive(Debug, Clone, Copy)]
pub struct Neon(());

impl Neon {
    /// The token where the processor has it.
    pub fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

#[target_feature(enable = "neon")]
fn enter<K: Kernel>(isa: Neon, kernel: K) -> K::Output {
    kernel.run(isa)
}

/// Transposes 4 by 4: lane `k` of row `i` goes to lane `i` of row `k`.
#[inline]
#[target_feature(enable = "neon")]
fn transpose(rows: &mut [float32x4_t; N]) {
    let [a, b, c, d] = *rows;
    let (ab_even, ab_odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
    let (cd_even, cd_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
    *rows = [
        vcombine_f32(vget_low_f32(ab_even), vget_low_f32(cd_even)),
        vcombine_f32(vget_low_f32(ab_odd), vget_low_f32(cd_odd)),
        vcombine_f32(vget_high_f32(ab_even), vget_high_f32(cd_even)),
        vcombine_f32(vget_high_f32(ab_odd), vget_high_f32(cd_odd)),
    ];
}

impl Simd for Neon {
    type F32 = float32x4_t;
    type I32 = int32x4_t;
    type Mask = uint32x4_t;
    type Table = uint8x16x2_t;
    type F32Array = [f32; N];
    type I32Array = [i32; N];
    const LANES: usize = N;

    #[inline(always)]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token proves that the processor has the feature that `enter` is compiled for.
        unsafe { enter(self, kernel) }
    }

    #[inline(always)]
    fn load(self, values: &[f32]) -> float32x4_t {
        let values = &values[..N];
        // SAFETY: 4 values are there.
        unsafe { vld1q_f32(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, a: float32x4_t, values: &mut [f32]) {
        let values = &mut values[..N];
        // SAFETY: there is room for 4 values.
        unsafe { vst1q_f32(values.as_mut_ptr(), a) }
    }

    #[inline(always)]
    fn to_array(self, a: float32x4_t) -> [f32; N] {
        let mut out = [0.0; N];
        self.store(a, &mut out);
        out
    }

    #[inline(always)]
    fn columns(self, source: &[f32], offsets: &[usize], out: &mut [float32x4_t]) {
        super::check_columns(source, offsets, N, out.len());
        let mut start = 0;
        let mut blocks = out.chunks_exact_mut(N);
        for block in &mut blocks {
            let mut rows = [self.splat(0.0); N];
            for (row, &offset) in rows.iter_mut().zip(offsets) {
                *row = self.load(&source[offset + start..]);
            }
            // SAFETY: the token proves NEON.
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
    fn table(self, values: &[f32; 8]) -> uint8x16x2_t {
        // SAFETY: eight values are there; the token proves NEON.
        unsafe { uint8x16x2_t(vld1q_u8(values.as_ptr().cast()), vld1q_u8(values[4..].as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_i32(self, values: &[i32]) -> int32x4_t {
        let values = &values[..N];
        // SAFETY: 4 values are there.
        unsafe { vld1q_s32(values.as_ptr()) }
    }

    #[inline(always)]
    fn to_array_i32(self, a: int32x4_t) -> [i32; N] {
        let mut out = [0; N];
        // SAFETY: there is room for 4 values.
        unsafe { vst1q_s32(out.as_mut_ptr(), a) };
        out
    }

    #[inline(always)]
    fn shl_i32<const B: u32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vshlq_s32(a, vdupq_n_s32(B as i32)) }
    }

    #[inline(always)]
    fn shr_i32<const B: u32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the token proves NEON. A negative count shifts right.
        unsafe { vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-(B as i32)))) }
    }

    // `vminq` and `vmaxq` answer NaN where either is: compare and select instead.
    operations! {
        fn look_up(table: uint8x16x2_t, index: int32x4_t) -> float32x4_t {
            {
                // The four bytes of each value, from the index of the value.
                let index = vandq_u32(vreinterpretq_u32_s32(index), vdupq_n_u32(7));
                let bytes = vmlaq_u32(vdupq_n_u32(0x0302_0100), index, vdupq_n_u32(0x0404_0404));
                vreinterpretq_f32_u8(vqtbl2q_u8(table, vreinterpretq_u8_u32(bytes)))
            }
        }
        fn least(a: float32x4_t) -> f32 { vminvq_f32(a) }
        fn least_i32(a: int32x4_t) -> i32 { vminvq_s32(a) }
        fn splat(value: f32) -> float32x4_t { vdupq_n_f32(value) }
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t { vaddq_f32(a, b) }
        fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t { vsubq_f32(a, b) }
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t { vmulq_f32(a, b) }
        fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t { vdivq_f32(a, b) }
        fn sqrt(a: float32x4_t) -> float32x4_t { vsqrtq_f32(a) }
        fn abs(a: float32x4_t) -> float32x4_t { vabsq_f32(a) }
        fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t { vbslq_f32(vcltq_f32(a, b), a, b) }
        fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t { vbslq_f32(vcgtq_f32(a, b), a, b) }
        fn nearest(a: float32x4_t) -> float32x4_t { vrndnq_f32(a) }
        fn floor(a: float32x4_t) -> float32x4_t { vrndmq_f32(a) }
        fn lt(a: float32x4_t, b: float32x4_t) -> uint32x4_t { vcltq_f32(a, b) }
        fn le(a: float32x4_t, b: float32x4_t) -> uint32x4_t { vcleq_f32(a, b) }
        fn eq(a: float32x4_t, b: float32x4_t) -> uint32x4_t { vceqq_f32(a, b) }
        fn select(mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t { vbslq_f32(mask, a, b) }
        fn mask_and(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t { vandq_u32(a, b) }
        fn mask_or(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t { vorrq_u32(a, b) }
        fn mask_not(a: uint32x4_t) -> uint32x4_t { vmvnq_u32(a) }
        fn splat_i32(value: i32) -> int32x4_t { vdupq_n_s32(value) }
        fn add_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vaddq_s32(a, b) }
        fn sub_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vsubq_s32(a, b) }
        fn mul_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vmulq_s32(a, b) }
        fn min_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vminq_s32(a, b) }
        fn max_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vmaxq_s32(a, b) }
        fn and_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vandq_s32(a, b) }
        fn or_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vorrq_s32(a, b) }
        fn xor_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { veorq_s32(a, b) }
        fn eq_i32(a: int32x4_t, b: int32x4_t) -> uint32x4_t { vceqq_s32(a, b) }
        fn lt_i32(a: int32x4_t, b: int32x4_t) -> uint32x4_t { vcltq_s32(a, b) }
        fn select_i32(mask: uint32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t { vbslq_s32(mask, a, b) }
        fn to_f32(a: int32x4_t) -> float32x4_t { vcvtq_f32_s32(a) }
        fn to_i32(a: float32x4_t) -> int32x4_t { vcvtq_s32_f32(a) }
        fn bits(a: float32x4_t) -> int32x4_t { vreinterpretq_s32_f32(a) }
        fn with_bits(a: int32x4_t) -> float32x4_t { vreinterpretq_f32_s32(a) }
    }

    #[inline(always)]
    fn mask_bits(self, a: uint32x4_t) -> u32 {
        // SAFETY: the token proves NEON.
        unsafe {
            let weights = vld1q_u32([1u32, 2, 4, 8].as_ptr());
            vaddvq_u32(vandq_u32(a, weights))
        }
    }

    // The intrinsics for half precision are not stable; a few conversions for each block do not
    // matter.
    #[inline(always)]
    fn to_f16_bits(self, a: float32x4_t) -> int32x4_t {
        let values = self.to_array(a);
        self.load_i32(&values.map(|value| i32::from(f16::from_f32(value).to_bits())))
    }

    #[inline(always)]
    fn with_f16_bits(self, a: int32x4_t) -> float32x4_t {
        let bits = self.to_array_i32(a);
        self.load(&bits.map(|bits| f16::from_bits(bits as u16).to_f32()))
    }
}
