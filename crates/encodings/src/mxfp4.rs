//! MXFP4: four-bit floats (E2M1), a power of two as scale for 32 weights (4.25 bits in all).
//!
//! ```text
//! byte 0          1                       17
//!      | exponent | 16 bytes of codes     |
//!      | E8M0     | low nibbles: weights 0..16, high nibbles: 16..32
//! ```
//! A weight is `2^(exponent - 127) * value[code]`.
//! Spec: OCP Microscaling Formats (MX) 1.0; `block_mxfp4` of ggml.

use gravure_core::contracts::{GridShape, Levels, Parts, Steps};
use gravure_core::{Encoding, Grid, Importance, Layout, Result};

use crate::blocks::{decode_blocks, encode_blocks, validate_blocks};
use crate::codebooks::fp4;
use crate::grid::bytes_of;
use crate::search::extreme;

/// The encoding.
#[derive(Debug)]
pub(crate) struct Mxfp4;

const ELEMENTS: usize = 32;
const BYTES: usize = 17;

impl Encoding for Mxfp4 {
    fn id(&self) -> &'static str {
        "mxfp4"
    }

    fn doc(&self) -> &'static str {
        "4-bit floats, a power of two for 32 weights: the OCP microscaling format that gpt-oss is trained in"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_blocks(self, source, row_length, importance, out, |x: &[f32; ELEMENTS], _, out: &mut [u8; BYTES]| {
            let (_, magnitude) = extreme(x);
            out[0] = shared_exponent(magnitude);
            fp4::pack(&fp4::codes(x, half_of_power(out[0])), &mut out[1..]);
        })
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |block: &[u8; BYTES], out: &mut [f32; ELEMENTS]| {
            fp4::unpack(half_of_power(block[0]), &block[1..], out);
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_blocks::<BYTES>(self, source, |block| block[0] != u8::MAX)
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Mxfp4 {
    fn shape(&self) -> GridShape {
        GridShape { group: ELEMENTS, scale: Steps::Factor, offset: None, levels: Levels::Table(&TABLE) }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        half_of_power(exponent_of_half(value))
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = half_of_power(block[0]);
        for (i, code) in parts.codes.iter_mut().enumerate() {
            *code = u16::from(block[1 + i % 16] >> (4 * (i / 16)) & 15);
        }
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        block[0] = exponent_of_half(parts.factors[0]);
        let codes: [u8; ELEMENTS] = bytes_of(&parts.codes);
        fp4::pack(&codes, &mut block[1..]);
    }
}

/// The levels as floats.
static TABLE: [f32; 16] = {
    let mut out = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        out[i] = fp4::DOUBLED[i] as f32;
        i += 1;
    }
    out
};

/// The exponent whose [`half_of_power`] is nearest to `value` by ratio; 0 where that is not positive.
fn exponent_of_half(value: f32) -> u8 {
    if value.is_nan() || value <= 0.0 { 0 } else { (value.log2().round() + 128.0).clamp(0.0, 254.0) as u8 }
}

/// `2^(exponent - 128)`: half of the scale, for the doubled values of the codebook.
#[inline(always)]
pub fn half_of_power(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 => 0x0020_0000,
        1 => 0x0040_0000,
        _ => u32::from(exponent - 1) << 23,
    })
}

/// Exponent of the scale that puts `magnitude` into the upper part of the codebook: two less than
/// that of the magnitude; zero where all is zero. Below 2^-125 it wraps around, as in the reference
/// implementation (the codes are all zero then).
fn shared_exponent(magnitude: f32) -> u8 {
    if magnitude == 0.0 { 0 } else { (floor_of_log2(magnitude) - 2 + 127) as u8 }
}

/// `floor(log2(x))` where the logarithm is rounded to a float first, which the reference does: a
/// few numbers just below a power of two count as that power.
fn floor_of_log2(x: f32) -> i32 {
    let bits = x.to_bits();
    let (floor, fraction) = if bits >> 23 == 0 {
        let shift = bits.leading_zeros() - 8;
        (-126 - shift as i32, bits << shift)
    } else {
        ((bits >> 23) as i32 - 127, bits)
    };
    let steps_to_next = (1 << 23) - (fraction & 0x007f_ffff);
    // The logarithm is `next - steps * 2^-24 / ln 2`, and half a unit in its last place
    // `2^-24 * 2^binade` with the binade of the numbers just below `next`.
    let next = floor + 1;
    let binade = match next {
        0 | 1 => return floor,
        2.. => (next as u32 - 1).ilog2(),
        _ => next.unsigned_abs().ilog2(),
    };
    if f64::from(steps_to_next) < f64::from(1u32 << binade) * std::f64::consts::LN_2 { next } else { floor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_that_of_a_rounded_logarithm() {
        let reference = |x: f32| f64::from(x).log2() as f32;
        for exponent in 0..255u32 {
            for fraction in (0..300).flat_map(|i| [i, 0x7f_ffff - i, i * 27_961]) {
                let x = f32::from_bits(exponent << 23 | fraction);
                if x > 0.0 {
                    assert_eq!(floor_of_log2(x), reference(x).floor() as i32, "{x:e}");
                }
            }
        }
        for bits in 1..5_000 {
            let x = f32::from_bits(bits);
            assert_eq!(floor_of_log2(x), reference(x).floor() as i32, "{x:e}");
        }
    }

    #[test]
    fn powers() {
        for exponent in 0..=254 {
            assert_eq!(f64::from(half_of_power(exponent)), 2f64.powi(i32::from(exponent) - 128));
        }
    }
}
