//! NVFP4: four-bit floats (E2M1), an eight-bit float (E4M3, no sign) as scale for 16 weights
//! (4.5 bits in all), four groups in a block.
//!
//! ```text
//! byte 0                 4                                36
//!      | 4 group scales  | 4 groups of 8 bytes of codes   |
//!      | UE4M3           | low nibbles: weights 0..8 of the group, high nibbles: 8..16
//! ```
//! A weight is `scale * value[code]`. Spec: `block_nvfp4` of ggml.

use gravure_core::{Encoding, Importance, Layout, Result};

use crate::blocks::{decode_blocks, encode_blocks, validate_blocks};
use crate::codebooks::fp4;
use crate::search::extreme;

/// The encoding.
#[derive(Debug)]
pub(crate) struct Nvfp4;

const GROUP: usize = 16;
const GROUPS: usize = 4;
const ELEMENTS: usize = GROUP * GROUPS;
const BYTES: usize = GROUPS + ELEMENTS / 2;

/// Largest scale: 448. The code above it means NaN and is written by nobody.
const LARGEST: u8 = 0x7e;

impl Encoding for Nvfp4 {
    fn id(&self) -> &'static str {
        "nvfp4"
    }

    fn doc(&self) -> &'static str {
        "4-bit floats, an 8-bit float for 16 weights: what Blackwell's tensor cores multiply"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_blocks(self, source, row_length, importance, out, |x: &[f32; ELEMENTS], _, out: &mut [u8; BYTES]| {
            let (scales, packed) = out.split_at_mut(GROUPS);
            let groups = x.as_chunks::<GROUP>().0.iter().zip(packed.as_chunks_mut::<{ GROUP / 2 }>().0);
            for (scale, (x, packed)) in scales.iter_mut().zip(groups) {
                let (_, magnitude) = extreme(x);
                *scale = to_ue4m3(magnitude / 6.0);
                fp4::pack(&fp4::codes(x, half_of_ue4m3(*scale)), packed);
            }
        })
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |block: &[u8; BYTES], out: &mut [f32; ELEMENTS]| {
            let (scales, packed) = block.split_at(GROUPS);
            let groups = out.as_chunks_mut::<GROUP>().0.iter_mut().zip(packed.as_chunks::<{ GROUP / 2 }>().0);
            for (&scale, (out, packed)) in scales.iter().zip(groups) {
                fp4::unpack(half_of_ue4m3(scale), packed, out);
            }
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_blocks::<BYTES>(self, source, |block| block[..GROUPS].iter().all(|&scale| scale <= LARGEST))
    }
}

/// Half the value of a scale, for the doubled values of the codebook. The sign bit is not looked at;
/// a positive NaN counts as zero.
fn half_of_ue4m3(bits: u8) -> f32 {
    if bits == 0 || bits == LARGEST + 1 {
        return 0.0;
    }
    let exponent = u32::from(bits >> 3 & 15);
    let fraction = f32::from(bits & 7);
    let value = if exponent == 0 {
        fraction * f32::from_bits((127 - 9) << 23)
    } else {
        (1.0 + fraction / 8.0) * f32::from_bits((127 - 7 + exponent) << 23)
    };
    value * 0.5
}

/// The nearest scale; halves round up. Zero for what is not positive.
fn to_ue4m3(value: f32) -> u8 {
    if !(value > 0.0) {
        return 0;
    }
    let bits = value.min(448.0).to_bits();
    let exponent = (bits >> 23) as i32 - 127 + 7;
    if exponent <= 0 {
        return ((value * 512.0 + 0.5) as u8).min(7);
    }
    // A fraction that rounds up carries into the exponent. The highest binade is given up: what
    // rounds to 256 and above becomes the largest scale.
    let rounded = (exponent << 3) as u32 + (bits >> 20 & 7) + (bits >> 19 & 1);
    if rounded >= 15 << 3 { LARGEST } else { rounded as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_comes_back() {
        for bits in 0..=LARGEST {
            let value = half_of_ue4m3(bits) * 2.0;
            let expected = if bits >= 15 << 3 { LARGEST } else { bits };
            assert_eq!(to_ue4m3(value), expected, "{value}");
        }
        assert_eq!(to_ue4m3(-1.0), 0);
        assert_eq!(to_ue4m3(f32::MAX), LARGEST);
        assert_eq!(to_ue4m3(0.000_9), 0);
    }
}
