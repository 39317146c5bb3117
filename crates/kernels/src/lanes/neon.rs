//! NEON with the products of bytes of ARMv8.4 (`dotprod`), or of ARMv8.6 (`i8mm`): four registers each.
//!
//! The former knows only signed bytes: unsigned ones above 127 are split into their highest bit and the
//! rest. The instructions are written in assembly because their functions are not stable in Rust yet.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Lanes;
use crate::dispatch::Work;

/// See the module's page. `MIXED`: with products of unsigned and signed bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon<const MIXED: bool>;

/// `sum` plus the products of signed bytes.
#[inline(always)]
unsafe fn signed_dot(mut sum: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
    // SAFETY: registers alone; the processor has the instruction by the caller's promise.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// `sum` plus the products of unsigned bytes with signed ones.
#[inline(always)]
unsafe fn mixed_dot(mut sum: int32x4_t, unsigned: uint8x16_t, signed: uint8x16_t) -> int32x4_t {
    // SAFETY: as above.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "usdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) unsigned,
            b = in(vreg) signed,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Unsigned bytes as floats.
#[inline(always)]
unsafe fn bytes(value: uint8x16_t) -> [float32x4_t; 4] {
    // SAFETY: as for the trait's functions.
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(value)), vmovl_u8(vget_high_u8(value)));
        [
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
            vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
            vcvtq_f32_u32(vmovl_u16(vget_high_u16(high))),
        ]
    }
}

/// Applies the expression to each of four registers.
macro_rules! four {
    ($i:ident => $value:expr) => {
        [
            {
                let $i = 0;
                $value
            },
            {
                let $i = 1;
                $value
            },
            {
                let $i = 2;
                $value
            },
            {
                let $i = 3;
                $value
            },
        ]
    };
}

