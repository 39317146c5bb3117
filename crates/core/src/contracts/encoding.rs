//! How the bits of one block are stored.

use crate::{Error, Grid, Result};

/// How an encoding lays out a row of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Weights in one block; rows are whole numbers of blocks.
    pub block_elements: usize,
    /// Bytes of one block.
    pub block_bytes: usize,
}

/// What an encoding does with an importance vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportanceUse {
    /// The bytes are the same with and without.
    Ignored,
    /// The rounding error is weighted by it when it is there.
    Optional,
    /// Results without it are poor: the encoder can go without, but the reference implementation's
    /// quantizer refuses to, except for token embeddings and the output matrix.
    Expected,
    /// The encoder cannot go without.
    Required,
}

/// Importance of each column of a row: the mean square of the activations that it meets.
/// Length is the row length.
pub type Importance<'a> = Option<&'a [f32]>;

/// One way of storing weights. `encode` and `decode` work on whole rows, because some encodings
/// derive a scale from statistics of the row; rows are independent of each other, so that any
/// number of threads may share a tensor and the bytes do not depend on how many.
pub trait Encoding: Send + Sync + std::fmt::Debug {
    /// Lower-case name as users type it, for example `q4_k`.
    fn id(&self) -> &'static str;

    /// One line for tables: what it is and when to use it.
    fn doc(&self) -> &'static str;

    /// Weights and bytes of a block.
    fn layout(&self) -> Layout;

    /// What it does with an importance vector.
    fn importance(&self) -> ImportanceUse {
        ImportanceUse::Ignored
    }

    /// Whether values are integers or flags that never stand for weights (token ids, indices):
    /// such tensors are carried through and never quantized.
    fn is_integer(&self) -> bool {
        false
    }

    /// Whether it can be written; some are only read.
    fn can_encode(&self) -> bool {
        true
    }

    /// Encodes `source`, which holds whole rows of `row_length` weights, into `out`.
    ///
    /// `out` has exactly `encoded_len` bytes for them. Errors: kind `Unsupported` where this
    /// encoding can only be read, kind `Input` where a value cannot be represented (NaN where the
    /// encoding has none).
    fn encode(&self, source: &[f32], row_length: usize, importance: Importance<'_>, out: &mut [u8]) -> Result<()>;

    /// Decodes whole blocks; `out` holds `block_elements` weights for every block in `source`.
    fn decode(&self, source: &[u8], out: &mut [f32]) -> Result<()>;

    /// Checks encoded bytes for values that no encoder writes (NaN or infinite scales).
    fn validate(&self, _source: &[u8]) -> Result<()> {
        Ok(())
    }

    /// The values that a block can hold, where methods may choose codes and scales themselves.
    fn grid(&self) -> Option<&dyn Grid> {
        None
    }

    /// Bits per weight, scales included.
    fn bits_per_weight(&self) -> f64 {
        let layout = self.layout();
        layout.block_bytes as f64 * 8.0 / layout.block_elements as f64
    }

    /// Bytes of a row of `row_length` weights; an error where it is not a whole number of blocks.
    fn row_bytes(&self, row_length: u64) -> Result<u64> {
        let layout = self.layout();
        let (elements, bytes) = (layout.block_elements as u64, layout.block_bytes as u64);
        if !row_length.is_multiple_of(elements) {
            let message = format!("a row of {row_length} weights is not a multiple of the {elements} that a block of {} holds", self.id());
            return Err(Error::unsupported(message));
        }
        (row_length / elements).checked_mul(bytes).ok_or_else(|| Error::input(format!("a row of {row_length} weights is too long")))
    }
}
