//! `q3_k`: 16 groups of 16 weights of three bits; each group has a signed scale of six bits.
//!
//! ```text
//! byte   0                         32                         96                          108      110
//!        | third bits: 32 bytes    | lower two bits: 64 bytes | scales: 12 bytes          | d: f16 |
//! ```
//! `weight = d * (scale - 32) * (code - 4)`. The third bit of weight `32 k + i` is bit `k` of byte
//! `i`; the lower two lie as in `q2_k`. Byte `j` of the scales holds the lower four bits of scales
//! `j` and `j + 8` (`j < 8`), byte `8 + j` the upper two of scales `j + 4 k` at bit `2 k`.
//!
//! Spec: `block_q3_K` in ggml-common.h.

use gravure_core::contracts::{GridShape, Levels, Parts};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};

use crate::blocks::{decode_blocks, validate_scales};
use crate::grid::{bytes_of, multiples, nearest_half, read_half, set_codes, write_half};
use crate::lanes::batch::encode_batches;
use crate::lanes::q3_k::Q3KLanes;
use crate::numbers::{half_bits, half_value};
use crate::search::{error_weights, extreme, nearest, sum_of_squares, symmetric, symmetric_descent};
use crate::super_blocks::{N, groups, groups_mut, pack_two_bits, round_symmetric, sum, unpack_two_bits};

/// Bytes of a block.
pub(crate) const B: usize = 110;

/// Three bits with quantized scales.
#[derive(Debug)]
pub(crate) struct Q3K;

impl Encoding for Q3K {
    fn id(&self) -> &'static str {
        "q3_k"
    }

    fn doc(&self) -> &'static str {
        "3 bits, a scale for 16 weights in blocks of 256"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: N, block_bytes: B }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode_batches(self, source, row_length, importance, out, Q3KLanes, encode_block)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, |x: &[u8; B], y: &mut [f32; N]| {
            let d = half_value(u16::from_le_bytes([x[108], x[109]]));
            let scales = unpack_scales(&x[96..108]);
            let codes = unpack_two_bits(&x[32..96]);
            for (j, group) in groups_mut::<_, 16>(y).iter_mut().enumerate() {
                let scale = d * (i32::from(scales[j]) - 32) as f32;
                for i in 0..16 {
                    let at = 16 * j + i;
                    let third = x[at % 32] >> (at / 32) & 1;
                    group[i] = scale * (i32::from(codes[at] | third << 2) - 4) as f32;
                }
            }
        })
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_scales::<B>(self, source, &[108])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Q3K {
    fn shape(&self) -> GridShape {
        GridShape { group: 16, scale: multiples(-32, 31), offset: None, levels: Levels::Even { lowest: -4, count: 8 } }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 108);
        for (scale, code) in parts.scales.iter_mut().zip(unpack_scales(&block[96..108])) {
            *scale = i32::from(code) - 32;
        }
        set_codes(&mut parts.codes, &unpack_codes(block));
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        block[96..108].copy_from_slice(&pack_scales(&std::array::from_fn(|j| (parts.scales[j] + 32) as u8)));
        write_half(block, 108, parts.factors[0]);
        pack_codes(&bytes_of(&parts.codes), block);
    }
}

/// Encodes one block.
pub(crate) fn encode_block(x: &[f32; N], importance: Option<&[f32; N]>, y: &mut [u8; B]) {
    let mut codes = [0; N];
    let mut scales = [0.0; 16];
    let quantized = match importance {
        Some(importance) => {
            let variance = 2.0 * sum_of_squares(x) / N as f32;
            let mut totals = [0.0; 16];
            for (j, group) in groups::<_, 16>(x).iter().enumerate() {
                let weights = error_weights(group, &groups(importance)[j], variance);
                totals[j] = sum(&weights);
                scales[j] = symmetric(4, group, Some(&weights), &mut groups_mut(&mut codes)[j]);
            }
            let mut scale_codes = [0; 16];
            (symmetric(32, &scales, Some(&totals), &mut scale_codes), scale_codes)
        }
        None => {
            for (j, group) in groups::<_, 16>(x).iter().enumerate() {
                scales[j] = symmetric_descent(4, group, &mut groups_mut(&mut codes)[j]);
            }
            evenly(&scales)
        }
    };
    finish(x, quantized, |j, _| groups::<_, 16>(&codes)[j], y);
}

/// Rounds the weights under quantized scales (a factor and codes) and packs the block; `found`
/// gives the codes that the search found for a group.
#[inline(always)]
pub(crate) fn finish(x: &[f32; N], quantized: (f32, [u8; 16]), found: impl Fn(usize, &[f32; 16]) -> [u8; 16], y: &mut [u8; B]) {
    let (d, scale_codes) = quantized;
    let mut codes = [0; N];
    y[96..108].copy_from_slice(&pack_scales(&scale_codes));
    y[108..].copy_from_slice(&half_bits(d).to_le_bytes());
    let d = half_value(half_bits(d));
    for (j, group) in groups::<_, 16>(x).iter().enumerate() {
        let scale = d * (i32::from(scale_codes[j]) - 32) as f32;
        groups_mut(&mut codes)[j] = round_symmetric(group, scale, 4, |x| found(j, x));
    }
    pack_codes(&codes, y);
}

/// Writes the codes of a block.
#[inline(always)]
fn pack_codes(codes: &[u8; N], y: &mut [u8]) {
    y[..32].fill(0);
    for (k, run) in groups::<_, 32>(codes).iter().enumerate() {
        for i in 0..32 {
            y[i] |= (run[i] >> 2) << k;
        }
    }
    pack_two_bits(&codes.map(|c| c & 3), &mut y[32..96]);
}

/// The inverse of [`pack_codes`].
#[inline(always)]
fn unpack_codes(x: &[u8]) -> [u8; N] {
    let mut codes = unpack_two_bits(&x[32..96]);
    for (at, code) in codes.iter_mut().enumerate() {
        *code |= (x[at % 32] >> (at / 32) & 1) << 2;
    }
    codes
}

/// Six-bit codes with the scale of largest magnitude on 0; all 0 where there is none.
#[inline(always)]
pub(crate) fn evenly(scales: &[f32; 16]) -> (f32, [u8; 16]) {
    let (extreme, _) = extreme(scales);
    if extreme == 0.0 {
        return (0.0, [0; 16]);
    }
    let inverse = -32.0 / extreme;
    (1.0 / inverse, scales.map(|s| ((nearest(inverse * s) as i8).clamp(-32, 31) + 32) as u8))
}

#[inline(always)]
fn pack_scales(scales: &[u8; 16]) -> [u8; 12] {
    let mut out = [0; 12];
    for (j, &scale) in scales.iter().enumerate() {
        out[j % 8] |= (scale & 15) << (j / 8 * 4);
        out[8 + j % 4] |= scale >> 4 << (j / 4 * 2);
    }
    out
}

/// Sixteen scales of six bits in twelve bytes; 32 stands for zero.
#[inline(always)]
pub fn unpack_scales(bytes: &[u8]) -> [u8; 16] {
    std::array::from_fn(|j| bytes[j % 8] >> (j / 8 * 4) & 15 | (bytes[8 + j % 4] >> (j / 4 * 2) & 3) << 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_packed_and_unpacked() {
        let scales: [u8; 16] = std::array::from_fn(|j| (j * 13 % 64) as u8);
        assert_eq!(unpack_scales(&pack_scales(&scales)), scales);
    }
}
