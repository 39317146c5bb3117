//! What an instruction set offers: the primitive operations behind [`F32s`](crate::F32s),
//! [`I32s`](crate::I32s) and [`Mask`](crate::Mask). Kernels use those wrappers, which read like
//! scalar code; this trait is what an `arch` file implements.

use std::fmt::Debug;

/// The most lanes that any token has.
pub const MAX_LANES: usize = 16;

/// Columns that are transposed at once: a multiple of every token's lanes.
pub(crate) const COLUMNS: usize = 16;

/// An operation written once for every instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// Does it with the vectors of `isa`. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, isa: S) -> Self::Output;
}

/// A proof that the processor has an instruction set, and that set's vectors of 32-bit lanes.
///
/// Every operation works lane by lane and rounds as IEEE 754 says; none is fused with another.
/// Loads and stores panic where a slice is shorter than [`LANES`](Simd::LANES).
pub trait Simd: Copy + Debug + Send + Sync + 'static {
    /// Lanes of `f32`.
    type F32: Copy + Debug;
    /// Lanes of `i32`.
    type I32: Copy + Debug;
    /// One truth value for each lane.
    type Mask: Copy + Debug;
    /// Eight values of `f32` to look up.
    type Table: Copy + Debug;
    /// `[f32; LANES]`.
    type F32Array: Copy + Debug + AsRef<[f32]> + AsMut<[f32]>;
    /// `[i32; LANES]`.
    type I32Array: Copy + Debug + AsRef<[i32]> + AsMut<[i32]>;

    /// Lanes in a vector, at most [`MAX_LANES`].
    const LANES: usize;

    /// Runs `kernel` in a function compiled for this instruction set.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::F32;
    /// The first `LANES` values.
    fn load(self, values: &[f32]) -> Self::F32;
    /// Writes to the first `LANES` values.
    fn store(self, a: Self::F32, values: &mut [f32]);
    /// The lanes as an array.
    fn to_array(self, a: Self::F32) -> Self::F32Array;
    /// Column `i` of a matrix whose row `k` starts at `source[offsets[k]]` becomes `out[i]`: lane
    /// `k` of it is `source[offsets[k] + i]`. Fast for [`COLUMNS`] columns. Panics where `offsets`
    /// has fewer than `LANES` entries or a row does not lie within `source`.
    fn columns(self, source: &[f32], offsets: &[usize], out: &mut [Self::F32]);

    /// A table of eight values.
    fn table(self, values: &[f32; 8]) -> Self::Table;
    /// The values at the indices in the lowest three bits of each lane; other bits do not matter.
    fn look_up(self, table: Self::Table, index: Self::I32) -> Self::F32;
    /// The least of all lanes; unspecified where one is NaN.
    fn least(self, a: Self::F32) -> f32;
    /// The least of all lanes, signed.
    fn least_i32(self, a: Self::I32) -> i32;

    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Square root.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// Absolute value (clears the sign bit).
    fn abs(self, a: Self::F32) -> Self::F32;
    /// `if a < b { a } else { b }`: the second where either is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a > b { a } else { b }`: the second where either is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The nearest integer, ties to even, for `|a| <= 4194303`; unspecified beyond. The sign of a
    /// zero is unspecified.
    fn nearest(self, a: Self::F32) -> Self::F32;
    /// The greatest integer that is not greater.
    fn floor(self, a: Self::F32) -> Self::F32;

    /// `a < b`; false where either is NaN.
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a <= b`; false where either is NaN.
    fn le(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a == b`; false where either is NaN.
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a` where the mask is set, else `b`.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;

    /// Both.
    fn mask_and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Either.
    fn mask_or(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// The opposite.
    fn mask_not(self, a: Self::Mask) -> Self::Mask;
    /// Bit `i` is lane `i`.
    fn mask_bits(self, a: Self::Mask) -> u32;

    /// `value` in every lane.
    fn splat_i32(self, value: i32) -> Self::I32;
    /// The first `LANES` values.
    fn load_i32(self, values: &[i32]) -> Self::I32;
    /// The lanes as an array.
    fn to_array_i32(self, a: Self::I32) -> Self::I32Array;
    /// `a + b`, wrapping.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a - b`, wrapping.
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a * b`, wrapping.
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The lesser, signed.
    fn min_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The greater, signed.
    fn max_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Bits set in both.
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Bits set in either.
    fn or_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Bits set in one of them.
    fn xor_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Shifts left; `N` is less than 32.
    fn shl_i32<const N: u32>(self, a: Self::I32) -> Self::I32;
    /// Shifts right, zeros come in; `N` is less than 32.
    fn shr_i32<const N: u32>(self, a: Self::I32) -> Self::I32;
    /// `a == b`.
    fn eq_i32(self, a: Self::I32, b: Self::I32) -> Self::Mask;
    /// `a < b`, signed.
    fn lt_i32(self, a: Self::I32, b: Self::I32) -> Self::Mask;
    /// `a` where the mask is set, else `b`.
    fn select_i32(self, mask: Self::Mask, a: Self::I32, b: Self::I32) -> Self::I32;

    /// The value, rounded to nearest.
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// Toward zero, for values that an `i32` holds; unspecified beyond.
    fn to_i32(self, a: Self::F32) -> Self::I32;
    /// The bits of each value.
    fn bits(self, a: Self::F32) -> Self::I32;
    /// The values with these bits.
    fn with_bits(self, a: Self::I32) -> Self::F32;
    /// The bits of the nearest half-precision value, ties to even, in the low 16 bits of each lane.
    fn to_f16_bits(self, a: Self::F32) -> Self::I32;
    /// The value of the half-precision bits in the low 16 bits of each lane.
    fn with_f16_bits(self, a: Self::I32) -> Self::F32;
}
