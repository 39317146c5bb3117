//! A sequence that does not outlive its measurement.

use gravure_core::Result;
use gravure_core::contracts::{Decoder, SequenceId};

/// A sequence that is closed when it is dropped.
pub(crate) struct Opened<'a> {
    decoder: &'a dyn Decoder,
    id: SequenceId,
}

impl<'a> Opened<'a> {
    /// A new sequence of `decoder`.
    pub(crate) fn new(decoder: &'a dyn Decoder) -> Result<Self> {
        Ok(Self { decoder, id: decoder.open()? })
    }

    /// Whose sequence it is.
    pub(crate) fn decoder(&self) -> &'a dyn Decoder {
        self.decoder
    }

    /// The sequence.
    pub(crate) fn id(&self) -> SequenceId {
        self.id
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        // The sequence is known: it was opened here.
        let _ = self.decoder.close(self.id);
    }
}
