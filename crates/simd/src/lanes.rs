//! Vectors that carry their token, so that kernels read like the scalar code that they mirror.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Not, Sub};

use crate::token::{COLUMNS, Simd};

/// Lanes of `f32`; `+ - * /` work lane by lane and are never fused.
#[derive(Debug, Clone, Copy)]
pub struct F32s<S: Simd>(S, S::F32);

/// Lanes of `i32`; arithmetic wraps.
#[derive(Debug, Clone, Copy)]
pub struct I32s<S: Simd>(S, S::I32);

/// Eight values of `f32` to look up.
#[derive(Debug, Clone, Copy)]
pub struct Table<S: Simd>(S, S::Table);

impl<S: Simd> Table<S> {
    /// A table of these.
    #[inline(always)]
    pub fn new(isa: S, values: &[f32; 8]) -> Self {
        Self(isa, isa.table(values))
    }

    /// The values at the indices in the lowest three bits of each lane; other bits do not matter.
    #[inline(always)]
    pub fn look_up(self, index: I32s<S>) -> F32s<S> {
        F32s(self.0, self.0.look_up(self.1, index.1))
    }
}

/// One truth value for each lane.
#[derive(Debug, Clone, Copy)]
pub struct Mask<S: Simd>(S, S::Mask);

macro_rules! operators {
    ($type:ident: $($trait:ident $name:ident $op:ident),*) => {$(
        impl<S: Simd> $trait for $type<S> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                Self(self.0, self.0.$op(self.1, other.1))
            }
        }
    )*};
}

operators!(F32s: Add add add, Sub sub sub, Mul mul mul, Div div div);
operators!(I32s: Add add add_i32, Sub sub sub_i32, Mul mul mul_i32, BitAnd bitand and_i32, BitOr bitor or_i32, BitXor bitxor xor_i32);
operators!(Mask: BitAnd bitand mask_and, BitOr bitor mask_or);

impl<S: Simd> Not for Mask<S> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(self.0, self.0.mask_not(self.1))
    }
}

impl<S: Simd> F32s<S> {
    /// `value` in every lane.
    #[inline(always)]
    pub fn splat(isa: S, value: f32) -> Self {
        Self(isa, isa.splat(value))
    }

    /// The first `LANES` values; panics where there are fewer.
    #[inline(always)]
    pub fn load(isa: S, values: &[f32]) -> Self {
        Self(isa, isa.load(values))
    }

    /// Writes the first `LANES` values; panics where there is less room.
    #[inline(always)]
    pub fn store(self, values: &mut [f32]) {
        self.0.store(self.1, values);
    }

    /// The lanes as an array.
    #[inline(always)]
    pub fn to_array(self) -> S::F32Array {
        self.0.to_array(self.1)
    }

    /// Transposes: lane `k` of `out[i]` becomes `source[offsets[k] + i]`. Fast where `out` is a
    /// multiple of 16 long. Panics where a row does not lie within `source`.
    #[inline(always)]
    pub fn columns(isa: S, source: &[f32], offsets: &[usize], out: &mut [Self]) {
        for (i, chunk) in out.chunks_mut(COLUMNS).enumerate() {
            let mut raw = [isa.splat(0.0); COLUMNS];
            isa.columns(source.get(i * COLUMNS..).unwrap_or_default(), offsets, &mut raw[..chunk.len()]);
            for (lanes, raw) in chunk.iter_mut().zip(raw) {
                *lanes = Self(isa, raw);
            }
        }
    }

    /// Square root.
    #[inline(always)]
    pub fn sqrt(self) -> Self {
        Self(self.0, self.0.sqrt(self.1))
    }

