//! Round to nearest: each block by the reference search of its encoding.
//!
//! "Nearest" is what the encoding's own reference makes of it: for K-quants a small search over scales
//! whose error is weighted by the importance of the columns where there is one. Blocks do not see each
//! other.

use gravure_core::{Encoding, Importance, Method, Result};

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

    fn encode(&self, target: &dyn Encoding, rows: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()> {
        target.encode(rows, row_length, importance, out)
    }
}
