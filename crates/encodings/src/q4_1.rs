//! `q4_1`: 32 weights share a scale and a minimum, each is an integer of four bits.
//!
//! ```text
//! byte   0        2        4                                   20
//!        | d: f16 | m: f16 | 16 bytes: weight i | weight i+16 << 4 |
//! ```
//! `weight = d * code + m`.
//!
//! Spec: `block_q4_1` in ggml-common.h.

use gravure_core::contracts::{GridShape, Levels, Parts, Steps};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};

use crate::blocks::validate_scales;
use crate::grid::{bytes_of, nearest_half, read_half, set_codes, write_half};
use crate::lanes::small::{SmallSearch, encode_weighted};
use crate::numbers::{floor_positive, half_bits, half_value};
use crate::search::{AffineSearch, Penalty};
use crate::small_blocks::{pack_nibbles, range, unpack_nibbles};
use crate::vectorized::{self, DecodeBlock, EncodeBlock};

/// Weights in a block.
const N: usize = 32;
/// Bytes of a block.
const B: usize = 20;

/// The search under importance.
pub(crate) const SEARCH: SmallSearch =
    SmallSearch::Affine(AffineSearch { levels: 15, first: -0.9, step: 0.05, steps: 36, penalty: Penalty::Squared });

/// Four bits, a scale and a minimum for each 32 weights.
#[derive(Debug)]
pub(crate) struct Q4_1;

impl Encoding for Q4_1 {
    fn id(&self) -> &'static str {
        "q4_1"
    }

    fn doc(&self) -> &'static str {
        "4 bits, scale and minimum for 32 weights; the K types are better for their size"
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
        validate_scales::<B>(self, source, &[0, 2])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Q4_1 {
    fn shape(&self) -> GridShape {
        GridShape { group: N, scale: Steps::Factor, offset: Some(Steps::Factor), levels: Levels::Even { lowest: 0, count: 16 } }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors = [read_half(block, 0), read_half(block, 2)];
        set_codes(&mut parts.codes, &unpack_nibbles(&block[4..]));
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        write_half(block, 0, parts.factors[0]);
        write_half(block, 2, parts.factors[1]);
        pack_nibbles(&bytes_of(&parts.codes), &mut block[4..]);
    }
}

impl EncodeBlock<N, B> for Q4_1 {
    /// The range is divided evenly.
    #[inline(always)]
    fn encode_block(x: &[f32; N], y: &mut [u8; B]) {
        let (low, high) = range(x);
        let d = (high - low) / 15.0;
        let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
        y[..2].copy_from_slice(&half_bits(d).to_le_bytes());
        y[2..4].copy_from_slice(&half_bits(low).to_le_bytes());
        if inverse.is_infinite() {
            // The scale is below 2^-128; the reference's conversion of infinity to a byte gives zero.
            y[4..].fill(0);
            return;
        }
        let codes: [u8; N] = std::array::from_fn(|i| (floor_positive((x[i] - low) * inverse + 0.5) & 255).min(15) as u8);
        pack_nibbles(&codes, &mut y[4..]);
    }
}

impl DecodeBlock<N, B> for Q4_1 {
    #[inline(always)]
    fn decode_block(x: &[u8; B], y: &mut [f32; N]) {
        let d = half_value(u16::from_le_bytes([x[0], x[1]]));
        let m = half_value(u16::from_le_bytes([x[2], x[3]]));
        let codes = unpack_nibbles(&x[4..]);
        for i in 0..N {
            y[i] = f32::from(codes[i]) * d + m;
        }
    }
}

#[inline(always)]
fn store(d: f32, m: f32, codes: &[u8; N], y: &mut [u8; B]) {
    y[..2].copy_from_slice(&half_bits(d).to_le_bytes());
    y[2..4].copy_from_slice(&half_bits(m).to_le_bytes());
    pack_nibbles(codes, &mut y[4..]);
}
