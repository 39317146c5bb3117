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
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_blocks};
use crate::codebooks::iq1::POINTS;
use crate::codebooks::iq2::levels;
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_search::{ELEMENTS, code_scales};
use crate::iq1_search::{Fit, SHIFTED, Sorted, Split, add_projections, fit, sorted};
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
        }
        let mut flat = [0.0f32; ELEMENTS];
        flat.copy_from_slice(weights.as_flattened());
        let sorted: [Sorted<GROUP, { GROUP + 1 }, 2>; GROUPS] = sorted(isa, x, &flat, &SHIFTS);
        for (g, x) in groups.iter().enumerate() {
            if x.iter().fold(0.0f32, |largest, v| largest.max(v.abs())) < SMALLEST {
                continue;
            }
            let Some(split) = best_split(&sorted[g]) else { continue };
            let fit: Fit<2, 2> = fit(isa, x, &weights[g], &sorted[g].order, split)?;
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

/// The four combinations of shifts, in the order in which they are tried.
const SHIFTS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// Tries splits with all shifts; the first of equally good ones.
#[inline(always)]
fn best_split(group: &Sorted<GROUP, { GROUP + 1 }, 2>) -> Option<Split<2>> {
    let (sum_x, sum_w) = (&group.sums.x, &group.sums.w);
    let mut best = None;
    let mut score = -f32::MAX;
    // Levels are one apart, whatever the shift, so a split moves the projection on the values from
    // that of the highest level by the two prefix sums.
    let squares = SHIFTED.map(|v| (v[0] * v[0] - v[1] * v[1], v[1] * v[1] - v[2] * v[2]));
    group.splits.for_each(GROUP, |first, second| {
        // Indexed by vector, then by shift.
        let mut with_x = [[0.0f32; 2]; 2];
        let mut with_value = [[0.0f32; 2]; 2];
        for h in 0..2 {
            let moved = sum_x[h][first] + sum_x[h][second];
            for s in 0..2 {
                let highest = SHIFTED[s][2];
                with_x[h][s] = sum_x[h][GROUP] * highest - moved;
                with_value[h][s] = sum_w[h][GROUP] * highest * highest + sum_w[h][first] * squares[s].0 + sum_w[h][second] * squares[s].1;
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
    });
    best
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
