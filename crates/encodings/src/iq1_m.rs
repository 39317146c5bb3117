//! IQ1_M: eight weights as one of 2048 ternary lattice points with a shift of its own, three-bit
//! scales for groups of 16 under one half for 256 weights (1.75 bits in all).
//!
//! ```text
//! byte 0                  32                                      48                       56
//!      | 32 bytes         | 32 x 4 bits:                          | 4 words of 16 bits:    |
//!      | points, low bits | 3 bits, point, high; 1 bit, its shift | 4 x 3 bits, scales; 4 bits of the half
//! ```
//! A weight is `half * (2 * scale + 1) * (level - 1 + shift)`, the shift 1/8 or -1/8. The half lies
//! in the top bits of the four words, lowest four bits first. Spec: `block_iq1_m` of ggml.

use gravure_core::{Encoding, Importance, ImportanceUse, Layout, Result};
use gravure_simd::{F32s, MAX_LANES, Mask, Simd};

use crate::blocks::{decode_blocks, validate_blocks};
use crate::codebooks::iq1::POINTS;
use crate::codebooks::iq2::levels;
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_search::{ELEMENTS, code_scales};
use crate::iq1_search::{SHIFTED, add_projections, ascending, find, padded};
use crate::numbers::{half_bits, half_is_finite, half_value};
use crate::search::{error_weights, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq1M;

const GROUP: usize = 16;
const GROUPS: usize = ELEMENTS / GROUP;
const BYTES: usize = 56;
const HIGH: usize = ELEMENTS / 8;
const SCALES: usize = HIGH + ELEMENTS / 16;

/// A group whose largest weight is below this counts as all zero.
const SMALLEST: f32 = 1e-7;

/// The block's scale is made this much larger than it fits best: found by trial.
const STRETCH: f32 = 1.1125;

impl Encoding for Iq1M {
    fn id(&self) -> &'static str {
        "iq1_m"
    }

    fn doc(&self) -> &'static str {
        "8 weights as one of 2048 ternary points, a scale for 16: better than the smallest"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Expected
    }

    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        encode(self, source, row_length, importance, out)
    }

    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()> {
        decode_blocks(self, source, out, decode_block)
    }

    fn validate(&self, source: &[u8]) -> Result<()> {
        validate_blocks::<BYTES>(self, source, |block| half_is_finite(scale_bits(&scale_words(block))))
    }
}

/// The four words at the end of a block.
#[inline(always)]
fn scale_words(block: &[u8; BYTES]) -> [u16; 4] {
    std::array::from_fn(|i| u16::from_le_bytes([block[SCALES + 2 * i], block[SCALES + 2 * i + 1]]))
}

