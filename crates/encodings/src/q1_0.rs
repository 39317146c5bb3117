//! Q1_0: the sign of a weight, one scale for 128 (1.125 bits in all).
//!
//! ```text
//! byte 0        2                           18
//!      | scale  | 16 bytes of sign bits     |
//!      | half   | lowest bit first, 1 for weights that are not negative
//! ```
//! A weight is `scale` or `-scale`. Spec: `block_q1_0` of ggml.

use gravure_core::{Encoding, Importance, Layout, Result};

use crate::blocks::{decode_blocks, encode_blocks, validate_scales};
use crate::numbers::{half_bits, half_value};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Q1_0;

const ELEMENTS: usize = 128;
const BYTES: usize = 18;

impl Encoding for Q1_0 {
    fn id(&self) -> &'static str {
        "q1_0"
    }

    fn doc(&self) -> &'static str {
        "signs and a scale for 128 weights: for models that were trained with one-bit weights"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_blocks(self, source, row_length, importance, out, |x: &[f32; ELEMENTS], _, out: &mut [u8; BYTES]| {
            let mean = x.iter().fold(0.0, |sum, v| sum + v.abs()) / ELEMENTS as f32;
            out[..2].copy_from_slice(&half_bits(mean).to_le_bytes());
            for (byte, x) in out[2..].iter_mut().zip(x.as_chunks::<8>().0) {
                *byte = (0..8).fold(0, |bits, i| bits | u8::from(x[i] >= 0.0) << i);
            }
        })
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |block: &[u8; BYTES], out: &mut [f32; ELEMENTS]| {
            let scale = half_value(u16::from_le_bytes([block[0], block[1]]));
            for (byte, out) in block[2..].iter().zip(out.as_chunks_mut::<8>().0) {
                *out = std::array::from_fn(|i| if byte >> i & 1 == 1 { scale } else { -scale });
            }
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<BYTES>(self, source, &[0])
    }
}
