//! Which model a saved sequence belongs to.
//!
//! The fingerprint is a hash of all bytes of all weights, of their places, shapes and encodings, and of
//! those that adapters add. It is made when a sequence is saved or restored for the first time, so that
//! nobody else pays for reading the weights once more.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use gravure_base::{Error, Result};
use gravure_core::contracts::Adapter;
use gravure_core::{Tensor, TensorId};

/// Bytes that are read at once.
const PIECE: u64 = 4 << 20;
/// Threads that read.
const MOST_THREADS: usize = 8;

/// The fingerprint of a model, once it is wanted.
#[derive(Debug)]
pub(crate) struct Fingerprint {
    tensors: Vec<(TensorId, Tensor)>,
    scales: Vec<f32>,
    made: OnceLock<u64>,
}

impl Fingerprint {
    /// Of the tensors that a program reads, and of those that are added to them.
    pub(crate) fn new(mut tensors: Vec<(TensorId, Tensor)>, adapters: &[Adapter]) -> Self {
        for (id, a, b) in adapters.iter().flat_map(|adapter| &adapter.pairs) {
            tensors.extend([(*id, a.clone()), (*id, b.clone())]);
        }
        Self { tensors, scales: adapters.iter().map(|adapter| adapter.scale).collect(), made: OnceLock::new() }
    }

    /// The number.
    ///
    /// # Errors
    /// Those of the tensors' sources.
    pub(crate) fn get(&self) -> Result<u64> {
        if let Some(made) = self.made.get() {
            return Ok(*made);
        }
        let made = self.make()?;
        Ok(*self.made.get_or_init(|| made))
    }

    fn make(&self) -> Result<u64> {
        let mut hash = Hash::default();
        self.scales.iter().for_each(|scale| hash.add(&scale.to_le_bytes()));
        let mut pieces = Vec::new();
        for (index, (id, tensor)) in self.tensors.iter().enumerate() {
            hash.add(format!("{id:?} {} {};", tensor.shape, tensor.encoding.id()).as_bytes());
            let rows = tensor.shape.rows();
            let row_bytes = (tensor.bytes()? / rows.max(1)).max(1);
            let step = (PIECE / row_bytes).max(tensor.data.rows_at_once().unwrap_or(1)).max(1);
            let mut start = 0;
            while start < rows {
                let end = start.saturating_add(step).min(rows);
                pieces.push((index, start..end));
                start = end;
            }
        }
        self.hash_all(&pieces)?.iter().for_each(|piece| hash.add(&piece.to_le_bytes()));
        Ok(hash.finish())
    }

    /// The hash of each piece, by several threads.
    fn hash_all(&self, pieces: &[(usize, Range<u64>)]) -> Result<Vec<u64>> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, u64)>> {
            let (mut bytes, mut out) = (Vec::new(), Vec::new());
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((index, rows)) = pieces.get(at) else { return Ok(out) };
                let (_, tensor) = self.tensors.get(*index).ok_or_else(|| Error::bug("a tensor that is not there"))?;
                tensor.data.read_rows(rows.clone(), &mut bytes)?;
                let mut hash = Hash::default();
                hash.add(&bytes);
                out.push((at, hash.finish()));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(pieces.len());
        let made: Vec<Result<Vec<(usize, u64)>>> = std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = helpers.into_iter().map(|h| h.join().unwrap_or_else(|_| Err(Error::bug("a thread that hashes has panicked"))));
            std::iter::once(own).chain(others).collect()
        });
        let mut hashes = vec![0; pieces.len()];
        for part in made {
            for (at, hash) in part? {
                if let Some(place) = hashes.get_mut(at) {
                    *place = hash;
                }
            }
        }
        Ok(hashes)
    }
}

/// Words that are mixed in at once.
const LANES: usize = 4;
/// Bytes of them.
const BLOCK: usize = LANES * 8;

/// A hash that tells files apart which differ by accident: four lanes of 64 bits, each step of which
/// multiplies to 128 bits and folds them. (One that keeps 64 bits of the product lets the highest bit of a
/// word be undone by one bit of the next.) It keeps no one out who wants two files to have the same.
#[derive(Debug, Clone)]
pub(crate) struct Hash {
    lanes: [u64; LANES],
    /// Bytes that do not fill a block yet.
    rest: [u8; BLOCK],
    length: u64,
}

impl Default for Hash {
    fn default() -> Self {
        // The fractional parts of the square roots of 2, 3, 5 and 7.
        let lanes = [0x6a09_e667_f3bc_c908, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];
        Self { lanes, rest: [0; BLOCK], length: 0 }
    }
}

/// The golden ratio's fractional part, made odd.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a product, one upon the other.
#[inline]
fn fold(word: u64) -> u64 {
    let product = u128::from(word ^ 0xd1b5_4a32_d192_ed03) * u128::from(FACTOR);
    product as u64 ^ (product >> 64) as u64
}

impl Hash {
    /// Takes in bytes; in how many pieces makes no difference.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        let held = self.length as usize % BLOCK;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if held > 0 {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - held));
            self.rest[held..held + now.len()].copy_from_slice(now);
            bytes = later;
            if held + now.len() < BLOCK {
                return;
            }
            let block = self.rest;
            self.mix(&block);
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        blocks.iter().for_each(|block| self.mix(block));
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    #[inline]
    fn mix(&mut self, block: &[u8; BLOCK]) {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = fold(*lane ^ u64::from_le_bytes(*word));
        }
    }

    /// The hash of all bytes so far.
    pub(crate) fn finish(&self) -> u64 {
        let mut last = self.clone();
        let held = self.length as usize % BLOCK;
        last.rest[held..].fill(0);
        let block = last.rest;
        last.mix(&block);
        last.lanes.iter().fold(self.length, |hash, lane| fold(fold(hash) ^ lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> u64 {
        let mut hash = Hash::default();
        parts.iter().for_each(|p| hash.add(p));
        hash.finish()
    }

    #[test]
    fn pieces_make_no_difference_and_every_bit_does() {
        let bytes: Vec<u8> = (0..200u8).collect();
        let whole = of(&[&bytes]);
        for split in 0..bytes.len() {
            let (a, b) = bytes.split_at(split);
            assert_eq!(of(&[a, b]), whole, "{split}");
            assert_ne!(of(&[a]), whole);
        }
        let mut seen = std::collections::BTreeSet::from([whole]);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(of(&[&other])), "bit {bit}");
        }
        assert_ne!(of(&[&[0]]), of(&[&[0, 0]]));
        assert_ne!(of(&[]), of(&[&[0; 32]]));
    }
}
