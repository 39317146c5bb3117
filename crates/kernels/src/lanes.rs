//! Sixteen rows of a matrix at once: the few operations that integer products are made of.
//!
//! A value of [`Lanes::Int`] is 64 bytes, or 16 integers of 32 bits, one for each row; one of
//! [`Lanes::Float`] is 16 floats. Kernels are written once over this trait and compiled for each
//! instruction set by [`crate::dispatch`].
//!
//! Every function is `#[inline(always)]`: on the way from a function that is compiled for an instruction
//! set to its instructions nothing may stand that is not.

use crate::dispatch::Work;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

/// Rows that are computed together.
pub(crate) const ROWS: usize = 16;

/// Operations on 16 rows.
///
/// # Safety
/// Every function may be called only where the processor has the instruction set, and pointers must be
/// good for as many bytes as the function reads or writes; they need not be aligned.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// 64 bytes, or 16 integers.
    type Int: Copy;
    /// 16 floats.
    type Float: Copy;
    /// Whether tiles may work beside these lanes: kernels by tiles are compiled for such lanes alone.
    const TILES: bool = false;

    /// How many such values the registers hold.
    const REGISTERS: usize;

    /// Does work in a function of its own. A long function around a short loop leaves it too few registers:
    /// products of many rows are a quarter faster apart.
    unsafe fn apart<W: Work>(work: W);

    /// Reads 64 bytes.
    unsafe fn load(from: *const u8) -> Self::Int;
    /// Writes 64 bytes.
    unsafe fn store(value: Self::Int, to: *mut u8);
    /// The same 4 bytes in every lane.
    unsafe fn every(from: *const i32) -> Self::Int;
    /// Zeros.
    unsafe fn zero() -> Self::Int;
    /// Bitwise and of every byte with the same byte.
    unsafe fn and(value: Self::Int, byte: u8) -> Self::Int;
    /// Bitwise or.
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int;
    /// 16-bit parts shifted right.
    unsafe fn shr(value: Self::Int, count: i32) -> Self::Int;
    /// 16-bit parts shifted left.
    unsafe fn shl(value: Self::Int, count: i32) -> Self::Int;
    /// Twos in all bytes of lanes whose bit `bit` of 32 is set, zeros in the others.
    unsafe fn twos(value: Self::Int, bit: i32) -> Self::Int;
    /// Entries of a table of 16 bytes, by bytes below 16.
    unsafe fn look_up(table: *const u8, index: Self::Int) -> Self::Int;
    /// In each lane `sum` plus the four products of unsigned bytes with signed ones.
    unsafe fn dot(sum: Self::Int, unsigned: Self::Int, signed: Self::Int) -> Self::Int;
    /// The same where all unsigned bytes are below 128.
    #[inline(always)]
    unsafe fn dot_of_small(sum: Self::Int, unsigned: Self::Int, signed: Self::Int) -> Self::Int {
        // SAFETY: the caller's promise.
        unsafe { Self::dot(sum, unsigned, signed) }
    }
    /// Integers times 64.
    unsafe fn by_64(value: Self::Int) -> Self::Int;
    /// Sums of integers.
    unsafe fn plus(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Integers as floats.
    unsafe fn float(value: Self::Int) -> Self::Float;
    /// Zeros.
    unsafe fn float_zero() -> Self::Float;
    /// Reads 16 floats.
    unsafe fn float_load(from: *const f32) -> Self::Float;
    /// Writes 16 floats.
    unsafe fn float_store(value: Self::Float, to: *mut f32);
    /// The same float in every lane.
    unsafe fn float_every(from: *const f32) -> Self::Float;
    /// Reads 16 floats of 16 bits.
    unsafe fn halves(from: *const u8) -> Self::Float;
    /// Reads the upper 16 bits of 16 floats.
    unsafe fn brains(from: *const u8) -> Self::Float;
    /// Reads 16 signed bytes as floats.
    unsafe fn signed(from: *const u8) -> Self::Float;
    /// Reads 16 unsigned bytes as floats.
    unsafe fn unsigned(from: *const u8) -> Self::Float;
    /// Reads the low halves of 16 bytes as floats.
    unsafe fn low_halves(from: *const u8) -> Self::Float;
    /// Reads the high halves of 16 bytes as floats.
    unsafe fn high_halves(from: *const u8) -> Self::Float;
    /// Reads 16 floats of 8 bits, four of them an exponent and three a fraction, without a sign, by 2^8.
    unsafe fn eighths(from: *const u8) -> Self::Float;
    /// A sum.
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    /// A product.
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    /// `a * b + c`, rounded once where the instruction set can.
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
}
