//! IQ4_XS: four bits a weight, uneven levels, six-bit scales for groups of 32 under one half for
//! 256 weights (4.25 bits in all).
//!
//! ```text
//! byte 0      2              4             8                                  136
//!      | half | 8 x 2 bits   | 8 x 4 bits  | 8 groups of 16 bytes of codes    |
//!      |      | scales, high | scales, low | as in the encoding without groups
//! ```
//! A weight is `half * (group scale - 32) * level[code]`. Spec: `block_iq4_xs` of ggml.

use gravure_core::contracts::{GridShape, Levels, Parts};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::grid::{multiples, nearest_half, read_half, write_half};
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq4_levels::{GROUP, TABLE, code, pack, read_codes, scale, unpack, weights, write_codes};
use crate::numbers::{half_bits, half_value};
use crate::search::{TINY, extreme, nearest, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq4Xs;

const ELEMENTS: usize = 256;
const GROUPS: usize = ELEMENTS / GROUP;
const BYTES: usize = 136;

impl Encoding for Iq4Xs {
    fn id(&self) -> &'static str {
        "iq4_xs"
    }

    fn doc(&self) -> &'static str {
        "4-bit codes for 16 uneven levels, 6-bit scales for 32 weights: the smallest of the good 4-bit ones"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, decode_block)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<BYTES>(self, source, &[0])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Iq4Xs {
    fn shape(&self) -> GridShape {
        GridShape { group: GROUP, scale: multiples(-32, 31), offset: None, levels: Levels::Table(&TABLE) }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        for (g, scale) in parts.scales.iter_mut().enumerate() {
            *scale = i32::from(group_scale(block, g));
        }
        for (bytes, codes) in block[8..].as_chunks::<{ GROUP / 2 }>().0.iter().zip(parts.codes.chunks_exact_mut(GROUP)) {
            read_codes(bytes, codes);
        }
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        block[..8].fill(0);
        write_half(block, 0, parts.factors[0]);
        let (head, packed) = block.split_at_mut(8);
        for (g, scale) in parts.scales.iter().enumerate() {
            set_group_scale(head, g, (scale + 32) as u8);
        }
        for (codes, bytes) in parts.codes.chunks_exact(GROUP).zip(packed.as_chunks_mut::<{ GROUP / 2 }>().0) {
            write_codes(codes, bytes);
        }
    }
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq4Xs {
    #[inline(always)]
    fn encode_block<S: Simd>(
        _isa: Option<S>,
        x: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
        out: &mut [u8; BYTES],
    ) -> Option<()> {
        let variance = sum_of_squares(x) * (2.0 / ELEMENTS as f32);
        let groups = x.as_chunks::<GROUP>().0;
        let mut scales = [0.0f32; GROUPS];
        let mut largest = 0.0f32;
        for (g, x) in groups.iter().enumerate() {
            let (extreme, magnitude) = extreme(x);
            if magnitude < TINY {
                continue;
            }
            let importance = importance.map(|columns| &columns.as_chunks::<GROUP>().0[g]);
            scales[g] = scale(x, &weights(x, importance, variance), extreme);
            if scales[g].abs() > largest.abs() {
                largest = scales[g];
            }
        }
        let step = -largest / 32.0;
        let inverse = if step != 0.0 { 1.0 / step } else { 0.0 };
        out.fill(0);
        out[..2].copy_from_slice(&half_bits(step).to_le_bytes());
        let (head, packed) = out.split_at_mut(8);
        for (g, (x, packed)) in groups.iter().zip(packed.as_chunks_mut().0).enumerate() {
            let l = nearest(inverse * scales[g]).clamp(-32, 31);
            let group_scale = step * l as f32;
            let group_inverse = if group_scale != 0.0 { 1.0 / group_scale } else { 0.0 };
            pack(&x.map(|v| code(group_inverse * v)), packed);
            set_group_scale(head, g, (l + 32) as u8);
        }
        Some(())
    }
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let (head, packed) = block.split_at(8);
    let step = half_value(u16::from_le_bytes([head[0], head[1]]));
    for (g, (packed, out)) in packed.as_chunks().0.iter().zip(out.as_chunks_mut().0).enumerate() {
        unpack(step * f32::from(group_scale(head, g)), packed, out);
    }
}

/// The scale of a group, -32 to 31.
#[inline(always)]
fn group_scale(head: &[u8], g: usize) -> i8 {
    let low = head[4 + g / 2] >> (4 * (g % 2)) & 15;
    let high = head[2 + g / 4] >> (2 * (g % 4)) & 3;
    (low | high << 4) as i8 - 32
}

/// Sets the six bits of a group's scale, which were zero.
#[inline(always)]
fn set_group_scale(head: &mut [u8], g: usize, bits: u8) {
    head[2 + g / 4] |= (bits >> 4) << (2 * (g % 4));
    head[4 + g / 2] |= (bits & 15) << (4 * (g % 2));
}
