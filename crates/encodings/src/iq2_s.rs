//! IQ2_S: eight weights as one of 1024 lattice points and eight signs, four-bit scales for groups
//! of 16 under one half for 256 weights (2.5625 bits in all).
//!
//! ```text
//! byte 0      2                  34                 66                 74            82
//!      | half | 32 bytes         | 32 bytes         | 32 x 2 bits      | 16 x 4 bits |
//!      |      | points, low bits | signs            | points, high     | scales      |
//! ```
//! A weight is `half * (scale + 0.5) / 4 * value[level] * sign`. Spec: `block_iq2_s` of ggml.

use std::sync::LazyLock;

use gravure_core::contracts::{GridShape, Levels, Parts, Signs};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::codebooks::iq2::{VALUES, levels};
use crate::codebooks::iq2_s::POINTS;
use crate::grid::{magnitudes, nearest_half, nibbles, read_half, read_nibbles, write_half, write_nibbles};
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_lattice::Lattice;
use crate::iq_search::{Candidates, ELEMENTS, Group, Refit, code_scales, fit, largest, split_signs, unpack_eight};
use crate::numbers::{half_bits, half_value};
use crate::search::{error_weights, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq2S;

const GROUP: usize = 16;
const GROUPS: usize = ELEMENTS / GROUP;
const BYTES: usize = 82;
const CANDIDATES: Candidates = Candidates { around: 9, step: 0.1, refit: Refit::Moved };

/// A group whose largest weight is below this counts as all zero.
const SMALLEST: f32 = 1e-8;

/// The block's scale is made this much smaller than the largest group wants it: found by trial.
const SHRINK: f32 = 0.9875;

static LATTICE: LazyLock<Lattice<8, 2, 3>> = LazyLock::new(|| Lattice::new(&POINTS, 1));

/// Magnitudes of the points.
static MAGNITUDES: LazyLock<Vec<f32>> = LazyLock::new(|| magnitudes(&POINTS, levels, |l| VALUES[usize::from(l)]));

impl Encoding for Iq2S {
    fn id(&self) -> &'static str {
        "iq2_s"
    }

    fn doc(&self) -> &'static str {
        "8 weights as one of 1024 lattice points, a scale for 16: the largest of the 2-bit ones"
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

impl Grid for Iq2S {
    fn shape(&self) -> GridShape {
        GridShape {
            group: GROUP,
            scale: nibbles(0.5, 1.0, 0.25),
            offset: None,
            levels: Levels::Points { coordinates: 8, table: &MAGNITUDES, signs: Signs::Free },
        }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        read_nibbles(&block[74..], &mut parts.scales);
        for (v, code) in parts.codes.iter_mut().enumerate() {
            *code = u16::from(block[2 + v]) | u16::from(block[66 + v / 4] >> (2 * (v % 4)) & 3) << 8;
        }
        parts.signs.copy_from_slice(&block[34..66]);
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        block[..74].fill(0);
        write_half(block, 0, parts.factors[0]);
        write_nibbles(&parts.scales, &mut block[74..]);
        for (v, code) in parts.codes.iter().enumerate() {
            block[2 + v] = (code & 255) as u8;
            block[66 + v / 4] |= ((code >> 8) as u8) << (2 * (v % 4));
        }
        block[34..66].copy_from_slice(&parts.signs);
    }
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq2S {
    #[inline(always)]
    fn encode_block<S: Simd>(
        isa: Option<S>,
        x: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
        out: &mut [u8; BYTES],
    ) -> Option<()> {
        let variance = 2.0 * sum_of_squares(x) / ELEMENTS as f32;
        let mut scales = [0.0f32; GROUPS];
        out.fill(0);
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let weights = match importance {
                Some(importance) => error_weights(x, &importance.as_chunks().0[g], variance),
                None => x.map(|v| 0.25 * variance + v * v),
            };
            let (x, mut signs) = split_signs::<GROUP, { GROUP / 8 }>(x);
            let largest = largest(&x);
            if largest < SMALLEST {
                continue;
            }
            let group = Group { x, weights, roots: weights.map(f32::sqrt) };
            let fit = fit::<S, GROUP, 2, 8, 2, 3>(isa, &LATTICE, &group, CANDIDATES, largest / 5.0, largest)?;
            if fit.scale < 0.0 {
                signs = signs.map(|s| !s);
            }
            scales[g] = fit.scale.abs();
            for k in 0..2 {
                let v = 2 * g + k;
                out[2 + v] = (fit.points[k] & 255) as u8;
                out[34 + v] = signs[k];
                out[66 + v / 4] |= ((fit.points[k] >> 8) as u8) << (2 * (v % 4));
            }
        }
        let (step, codes) = code_scales(&scales, 31.0, 15);
        if step != 0.0 {
            out[..2].copy_from_slice(&half_bits(step * SHRINK).to_le_bytes());
            for (byte, pair) in out[74..].iter_mut().zip(codes.as_chunks::<2>().0) {
                *byte = pair[0] | pair[1] << 4;
            }
        }
        Some(())
    }
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let half = half_value(u16::from_le_bytes([block[0], block[1]]));
    for (v, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let scale = half * (0.5 + f32::from(block[74 + v / 4] >> (4 * (v / 2 % 2)) & 15)) * 0.25;
        let high = usize::from(block[66 + v / 4] >> (2 * (v % 4)) & 3) << 8;
        let values = levels(POINTS[usize::from(block[2 + v]) | high]).map(|l| VALUES[usize::from(l)]);
        unpack_eight(scale, values, block[34 + v], out);
    }
}
