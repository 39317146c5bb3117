//! Memory for weights, side by side in large pages.
//!
//! ```text
//! chunk of 64 MiB, at a multiple of 2 MiB:  | matrix | matrix |  matrix      | not touched yet |
//! ```
//! A token reads every weight once, and with pages of 4 KiB half of the time goes into finding them. A matrix with
//! pages of its own begins and ends in small ones: of the matrices of a model with a billion weights those were a
//! quarter of all memory.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gravure_base::{Error, Pages, Result};

/// Bytes of a chunk.
const CHUNK: usize = 64 << 20;
/// Larger matrices have a chunk of their own.
const LARGE: usize = CHUNK / 2;
/// Size of a large page.
const PAGE: usize = 2 << 20;
/// Blocks begin at multiples of this: lines of the cache.
const LINE: usize = 64;

/// Zeroed memory that is handed out piece by piece.
#[derive(Debug)]
struct Chunk {
    start: *mut u8,
    bytes: usize,
    /// Owns what `start` points into.
    _pages: Pages,
}

// SAFETY: a chunk is memory that nobody reads or writes but through its blocks, which are disjoint.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(bytes: usize) -> Result<Self> {
        let whole = bytes.checked_next_multiple_of(PAGE).and_then(|n| n.checked_add(PAGE));
        let whole = whole.ok_or_else(|| Error::limit(format!("{bytes} bytes do not fit in memory")))?;
        let mut pages = Pages::zeroed(whole)?;
        let before = pages.as_ptr().align_offset(PAGE).min(PAGE);
        let start = pages[before..].as_mut_ptr();
        Ok(Self { start, bytes: whole - before, _pages: pages })
    }
}

/// The chunk that is being filled, and how far.
static CURRENT: Mutex<(Weak<Chunk>, usize)> = Mutex::new((Weak::new(), 0));

/// A part of a chunk that is its owner's alone.
#[derive(Debug)]
pub(crate) struct Block {
    chunk: Arc<Chunk>,
    start: usize,
    bytes: usize,
}

impl Block {
    /// So many zeros.
    ///
    /// # Errors
    /// `Limit` where the system has not so much.
    pub(crate) fn zeroed(bytes: usize) -> Result<Self> {
        if bytes > LARGE {
            return Ok(Self { chunk: Arc::new(Chunk::new(bytes)?), start: 0, bytes });
        }
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        let (chunk, used) = match current.0.upgrade() {
            Some(chunk) if chunk.bytes - current.1 >= bytes => (chunk, current.1),
            _ => (Arc::new(Chunk::new(CHUNK)?), 0),
        };
        *current = (Arc::downgrade(&chunk), (used + bytes).next_multiple_of(LINE).min(chunk.bytes));
        Ok(Self { chunk, start: used, bytes })
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: within the chunk by `zeroed`, which is alive; no other block has these bytes.
        unsafe { std::slice::from_raw_parts(self.chunk.start.add(self.start), self.bytes) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.chunk.start.add(self.start), self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zeros_of_their_own_wherever_they_lie() {
        let sizes = [0, 1, 63, 64, 4097, LARGE, LARGE + 1, LARGE, 3 << 20, CHUNK + 5];
        let mut blocks: Vec<Block> = sizes.iter().map(|&n| Block::zeroed(n).unwrap()).collect();
        for (i, block) in blocks.iter_mut().enumerate() {
            assert_eq!(block.len(), sizes[i]);
            assert!(block.as_ptr().addr().is_multiple_of(LINE) && block.iter().all(|b| *b == 0), "block {i}");
            block.fill(i as u8 + 1);
        }
        assert!(blocks.iter().enumerate().all(|(i, block)| block.iter().all(|b| *b == i as u8 + 1)));
        // Memory comes back with the last block of its chunk, and is zeros again.
        drop(blocks);
        assert!(Block::zeroed(5000).unwrap().iter().all(|b| *b == 0));
        assert!(Block::zeroed(usize::MAX).is_err());
        assert!(Block::zeroed(isize::MAX as usize).is_err());
    }

    #[test]
    fn threads_get_disjoint_blocks() {
        std::thread::scope(|scope| {
            for thread in 1..=4_u8 {
                scope.spawn(move || {
                    for round in 0..50 {
                        let mut blocks: Vec<Block> = (0..8).map(|i| Block::zeroed(1000 * i + round).unwrap()).collect();
                        for block in &mut blocks {
                            assert!(block.iter().all(|b| *b == 0));
                            block.fill(thread);
                        }
                        assert!(blocks.iter().all(|block| block.iter().all(|b| *b == thread)));
                    }
                });
            }
        });
    }
}
