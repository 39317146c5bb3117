//! Scales and codes by the error of the outputs: GPTQ's feedback with a search over the scales of each
//! group, then coordinate descent over groups, each given all others.

use gravure_core::{Encoding, Inputs, Method, Needs, Result, Rounder};

use crate::feedback::{Effort, prepare};
use crate::group::Reach;

/// Error feedback with a search of scales, then descent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Descent;

/// Two steps each way while errors are carried; then one, and a refit.
const EFFORT: Effort =
    Effort { feedback: Reach { scale: 2, offset: 2, refit: true }, sweeps: 3, descent: Reach { scale: 1, offset: 1, refit: true } };

impl Method for Descent {
    fn id(&self) -> &'static str {
        "descent"
    }

    fn doc(&self) -> &'static str {
        "GPTQ with scales searched for the error that remains, then coordinate descent over groups"
    }

    fn needs(&self) -> Needs {
        Needs::Hessian
    }

    fn prepare(&self, target: &'static dyn Encoding, row_length: usize, inputs: Inputs<'_>) -> Result<Box<dyn Rounder>> {
        prepare(target, row_length, inputs, EFFORT)
    }
}
