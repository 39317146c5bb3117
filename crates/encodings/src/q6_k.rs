//! `q6_k`: 16 groups of 16 weights of six bits; each group has a signed scale of eight bits.
//!
//! ```text
//! byte   0                             128                        192                  208      210
//!        | lower four bits: 128 bytes  | upper two bits: 64 bytes | scales: 16 x i8    | d: f16 |
//! ```
//! `weight = d * scale * (code - 32)`. In each half `h` of 128 weights, byte `64 h + i` of the lower
//! bits holds weights `i` and `i + 64` (`i < 64`), byte `32 h + i` of the upper bits holds weights
//! `i + 32 k` at bit `2 k` (`i < 32`).
//!
//! Spec: `block_q6_K` in ggml-common.h.

use gravure_core::contracts::{GridShape, Levels, Parts};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};

use crate::blocks::{decode_blocks, validate_scales};
use crate::grid::{bytes_of, multiples, nearest_half, read_half, set_codes, write_half};
use crate::lanes::batch::encode_batches;
use crate::lanes::q6_k::Q6KLanes;
use crate::numbers::{half_bits, half_value};
use crate::search::{TINY, extreme, nearest, symmetric};
use crate::super_blocks::{N, groups, groups_mut, pack_two_bits, round_symmetric, unpack_two_bits};

/// Bytes of a block.
pub(crate) const B: usize = 210;

/// Six bits with quantized scales.
#[derive(Debug)]
pub(crate) struct Q6K;

impl Encoding for Q6K {
    fn id(&self) -> &'static str {
        "q6_k"
    }

    fn doc(&self) -> &'static str {
        "6 bits, a scale for 16 weights in blocks of 256; close to lossless"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: N, block_bytes: B }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_batches(self, source, row_length, importance, out, Q6KLanes, encode_block)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |x: &[u8; B], y: &mut [f32; N]| {
            let d = half_value(u16::from_le_bytes([x[208], x[209]]));
            let codes = unpack_codes(x);
            for (j, group) in groups_mut::<_, 16>(y).iter_mut().enumerate() {
                let scale = d * f32::from(x[192 + j] as i8);
                for i in 0..16 {
                    group[i] = scale * (i32::from(codes[16 * j + i]) - 32) as f32;
                }
            }
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<B>(self, source, &[208])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Q6K {
    fn shape(&self) -> GridShape {
        GridShape { group: 16, scale: multiples(-128, 127), offset: None, levels: Levels::Even { lowest: -32, count: 64 } }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 208);
        for (scale, byte) in parts.scales.iter_mut().zip(&block[192..208]) {
            *scale = i32::from(*byte as i8);
        }
        set_codes(&mut parts.codes, &unpack_codes(block));
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        pack_codes(&bytes_of(&parts.codes), block);
        for (scale, byte) in parts.scales.iter().zip(&mut block[192..208]) {
            *byte = *scale as i8 as u8;
        }
        write_half(block, 208, parts.factors[0]);
    }
}

/// Encodes one block.
pub(crate) fn encode_block(x: &[f32; N], importance: Option<&[f32; N]>, y: &mut [u8; B]) {
    let mut codes = [0; N];
    let mut scales = [0.0; 16];
    for (j, group) in groups::<_, 16>(x).iter().enumerate() {
        // Importance is the error weight as it is: no variance is added at this precision.
        let weights = importance.map(|importance| &groups(importance)[j]);
        scales[j] = symmetric(32, group, weights, &mut groups_mut(&mut codes)[j]);
    }
    finish(x, &scales, |j, _| groups::<_, 16>(&codes)[j], y);
}

/// Quantizes the scales, rounds the weights under them and packs the block; `found` gives the codes
/// that the search found for a group.
#[inline(always)]
pub(crate) fn finish(x: &[f32; N], scales: &[f32; 16], found: impl Fn(usize, &[f32; 16]) -> [u8; 16], y: &mut [u8; B]) {
    let mut codes = [0; N];
    let (extreme, magnitude) = extreme(scales);
    if magnitude < TINY {
        y.fill(0);
        return;
    }
    let inverse = -128.0 / extreme;
    let d = half_bits(1.0 / inverse);
    let scale_codes = scales.map(|s| nearest(inverse * s).min(127) as i8);
    for (j, group) in groups::<_, 16>(x).iter().enumerate() {
        let scale = half_value(d) * f32::from(scale_codes[j]);
        groups_mut(&mut codes)[j] = round_symmetric(group, scale, 32, |x| found(j, x));
        y[192 + j] = scale_codes[j] as u8;
    }
    y[208..].copy_from_slice(&d.to_le_bytes());
    pack_codes(&codes, y);
}

/// Writes the codes of a block.
#[inline(always)]
fn pack_codes(codes: &[u8; N], y: &mut [u8]) {
    for (half, bytes) in groups::<_, 128>(codes).iter().zip(y[..128].as_chunks_mut::<64>().0) {
        for i in 0..64 {
            bytes[i] = half[i] & 15 | half[i + 64] << 4;
        }
    }
    pack_two_bits(&codes.map(|c| c >> 4), &mut y[128..192]);
}

/// The inverse of [`pack_codes`].
#[inline(always)]
fn unpack_codes(x: &[u8]) -> [u8; N] {
    let mut codes = unpack_two_bits(&x[128..192]);
    for (half, bytes) in groups_mut::<_, 128>(&mut codes).iter_mut().zip(x[..128].as_chunks::<64>().0) {
        for i in 0..64 {
            half[i] = half[i] << 4 | bytes[i] & 15;
            half[i + 64] = half[i + 64] << 4 | bytes[i] >> 4;
        }
    }
    codes
}