/// The half out of the top bits of the words.
#[inline(always)]
fn scale_bits(words: &[u16; 4]) -> u16 {
    (0..4).fold(0, |bits, i| bits | words[i] >> 12 << (4 * i))
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq1M {
    #[inline(always)]
    fn encode_block<S: Simd>(
        isa: Option<S>,
        x: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
        out: &mut [u8; BYTES],
    ) -> Option<()> {
        let variance = 2.0 * sum_of_squares(x) / ELEMENTS as f32;
        let mut weights = [[0.0f32; GROUP]; GROUPS];
        let mut scales = [0.0f32; GROUPS];
        let mut points = [[0u16; 2]; GROUPS];
        let mut down = [[false; 2]; GROUPS];
        let groups = x.as_chunks::<GROUP>().0;
        out.fill(0);
        for (g, x) in groups.iter().enumerate() {
            weights[g] = match importance {
                Some(importance) => error_weights(x, &importance.as_chunks().0[g], variance),
                None => x.map(|v| v * v),
            };
            let Some(fit) = fit_group(isa, x, &weights[g])? else { continue };
            scales[g] = fit.scale;
            down[g] = fit.down;
            points[g] = fit.points;
        }
        for (g, points) in points.iter().enumerate() {
            for (k, point) in points.iter().enumerate() {
                out[2 * g + k] = (point & 255) as u8;
                out[HIGH + g] |= ((point >> 8) as u8) << (4 * k);
            }
        }
        let (mut step, codes) = code_scales(&scales, 15.0, 7);
        if step == 0.0 {
            return Some(());
        }
        // The scale of the block is fitted once more to what the groups became.
        let mut sums = (0.0, 0.0);
        let mut words = [0u16; 4];
        for (g, x) in groups.iter().enumerate() {
            words[g / 4] |= u16::from(codes[g]) << (3 * (g % 4));
            out[HIGH + g] |= u8::from(down[g][0]) << 3 | u8::from(down[g][1]) << 7;
            let factor = f32::from(2 * codes[g] + 1);
            for k in 0..2 {
                let values = &SHIFTED[usize::from(down[g][k])];
                let (x, weights) = (&x.as_chunks().0[k], &weights[g].as_chunks().0[k]);
                add_projections(points[g][k], x, weights, |l| values[usize::from(l)] * factor, &mut sums);
            }
        }
        if sums.1 > 0.0 {
            step = sums.0 / sums.1;
        }
        let half = half_bits(step * STRETCH);
        for (i, (bytes, word)) in out[SCALES..].as_chunks_mut::<2>().0.iter_mut().zip(words).enumerate() {
            *bytes = (word | half >> (4 * i) << 12).to_le_bytes();
        }
        Some(())
    }
}

/// The outcome for a group of two vectors.
struct Fit {
    scale: f32,
    down: [bool; 2],
    points: [u16; 2],
}

/// Fits a group; `Some(None)` where there is nothing to store.
///
/// With three levels the best rounding can be found exactly: it splits the sorted weights at two
/// places, and prefix sums, one for each vector of the group since their shifts differ, give the
/// scale and the score of each split.
#[inline(always)]
fn fit_group<S: Simd>(isa: Option<S>, x: &[f32; GROUP], weights: &[f32; GROUP]) -> Option<Option<Fit>> {
    if x.iter().fold(0.0f32, |largest, v| largest.max(v.abs())) < SMALLEST {
        return Some(None);
    }
    let order = ascending(x);
    let mut sum_x = [[0.0f32; GROUP + 1]; 2];
    let mut sum_w = [[0.0f32; GROUP + 1]; 2];
    for (j, &i) in order.iter().enumerate() {
        let i = usize::from(i);
        let (own, other) = (i / 8, 1 - i / 8);
        sum_x[own][j + 1] = sum_x[own][j] + weights[i] * x[i];
        sum_w[own][j + 1] = sum_w[own][j] + weights[i];
        sum_x[other][j + 1] = sum_x[other][j];
        sum_w[other][j + 1] = sum_w[other][j];
    }
    let Some(Split { first, second, mut scale, mut down }) = best_split(isa, &sum_x, &sum_w) else { return Some(None) };
    let mut levels = [0u8; GROUP];
    for (j, &i) in order.iter().enumerate() {
        levels[usize::from(i)] = u8::from(j >= first) + u8::from(j >= second);
    }
    if scale < 0.0 {
        levels = levels.map(|l| 2 - l);
        scale = -scale;
        down = down.map(|d| !d);
    }
    let values = down.map(|d| &SHIFTED[usize::from(d)]);
    let (vectors, vector_weights) = (x.as_chunks::<8>().0, weights.as_chunks::<8>().0);
    let mut points = [0u16; 2];
    let mut moved = false;
    for (k, levels) in levels.as_chunks::<8>().0.iter().enumerate() {
        let (point, exact) = find(isa, levels, &vectors[k], &vector_weights[k], scale, values[k])?;
        points[k] = point;
        moved |= !exact;
    }
    if moved {
        let mut sums = (0.0, 0.0);
        for k in 0..2 {
            add_projections(points[k], &vectors[k], &vector_weights[k], |l| values[k][usize::from(l)], &mut sums);
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
    down: [bool; 2],
}

/// The four combinations of shifts, in the order in which they are tried.
const SHIFTS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// Tries all splits with all shifts; the first of equally good ones.
#[inline(always)]
fn best_split<S: Simd>(isa: Option<S>, sum_x: &[[f32; GROUP + 1]; 2], sum_w: &[[f32; GROUP + 1]; 2]) -> Option<Split> {
    let padded = [padded(&sum_x[0]), padded(&sum_x[1]), padded(&sum_w[0]), padded(&sum_w[1])];
    let mut best = None;
    let mut score = -f32::MAX;
    // Levels are one apart, whatever the shift, so a split moves the projection on the values from
    // that of the highest level by the two prefix sums.
    let squares = SHIFTED.map(|v| (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]));
    for first in 0..=GROUP {
        for from in (first..=GROUP).step_by(STRIDE) {
            // Few splits are better than the best so far: many are compared with it at once.
            let mut better = match isa {
                Some(isa) => better(isa, &padded, &squares, first, from, score),
                None => u32::MAX,
            };
            better &= u32::MAX >> (31 - (GROUP - from).min(STRIDE - 1));
            while better != 0 {
                let second = from + better.trailing_zeros() as usize;
                better &= better - 1;
                // Indexed by vector, then by shift.
                let mut with_x = [[0.0f32; 2]; 2];
                let mut with_value = [[0.0f32; 2]; 2];
                for h in 0..2 {
                    let moved = sum_x[h][first] + sum_x[h][second];
                    for s in 0..2 {
                        let highest = SHIFTED[s][2];
                        with_x[h][s] = sum_x[h][GROUP] * highest - moved;
                        with_value[h][s] =
                            sum_w[h][GROUP] * highest * highest + sum_w[h][first] * squares[s].0 + sum_w[h][second] * squares[s].1;
                    }
                }
                for down in SHIFTS {
                    let [a, b] = down.map(usize::from);
                    let x = with_x[0][a] + with_x[1][b];
                    let value = with_value[0][a] + with_value[1][b];
                    if value > 0.0 && x * x > score * value {
                        let scale = x / value;
                        score = scale * x;
                        best = Some(Split { first, second, scale, down });
                    }
                }
            }
        }
    }
    best
}

/// Which of the next [`STRIDE`] second splits score better, a bit for each; `sums` are those with the weights
/// of both vectors and those of their errors' weights.
#[inline(always)]
fn better<S: Simd>(isa: S, sums: &[[f32; GROUP + STRIDE]; 4], squares: &[(f32, f32); 2], first: usize, from: usize, score: f32) -> u32 {
    let (zero, score) = (F32s::splat(isa, 0.0), F32s::splat(isa, score));
    let mut bits = 0;
    for start in (0..STRIDE).step_by(S::LANES) {
        let mut better = Mask::none(isa);
        let mut with_x = [[zero; 2]; 2];
        let mut with_value = [[zero; 2]; 2];
        for h in 0..2 {
            let (x, w) = (&sums[h], &sums[2 + h]);
            let moved = F32s::splat(isa, x[first]) + F32s::load(isa, &x[from + start..]);
            let second = F32s::load(isa, &w[from + start..]);
            for s in 0..2 {
                let highest = SHIFTED[s][2];
                with_x[h][s] = F32s::splat(isa, x[GROUP] * highest) - moved;
                with_value[h][s] =
                    F32s::splat(isa, w[GROUP] * highest * highest + w[first] * squares[s].0) + second * F32s::splat(isa, squares[s].1);
            }
        }
        for down in SHIFTS {
            let [a, b] = [usize::from(down[0]), usize::from(down[1])];
            let x = with_x[0][a] + with_x[1][b];
            let value = with_value[0][a] + with_value[1][b];
            better = better | (value.gt(zero) & (x * x).gt(score * value));
        }
        bits |= better.bits() << start;
    }
    bits
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let words = scale_words(block);
    let half = half_value(scale_bits(&words));
    for (v, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let g = v / 2;
        let scale = half * f32::from(2 * (words[g / 4] >> (3 * (g % 4)) & 7) + 1);
        let high = block[HIGH + g] >> (4 * (v % 2));
        let shift = SHIFTED[usize::from(high >> 3 & 1)][1];
        let point = usize::from(block[v]) | usize::from(high & 7) << 8;
        *out = levels(POINTS[point]).map(|l| scale * (f32::from(l) - 1.0 + shift));
    }
}
