//! Walks over blocks, compiled once for each instruction set: the code of a block is plain loops
//! over its weights, which the compiler turns into that set's vectors. For blocks without a search
//! this is enough to run at the speed of memory.
//!
//! Everything from [`EncodeBlock::encode_block`] down is `#[inline(always)]`; a function that is
//! not would be compiled for the baseline.

use gravure_core::{Encoding, Importance, Result};
use gravure_simd::{Isa, Kernel, Simd};

use crate::blocks::{check_decode, check_encode, non_finite};

/// An encoding whose blocks of `N` weights and `B` bytes are written without importance and without
/// regard to their row.
pub(crate) trait EncodeBlock<const N: usize, const B: usize> {
    /// Encodes a block of finite weights.
    fn encode_block(x: &[f32; N], y: &mut [u8; B]);
}

/// An encoding whose blocks of `B` bytes are read into `N` weights.
pub(crate) trait DecodeBlock<const N: usize, const B: usize> {
    /// Decodes a block.
    fn decode_block(x: &[u8; B], y: &mut [f32; N]);
}

/// Encodes whole rows of finite weights.
pub(crate) fn encode<E: Encoding + EncodeBlock<N, B>, const N: usize, const B: usize>(
    encoding: &E,
    source: &[f32],
    row_length: usize,
    importance: Importance<'_>,
    out: &mut [u8],
) -> Result<()> {
    check_encode(encoding, source, row_length, importance, out)?;
    match Isa::detect().vectorize(EncodeAll::<E, N, B> { source, out, code: std::marker::PhantomData }) {
        true => Ok(()),
        false => Err(non_finite(encoding, source)),
    }
}

/// Decodes whole blocks.
pub(crate) fn decode<E: Encoding + DecodeBlock<N, B>, const N: usize, const B: usize>(
    encoding: &E,
    source: &[u8],
    out: &mut [f32],
) -> Result<()> {
    check_decode::<N, B>(encoding, source, out)?;
    Isa::detect().vectorize(DecodeAll::<E, N, B> { source, out, code: std::marker::PhantomData });
    Ok(())
}

/// Weights that are checked and encoded while they lie in the first cache.
const STRETCH: usize = 2048;

struct EncodeAll<'a, E, const N: usize, const B: usize> {
    source: &'a [f32],
    out: &'a mut [u8],
    code: std::marker::PhantomData<E>,
}

impl<E: EncodeBlock<N, B>, const N: usize, const B: usize> Kernel for EncodeAll<'_, E, N, B> {
    /// Whether all weights were finite.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) -> bool {
        let (blocks, bytes) = (self.source.as_chunks::<N>().0, self.out.as_chunks_mut::<B>().0);
        for (blocks, bytes) in blocks.chunks(STRETCH / N).zip(bytes.chunks_mut(STRETCH / N)) {
            if N > 1 && !are_finite(blocks.as_flattened()) {
                return false;
            }
            for (x, y) in blocks.iter().zip(bytes) {
                E::encode_block(x, y);
            }
        }
        true
    }
}

struct DecodeAll<'a, E, const N: usize, const B: usize> {
    source: &'a [u8],
    out: &'a mut [f32],
    code: std::marker::PhantomData<E>,
}

impl<E: DecodeBlock<N, B>, const N: usize, const B: usize> Kernel for DecodeAll<'_, E, N, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        for (x, y) in self.source.as_chunks::<B>().0.iter().zip(self.out.as_chunks_mut::<N>().0) {
            E::decode_block(x, y);
        }
    }
}

/// Whether no weight is NaN or infinite: those times zero are NaN, which every sum keeps.
#[inline(always)]
pub(crate) fn are_finite(x: &[f32]) -> bool {
    let mut sums = [0.0f32; 32];
    let (chunks, rest) = x.as_chunks::<32>();
    for chunk in chunks {
        for i in 0..32 {
            sums[i] += chunk[i] * 0.0;
        }
    }
    sums.iter().chain(rest).fold(0.0, |sum, v| sum + v * 0.0) == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_weight_that_is_not_finite_is_found() {
        for len in [1, 31, 32, 100] {
            let mut x = vec![f32::MAX; len];
            assert!(are_finite(&x));
            for at in 0..len {
                for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    x[at] = value;
                    assert!(!are_finite(&x), "{value} at {at} of {len}");
                }
                x[at] = -1.0;
            }
        }
    }
}
