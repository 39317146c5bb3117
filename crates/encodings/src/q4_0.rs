//! `q4_0`: 32 weights share one scale, each is a signed integer of four bits. The type that most
//! devices with a matrix unit read.
//!
//! ```text
//! byte   0        2                                   18
//!        | d: f16 | 16 bytes: weight i | weight i+16 << 4 |
//! ```
//! `weight = d * (code - 8)`. The scale has the sign that puts the weight of largest magnitude on
//! code 0, the only one of magnitude 8.
//!
//! Spec: `block_q4_0` in ggml-common.h.

use gravure_core::contracts::{GridShape, Levels, Parts, Steps};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};

use crate::blocks::validate_scales;
use crate::grid::{bytes_of, nearest_half, read_half, set_codes, write_half};
use crate::lanes::small::{SmallSearch, encode_weighted};
use crate::numbers::{computed_half_bits, floor_positive, half_bits, half_value};
use crate::small_blocks::{pack_nibbles, signed_extreme, unpack_nibbles};
use crate::vectorized::{self, DecodeBlock, EncodeBlock};

/// Weights in a block.
const N: usize = 32;
/// Bytes of a block.
const B: usize = 18;

/// The search under importance.
pub(crate) const SEARCH: SmallSearch = SmallSearch::Symmetric(8);

/// Four bits and a scale for each 32 weights.
#[derive(Debug)]
pub(crate) struct Q4_0;

impl Encoding for Q4_0 {
    fn id(&self) -> &'static str {
        "q4_0"
    }

    fn doc(&self) -> &'static str {
        "4 bits, one scale for 32 weights; the portable type of NPUs and old runtimes"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: N, block_bytes: B }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        match importance {
            None => vectorized::encode(self, source, row_length, importance, out),
            Some(importance) => encode_weighted(self, (source, row_length), importance, out, SEARCH, store),
        }
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

impl Grid for Q4_0 {
    fn shape(&self) -> GridShape {
        GridShape { group: N, scale: Steps::Factor, offset: None, levels: Levels::Even { lowest: -8, count: 16 } }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        set_codes(&mut parts.codes, &unpack_nibbles(&block[2..]));
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        write_half(block, 0, parts.factors[0]);
        pack_nibbles(&bytes_of(&parts.codes), &mut block[2..]);
    }
}

impl EncodeBlock<N, B> for Q4_0 {
    /// The weight of largest magnitude becomes code 0; the others are rounded.
    #[inline(always)]
    fn encode_block(x: &[f32; N], y: &mut [u8; B]) {
        let d = signed_extreme(x) / -8.0;
        let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
        y[..2].copy_from_slice(&half_bits(d).to_le_bytes());
        if inverse.is_infinite() {
            // The scale is below 2^-128; the reference's conversion of infinity to a byte gives zero.
            y[2..].fill(0);
            return;
        }
        let codes: [u8; N] = std::array::from_fn(|i| (floor_positive(x[i] * inverse + 8.5) & 255).min(15) as u8);
        pack_nibbles(&codes, &mut y[2..]);
    }
}

impl DecodeBlock<N, B> for Q4_0 {
    #[inline(always)]
    fn decode_block(x: &[u8; B], y: &mut [f32; N]) {
        let d = half_value(u16::from_le_bytes([x[0], x[1]]));
        let codes = unpack_nibbles(&x[2..]);
        for i in 0..N {
            y[i] = (i32::from(codes[i]) - 8) as f32 * d;
        }
    }
}

#[inline(always)]
fn store(d: f32, _minimum: f32, codes: &[u8; N], y: &mut [u8; B]) {
    y[..2].copy_from_slice(&computed_half_bits(d).to_le_bytes());
    pack_nibbles(codes, &mut y[2..]);
}
