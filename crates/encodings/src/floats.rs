//! Plain floats: `f64`, `f32`, `f16`, `bf16` and the two eight-bit floats of safetensors files.
//!
//! ```text
//!            sign  exponent  fraction   largest    infinity
//! f64         1      11        52       1.8e308      yes
//! f32         1       8        23       3.4e38       yes
//! f16         1       5        10       65504        yes
//! bf16        1       8         7       3.4e38       yes
//! f8_e4m3     1       4         3       448          no (S.1111.111 is the only NaN)
//! f8_e5m2     1       5         2       57344        yes
//! ```
//! Little-endian. Rounding is to nearest, ties to even. Finite weights beyond the largest become
//! infinite in `f16` and `bf16`, as everywhere else; the eight-bit floats refuse them, because there
//! it happens to ordinary weights and is the sign of a missing scale.
//!
//! Specs: IEEE 754-2019; "FP8 Formats for Deep Learning" (arXiv 2209.05433); the dtypes of the
//! safetensors format.

use gravure_core::{Encoding, Error, Importance, Layout, Result};

use crate::blocks::{check_encode, decode_blocks, validate_blocks};
use crate::numbers::{bfloat_bits, bfloat_value, half_bits, half_is_finite, half_value};
use crate::vectorized::{self, DecodeBlock, EncodeBlock};

/// IEEE 754 double precision.
#[derive(Debug)]
pub(crate) struct F64;
/// IEEE 754 single precision.
#[derive(Debug)]
pub(crate) struct F32;
/// IEEE 754 half precision.
#[derive(Debug)]
pub(crate) struct F16;
/// The upper half of a single.
#[derive(Debug)]
pub(crate) struct Bf16;

impl Encoding for F64 {
    fn id(&self) -> &'static str {
        "f64"
    }

    fn doc(&self) -> &'static str {
        "64-bit float; weights are worked on as f32"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: 1, block_bytes: 8 }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        vectorized::encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        vectorized::decode(self, source, out)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        // What is beyond the largest 32-bit float would be worked on as infinite.
        validate_blocks(self, source, |b| (f64::from_le_bytes(*b) as f32).is_finite())
    }
}

impl EncodeBlock<1, 8> for F64 {
    #[inline(always)]
    fn encode_block(x: &[f32; 1], y: &mut [u8; 8]) {
        *y = f64::from(x[0]).to_le_bytes();
    }
}

impl DecodeBlock<1, 8> for F64 {
    #[inline(always)]
    fn decode_block(x: &[u8; 8], y: &mut [f32; 1]) {
        y[0] = f64::from_le_bytes(*x) as f32;
    }
}

impl Encoding for F32 {
    fn id(&self) -> &'static str {
        "f32"
    }

    fn doc(&self) -> &'static str {
        "32-bit float; exact, four bytes a weight"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: 1, block_bytes: 4 }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        vectorized::encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        vectorized::decode(self, source, out)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_blocks(self, source, |b| f32::from_le_bytes(*b).is_finite())
    }
}

impl EncodeBlock<1, 4> for F32 {
    #[inline(always)]
    fn encode_block(x: &[f32; 1], y: &mut [u8; 4]) {
        *y = x[0].to_le_bytes();
    }
}

impl DecodeBlock<1, 4> for F32 {
    #[inline(always)]
    fn decode_block(x: &[u8; 4], y: &mut [f32; 1]) {
        y[0] = f32::from_le_bytes(*x);
    }
}

impl Encoding for F16 {
    fn id(&self) -> &'static str {
        "f16"
    }

    fn doc(&self) -> &'static str {
        "16-bit float; eleven bits of precision up to 65504"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: 1, block_bytes: 2 }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        vectorized::encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        vectorized::decode(self, source, out)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_blocks(self, source, |b| half_is_finite(u16::from_le_bytes(*b)))
    }
}

impl EncodeBlock<1, 2> for F16 {
    #[inline(always)]
    fn encode_block(x: &[f32; 1], y: &mut [u8; 2]) {
        *y = half_bits(x[0]).to_le_bytes();
    }
}

impl DecodeBlock<1, 2> for F16 {
    #[inline(always)]
    fn decode_block(x: &[u8; 2], y: &mut [f32; 1]) {
        y[0] = half_value(u16::from_le_bytes(*x));
    }
}

impl Encoding for Bf16 {
    fn id(&self) -> &'static str {
        "bf16"
    }

    fn doc(&self) -> &'static str {
        "16-bit float with the range of f32; eight bits of precision"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: 1, block_bytes: 2 }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        vectorized::encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        vectorized::decode(self, source, out)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_blocks(self, source, |b| bfloat_value(u16::from_le_bytes(*b)).is_finite())
    }
}

impl EncodeBlock<1, 2> for Bf16 {
    #[inline(always)]
    fn encode_block(x: &[f32; 1], y: &mut [u8; 2]) {
        *y = bfloat_bits(x[0]).to_le_bytes();
    }
}

impl DecodeBlock<1, 2> for Bf16 {
    #[inline(always)]
    fn decode_block(x: &[u8; 2], y: &mut [f32; 1]) {
        y[0] = bfloat_value(u16::from_le_bytes(*x));
    }
}

