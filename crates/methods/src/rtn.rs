//! Round to nearest: each block by the reference search of its encoding.
//!
//! "Nearest" is what the encoding's own reference makes of it: for K-quants a small search over scales
//! whose error is weighted by the importance of the columns where there is one. Blocks do not see each
//! other.

use gravure_core::{Encoding, Inputs, Method, Result, Rounder};

/// The encoding's own reference search.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rtn;

impl Method for Rtn {
    fn id(&self) -> &'static str {
        "rtn"
    }

    fn doc(&self) -> &'static str {
        "round to nearest by the encoding's own search, weighted by importance where there is some"
    }

    fn prepare(&self, target: &'static dyn Encoding, row_length: usize, inputs: Inputs<'_>) -> Result<Box<dyn Rounder>> {
        Ok(Box::new(Search { encoding: target, row_length, importance: inputs.importance.map(<[f32]>::to_vec) }))
    }
}

/// The search of an encoding.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) encoding: &'static dyn Encoding,
    pub(crate) row_length: usize,
    pub(crate) importance: Option<Vec<f32>>,
}

impl Rounder for Search {
    fn encode(&self, rows: &[f32], out: &mut [u8]) -> Result<()> {
        self.encoding.encode(rows, self.row_length, self.importance.as_deref(), out)
    }
}
