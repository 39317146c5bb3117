//! How a long operation tells what it does.

use gravure_base::{Error, ErrorKind, Result};

/// Is told of progress. Methods are called from one thread at a time.
pub trait Observer: Sync {
    /// Work of `total_bytes` (source bytes to read) in `tensors` tensors begins.
    fn begin(&self, _what: &str, _tensors: usize, _total_bytes: u64) {}
    /// `bytes` more source bytes are done; `tensor` is the one being written.
    fn advance(&self, _tensor: &str, _bytes: u64) {}
    /// Something that the user should know.
    fn note(&self, _text: &str) {}
    /// The work that began last is over.
    fn end(&self) {}
    /// Whether the user asked to stop; checked between chunks.
    fn cancelled(&self) -> bool {
        false
    }

    /// Goes on, unless the user asked to stop.
    ///
    /// # Errors
    /// `Interrupted`.
    fn go_on(&self) -> Result<()> {
        if self.cancelled() { Err(Error::new(ErrorKind::Interrupted, "stopped by the user")) } else { Ok(()) }
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Observer for Quiet {}
