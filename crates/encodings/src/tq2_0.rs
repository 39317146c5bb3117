//! TQ2_0: ternary weights, two bits each, one scale for 256 (2.0625 bits in all).
//!
//! ```text
//! byte 0                                  64      66
//!      | 64 bytes of codes                | scale |
//!      | four to a byte                   | half  |
//! ```
//! Byte `m` of each half of 32 bytes holds weights `m, m + 32, m + 64, m + 96` of the half's 128,
//! lowest bits first. A weight is `scale * (code - 1)`. Spec: `block_tq2_0` of ggml.

use gravure_core::{Encoding, Importance, Layout, Result};

use crate::blocks::{decode_blocks, encode_blocks, validate_scales};
use crate::numbers::{half_bits, half_value};
use crate::search::extreme;
use crate::ternary::ternary_codes;

/// The encoding.
#[derive(Debug)]
pub(crate) struct Tq2_0;

const ELEMENTS: usize = 256;
const BYTES: usize = 66;

impl Encoding for Tq2_0 {
    fn id(&self) -> &'static str {
        "tq2_0"
    }

    fn doc(&self) -> &'static str {
        "ternary weights, two bits each, a scale for 256: larger than five to a byte, and faster to read"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_blocks(self, source, row_length, importance, out, encode_block)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, decode_block)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<BYTES>(self, source, &[BYTES - 2])
    }
}

fn encode_block(x: &[f32; ELEMENTS], _: Option<&[f32; ELEMENTS]>, out: &mut [u8; BYTES]) {
    let (_, magnitude) = extreme(x);
    let codes = ternary_codes(x, magnitude);
    for (bytes, codes) in out.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<128>().0) {
        for (m, byte) in bytes.iter_mut().enumerate() {
            *byte = codes[m] | codes[m + 32] << 2 | codes[m + 64] << 4 | codes[m + 96] << 6;
        }
    }
    out[BYTES - 2..].copy_from_slice(&half_bits(magnitude).to_le_bytes());
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let scale = half_value(u16::from_le_bytes([block[BYTES - 2], block[BYTES - 1]]));
    for (bytes, out) in block.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<128>().0) {
        for (m, byte) in bytes.iter().enumerate() {
            for n in 0..4 {
                out[m + n * 32] = (f32::from(byte >> (2 * n) & 3) - 1.0) * scale;
            }
        }
    }
}
