//! Conversions between `f32` and the 16-bit floats that scales are stored in.
//!
//! Written with integer and float operations that every target has, without branches, so that
//! loops over them become vector code. Rounding is to nearest, ties to even; the bits are those of
//! the reference implementation, which drops the payload of a NaN on the way to a half and keeps
//! it on the way to a bfloat.

/// Bits of the IEEE 754 binary16 nearest to `value`.
#[inline(always)]
pub(crate) fn half_bits(value: f32) -> u16 {
    /// 2^-14, the smallest normal half.
    const SMALLEST_NORMAL: u32 = 0x3880_0000;
    /// 2^16: everything from here on is infinite (from 65520 on rounding carries into infinity).
    const TOO_LARGE: u32 = 0x4780_0000;
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // One unit of the last place of 0.5 is one subnormal half: the addition itself rounds.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    // Moves the exponent's bias from 127 to 15 and rounds to even at bit 13; a carry is right.
    let normal = magnitude.wrapping_add(0xc800_0fff).wrapping_add((magnitude >> 13) & 1) >> 13;
    let finite = if magnitude < SMALLEST_NORMAL { subnormal } else { normal };
    let ordered = if magnitude >= TOO_LARGE { 0x7c00 } else { finite };
    let unsigned = if magnitude > 0x7f80_0000 { 0x7e00 } else { ordered };
    ((bits >> 16) & 0x8000 | unsigned) as u16
}

/// [`half_bits`] of a scale out of sums that may have left the range of floats: a NaN is negative, as x86
/// makes it and the reference stores it, on processors too whose own is positive.
#[inline(always)]
pub(crate) fn computed_half_bits(value: f32) -> u16 {
    if value.is_nan() { 0xfe00 } else { half_bits(value) }
}

/// Value of an IEEE 754 binary16; NaNs come out quiet.
#[inline(always)]
pub(crate) fn half_value(bits: u16) -> f32 {
    const SMALLEST_NORMAL: f32 = f32::from_bits(0x3880_0000);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let exponent = magnitude & 0x0f80_0000;
    let rebiased = magnitude + (112 << 23);
    // A subnormal half is the fraction of a float whose implied one is taken off again.
    let subnormal = (f32::from_bits(rebiased + (1 << 23)) - SMALLEST_NORMAL).to_bits();
    let quiet = u32::from(magnitude > 0x0f80_0000) << 22;
    let special = (rebiased + (112 << 23)) | quiet;
    let unsigned = if exponent == 0 { subnormal } else { rebiased };
    let unsigned = if exponent == 0x0f80_0000 { special } else { unsigned };
    f32::from_bits(u32::from(bits & 0x8000) << 16 | unsigned)
}

/// Whether a half is neither infinite nor a NaN.
#[inline(always)]
pub(crate) fn half_is_finite(bits: u16) -> bool {
    bits & 0x7c00 != 0x7c00
}

/// Bits of the bfloat16 nearest to `value`.
#[inline(always)]
pub(crate) fn bfloat_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded }) as u16
}

/// Value of a bfloat16.
#[inline(always)]
pub(crate) fn bfloat_value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// 2^23: a float from here to 2^24 has integers as its units in the last place, so that adding it
/// rounds. Casts would do the same, but they saturate, and that is no vector code on the baseline.
const UNIT: f32 = 8_388_608.0;

/// The nearest integer, halves away from zero, for magnitudes below 2^22; of the result only the low
/// 22 bits count.
#[inline(always)]
pub(crate) fn round_half_away(value: f32) -> u32 {
    let magnitude = value.abs();
    let even = magnitude + UNIT;
    // The difference is exact; a half is left only where the tie went down to an even number.
    let up = u32::from(magnitude - (even - UNIT) == 0.5);
    let sign = (value.to_bits() as i32 >> 31) as u32;
    (even.to_bits().wrapping_add(up) ^ sign).wrapping_sub(sign)
}

/// The integer part of a value that is not negative, below 2^22; of the result only the low 22 bits
/// count.
#[inline(always)]
pub(crate) fn floor_positive(value: f32) -> u32 {
    let even = value + UNIT;
    let down = u32::from(even - UNIT > value);
    even.to_bits().wrapping_sub(down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_equals_the_library_functions() {
        let check = |value: f32| {
            assert_eq!(round_half_away(value) as u8, value.round() as i32 as u8, "{value:e}");
            assert_eq!(round_half_away(-value) as u8, -(value.round() as i32) as u8, "{value:e}");
            assert_eq!(floor_positive(value) as u8, value.floor() as i32 as u8, "{value:e}");
        };
        (0..0x4380_0000u32).step_by(97).for_each(|bits| check(f32::from_bits(bits)));
        for half in 1..1024 {
            let value = half as f32 / 2.0;
            [value.next_down(), value, value.next_up()].into_iter().for_each(check);
        }
    }

    #[test]
    fn every_half_has_its_value_and_comes_back() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits);
            let value = half_value(bits);
            if expected.is_nan() {
                assert!(value.is_nan() && value.to_bits() & 0x40_0000 != 0, "{bits:04x}");
                assert_eq!(half_bits(value), bits & 0x8000 | 0x7e00);
            } else {
                assert_eq!(value.to_bits(), expected.to_f32().to_bits(), "{bits:04x}");
                assert_eq!(half_bits(value), bits);
            }
            assert_eq!(half_is_finite(bits), expected.is_finite());
        }
    }

    #[test]
    fn rounding_agrees_with_an_independent_implementation() {
        // All exponents and signs; around every rounding boundary of both formats.
        for high in 0..=u16::MAX {
            for low in [0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(u32::from(high) << 16 | low);
                if value.is_nan() {
                    assert_eq!(half_bits(value), high & 0x8000 | 0x7e00);
                    assert_eq!(bfloat_bits(value), high | 0x40);
                } else {
                    assert_eq!(half_bits(value), half::f16::from_f32(value).to_bits(), "{value:e}");
                    assert_eq!(bfloat_bits(value), half::bf16::from_f32(value).to_bits(), "{value:e}");
                }
            }
        }
    }
}
