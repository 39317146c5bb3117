//! IQ3_S: four weights as one of 512 lattice points, a sign each, four-bit scales for groups of 32
//! under one half for 256 weights (3.4375 bits in all).
//!
//! ```text
//! byte 0      2                  66              74          106           110
//!      | half | 64 bytes         | 64 bits       | 256 bits  | 8 x 4 bits  |
//!      |      | points, low bits | points, high  | signs     | scales      |
//! ```
//! A weight is `half * (2 * scale + 1) * (2 * level + 1) * sign`. Spec: `block_iq3_s` of ggml.

use std::sync::LazyLock;

use gravure_core::contracts::{GridShape, Levels, Parts, Signs};
use gravure_core::{Encoding, Grid, Importance, ImportanceUse, Layout, Result};
use gravure_simd::Simd;

use crate::blocks::{decode_blocks, validate_scales};
use crate::codebooks::iq3::levels;
use crate::codebooks::iq3_s::POINTS;
use crate::grid::{magnitudes, nearest_half, nibbles, read_half, read_nibbles, write_half, write_nibbles};
use crate::iq_blocks::{EncodeWeighted, encode};
use crate::iq_lattice::Lattice;
use crate::iq_search::{Candidates, ELEMENTS, Group, Refit, code_scales, fit, largest, split_signs, unpack_eight};
use crate::numbers::{half_bits, half_value};
use crate::search::{error_weights, sum_of_squares};

/// The encoding.
#[derive(Debug)]
pub(crate) struct Iq3S;

const GROUP: usize = 32;
const GROUPS: usize = ELEMENTS / GROUP;
const BYTES: usize = 110;
const CANDIDATES: Candidates = Candidates { around: 9, step: 0.2, refit: Refit::AllWhereMoved };

/// The block's scale is made this much larger than the largest group wants it: found by trial.
const STRETCH: f32 = 1.033;

static LATTICE: LazyLock<Lattice<4, 3, 8>> = LazyLock::new(|| Lattice::new(&POINTS, 3));

/// Magnitudes of the points.
static MAGNITUDES: LazyLock<Vec<f32>> = LazyLock::new(|| magnitudes(&POINTS, levels, |l| f32::from(2 * l + 1)));

impl Encoding for Iq3S {
    fn id(&self) -> &'static str {
        "iq3_s"
    }

    fn doc(&self) -> &'static str {
        "4 weights as one of 512 lattice points and all signs: the better of the 3-bit ones"
    }

    fn layout(&self) -> Layout {
        Layout { block_elements: ELEMENTS, block_bytes: BYTES }
    }

    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Optional
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

impl Grid for Iq3S {
    fn shape(&self) -> GridShape {
        GridShape {
            group: GROUP,
            scale: nibbles(1.0, 2.0, 1.0),
            offset: None,
            levels: Levels::Points { coordinates: 4, table: &MAGNITUDES, signs: Signs::Free },
        }
    }

    fn nearest_factor(&self, value: f32) -> f32 {
        nearest_half(value)
    }

    fn unpack(&self, block: &[u8], parts: &mut Parts) {
        parts.factors[0] = read_half(block, 0);
        read_nibbles(&block[106..], &mut parts.scales);
        for (i, code) in parts.codes.iter_mut().enumerate() {
            *code = u16::from(block[2 + i]) | u16::from(block[66 + i / 8] >> (i % 8) & 1) << 8;
        }
        parts.signs.copy_from_slice(&block[74..106]);
    }

    fn pack(&self, parts: &Parts, block: &mut [u8]) {
        block[..106].fill(0);
        write_half(block, 0, parts.factors[0]);
        write_nibbles(&parts.scales, &mut block[106..]);
        for (i, code) in parts.codes.iter().enumerate() {
            block[2 + i] = (code & 255) as u8;
            block[66 + i / 8] |= ((code >> 8) as u8) << (i % 8);
        }
        block[74..106].copy_from_slice(&parts.signs);
    }
}

impl EncodeWeighted<ELEMENTS, BYTES> for Iq3S {
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
        // Where points and signs of the next group go. In the reference implementation a group of
        // zeros takes no room, so that those behind it move up (and are decoded to the wrong weights);
        // the bytes are to be the same.
        let mut stored = 0;
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let weights = match importance {
                Some(importance) => error_weights(x, &importance.as_chunks().0[g], variance),
                None => x.map(|v| v * v),
            };
            let (x, mut signs) = split_signs::<GROUP, { GROUP / 8 }>(x);
            let largest = largest(&x);
            if largest == 0.0 {
                continue;
            }
            let group = Group { x, weights, roots: weights.map(f32::sqrt) };
            let fit = fit::<S, GROUP, 8, 4, 3, 8>(isa, &LATTICE, &group, CANDIDATES, largest / 15.0, largest)?;
            if fit.scale < 0.0 {
                signs = signs.map(|s| !s);
            }
            scales[g] = fit.scale.abs();
            for (k, point) in fit.points.iter().enumerate() {
                out[2 + 8 * stored + k] = (point & 255) as u8;
                out[66 + g] |= ((point >> 8) as u8) << k;
            }
            out[74 + 4 * stored..][..4].copy_from_slice(&signs);
            stored += 1;
        }
        let (step, codes) = code_scales(&scales, 31.0, 15);
        if step != 0.0 {
            out[..2].copy_from_slice(&half_bits(step * STRETCH).to_le_bytes());
            for (byte, pair) in out[106..].iter_mut().zip(codes.as_chunks::<2>().0) {
                *byte = pair[0] | pair[1] << 4;
            }
        }
        Some(())
    }
}

fn decode_block(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
    let half = half_value(u16::from_le_bytes([block[0], block[1]]));
    for (v, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let g = v / 4;
        let scale = half * (1.0 + 2.0 * f32::from(block[106 + g / 2] >> (4 * (g % 2)) & 15));
        let point = |i: usize| levels(POINTS[usize::from(block[2 + i]) | usize::from(block[66 + i / 8] >> (i % 8) & 1) << 8]);
        let (a, b) = (point(2 * v), point(2 * v + 1));
        let values = std::array::from_fn(|i| f32::from(2 * if i < 4 { a[i] } else { b[i - 4] } + 1));
        unpack_eight(scale, values, block[74 + v], out);
    }
}
