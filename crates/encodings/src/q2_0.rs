//! Q2_0: four levels, one scale for 64 weights (2.25 bits in all).
//!
//! ```text
//! byte 0        2                           18
//!      | scale  | 16 bytes of codes         |
//!      | half   | four to a byte, lowest bits first
//! ```
//! A weight is `scale * (code - 1)`, codes 0 to 3. The encoder takes the largest magnitude as
//! scale, so that it writes no 3. Spec: `block_q2_0` of ggml.

use gravure_core::{Encoding, Importance, Layout, Result};

use crate::blocks::{decode_blocks, encode_blocks, validate_scales};
use crate::numbers::{half_bits, half_value};
use crate::search::extreme;

/// The encoding.
#[derive(Debug)]
pub(crate) struct Q2_0;

const ELEMENTS: usize = 64;
const BYTES: usize = 18;

impl Encoding for Q2_0 {
    fn id(&self) -> &'static str {
        "q2_0"
    }

    fn doc(&self) -> &'static str {
        "2-bit codes, a scale for 64 weights: for models that were trained with ternary weights"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_blocks(self, source, row_length, importance, out, encode_block)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |block: &[u8; BYTES], out: &mut [f32; ELEMENTS]| {
            let scale = half_value(u16::from_le_bytes([block[0], block[1]]));
            for (byte, out) in block[2..].iter().zip(out.as_chunks_mut::<4>().0) {
                *out = std::array::from_fn(|i| (f32::from(byte >> (2 * i) & 3) - 1.0) * scale);
            }
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<BYTES>(self, source, &[0])
    }
}

fn encode_block(x: &[f32; ELEMENTS], _: Option<&[f32; ELEMENTS]>, out: &mut [u8; BYTES]) {
    let (_, magnitude) = extreme(x);
    let inverse = if magnitude > 0.0 { 1.0 / magnitude } else { 0.0 };
    out[..2].copy_from_slice(&half_bits(magnitude).to_le_bytes());
    if inverse.is_infinite() {
        // Magnitudes below 2^-128. The reference converts an infinity to an integer here, which
        // yields the lowest code.
        out[2..].fill(0);
        return;
    }
    for (byte, x) in out[2..].iter_mut().zip(x.as_chunks::<4>().0) {
        *byte = (0..4).fold(0, |bits, i| bits | ternary(x[i] * inverse) << (2 * i));
    }
}

/// Rounds a number of magnitude at most one, halves away from zero, and adds one.
#[inline(always)]
fn ternary(value: f32) -> u8 {
    1 + u8::from(value >= 0.5) - u8::from(value <= -0.5)
}