/// An eight-bit float.
#[derive(Debug)]
pub(crate) struct Float8 {
    id: &'static str,
    doc: &'static str,
    /// Bits of the fraction; exponent and sign are the rest.
    fraction: u32,
    /// Largest finite magnitude as bits.
    largest: u8,
}

/// Four bits of exponent, three of fraction, no infinity (the "FN" variant).
pub(crate) static F8_E4M3: Float8 =
    Float8 { id: "f8_e4m3", doc: "8-bit float, 4 exponent bits; up to 448, needs scales", fraction: 3, largest: 0x7e };
/// Five bits of exponent, two of fraction: the upper half of an `f16`.
pub(crate) static F8_E5M2: Float8 =
    Float8 { id: "f8_e5m2", doc: "8-bit float, 5 exponent bits; the upper half of f16", fraction: 2, largest: 0x7b };

impl Float8 {
    /// The value of a byte. Both variants are a half with fewer bits: one shares its exponent, the
    /// other's is smaller by 8.
    fn value(&self, byte: u8) -> f32 {
        let magnitude = byte & 0x7f;
        let scale = if self.fraction == 3 { 256.0 } else { 1.0 };
        let value = if self.fraction == 3 && magnitude == 0x7f {
            f32::NAN
        } else {
            half_value(u16::from(magnitude) << (10 - self.fraction)) * scale
        };
        if byte & 0x80 != 0 { -value } else { value }
    }

    /// The byte nearest to a value, `None` where a finite one is out of range.
    fn byte(&self, value: f32) -> Option<u8> {
        let sign = if value.is_sign_negative() { 0x80 } else { 0 };
        let magnitude = value.abs();
        if value.is_nan() {
            return Some(sign | 0x7f);
        }
        if value.is_infinite() {
            return (self.fraction == 2).then_some(sign | 0x7c);
        }
        let bias = if self.fraction == 3 { 7 } else { 15 };
        // One unit of the last place, from the exponent or, among subnormals, the smallest.
        let exponent = (((magnitude.to_bits() >> 23) as i32) - 127).max(1 - bias);
        let unit = exponent - self.fraction as i32;
        // Below 2^(fraction+1), so that the sum has units of one and the float rounds by itself.
        let scaled = magnitude * power_of_two(-unit);
        let rounded = (scaled + 8_388_608.0).to_bits() - 8_388_608f32.to_bits();
        // A carry into the exponent adds up like any other.
        let bits = (((exponent + bias - 1) as u32) << self.fraction) + rounded;
        (bits <= u32::from(self.largest)).then_some(sign | bits as u8)
    }
}

/// 2 to the power of a small integer.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127).clamp(1, 254) as u32) << 23)
}

impl Encoding for Float8 {
    fn id(&self) -> &'static str {
        self.id
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: 1, block_bytes: 1 }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        check_encode(self, source, row_length, importance, out)?;
        for (&x, y) in source.iter().zip(out) {
            *y = self.byte(x).ok_or_else(|| Error::input(format!("{x} is beyond the largest number of {}", self.id)))?;
        }
        Ok(())
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        let values: [f32; 256] = std::array::from_fn(|byte| self.value(byte as u8));
        decode_blocks(self, source, out, |x: &[u8; 1], y: &mut [f32; 1]| y[0] = values[usize::from(x[0])])
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_blocks(self, source, |[byte]| byte & 0x7f <= self.largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_value_and_comes_back() {
        for float in [&F8_E4M3, &F8_E5M2] {
            for byte in 0..=255u8 {
                let value = float.value(byte);
                if !value.is_nan() {
                    assert_eq!(float.byte(value), Some(byte), "{} {byte:02x} {value}", float.id);
                }
            }
        }
        let cases = [(0x38, 1.0), (0x7e, 448.0), (0x01, 0.001_953_125), (0x08, 0.015_625), (0xb8, -1.0)];
        for (byte, value) in cases {
            assert_eq!(F8_E4M3.value(byte), value);
        }
        assert_eq!((F8_E5M2.value(0x7b), F8_E5M2.value(0x01), F8_E5M2.value(0x3c)), (57344.0, 0.000_015_258_789, 1.0));
        assert!(F8_E4M3.value(0x7f).is_nan() && F8_E5M2.value(0x7d).is_nan() && F8_E5M2.value(0xfc).is_infinite());
    }

    #[test]
    fn the_nearest_byte_is_taken_and_ties_go_to_even() {
        for float in [&F8_E4M3, &F8_E5M2] {
            for byte in 0..float.largest {
                let (low, high) = (float.value(byte), float.value(byte + 1));
                let middle = (low + high) / 2.0;
                assert_eq!(float.byte(middle), Some(byte + (byte & 1)), "{}", float.id);
                assert_eq!(float.byte(middle.next_down()), Some(byte));
                assert_eq!(float.byte(-middle.next_up()), Some((byte + 1) | 0x80));
            }
        }
        assert_eq!((F8_E4M3.byte(463.9), F8_E4M3.byte(464.0), F8_E4M3.byte(464.1)), (Some(0x7e), Some(0x7e), None));
        assert_eq!((F8_E4M3.byte(f32::INFINITY), F8_E5M2.byte(f32::INFINITY)), (None, Some(0x7c)));
        assert_eq!((F8_E5M2.byte(1e-30), F8_E4M3.byte(f32::from_bits(1))), (Some(0), Some(0)));
    }
}
