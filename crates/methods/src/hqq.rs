//! HQQ (Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models"): offsets that
//! make a norm below one of the weights' errors small, without any data.
//!
//! Errors are split into a few large ones, which such a norm forgives, and the rest, whose squares decide:
//! in turns codes are rounded, the large errors are found by the norm's shrinkage
//! `sign(r) max(|r| - |r|^(p - 1) / strength, 0)`, and the offset is fitted to what is left. Errors are taken
//! in steps of their group, so that the strength means the same for all weights. An encoding without
//! offsets has its scales fitted instead.

use gravure_core::{Encoding, Inputs, Method, Result, Rounder};

use crate::apart::{Improve, prepare};

/// The paper's norm, strength, growth and rounds.
const IMPROVE: Improve = Improve::HalfQuadratic { power: 0.7, strength: 10.0, growth: 1.01, rounds: 20 };

/// Half-quadratic quantization.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hqq;

impl Method for Hqq {
    fn id(&self) -> &'static str {
        "hqq"
    }

    fn doc(&self) -> &'static str {
        "HQQ: offsets, or scales, by a norm that forgives outliers; sees no data"
    }

    fn prepare(&self, target: &'static dyn Encoding, row_length: usize, inputs: Inputs<'_>) -> Result<Box<dyn Rounder>> {
        prepare(target, row_length, inputs, IMPROVE)
    }
}
