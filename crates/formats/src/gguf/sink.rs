//! Where a header goes: to a file, to memory, or nowhere but into its length.

use gravure_base::OutputFile;
use gravure_core::Result;

/// Takes bytes in order.
pub(crate) trait Sink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) u64);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Gathers small pieces into large writes to a file.
pub(crate) struct Buffered<'a> {
    file: &'a mut OutputFile,
    piece: Vec<u8>,
}

/// Bytes of a write.
const PIECE: usize = 256 << 10;

impl<'a> Buffered<'a> {
    pub(crate) fn new(file: &'a mut OutputFile) -> Self {
        Self { file, piece: Vec::with_capacity(PIECE) }
    }

    /// Writes what is left.
    pub(crate) fn flush(mut self) -> Result<()> {
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

impl Sink for Buffered<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE { self.write() } else { Ok(()) }
    }
}
