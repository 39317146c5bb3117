//! A bounded, buffered little-endian cursor over a positional reader, for headers of untrusted files.

use crate::{Error, Limits, ReadAt, Result};

const BUFFER: usize = 64 << 10;

/// Reads forward through a [`ReadAt`]. Every read is checked against the end of the source before
/// anything is allocated; errors carry the file and the offset.
#[derive(Debug)]
pub struct Cursor<'a> {
    source: &'a dyn ReadAt,
    /// Offset of the next byte to hand out.
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Offset of `buffer[0]` in the source.
    buffer_start: u64,
}

macro_rules! number {
    ($($name:ident $type:ty),*) => {$(
        #[doc = concat!("A little-endian `", stringify!($type), "`.")]
        pub fn $name(&mut self) -> Result<$type> {
            Ok(<$type>::from_le_bytes(self.array()?))
        }
    )*};
}

impl<'a> Cursor<'a> {
    /// A cursor over the first `limits.header_bytes` of `source`.
    pub fn new(source: &'a dyn ReadAt, limits: &Limits) -> Self {
        let end = source.len().min(limits.header_bytes);
        Self { source, position: 0, end, buffer: Vec::new(), buffer_start: 0 }
    }

    /// Offset of the next byte.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes left before the end of the source (or of the header limit).
    pub fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// An input error at the present position.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::input(message).in_file(self.source.path()).at_offset(self.position)
    }

    /// Refuses a count of items of at least `min_bytes` each that cannot fit in what is left.
    pub fn check_count(&self, count: u64, min_bytes: u64, what: &str) -> Result<()> {
        if count.checked_mul(min_bytes.max(1)).is_none_or(|need| need > self.remaining()) {
            return Err(self.error(format!("{count} {what} cannot fit in the {} bytes that are left", self.remaining())));
        }
        Ok(())
    }

    number!(u8 u8, i8 i8, u16 u16, i16 i16, u32 u32, i32 i32, u64 u64, i64 i64, f32 f32, f64 f64);

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    /// The next `count` bytes; allocates only after the check against the end.
    pub fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.check_count(count, 1, "bytes")?;
        let mut out = vec![0; usize::try_from(count).map_err(|_| self.error("length does not fit in memory"))?];
        self.fill(&mut out)?;
        Ok(out)
    }

    /// Replaces `out` with the next `count` bytes; as [`Cursor::bytes`].
    pub fn bytes_into(&mut self, count: u64, out: &mut Vec<u8>) -> Result<()> {
        self.check_count(count, 1, "bytes")?;
        out.resize(usize::try_from(count).map_err(|_| self.error("length does not fit in memory"))?, 0);
        self.fill(out)
    }

    /// Skips `count` bytes.
    pub fn skip(&mut self, count: u64) -> Result<()> {
        self.check_count(count, 1, "bytes")?;
        self.position += count;
        Ok(())
    }

    fn fill(&mut self, mut out: &mut [u8]) -> Result<()> {
        self.check_count(out.len() as u64, 1, "bytes")?;
        while !out.is_empty() {
            let in_buffer = self.position.checked_sub(self.buffer_start).filter(|&at| at < self.buffer.len() as u64);
            if let Some(at) = in_buffer {
                let available = &self.buffer[at as usize..];
                let n = available.len().min(out.len());
                let (head, rest) = out.split_at_mut(n);
                head.copy_from_slice(&available[..n]);
                self.position += n as u64;
                out = rest;
            } else if out.len() >= BUFFER {
                self.source.read_exact_at(out, self.position)?;
                self.position += out.len() as u64;
                return Ok(());
            } else {
                self.buffer.resize(BUFFER.min(self.remaining() as usize), 0);
                self.buffer_start = self.position;
                self.source.read_exact_at(&mut self.buffer, self.position)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryReader;

    #[test]
    fn reads_across_buffer_ends_and_stops_at_the_end() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let source = MemoryReader::new(bytes.clone(), "test");
        let mut cursor = Cursor::new(&source, &Limits::default());
        let mut seen = Vec::new();
        for size in [1u64, 7, 65_530, 20, 100_000, 34_442] {
            seen.extend(cursor.bytes(size).unwrap());
        }
        assert_eq!(seen, bytes);
        assert!(cursor.u8().is_err());
        assert!(cursor.check_count(u64::MAX, 8, "items").is_err());
    }
}
