//! `q4_k`: eight groups of 32 weights of four bits; each group has a scale and a minimum of six
//! bits. The usual choice.
//!
//! ```text
//! byte   0        2        4                                16                              144
//!        | d: f16 | m: f16 | scales and minima: 12 bytes    | codes of four bits: 128 bytes |
//! ```
//! `weight = d * scale * code - m * minimum`. Byte `32 h + i` of the codes holds weight `64 h + i`
//! in its low half and weight `64 h + i + 32` in its high half.
//!
//! Spec: `block_q4_K` in ggml-common.h.

use gravure_core::contracts::{GridShape, Levels, Parts};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};

use crate::blocks::{decode_blocks, validate_scales};
use crate::grid::{depths, multiples, nearest_half};
use crate::lanes::affine32::Affine32Lanes;
use crate::lanes::batch::encode_batches;
use crate::numbers::half_value;
use crate::super_blocks::{Affine32, N, groups, unpack_six_bits};

/// Bytes of a block.
pub(crate) const B: usize = 144;

/// Largest code.
const LEVELS: i32 = 15;
/// First, step and number of the search's candidates where there is no importance.
const CANDIDATES: (f32, f32, i32) = (-1.0, 0.1, 20);
/// The encoder of many blocks at once.
pub(crate) const LANES: Affine32Lanes<fn(&Affine32, &mut [u8; B])> = Affine32Lanes { levels: LEVELS, candidates: CANDIDATES, pack };

/// Four bits with quantized scales and minima.
#[derive(Debug)]
pub(crate) struct Q4K;

impl Encoding for Q4K {
    fn id(&self) -> &'static str {
        "q4_k"
    }

    fn doc(&self) -> &'static str {
        "4 bits, scale and minimum for 32 weights in blocks of 256; the usual choice"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: N, block_bytes: B }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_batches(self, source, row_length, importance, out, LANES, encode_block)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |x: &[u8; B], y: &mut [f32; N]| {
            let d = half_value(u16::from_le_bytes([x[0], x[1]]));
            let m = half_value(u16::from_le_bytes([x[2], x[3]]));
            let (scales, minima) = unpack_six_bits(&std::array::from_fn(|i| x[4 + i]));
            for (h, bytes) in x[16..].as_chunks::<32>().0.iter().enumerate() {
                let scale = [d * f32::from(scales[2 * h]), d * f32::from(scales[2 * h + 1])];
                let depth = [m * f32::from(minima[2 * h]), m * f32::from(minima[2 * h + 1])];
                for (i, byte) in bytes.iter().enumerate() {
                    y[64 * h + i] = scale[0] * f32::from(byte & 15) - depth[0];
                    y[64 * h + i + 32] = scale[1] * f32::from(byte >> 4) - depth[1];
                }
            }
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<B>(self, source, &[0, 2])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Q4K {
    fn shape(&self) -> GridShape {
        GridShape { group: 32, scale: multiples(0, 63), offset: Some(depths(63)), levels: Levels::Even { lowest: 0, count: 16 } }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        Affine32::read_scales(block, parts);
        for (pair, bytes) in parts.codes.as_chunks_mut::<64>().0.iter_mut().zip(block[16..].as_chunks::<32>().0) {
            for i in 0..32 {
                pair[i] = u16::from(bytes[i] & 15);
                pair[i + 32] = u16::from(bytes[i] >> 4);
            }
        }
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        if let Some(block) = block.first_chunk_mut() {
            pack(&Affine32::from_parts(parts), block);
        }
    }
}

/// Encodes one block.
pub(crate) fn encode_block(x: &[f32; N], importance: Option<&[f32; N]>, y: &mut [u8; B]) {
    pack(&Affine32::fit(LEVELS, CANDIDATES, x, importance), y);
}

/// Packs a fitted block.
#[inline(always)]
fn pack(block: &Affine32, y: &mut [u8; B]) {
    y[..2].copy_from_slice(&block.d.to_le_bytes());
    y[2..4].copy_from_slice(&block.m.to_le_bytes());
    y[4..16].copy_from_slice(&block.scales);
    for (pair, bytes) in groups::<_, 64>(&block.codes).iter().zip(y[16..].as_chunks_mut::<32>().0) {
        for i in 0..32 {
            bytes[i] = pair[i] | pair[i + 32] << 4;
        }
    }
}