// SAFETY (of all blocks): callers promise that the processor has the instructions, and that pointers are
// good; loads and stores need no alignment.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const MIXED: bool> Lanes for Neon<MIXED> {
    type Int = [uint8x16_t; 4];
    type Float = [float32x4_t; 4];
    const REGISTERS: usize = 8;

    #[inline(never)]
    unsafe fn apart<W: Work>(work: W) {
        unsafe { work.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Int {
        unsafe { four!(i => vld1q_u8(from.add(16 * i))) }
    }
    #[inline(always)]
    unsafe fn store(value: Self::Int, to: *mut u8) {
        unsafe {
            let _: [(); 4] = four!(i => vst1q_u8(to.add(16 * i), value[i]));
        }
    }
    #[inline(always)]
    unsafe fn every(from: *const i32) -> Self::Int {
        unsafe { [vreinterpretq_u8_s32(vdupq_n_s32(from.read_unaligned())); 4] }
    }
    #[inline(always)]
    unsafe fn zero() -> Self::Int {
        unsafe { [vdupq_n_u8(0); 4] }
    }
    #[inline(always)]
    unsafe fn and(value: Self::Int, byte: u8) -> Self::Int {
        unsafe {
            let mask = vdupq_n_u8(byte);
            four!(i => vandq_u8(value[i], mask))
        }
    }
    #[inline(always)]
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int {
        unsafe { four!(i => vorrq_u8(a[i], b[i])) }
    }
    #[inline(always)]
    unsafe fn shr(value: Self::Int, count: i32) -> Self::Int {
        unsafe {
            let by = vdupq_n_s16(-(count as i16));
            four!(i => vreinterpretq_u8_u16(vshlq_u16(vreinterpretq_u16_u8(value[i]), by)))
        }
    }
    #[inline(always)]
    unsafe fn shl(value: Self::Int, count: i32) -> Self::Int {
        unsafe {
            let by = vdupq_n_s16(count as i16);
            four!(i => vreinterpretq_u8_u16(vshlq_u16(vreinterpretq_u16_u8(value[i]), by)))
        }
    }
    #[inline(always)]
    unsafe fn twos(value: Self::Int, bit: i32) -> Self::Int {
        unsafe {
            let (bit, twos) = (vdupq_n_u32(1 << bit), vdupq_n_u8(2));
            four!(i => vandq_u8(vreinterpretq_u8_u32(vtstq_u32(vreinterpretq_u32_u8(value[i]), bit)), twos))
        }
    }
    #[inline(always)]
    unsafe fn look_up(table: *const u8, index: Self::Int) -> Self::Int {
        unsafe {
            let table = vld1q_u8(table);
            four!(i => vqtbl1q_u8(table, index[i]))
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::Int, unsigned: Self::Int, signed: Self::Int) -> Self::Int {
        unsafe {
            if MIXED {
                return four!(i => vreinterpretq_u8_s32(mixed_dot(vreinterpretq_s32_u8(sum[i]), unsigned[i], signed[i])));
            }
            let (rest, highest) = (vdupq_n_u8(0x7f), vdupq_n_u8(0x80));
            four!(i => {
                let low = signed_dot(vreinterpretq_s32_u8(sum[i]), vandq_u8(unsigned[i], rest), signed[i]);
                // As a signed byte the highest bit stands for -128.
                let high = signed_dot(vdupq_n_s32(0), vandq_u8(unsigned[i], highest), signed[i]);
                vreinterpretq_u8_s32(vsubq_s32(low, high))
            })
        }
    }
    #[inline(always)]
    unsafe fn dot_of_small(sum: Self::Int, unsigned: Self::Int, signed: Self::Int) -> Self::Int {
        unsafe { four!(i => vreinterpretq_u8_s32(signed_dot(vreinterpretq_s32_u8(sum[i]), unsigned[i], signed[i]))) }
    }
    #[inline(always)]
    unsafe fn by_64(value: Self::Int) -> Self::Int {
        unsafe { four!(i => vreinterpretq_u8_s32(vshlq_n_s32::<6>(vreinterpretq_s32_u8(value[i])))) }
    }
    #[inline(always)]
    unsafe fn plus(a: Self::Int, b: Self::Int) -> Self::Int {
        unsafe { four!(i => vreinterpretq_u8_s32(vaddq_s32(vreinterpretq_s32_u8(a[i]), vreinterpretq_s32_u8(b[i])))) }
    }
    #[inline(always)]
    unsafe fn float(value: Self::Int) -> Self::Float {
        unsafe { four!(i => vcvtq_f32_s32(vreinterpretq_s32_u8(value[i]))) }
    }
    #[inline(always)]
    unsafe fn float_zero() -> Self::Float {
        unsafe { [vdupq_n_f32(0.0); 4] }
    }
    #[inline(always)]
    unsafe fn float_load(from: *const f32) -> Self::Float {
        unsafe { four!(i => vld1q_f32(from.add(4 * i))) }
    }
    #[inline(always)]
    unsafe fn float_store(value: Self::Float, to: *mut f32) {
        unsafe {
            let _: [(); 4] = four!(i => vst1q_f32(to.add(4 * i), value[i]));
        }
    }
    #[inline(always)]
    unsafe fn float_every(from: *const f32) -> Self::Float {
        unsafe { [vdupq_n_f32(from.read_unaligned()); 4] }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> Self::Float {
        unsafe { four!(i => vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from.add(8 * i))))) }
    }
    #[inline(always)]
    unsafe fn brains(from: *const u8) -> Self::Float {
        unsafe { four!(i => vreinterpretq_f32_u32(vshll_n_u16::<16>(vreinterpret_u16_u8(vld1_u8(from.add(8 * i)))))) }
    }
    #[inline(always)]
    unsafe fn signed(from: *const u8) -> Self::Float {
        unsafe {
            let value = vreinterpretq_s8_u8(vld1q_u8(from));
            let (low, high) = (vmovl_s8(vget_low_s8(value)), vmovl_s8(vget_high_s8(value)));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_s16(vget_high_s16(high))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn unsigned(from: *const u8) -> Self::Float {
        unsafe { bytes(vld1q_u8(from)) }
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u8) -> Self::Float {
        unsafe { bytes(vandq_u8(vld1q_u8(from), vdupq_n_u8(15))) }
    }
    #[inline(always)]
    unsafe fn high_halves(from: *const u8) -> Self::Float {
        unsafe { bytes(vshrq_n_u8::<4>(vld1q_u8(from))) }
    }
    #[inline(always)]
    unsafe fn eighths(from: *const u8) -> Self::Float {
        unsafe {
            let value = vld1q_u8(from);
            let (low, high) = (vshlq_n_u16::<7>(vmovl_u8(vget_low_u8(value))), vshlq_n_u16::<7>(vmovl_u8(vget_high_u8(value))));
            [vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)]
                .map(|halves| vcvt_f32_f16(vreinterpret_f16_u16(halves)))
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float {
        unsafe { four!(i => vaddq_f32(a[i], b[i])) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float {
        unsafe { four!(i => vmulq_f32(a[i], b[i])) }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float {
        unsafe { four!(i => vfmaq_f32(c[i], a[i], b[i])) }
    }
}
