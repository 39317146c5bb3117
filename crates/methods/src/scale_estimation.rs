//! Scale estimation, as NNCF calls it: the scale and offset of each group for the least error of its outputs
//! as far as the mean squares of the inputs tell it, codes the nearest ones.
//!
//! Rounding and fitting in turns, with a search around: what NNCF's `ScaleEstimation` does for integers of
//! one scale is done here on the codes of scales and offsets that an encoding can store.

use gravure_core::{Encoding, Inputs, Method, Result, Rounder};

use crate::apart::{Improve, prepare};
use crate::group::Reach;

const IMPROVE: Improve = Improve::Search { reach: Reach { scale: 3, offset: 2, refit: true }, rounds: 2 };

/// Scales by the mean squares of the inputs.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScaleEstimation;

impl Method for ScaleEstimation {
    fn id(&self) -> &'static str {
        "scale-estimation"
    }

    fn doc(&self) -> &'static str {
        "the scale and offset of each group searched for the least error, weighted by importance"
    }

    fn prepare(&self, target: &'static dyn Encoding, row_length: usize, inputs: Inputs<'_>) -> Result<Box<dyn Rounder>> {
        prepare(target, row_length, inputs, IMPROVE)
    }
}
