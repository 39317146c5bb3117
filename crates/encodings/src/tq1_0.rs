//! TQ1_0: ternary weights, five to a byte, one scale for 256 (1.6875 bits in all).
//!
//! ```text
//! byte 0                48                   52      54
//!      | 48 bytes of 5  | 4 bytes of 4       | scale |
//!      | codes          | codes              | half  |
//! ```
//! Byte `m` of the first 32 holds weights `m, m + 32, .. m + 128`; of the next 16 weights
//! `160 + m, 160 + m + 16, ..`; of the last 4 weights `240 + m, 240 + m + 4, ..`. Codes 0 to 2 are
//! the digits of a number to base 3, first weight first; the number is stored as a fraction of
//! 3^5, rounded up, in units of 1/256, so that the next digit is the carry of a multiplication by
//! three. A weight is `scale * (code - 1)`. Spec: `block_tq1_0` of ggml.

use gravure_core::{Encoding, Importance, Layout, Result};

use crate::blocks::{decode_blocks, encode_blocks, validate_scales};
use crate::numbers::{half_bits, half_value};
use crate::search::extreme;
use crate::ternary::ternary_codes;

/// The encoding.
#[derive(Debug)]
pub(crate) struct Tq1_0;

const ELEMENTS: usize = 256;
const BYTES: usize = 54;

/// Runs of bytes whose digits lie `stride` weights apart: first byte, number of bytes (and stride),
/// first weight, digits.
const RUNS: [(usize, usize, usize, usize); 3] = [(0, 32, 0, 5), (32, 16, 160, 5), (48, 4, 240, 4)];

impl Encoding for Tq1_0 {
    fn id(&self) -> &'static str {
        "tq1_0"
    }

    fn doc(&self) -> &'static str {
        "ternary weights, five to a byte, a scale for 256: for BitNet and its kin"
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
    for (byte, stride, first, digits) in RUNS {
        for m in 0..stride {
            // Five digits always: a missing one is zero.
            let number = (0..5).fold(0u16, |number, n| number * 3 + if n < digits { codes[first + m + n * stride].into() } else { 0 });
            out[byte + m] = ((number * 256).wrapping_add(242) / 243) as u8;
        }
    }
    out[BYTES - 2..].copy_from_slice(&half_bits(magnitude).to_le_bytes());
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let scale = half_value(u16::from_le_bytes([block[BYTES - 2], block[BYTES - 1]]));
    for (byte, stride, first, digits) in RUNS {
        for m in 0..stride {
            let mut fraction = block[byte + m];
            for n in 0..digits {
                let digit = (u16::from(fraction) * 3) >> 8;
                out[first + m + n * stride] = (f32::from(digit) - 1.0) * scale;
                fraction = fraction.wrapping_mul(3);
            }
        }
    }
}
