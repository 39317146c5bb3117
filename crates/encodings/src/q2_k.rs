//! `q2_k`: 16 groups of 16 weights of two bits; each group has a scale and a minimum of four bits.
//!
//! ```text
//! byte   0                                 16                            80       82       84
//!        | 16 bytes: scale | minimum << 4  | 64 bytes: codes of two bits | d: f16 | m: f16 |
//! ```
//! `weight = d * scale * code - m * minimum`. Byte `32 h + i` of the codes holds weights
//! `128 h + i + 32 k` at bit `2 k`.
//!
//! Spec: `block_q2_K` in ggml-common.h.

use gravure_core::contracts::{GridShape, Levels, Parts};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};

use crate::blocks::{decode_blocks, validate_scales};
use crate::grid::{bytes_of, depths, multiples, nearest_half, read_half, set_codes, write_half};
use crate::lanes::batch::encode_batches;
use crate::lanes::q2_k::Q2KLanes;
use crate::numbers::{half_bits, half_value};
use crate::search::{AffineSearch, Penalty, affine, error_weights, nearest, positive, sum_of_squares};
use crate::super_blocks::{N, WEIGHTED, groups, groups_mut, largest, pack_two_bits, round_affine, sum, unpack_two_bits};

/// Bytes of a block.
pub(crate) const B: usize = 84;

/// Without importance the absolute error counts, more of it for large weights.
pub(crate) const PLAIN: AffineSearch = AffineSearch { levels: 3, first: -0.5, step: 0.1, steps: 15, penalty: Penalty::Absolute };
/// With importance the squared error counts.
pub(crate) const IMPORTANT: AffineSearch =
    AffineSearch { levels: 3, first: WEIGHTED.0, step: WEIGHTED.1, steps: WEIGHTED.2, penalty: Penalty::Squared };

/// Two bits with quantized scales and minima.
#[derive(Debug)]
pub(crate) struct Q2K;

impl Encoding for Q2K {
    fn id(&self) -> &'static str {
        "q2_k"
    }

    fn doc(&self) -> &'static str {
        "2 bits, scale and minimum for 16 weights in blocks of 256; with an importance matrix"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: N, block_bytes: B }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_batches(self, source, row_length, importance, out, Q2KLanes, encode_block)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |x: &[u8; B], y: &mut [f32; N]| {
            let d = half_value(u16::from_le_bytes([x[80], x[81]]));
            let m = half_value(u16::from_le_bytes([x[82], x[83]]));
            let codes = unpack_two_bits(&x[16..80]);
            for (j, group) in groups_mut::<_, 16>(y).iter_mut().enumerate() {
                let (scale, depth) = (d * f32::from(x[j] & 15), m * f32::from(x[j] >> 4));
                for i in 0..16 {
                    group[i] = scale * f32::from(codes[16 * j + i]) - depth;
                }
            }
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<B>(self, source, &[80, 82])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Q2K {
    fn shape(&self) -> GridShape {
        GridShape { group: 16, scale: multiples(0, 15), offset: Some(depths(15)), levels: Levels::Even { lowest: 0, count: 4 } }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors = [read_half(block, 80), read_half(block, 82)];
        for j in 0..16 {
            parts.scales[j] = i32::from(block[j] & 15);
            parts.offsets[j] = i32::from(block[j] >> 4);
        }
        set_codes(&mut parts.codes, &unpack_two_bits(&block[16..80]));
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        for j in 0..16 {
            block[j] = parts.scales[j] as u8 | (parts.offsets[j] as u8) << 4;
        }
        pack_two_bits(&bytes_of(&parts.codes), &mut block[16..80]);
        write_half(block, 80, parts.factors[0]);
        write_half(block, 82, parts.factors[1]);
    }
}

/// Encodes one block.
pub(crate) fn encode_block(x: &[f32; N], importance: Option<&[f32; N]>, y: &mut [u8; B]) {
    let mut codes = [0; N];
    let (mut scales, mut depths, mut totals) = ([0.0; 16], [0.0; 16], [0.0; 16]);
    let variance = sum_of_squares(x) / N as f32;
    for (j, group) in groups::<_, 16>(x).iter().enumerate() {
        let (search, weights) = match importance {
            Some(importance) => (&IMPORTANT, error_weights(group, &groups(importance)[j], variance)),
            None => (&PLAIN, group.map(f32::abs)),
        };
        totals[j] = sum(&weights);
        (scales[j], depths[j]) = affine(search, group, &weights, &mut groups_mut(&mut codes)[j]);
    }
    let quantized = match importance {
        Some(_) => [fitted(&scales, &totals), fitted(&depths, &totals)],
        None => [evenly(&scales), evenly(&depths)],
    };
    finish(x, quantized, |j, _| groups::<_, 16>(&codes)[j], y);
}

/// Rounds the weights under quantized scales and depths (each a factor and codes) and packs the
/// block; `found` gives the codes that the search found for a group.
#[inline(always)]
pub(crate) fn finish(x: &[f32; N], quantized: [(f32, [u8; 16]); 2], found: impl Fn(usize, &[f32; 16]) -> [u8; 16], y: &mut [u8; B]) {
    let [(d, scale_codes), (m, depth_codes)] = quantized;
    let mut codes = [0; N];
    for j in 0..16 {
        y[j] = scale_codes[j] | depth_codes[j] << 4;
    }
    y[80..82].copy_from_slice(&half_bits(d).to_le_bytes());
    y[82..].copy_from_slice(&half_bits(m).to_le_bytes());
    let (d, m) = (half_value(half_bits(d)), half_value(half_bits(m)));
    for (j, group) in groups::<_, 16>(x).iter().enumerate() {
        let (scale, depth) = (d * f32::from(y[j] & 15), m * f32::from(y[j] >> 4));
        groups_mut(&mut codes)[j] = round_affine(group, scale, depth, PLAIN.levels, |x| found(j, x));
    }
    pack_two_bits(&codes, &mut y[16..80]);
}

/// Four-bit codes by a weighted search.
fn fitted(values: &[f32; 16], weights: &[f32; 16]) -> (f32, [u8; 16]) {
    let mut codes = [0; 16];
    (positive(15, values, weights, &mut codes), codes)
}

/// Four-bit codes with the largest value on 15.
#[inline(always)]
pub(crate) fn evenly(values: &[f32; 16]) -> (f32, [u8; 16]) {
    let largest = largest(values);
    if !(largest > 0.0) {
        return (0.0, [0; 16]);
    }
    let inverse = 15.0 / largest;
    (largest / 15.0, values.map(|v| nearest(inverse * v) as u8))
}