    /// Absolute value.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self(self.0, self.0.abs(self.1))
    }

    /// `if self < other { self } else { other }`.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self(self.0, self.0.min(self.1, other.1))
    }

    /// `if self > other { self } else { other }`.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self(self.0, self.0.max(self.1, other.1))
    }

    /// The nearest integer, ties to even, for magnitudes up to 4194303; unspecified beyond.
    #[inline(always)]
    pub fn nearest(self) -> Self {
        Self(self.0, self.0.nearest(self.1))
    }

    /// The greatest integer that is not greater.
    #[inline(always)]
    pub fn floor(self) -> Self {
        Self(self.0, self.0.floor(self.1))
    }

    /// `self < other`.
    #[inline(always)]
    pub fn lt(self, other: Self) -> Mask<S> {
        Mask(self.0, self.0.lt(self.1, other.1))
    }

    /// `self <= other`.
    #[inline(always)]
    pub fn le(self, other: Self) -> Mask<S> {
        Mask(self.0, self.0.le(self.1, other.1))
    }

    /// `self > other`.
    #[inline(always)]
    pub fn gt(self, other: Self) -> Mask<S> {
        other.lt(self)
    }

    /// `self == other`.
    #[inline(always)]
    pub fn eq(self, other: Self) -> Mask<S> {
        Mask(self.0, self.0.eq(self.1, other.1))
    }

    /// The least of all lanes; unspecified where one is NaN.
    #[inline(always)]
    pub fn least(self) -> f32 {
        self.0.least(self.1)
    }

    /// Toward zero, for values that an `i32` holds; unspecified beyond.
    #[inline(always)]
    pub fn to_i32(self) -> I32s<S> {
        I32s(self.0, self.0.to_i32(self.1))
    }

    /// The bits of each value.
    #[inline(always)]
    pub fn bits(self) -> I32s<S> {
        I32s(self.0, self.0.bits(self.1))
    }

    /// The bits of the nearest half-precision value in the low 16 bits of each lane.
    #[inline(always)]
    pub fn to_f16_bits(self) -> I32s<S> {
        I32s(self.0, self.0.to_f16_bits(self.1))
    }
}

impl<S: Simd> I32s<S> {
    /// `value` in every lane.
    #[inline(always)]
    pub fn splat(isa: S, value: i32) -> Self {
        Self(isa, isa.splat_i32(value))
    }

    /// The first `LANES` values; panics where there are fewer.
    #[inline(always)]
    pub fn load(isa: S, values: &[i32]) -> Self {
        Self(isa, isa.load_i32(values))
    }

    /// Writes the first `LANES` values; panics where there is less room.
    #[inline(always)]
    pub fn store(self, values: &mut [i32]) {
        values[..S::LANES].copy_from_slice(self.to_array().as_ref());
    }

    /// The lanes as an array.
    #[inline(always)]
    pub fn to_array(self) -> S::I32Array {
        self.0.to_array_i32(self.1)
    }

    /// The lesser, signed.
    #[inline(always)]
    pub fn min(self, other: Self) -> Self {
        Self(self.0, self.0.min_i32(self.1, other.1))
    }

    /// The greater, signed.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self(self.0, self.0.max_i32(self.1, other.1))
    }

    /// The least of all lanes, signed.
    #[inline(always)]
    pub fn least(self) -> i32 {
        self.0.least_i32(self.1)
    }

    /// Shifted left by `N`, less than 32.
    #[inline(always)]
    pub fn shl<const N: u32>(self) -> Self {
        Self(self.0, self.0.shl_i32::<N>(self.1))
    }

    /// Shifted right by `N`, less than 32; zeros come in.
    #[inline(always)]
    pub fn shr<const N: u32>(self) -> Self {
        Self(self.0, self.0.shr_i32::<N>(self.1))
    }

    /// `self == other`.
    #[inline(always)]
    pub fn eq(self, other: Self) -> Mask<S> {
        Mask(self.0, self.0.eq_i32(self.1, other.1))
    }

    /// `self < other`, signed.
    #[inline(always)]
    pub fn lt(self, other: Self) -> Mask<S> {
        Mask(self.0, self.0.lt_i32(self.1, other.1))
    }

    /// The values, rounded to nearest.
    #[inline(always)]
    pub fn to_f32(self) -> F32s<S> {
        F32s(self.0, self.0.to_f32(self.1))
    }

    /// The values with these bits.
    #[inline(always)]
    pub fn as_f32_bits(self) -> F32s<S> {
        F32s(self.0, self.0.with_bits(self.1))
    }

    /// The values of the half-precision bits in the low 16 bits of each lane.
    #[inline(always)]
    pub fn as_f16_bits(self) -> F32s<S> {
        F32s(self.0, self.0.with_f16_bits(self.1))
    }
}

impl<S: Simd> Mask<S> {
    /// No lane.
    #[inline(always)]
    pub fn none(isa: S) -> Self {
        let zero = F32s::splat(isa, 0.0);
        zero.lt(zero)
    }

    /// `a` where set, else `b`.
    #[inline(always)]
    pub fn select(self, a: F32s<S>, b: F32s<S>) -> F32s<S> {
        F32s(self.0, self.0.select(self.1, a.1, b.1))
    }

    /// `a` where set, else `b`.
    #[inline(always)]
    pub fn select_i32(self, a: I32s<S>, b: I32s<S>) -> I32s<S> {
        I32s(self.0, self.0.select_i32(self.1, a.1, b.1))
    }

    /// Bit `i` is lane `i`.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        self.0.mask_bits(self.1)
    }

    /// Whether any lane is set.
    #[inline(always)]
    pub fn any(self) -> bool {
        self.bits() != 0
    }
}
