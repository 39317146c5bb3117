//! IQ4_NL: four bits a weight, uneven levels, one scale for 32 weights (4.5 bits in all).
//!
//! ```text
//! byte 0        2                       18
//!      | scale  | 16 bytes of codes     |
//!      | half   | low nibbles: weights 0..16, high nibbles: 16..32
//! ```
//! A weight is `scale * level[code]`. Spec: `block_iq4_nl` of ggml.

use gravure_core::contracts::{GridShape, Levels, Parts, Steps};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::grid::{nearest_half, read_half, write_half};
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq4_levels::{GROUP, TABLE, code, pack, read_codes, scale, unpack, weights, write_codes};
use crate::numbers::{half_bits, half_value};
use crate::search::{TINY, extreme, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq4Nl;

const BYTES: usize = 18;

impl Encoding for Iq4Nl {
    fn id(&self) -> &'static str {
        "iq4_nl"
    }

    fn doc(&self) -> &'static str {
        "4-bit codes for 16 uneven levels, a scale for 32 weights: for rows that are no multiple of 256"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: GROUP, block_bytes: BYTES }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |block: &[u8; BYTES], out: &mut [f32; GROUP]| {
            let [low, high, packed @ ..] = block;
            unpack(half_value(u16::from_le_bytes([*low, *high])), packed, out);
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<BYTES>(self, source, &[0])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Iq4Nl {
    fn shape(&self) -> GridShape {
        GridShape { group: GROUP, scale: Steps::Factor, offset: None, levels: Levels::Table(&TABLE) }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        read_codes(&block[2..], &mut parts.codes);
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        write_half(block, 0, parts.factors[0]);
        write_codes(&parts.codes, &mut block[2..]);
    }
}

impl EncodeWeighted<GROUP, BYTES> for Iq4Nl {
    #[inline(always)]
    fn encode_block<S: Simd>(_isa: Option<S>, x: &[f32; GROUP], importance: Option<&[f32; GROUP]>, out: &mut [u8; BYTES]) -> Option<()> {
        let variance = sum_of_squares(x) * (2.0 / GROUP as f32);
        let (extreme, magnitude) = extreme(x);
        let scale = if magnitude < TINY { 0.0 } else { scale(x, &weights(x, importance, variance), extreme) };
        let inverse = if scale != 0.0 { 1.0 / scale } else { 0.0 };
        let [low, high, packed @ ..] = out;
        [*low, *high] = half_bits(scale).to_le_bytes();
        pack(&x.map(|v| code(inverse * v)), packed);
        Some(())
    }
}
