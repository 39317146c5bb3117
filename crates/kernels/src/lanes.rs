//! Sixteen rows of a matrix at once: the few operations that integer products are made of.
//!
//! A value of [`Lanes::Int`] is 64 bytes, or 16 integers of 32 bits, one for each row; one of
//! [`Lanes::Float`] is 16 floats. Kernels are written once over this trait and compiled for each
//! instruction set by [`crate::dispatch`].
//!
//! Every function is `#[inline(always)]`: on the way from a function that is compiled for an instruction
//! set to its instructions nothing may stand that is not.

use crate::dispatch::{PairWork, PointWork, Work};

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

    /// Does work that looks points up, in a function of its own. Only where [`Abilities`] say so: no
    /// other lanes are given any.
    ///
    /// [`Abilities`]: crate::dispatch::Abilities
    unsafe fn with_points<W: PointWork>(_work: W) {
        unreachable!("points for lanes that do not look them up");
    }

    /// Does work that multiplies pairs of bf16, in a function of its own. Only where [`Abilities`] say so: no
    /// other lanes are given any.
    ///
    /// [`Abilities`]: crate::dispatch::Abilities
    unsafe fn with_pairs<W: PairWork>(_work: W) {
        unreachable!("pairs for lanes that do not multiply them");
    }

    /// Asks for the line of the cache at an address, which need not be good.
    #[inline(always)]
    unsafe fn prefetch(_from: *const u8) {}
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

/// Lanes that multiply pairs of bf16.
///
/// # Safety
/// As for [`Lanes`].
pub(crate) trait PairLanes: Lanes {
    /// In each lane `sum` plus the product of the upper numbers of two pairs plus that of the lower ones, each added by itself.
    /// Subnormal numbers may count as zeros.
    unsafe fn dot_pairs(sum: Self::Float, a: Self::Int, b: Self::Int) -> Self::Float;
    /// The lower numbers of pairs.
    unsafe fn lower(pairs: Self::Int) -> Self::Float;
    /// The upper numbers of pairs.
    unsafe fn upper(pairs: Self::Int) -> Self::Float;
    /// Pairs of the nearest numbers, ties to even. Subnormal numbers may become zeros.
    unsafe fn pairs(lower: Self::Float, upper: Self::Float) -> Self::Int;
    /// Byte `K` of each lane as a float.
    unsafe fn byte<const K: u32>(four: Self::Int) -> Self::Float;
}

/// Lanes that look points of lattices up; see [`crate::integer::Points`].
///
/// # Safety
/// As for [`Lanes`].
pub(crate) trait PointLanes: Lanes {
    /// The words of 64 numbers below 256, or, with a ninth bit in `bits`, below 512. `table` has the lower bytes of all, then
    /// the upper ones. Of each 16 numbers the first 8 are in the first value, the last in the second.
    unsafe fn words(table: *const u8, numbers: *const u8, bits: Option<*const u8>) -> [Self::Int; 2];
    /// Words as above, of 64 numbers below 256 and as many below 32, whose words are added: the latter are in the lower or upper halves
    /// of 64 bytes, their fifth bits in `bits`. `table` has the lower bytes of the former, the upper ones, and the upper
    /// ones of the latter, twice, whose lower ones are zeros.
    unsafe fn trits(table: *const u8, numbers: *const u8, halves: *const u8, half: usize, bits: *const u8) -> [Self::Int; 2];
    /// For each byte the 6 bits from the bit that `fields` names on, of the same 8 bytes of `words`, looked up in a table of 64.
    unsafe fn fields(words: Self::Int, fields: *const u8, table: *const u8) -> Self::Int;
    /// `twice - value` in bytes whose bit of 64 is set.
    unsafe fn mirrored(value: Self::Int, bits: *const u8, twice: u8) -> Self::Int;
}
