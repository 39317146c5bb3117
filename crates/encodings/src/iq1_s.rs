//! IQ1_S: eight weights as one of 2048 ternary lattice points, three-bit scales and a common shift
//! for groups of 32 under one half for 256 weights (1.5625 bits in all).
//!
//! ```text
//! byte 0      2                  34                                  50
//!      | half | 32 bytes         | 8 words of 16 bits:               |
//!      |      | points, low bits | 4 x 3 bits, points; 3 bits, scale; 1 bit, shift
//! ```
//! A weight is `half * (2 * scale + 1) * (level - 1 + shift)`, the shift 1/8 or -1/8.
//! Spec: `block_iq1_s` of ggml.

use gravure_core::{Encoding, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::codebooks::iq1::POINTS;
use crate::codebooks::iq2::levels;
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_search::{ELEMENTS, code_scales};
use crate::iq1_search::{Fit, SHIFTED, Sorted, Split, fit, sorted};
use crate::numbers::{half_bits, half_value};
use crate::search::{error_weights, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq1S;

const GROUP: usize = 32;
const GROUPS: usize = ELEMENTS / GROUP;
const VECTORS: usize = GROUP / 8;
const BYTES: usize = 50;

/// A group whose largest weight is below this counts as all zero.
const SMALLEST: f32 = 1e-12;

/// Both shifts, in the order in which they are tried.
const SHIFTS: [[bool; 1]; 2] = [[false], [true]];

/// The block's scale is made this much larger than the largest group wants it: found by trial.
const STRETCH: f32 = 1.125;

impl Encoding for Iq1S {
    fn id(&self) -> &'static str {
        "iq1_s"
    }

    fn doc(&self) -> &'static str {
        "8 weights as one of 2048 ternary points: the smallest of all, with an importance matrix only"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Required
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
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq1S {
    #[inline(always)]
    fn encode_block<S: Simd>(
        isa: Option<S>,
        x: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
        out: &mut [u8; BYTES],
    ) -> Option<()> {
        let variance = 2.0 * sum_of_squares(x) / ELEMENTS as f32;
        let mut scales = [0.0f32; GROUPS];
        let mut down = [false; GROUPS];
        let mut words = [0u16; GROUPS];
        out.fill(0);
        let mut weights = [0.0f32; ELEMENTS];
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            weights.as_chunks_mut().0[g] = error_weights(x, &importance?.as_chunks().0[g], variance);
        }
        let sorted: [Sorted<GROUP, { GROUP + 1 }, 1>; GROUPS] = sorted(isa, x, &weights, &SHIFTS);
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            if x.iter().fold(0.0f32, |largest, v| largest.max(v.abs())) < SMALLEST {
                continue;
            }
            let Some(split) = best_split(&sorted[g]) else { continue };
            let fit: Fit<1, VECTORS> = fit(isa, x, &weights.as_chunks().0[g], &sorted[g].order, split)?;
            scales[g] = fit.scale;
            down[g] = fit.down[0];
            for (k, point) in fit.points.iter().enumerate() {
                out[2 + VECTORS * g + k] = (point & 255) as u8;
                words[g] |= (point >> 8) << (3 * k);
            }
        }
        let (step, codes) = code_scales(&scales, 15.0, 7);
        if step != 0.0 {
            out[..2].copy_from_slice(&half_bits(step * STRETCH).to_le_bytes());
            for g in 0..GROUPS {
                words[g] |= u16::from(codes[g]) << 12 | u16::from(down[g]) << 15;
            }
        }
        for (bytes, word) in out[2 + ELEMENTS / 8..].as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        Some(())
    }
}

/// Tries splits with both shifts; the first of equally good ones.
#[inline(always)]
fn best_split(group: &Sorted<GROUP, { GROUP + 1 }, 1>) -> Option<Split<1>> {
    let ([sum_x], [sum_w]) = (&group.sums.x, &group.sums.w);
    let mut best = None;
    let mut score = -f32::MAX;
    group.splits.for_each(GROUP, |first, second| {
        let x = [sum_x[first], sum_x[second] - sum_x[first], sum_x[GROUP] - sum_x[second]];
        let w = [sum_w[first], sum_w[second] - sum_w[first], sum_w[GROUP] - sum_w[second]];
        for down in SHIFTS {
            let v = &SHIFTED[usize::from(down[0])];
            let with_x = x[0] * v[0] + x[1] * v[1] + x[2] * v[2];
            let with_value = w[0] * v[0] * v[0] + w[1] * v[1] * v[1] + w[2] * v[2] * v[2];
            if with_value > 0.0 && with_x * with_x > score * with_value {
                let scale = with_x / with_value;
                score = scale * with_x;
                best = Some(Split { first, second, scale, down });
            }
        }
    });
    best
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let half = half_value(u16::from_le_bytes([block[0], block[1]]));
    let (low, words) = block[2..].split_at(ELEMENTS / 8);
    for (v, (&low, out)) in low.iter().zip(out.as_chunks_mut::<8>().0).enumerate() {
        let g = v / VECTORS;
        let word = u16::from_le_bytes([words[2 * g], words[2 * g + 1]]);
        let scale = half * f32::from(2 * (word >> 12 & 7) + 1);
        let shift = SHIFTED[usize::from(word >> 15)][1];
        let high = usize::from(word >> (3 * (v % VECTORS)) & 7) << 8;
        *out = levels(POINTS[usize::from(low) | high]).map(|l| scale * (f32::from(l) - 1.0 + shift));
    }
}
