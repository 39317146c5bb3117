//! GPTQ (Frantar et al. 2022, arXiv:2210.17323) on block encodings: the encoding's own search chooses the
//! scales, then codes are rounded in order, and the error of each is carried into those that follow.

use gravure_core::{Encoding, Inputs, Method, Needs, Result, Rounder};

use crate::feedback::{Effort, prepare};
use crate::group::Reach;

/// Error feedback on given scales.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gptq;

impl Method for Gptq {
    fn id(&self) -> &'static str {
        "gptq"
    }

    fn doc(&self) -> &'static str {
        "GPTQ: scales by the encoding's own search, the error of each code carried into those that follow"
    }

    fn needs(&self) -> Needs {
        Needs::Hessian
    }

    fn prepare(&self, target: &'static dyn Encoding, row_length: usize, inputs: Inputs<'_>) -> Result<Box<dyn Rounder>> {
        prepare(target, row_length, inputs, Effort { feedback: Reach::NONE, sweeps: 0, descent: Reach::NONE })
    }
}
