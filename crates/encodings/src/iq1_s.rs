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
use gravure_simd::{F32s, MAX_LANES, Mask, Simd};

use crate::blocks::{decode_blocks, validate_scales};
use crate::codebooks::iq1::POINTS;
use crate::codebooks::iq2::levels;
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_search::{ELEMENTS, code_scales};
use crate::iq1_search::{SHIFTED, add_projections, ascending, find, padded};
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
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let weights = error_weights(x, &importance?.as_chunks().0[g], variance);
            let Some(fit) = fit_group(isa, x, &weights)? else { continue };
            scales[g] = fit.scale;
            down[g] = fit.down;
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

/// The outcome for a group.
struct Fit {
    scale: f32,
    down: bool,
    points: [u16; VECTORS],
}

/// Fits a group; `Some(None)` where there is nothing to store.
///
/// With three levels the best rounding can be found exactly: it splits the sorted weights at two
/// places, and prefix sums give the scale and the score of each split.
#[inline(always)]
fn fit_group<S: Simd>(isa: Option<S>, x: &[f32; GROUP], weights: &[f32; GROUP]) -> Option<Option<Fit>> {
    if x.iter().fold(0.0f32, |largest, v| largest.max(v.abs())) < SMALLEST {
        return Some(None);
    }
    let order = ascending(x);
    let mut sum_x = [0.0f32; GROUP + 1];
    let mut sum_w = [0.0f32; GROUP + 1];
    for (j, &i) in order.iter().enumerate() {
        let i = usize::from(i);
        sum_x[j + 1] = sum_x[j] + weights[i] * x[i];
        sum_w[j + 1] = sum_w[j] + weights[i];
    }
    let Some(Split { first, second, mut scale, mut down }) = best_split(isa, &sum_x, &sum_w) else { return Some(None) };
    let mut levels = [0u8; GROUP];
    for (j, &i) in order.iter().enumerate() {
        levels[usize::from(i)] = u8::from(j >= first) + u8::from(j >= second);
    }
    if scale < 0.0 {
        levels = levels.map(|l| 2 - l);
        scale = -scale;
        down = !down;
    }
    let values = &SHIFTED[usize::from(down)];
    let (vectors, vector_weights) = (x.as_chunks::<8>().0, weights.as_chunks::<8>().0);
    let mut points = [0u16; VECTORS];
    let mut moved = false;
    for (k, levels) in levels.as_chunks::<8>().0.iter().enumerate() {
        let (point, exact) = find(isa, levels, &vectors[k], &vector_weights[k], scale, values)?;
        points[k] = point;
        moved |= !exact;
    }
    if moved {
        let mut sums = (0.0, 0.0);
        for k in 0..VECTORS {
            add_projections(points[k], &vectors[k], &vector_weights[k], |l| values[usize::from(l)], &mut sums);
        }
        if sums.0 > 0.0 && sums.1 > 0.0 {
            scale = sums.0 / sums.1;
        }
    }
    if scale.is_nan() { None } else { Some(Some(Fit { scale, down, points })) }
}

/// Splits that are looked at together.
const STRIDE: usize = MAX_LANES;

/// Where the levels change in the sorted group, and what fits then.
struct Split {
    first: usize,
    second: usize,
    scale: f32,
    down: bool,
}

/// Tries all splits with both shifts; the first of equally good ones.
#[inline(always)]
fn best_split<S: Simd>(isa: Option<S>, sum_x: &[f32; GROUP + 1], sum_w: &[f32; GROUP + 1]) -> Option<Split> {
    let padded = (padded(sum_x), padded(sum_w));
    let mut best = None;
    let mut score = -f32::MAX;
    for first in 0..=GROUP {
        for from in (first..=GROUP).step_by(STRIDE) {
            // Few splits are better than the best so far: many are compared with it at once.
            let mut better = match isa {
                Some(isa) => better(isa, &padded, first, from, score),
                None => u32::MAX,
            };
            better &= u32::MAX >> (31 - (GROUP - from).min(STRIDE - 1));
            while better != 0 {
                let second = from + better.trailing_zeros() as usize;
                better &= better - 1;
                let x = [sum_x[first], sum_x[second] - sum_x[first], sum_x[GROUP] - sum_x[second]];
                let w = [sum_w[first], sum_w[second] - sum_w[first], sum_w[GROUP] - sum_w[second]];
                for (down, v) in [(false, &SHIFTED[0]), (true, &SHIFTED[1])] {
                    let with_x = x[0] * v[0] + x[1] * v[1] + x[2] * v[2];
                    let with_value = w[0] * v[0] * v[0] + w[1] * v[1] * v[1] + w[2] * v[2] * v[2];
                    if with_value > 0.0 && with_x * with_x > score * with_value {
                        let scale = with_x / with_value;
                        score = scale * with_x;
                        best = Some(Split { first, second, scale, down });
                    }
                }
            }
        }
    }
    best
}

/// Which of the next [`STRIDE`] second splits score better, a bit for each.
#[inline(always)]
fn better<S: Simd>(isa: S, (sum_x, sum_w): &([f32; GROUP + STRIDE], [f32; GROUP + STRIDE]), first: usize, from: usize, score: f32) -> u32 {
    let (zero, score) = (F32s::splat(isa, 0.0), F32s::splat(isa, score));
    let mut bits = 0;
    for start in (0..STRIDE).step_by(S::LANES) {
        let mut better = Mask::none(isa);
        let (second_x, second_w) = (F32s::load(isa, &sum_x[from + start..]), F32s::load(isa, &sum_w[from + start..]));
        let x = [F32s::splat(isa, sum_x[first]), second_x - F32s::splat(isa, sum_x[first]), F32s::splat(isa, sum_x[GROUP]) - second_x];
        let w = [F32s::splat(isa, sum_w[first]), second_w - F32s::splat(isa, sum_w[first]), F32s::splat(isa, sum_w[GROUP]) - second_w];
        for v in SHIFTED {
            let v = [F32s::splat(isa, v[0]), F32s::splat(isa, v[1]), F32s::splat(isa, v[2])];
            let with_x = x[0] * v[0] + x[1] * v[1] + x[2] * v[2];
            let with_value = w[0] * v[0] * v[0] + w[1] * v[1] * v[1] + w[2] * v[2] * v[2];
            better = better | (with_value.gt(zero) & (with_x * with_x).gt(score * with_value));
        }
        bits |= better.bits() << start;
    }
    bits
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
