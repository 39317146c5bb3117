//! Round to nearest: each block by the reference search of its encoding.
//!
//! "Nearest" is what the encoding's own reference makes of it: for K-quants a small search over scales
//! whose error is weighted by the importance of the columns where there is one. Blocks do not see each
//! other.

use std::borrow::Cow;

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

    fn prepare<'a>(&self, target: &'a dyn Encoding, row_length: usize, inputs: Inputs<'a>) -> Result<Box<dyn Rounder + 'a>> {
        Ok(Box::new(Search { encoding: target, row_length, importance: inputs.importance.map(Cow::Borrowed) }))
    }
}

/// The search of an encoding.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    pub(crate) encoding: &'a dyn Encoding,
    pub(crate) row_length: usize,
    pub(crate) importance: Option<Cow<'a, [f32]>>,
}

impl Rounder for Search<'_> {
    fn encode(&self, rows: &[f32], out: &mut [u8]) -> Result<()> {
        self.encoding.encode(rows, self.row_length, self.importance.as_deref(), out)
    }
}
