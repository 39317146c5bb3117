//! IQ2_XS: eight weights as one of 512 lattice points and seven signs, four-bit scales for groups
//! of 16 under one half for 256 weights (2.3125 bits in all).
//!
//! ```text
//! byte 0      2                                      66          74
//!      | half | 32 words of 16 bits:                 | 16 x 4 bits
//!      |      | 9 bits, point; 7 bits, signs         | scales    |
//! ```
//! A weight is `half * (scale + 0.5) / 4 * value[level] * sign`. The eighth sign makes the number
//! of negative ones even. Spec: `block_iq2_xs` of ggml.

use std::sync::LazyLock;

use gravure_core::contracts::{GridShape, Levels, Parts, Signs};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::codebooks::iq2::{VALUES, levels};
use crate::codebooks::iq2_xs::POINTS;
use crate::grid::{magnitudes, nearest_half, nibbles, read_half, read_nibbles, write_half, write_nibbles};
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_lattice::Lattice;
use crate::iq_search::{Candidates, ELEMENTS, Group, Refit, code_scales, eight_signs, even_signs, fit, largest, split_signs, unpack_eight};
use crate::numbers::{half_bits, half_value};
use crate::search::{TINY, error_weights, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq2Xs;

const GROUP: usize = 16;
const GROUPS: usize = ELEMENTS / GROUP;
const BYTES: usize = 74;
const CANDIDATES: Candidates = Candidates { around: 9, step: 0.1, refit: Refit::Moved };

static LATTICE: LazyLock<Lattice<8, 2, 3>> = LazyLock::new(|| Lattice::new(&POINTS, 2));

/// Magnitudes of the points.
static MAGNITUDES: LazyLock<Vec<f32>> = LazyLock::new(|| magnitudes(&POINTS, levels, |l| VALUES[usize::from(l)]));

impl Encoding for Iq2Xs {
    fn id(&self) -> &'static str {
        "iq2_xs"
    }

    fn doc(&self) -> &'static str {
        "8 weights as one of 512 lattice points, a scale for 16: 2 bits, with an importance matrix only"
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

impl Grid for Iq2Xs {
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
        read_nibbles(&block[66..], &mut parts.scales);
        for (v, bytes) in block[2..66].as_chunks::<2>().0.iter().enumerate() {
            let word = u16::from_le_bytes(*bytes);
            parts.codes[v] = word & 511;
            parts.signs[v] = eight_signs(u32::from(word >> 9));
        }
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        write_half(block, 0, parts.factors[0]);
        write_nibbles(&parts.scales, &mut block[66..]);
        for (v, bytes) in block[2..66].as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *bytes = (parts.codes[v] | u16::from(parts.signs[v] & 127) << 9).to_le_bytes();
        }
    }
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq2Xs {
    #[inline(always)]
    fn encode_block<S: Simd>(
        isa: Option<S>,
        x: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
        out: &mut [u8; BYTES],
    ) -> Option<()> {
        let variance = sum_of_squares(x) / ELEMENTS as f32;
        let mut scales = [0.0f32; GROUPS];
        let mut words = [0u16; 2 * GROUPS];
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let weights = error_weights(x, &importance?.as_chunks().0[g], variance);
            let (mut x, mut signs) = split_signs::<GROUP, { GROUP / 8 }>(x);
            even_signs(&mut x, &weights, &mut signs);
            let largest = largest(&x);
            if largest < TINY {
                continue;
            }
            let group = Group { x, weights, roots: weights.map(f32::sqrt) };
            let fit = fit::<S, GROUP, 2, 8, 2, 3>(isa, &LATTICE, &group, CANDIDATES, largest / 5.0, largest)?;
            if fit.scale < 0.0 {
                signs = signs.map(|s| !s & 127);
            }
            scales[g] = fit.scale.abs();
            for k in 0..2 {
                words[2 * g + k] = fit.points[k] | u16::from(signs[k]) << 9;
            }
        }
        let (step, codes) = code_scales(&scales, 31.0, 15);
        out.fill(0);
        if step != 0.0 {
            out[..2].copy_from_slice(&half_bits(step).to_le_bytes());
            let (packed, packed_scales) = out[2..].split_at_mut(64);
            for (bytes, word) in packed.as_chunks_mut::<2>().0.iter_mut().zip(words) {
                *bytes = word.to_le_bytes();
            }
            for (byte, pair) in packed_scales.iter_mut().zip(codes.as_chunks::<2>().0) {
                *byte = pair[0] | pair[1] << 4;
            }
        }
        Some(())
    }
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let half = half_value(u16::from_le_bytes([block[0], block[1]]));
    let (packed, scales) = block[2..].split_at(64);
    for (v, (bytes, out)) in packed.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<8>().0).enumerate() {
        let word = u16::from_le_bytes(*bytes);
        let scale = half * (0.5 + f32::from(scales[v / 4] >> (4 * (v / 2 % 2)) & 15)) * 0.25;
        let values = levels(POINTS[usize::from(word & 511)]).map(|l| VALUES[usize::from(l)]);
        unpack_eight(scale, values, eight_signs(u32::from(word >> 9)), out);
    }
}
