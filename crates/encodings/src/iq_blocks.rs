//! The walk over blocks whose errors are weighted by importance, compiled once for each instruction
//! set: what is below [`EncodeWeighted::encode_block`] is plain loops over arrays that the compiler
//! turns into that set's vectors, and `#[inline(always)]` down to the bottom.

use std::marker::PhantomData;

use gravure_core::{Encoding, Error, Importance, Result};
use gravure_simd::{Isa, Kernel, Simd};

use crate::blocks::{check_encode, check_finite};
use crate::lanes::batch::choice;

/// An encoding whose blocks of `N` weights and `B` bytes are searched with importance.
pub(crate) trait EncodeWeighted<const N: usize, const B: usize> {
    /// Encodes a block of finite weights, with the lanes of `isa` where there is one and by the scalar
    /// code else; gives up where sums leave the range of floats.
    fn encode_block<S: Simd>(isa: Option<S>, x: &[f32; N], importance: Option<&[f32; N]>, y: &mut [u8; B]) -> Option<()>;
}

/// Encodes whole rows.
pub(crate) fn encode<E: Encoding + EncodeWeighted<N, B>, const N: usize, const B: usize>(
    encoding: &E,
    source: &[f32],
    row_length: usize,
    importance: Importance<'_>,
    out: &mut [u8],
) -> Result<()> {
    check_encode(encoding, source, row_length, importance, out)?;
    check_finite(encoding, source)?;
    let rows = Rows::<E, N, B> { source, row_length, importance, out, code: PhantomData };
    choice()
        .unwrap_or(Isa::detect())
        .vectorize(rows)
        .ok_or_else(|| Error::input(format!("weights or importance are too large (or importance is negative) for {}", encoding.id())))
}

struct Rows<'a, E, const N: usize, const B: usize> {
    source: &'a [f32],
    row_length: usize,
    importance: Importance<'a>,
    out: &'a mut [u8],
    code: PhantomData<E>,
}

impl<E: EncodeWeighted<N, B>, const N: usize, const B: usize> Kernel for Rows<'_, E, N, B> {
    type Output = Option<()>;

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> Option<()> {
        let isa = choice().map(|_| isa);
        let columns = self.importance.map(|values| values.as_chunks::<N>().0);
        let blocks_in_row = self.row_length / N;
        for (i, (x, y)) in self.source.as_chunks::<N>().0.iter().zip(self.out.as_chunks_mut::<B>().0).enumerate() {
            let importance = columns.map(|columns| &columns[i % blocks_in_row]);
            E::encode_block(isa, x, importance, y)?;
        }
        Some(())
    }
}
