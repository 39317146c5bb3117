//! IQ2_XXS: eight weights as one of 256 lattice points and seven signs, four-bit scales for groups
//! of 32 under one half for 256 weights (2.0625 bits in all).
//!
//! ```text
//! byte 0      2                                            66
//!      | half | 8 groups of two 32-bit words               |
//!               first word:  4 x 8 bits, points
//!               second word: 4 x 7 bits, signs; 4 bits, scale
//! ```
//! A weight is `half * (scale + 0.5) / 4 * value[level] * sign`. The eighth sign makes the number
//! of negative ones even. Spec: `block_iq2_xxs` of ggml.

use std::sync::LazyLock;

use gravure_core::contracts::{GridShape, Levels, Parts, Signs};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::codebooks::iq2::{VALUES, levels};
use crate::codebooks::iq2_xxs::POINTS;
use crate::grid::{magnitudes, nearest_half, nibbles, read_half, write_half};
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_lattice::Lattice;
use crate::iq_search::{
    Candidates, ELEMENTS, Fit, Group, Refit, code_scales, eight_signs, even_signs, fit, largest, split_signs, unpack_eight,
};
use crate::numbers::{half_bits, half_value};
use crate::search::{TINY, error_weights, positive, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq2Xxs;

const GROUP: usize = 32;
const GROUPS: usize = ELEMENTS / GROUP;
const BYTES: usize = 66;

static LATTICE: LazyLock<Lattice<8, 2, 3>> = LazyLock::new(|| Lattice::new(&POINTS, 2));

/// Magnitudes of the points.
static MAGNITUDES: LazyLock<Vec<f32>> = LazyLock::new(|| magnitudes(&POINTS, levels, |l| VALUES[usize::from(l)]));

impl Encoding for Iq2Xxs {
    fn id(&self) -> &'static str {
        "iq2_xxs"
    }

    fn doc(&self) -> &'static str {
        "8 weights as one of 256 lattice points: the smallest 2-bit one, with an importance matrix only"
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

    fn grid(&self) -> Option<&dyn Grid> {
        Some(self)
    }
}

impl Grid for Iq2Xxs {
    fn shape(&self) -> GridShape {
        GridShape {
            group: GROUP,
            scale: nibbles(0.5, 1.0, 0.25),
            offset: None,
            levels: Levels::Points { coordinates: 8, table: &MAGNITUDES, signs: Signs::Even },
        }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        for (g, bytes) in block[2..].as_chunks::<8>().0.iter().enumerate() {
            let word = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            parts.scales[g] = (word >> 28) as i32;
            for k in 0..4 {
                parts.codes[4 * g + k] = u16::from(bytes[k]);
                parts.signs[4 * g + k] = eight_signs(word >> (7 * k));
            }
        }
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        write_half(block, 0, parts.factors[0]);
        for (g, bytes) in block[2..].as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let signs = (0..4).fold(0, |word, k| word | u32::from(parts.signs[4 * g + k] & 127) << (7 * k));
            for k in 0..4 {
                bytes[k] = parts.codes[4 * g + k] as u8;
            }
            bytes[4..].copy_from_slice(&(signs | (parts.scales[g] as u32) << 28).to_le_bytes());
        }
    }
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq2Xxs {
    #[inline(always)]
    fn encode_block<S: Simd>(
        isa: Option<S>,
        x: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
        out: &mut [u8; BYTES],
    ) -> Option<()> {
        let variance = sum_of_squares(x) / ELEMENTS as f32;
        let mut scales = [0.0f32; GROUPS];
        let mut words = [[0u32; 2]; GROUPS];
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let weights = error_weights(x, &importance?.as_chunks().0[g], variance);
            let (mut x, mut signs) = split_signs::<GROUP, { GROUP / 8 }>(x);
            even_signs(&mut x, &weights, &mut signs);
            let Some(fit) = fit_group(isa, x, weights)? else { continue };
            if fit.scale < 0.0 {
                signs = signs.map(|s| !s & 127);
            }
            scales[g] = fit.scale.abs();
            for k in 0..GROUP / 8 {
                words[g][0] |= u32::from(fit.points[k]) << (8 * k);
                words[g][1] |= u32::from(signs[k]) << (7 * k);
            }
        }
        let (step, codes) = code_scales(&scales, 31.0, 15);
        out.fill(0);
        if step != 0.0 {
            out[..2].copy_from_slice(&half_bits(step).to_le_bytes());
            for ((bytes, words), code) in out[2..].as_chunks_mut::<8>().0.iter_mut().zip(words).zip(codes) {
                bytes[..4].copy_from_slice(&words[0].to_le_bytes());
                bytes[4..].copy_from_slice(&(words[1] | u32::from(code) << 28).to_le_bytes());
            }
        }
        Some(())
    }
}

/// Scale and points of a group; `Some(None)` where there is nothing to store.
#[inline(always)]
fn fit_group<S: Simd>(isa: Option<S>, x: [f32; GROUP], weights: [f32; GROUP]) -> Option<Option<Fit<4>>> {
    if largest(&x) < TINY {
        return Some(None);
    }
    let start = positive(4, &x, &weights, &mut [0; GROUP]);
    let range = start * 3.0;
    if range <= 0.0 {
        return Some(None);
    }
    let group = Group { x, weights, roots: weights.map(f32::sqrt) };
    fit(isa, &LATTICE, &group, Candidates { around: 6, step: 0.1, refit: Refit::All }, start, range).map(Some)
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let half = half_value(u16::from_le_bytes([block[0], block[1]]));
    for (bytes, out) in block[2..].as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<GROUP>().0) {
        let word = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let scale = half * (0.5 + (word >> 28) as f32) * 0.25;
        for (k, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let values = levels(POINTS[usize::from(bytes[k])]).map(|l| VALUES[usize::from(l)]);
            unpack_eight(scale, values, eight_signs(word >> (7 * k)), out);
        }
    }
}
