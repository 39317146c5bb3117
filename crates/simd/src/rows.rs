//! Vectors in which each lane is a row of a matrix, and the products of eight-bit integers that the
//! rows of an encoded matrix are multiplied with.
//!
//! A word holds four bytes of each row; [`Rows::dot`] multiplies the bytes with four activations that
//! all rows share and adds the four products to the row's 32-bit sum. Integer sums are exact in any
//! order, so an instruction set may form them as it likes; [`Rows::mul_add`] may be fused, so sums of
//! floats differ between instruction sets, and only between them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::fmt::Debug;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2Rows;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512Rows;
pub use portable::PortableRows;

/// An operation on rows in lanes, written once for every instruction set.
pub trait RowsKernel {
    /// What it returns.
    type Output;

    /// Does it with the vectors of `isa`. Implementations are `#[inline(always)]`.
    fn run<S: Rows>(self, isa: S) -> Self::Output;
}

/// A proof that the processor has an instruction set, and that set's vectors of rows.
///
/// Loads and stores panic where a slice is too short.
pub trait Rows: Copy + Debug + Send + Sync + 'static {
    /// One `f32` of each row.
    type F32: Copy + Debug;
    /// Four bytes, or one `i32`, of each row.
    type Word: Copy + Debug;

    /// Name for people.
    const NAME: &'static str;
    /// Rows in a vector.
    const ROWS: usize;
    /// Vectors of rows that share a load of activations: as many as leave enough registers.
    const GROUPS: usize;
    /// What [`signed`](Rows::signed) adds to every byte; a sum over them is too large by this times the
    /// sum of the activations.
    const SIGNED_OFFSET: i32;

    /// Runs `kernel` in a function compiled for this instruction set.
    fn enter<K: RowsKernel>(self, kernel: K) -> K::Output;

    /// The first `4 ROWS` bytes: four of each row.
    fn words(self, bytes: &[u8]) -> Self::Word;
    /// Half-precision values in the first `2 ROWS` bytes, one of each row.
    fn halves(self, bytes: &[u8]) -> Self::F32;
    /// `value` for every row.
    fn splat_word(self, value: u32) -> Self::Word;
    /// Bits set in both.
    fn and(self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// Bits set in either.
    fn or(self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// Shifts each word right by less than 32, zeros come in.
    fn shr(self, a: Self::Word, count: u32) -> Self::Word;
    /// Shifts each word left by less than 32.
    fn shl(self, a: Self::Word, count: u32) -> Self::Word;
    /// Shifts each word right by less than 32, copies of the sign come in.
    fn sar(self, a: Self::Word, count: u32) -> Self::Word;
    /// Signed bytes in the form that [`dot`](Rows::dot) of eight bits wants.
    fn signed(self, a: Self::Word) -> Self::Word;

    /// `start` plus the products of `codes[FIRST .. FIRST + COUNT]` with as many fours of activations,
    /// which are at least -127. The codes are less than `2^BITS`, or, for `BITS = 8`, come from
    /// [`signed`](Rows::signed).
    fn dot<const BITS: u32, const FIRST: usize, const COUNT: usize>(
        self,
        codes: &[Self::Word; 8],
        activations: &[i8; 32],
        start: i32,
    ) -> Self::Word;

    /// The integers as floats, rounded to nearest.
    fn to_f32(self, a: Self::Word) -> Self::F32;
    /// `value` for every row.
    fn splat(self, value: f32) -> Self::F32;
    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, fused where the instruction set does that.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// Writes one value for each row.
    fn store(self, a: Self::F32, out: &mut [f32]);
}

/// Four activations as one little-endian word.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn four(activations: &[i8; 32], index: usize) -> i32 {
    let [a, b, c, d] = activations.as_chunks::<4>().0[index];
    i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8])
}
