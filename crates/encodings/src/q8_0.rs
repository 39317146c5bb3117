//! `q8_0`: 32 weights share one scale, each is a signed byte. Nearly lossless.
//!
//! ```text
//! byte   0        2             34
//!        | d: f16 | 32 bytes: i8 |
//! ```
//! `weight = d * code`.
//!
//! Spec: `block_q8_0` in ggml-common.h.

use gravure_core::contracts::{GridShape, Levels, Parts, Steps};
use gravure_core::{Encoding, Grid, Importance, Layout, Result};

use crate::blocks::validate_scales;
use crate::grid::{nearest_half, read_half, write_half};
use crate::numbers::{half_bits, half_value, round_half_away};
use crate::small_blocks::magnitude;
use crate::vectorized::{self, DecodeBlock, EncodeBlock};

/// Weights in a block.
const N: usize = 32;
/// Bytes of a block.
const B: usize = 34;

/// A byte for each weight and a scale for each 32.
#[derive(Debug)]
pub(crate) struct Q8_0;

impl Encoding for Q8_0 {
    fn id(&self) -> &'static str {
        "q8_0"
    }

    fn doc(&self) -> &'static str {
        "8 bits, one scale for 32 weights; nearly lossless, read by every runtime"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: N, block_bytes: B }
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        vectorized::encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        vectorized::decode(self, source, out)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<B>(self, source, &[0])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Q8_0 {
    fn shape(&self) -> GridShape {
        GridShape { group: N, scale: Steps::Factor, offset: None, levels: Levels::Even { lowest: -128, count: 256 } }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        for (code, byte) in parts.codes.iter_mut().zip(&block[2..]) {
            *code = u16::from(byte ^ 128);
        }
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        write_half(block, 0, parts.factors[0]);
        for (code, byte) in parts.codes.iter().zip(&mut block[2..]) {
            *byte = *code as u8 ^ 128;
        }
    }
}

impl EncodeBlock<N, B> for Q8_0 {
    #[inline(always)]
    fn encode_block(x: &[f32; N], y: &mut [u8; B]) {
        let d = magnitude(x) / 127.0;
        let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
        y[..2].copy_from_slice(&half_bits(d).to_le_bytes());
        if inverse.is_infinite() {
            // The scale is below 2^-128; the reference's conversion of infinity to a byte gives zero.
            y[2..].fill(0);
            return;
        }
        let mut codes = [0u32; N];
        for i in 0..N {
            codes[i] = round_half_away(x[i] * inverse);
        }
        for i in 0..N {
            y[2 + i] = codes[i] as u8;
        }
    }
}

impl DecodeBlock<N, B> for Q8_0 {
    #[inline(always)]
    fn decode_block(x: &[u8; B], y: &mut [f32; N]) {
        let d = half_value(u16::from_le_bytes([x[0], x[1]]));
        for i in 0..N {
            y[i] = f32::from(x[2 + i] as i8) * d;
        }
    }
}
