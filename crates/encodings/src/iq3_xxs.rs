//! IQ3_XXS: four weights as one of 256 lattice points, seven signs for eight, four-bit scales for
//! groups of 32 under one half for 256 weights (3.0625 bits in all).
//!
//! ```text
//! byte 0      2                66                                    98
//!      | half | 64 bytes       | 8 words of 32 bits:                 |
//!      |      | points         | 4 x 7 bits, signs; 4 bits, scale    |
//! ```
//! A weight is `half * (scale + 0.5) / 2 * value[level] * sign`. The eighth sign makes the number
//! of negative ones even. Spec: `block_iq3_xxs` of ggml.

use std::sync::LazyLock;

use gravure_core::contracts::{GridShape, Levels, Parts, Signs};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::codebooks::iq3::levels;
use crate::codebooks::iq3_xxs::POINTS;
use crate::grid::{magnitudes, nearest_half, nibbles, read_half, write_half};
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_lattice::Lattice;
use crate::iq_search::{Candidates, ELEMENTS, Group, Refit, code_scales, eight_signs, even_signs, fit, largest, split_signs, unpack_eight};
use crate::numbers::{half_bits, half_value};
use crate::search::{error_weights, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq3Xxs;

const GROUP: usize = 32;
const GROUPS: usize = ELEMENTS / GROUP;
const BYTES: usize = 98;
const CANDIDATES: Candidates = Candidates { around: 15, step: 0.2, refit: Refit::Moved };

/// Values that a level stands for, in quarters of the scale.
pub const VALUES: [f32; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];

/// A group whose largest weight is below this counts as all zero.
const SMALLEST: f32 = 1e-8;

/// The block's scale is made this much larger than the largest group wants it: found by trial.
const STRETCH: f32 = 1.0125;

static LATTICE: LazyLock<Lattice<4, 3, 8>> = LazyLock::new(|| Lattice::new(&POINTS, 2));

/// Magnitudes of the points.
static MAGNITUDES: LazyLock<Vec<f32>> = LazyLock::new(|| magnitudes(&POINTS, levels, |l| VALUES[usize::from(l)]));

impl Encoding for Iq3Xxs {
    fn id(&self) -> &'static str {
        "iq3_xxs"
    }

    fn doc(&self) -> &'static str {
        "4 weights as one of 256 lattice points: the smallest of the 3-bit ones"
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
        validate_scales::<BYTES>(self, source, &[0])
    }

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Iq3Xxs {
    fn shape(&self) -> GridShape {
        GridShape {
            group: GROUP,
            scale: nibbles(0.5, 1.0, 0.5),
            offset: None,
            levels: Levels::Points { coordinates: 4, table: &MAGNITUDES, signs: Signs::Even },
        }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        for (code, byte) in parts.codes.iter_mut().zip(&block[2..66]) {
            *code = u16::from(*byte);
        }
        for (g, bytes) in block[66..].as_chunks::<4>().0.iter().enumerate() {
            let word = u32::from_le_bytes(*bytes);
            parts.scales[g] = (word >> 28) as i32;
            for k in 0..4 {
                parts.signs[4 * g + k] = eight_signs(word >> (7 * k));
            }
        }
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        write_half(block, 0, parts.factors[0]);
        for (code, byte) in parts.codes.iter().zip(&mut block[2..66]) {
            *byte = *code as u8;
        }
        for (g, bytes) in block[66..].as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let signs = (0..4).fold(0, |word, k| word | u32::from(parts.signs[4 * g + k] & 127) << (7 * k));
            *bytes = (signs | (parts.scales[g] as u32) << 28).to_le_bytes();
        }
    }
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq3Xxs {
    #[inline(always)]
    fn encode_block<S: Simd>(
        isa: Option<S>,
        x: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
        out: &mut [u8; BYTES],
    ) -> Option<()> {
        let variance = 2.0 * sum_of_squares(x) / ELEMENTS as f32;
        let mut scales = [0.0f32; GROUPS];
        let mut points = [[0u8; 8]; GROUPS];
        let mut words = [0u32; GROUPS];
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let weights = match importance {
                Some(importance) => error_weights(x, &importance.as_chunks().0[g], variance),
                None => x.map(|v| v * v),
            };
            let (mut x, mut signs) = split_signs::<GROUP, { GROUP / 8 }>(x);
            even_signs(&mut x, &weights, &mut signs);
            let largest = largest(&x);
            if largest < SMALLEST {
                continue;
            }
            let group = Group { x, weights, roots: weights.map(f32::sqrt) };
            let fit = fit::<S, GROUP, 8, 4, 3, 8>(isa, &LATTICE, &group, CANDIDATES, largest / 15.0, largest)?;
            if fit.scale < 0.0 {
                signs = signs.map(|s| !s & 127);
            }
            scales[g] = fit.scale.abs();
            points[g] = fit.points.map(|p| p as u8);
            words[g] = signs.iter().rev().fold(0, |word, &s| word << 7 | u32::from(s));
        }
        let (step, codes) = code_scales(&scales, 31.0, 15);
        out.fill(0);
        if step != 0.0 {
            out[..2].copy_from_slice(&half_bits(step * STRETCH).to_le_bytes());
            let (packed, packed_words) = out[2..].split_at_mut(64);
            packed.as_chunks_mut::<8>().0.copy_from_slice(&points);
            for ((bytes, word), code) in packed_words.as_chunks_mut::<4>().0.iter_mut().zip(words).zip(codes) {
                *bytes = (word | u32::from(code) << 28).to_le_bytes();
            }
        }
        Some(())
    }
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let half = half_value(u16::from_le_bytes([block[0], block[1]]));
    let (points, words) = block[2..].split_at(64);
    for (v, (points, out)) in points.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<8>().0).enumerate() {
        let w = 4 * (v / 4);
        let word = u32::from_le_bytes([words[w], words[w + 1], words[w + 2], words[w + 3]]);
        let scale = half * (0.5 + (word >> 28) as f32) * 0.5;
        let [a, b] = points.map(|p| levels(POINTS[usize::from(p)]).map(|l| VALUES[usize::from(l)]));
        let values = std::array::from_fn(|i| if i < 4 { a[i] } else { b[i - 4] });
        unpack_eight(scale, values, eight_signs(word >> (7 * (v % 4))), out);
    }
}
