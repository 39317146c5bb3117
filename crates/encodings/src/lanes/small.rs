//! Blocks of 32 weights with one scale, and perhaps a minimum, searched under importance.

use gravure_core::{Encoding, Result};
use gravure_simd::{F32s, Kernel, MAX_LANES, Simd};

use super::batch::{Batch, BatchEncoder, choice, encode_all};
use super::groups::symmetric_codes_of;
use super::search::{affine, symmetric};
use crate::blocks::{check_encode, check_finite};
use crate::search::{AffineSearch, error_weights, nearest};
use crate::small_blocks::mean_of_squares;

/// Weights in a block.
pub(crate) const N: usize = 32;

/// How the parameters of a block are found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SmallSearch {
    /// `scale * (code - levels)`.
    Symmetric(i32),
    /// `scale * code + minimum`.
    Affine(AffineSearch),
}

/// The encoder of batches; a block's `store` gets scale, minimum (zero where there is none) and
/// codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SmallLanes<'a, P> {
    search: SmallSearch,
    store: P,
    blocks_per_row: usize,
    /// The mean square of each row.
    variances: &'a [f32],
}

/// Encodes rows under importance, which is as long as a row.
pub(crate) fn encode_weighted<const B: usize>(
    encoding: &dyn Encoding,
    (source, row_length): (&[f32], usize),
    importance: &[f32],
    out: &mut [u8],
    search: SmallSearch,
    store: impl Fn(f32, f32, &[u8; N], &mut [u8; B]) + Copy,
) -> Result<()> {
    check_encode(encoding, source, row_length, Some(importance), out)?;
    for row in source.chunks_exact(row_length) {
        check_finite(encoding, row)?;
    }
    encode_rows_weighted(choice(), source, importance, out.as_chunks_mut().0, search, store);
    Ok(())
}

/// Encodes checked rows under importance, which is as long as a row.
pub(crate) fn encode_rows_weighted<const B: usize>(
    isa: Option<gravure_simd::Isa>,
    source: &[f32],
    importance: &[f32],
    out: &mut [[u8; B]],
    search: SmallSearch,
    store: impl Fn(f32, f32, &[u8; N], &mut [u8; B]) + Copy,
) {
    let variances = match isa {
        Some(isa) => isa.vectorize(MeansOfSquares { source, row_length: importance.len() }),
        None => source.chunks_exact(importance.len()).map(mean_of_squares).collect(),
    };
    let blocks = source.as_chunks::<N>().0;
    let columns = importance.as_chunks::<N>().0;
    let encoder = SmallLanes { search, store, blocks_per_row: columns.len(), variances: &variances };
    encode_all(isa, blocks, Some(columns), out, encoder, |i, x, importance, y| {
        let weights = error_weights(x, importance.unwrap_or(&[1.0; N]), variances[i / columns.len()]);
        let mut codes = [0; N];
        let (scale, minimum) = match search {
            SmallSearch::Symmetric(levels) => (crate::search::symmetric(levels, x, Some(&weights), &mut codes), 0.0),
            SmallSearch::Affine(search) => {
                let (scale, depth) = crate::search::affine(&search, x, &weights, &mut codes);
                (scale, -depth)
            }
        };
        store(scale, minimum, &codes, y);
    });
}

impl<P: Fn(f32, f32, &[u8; N], &mut [u8; B]) + Copy, const B: usize> BatchEncoder<N, B> for SmallLanes<'_, P> {
    #[inline(always)]
    fn encode<S: Simd>(self, isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32 {
        let x = batch.groups::<S, N>(isa, 0);
        let importance = batch.importance::<S, N>(isa, 0);
        let mut variance = [0.0; MAX_LANES];
        for (k, v) in variance.iter_mut().enumerate().take(batch.blocks.len()) {
            *v = self.variances[(batch.first + k) / self.blocks_per_row];
        }
        let variance = F32s::load(isa, &variance);
        let mut weights = x;
        for i in 0..N {
            weights[i] = importance[i] * (variance + x[i] * x[i]).sqrt();
        }
        match self.search {
            SmallSearch::Symmetric(levels) => {
                let fit = symmetric(isa, levels, &x, &weights);
                let (scales, inverses) = (fit.scale.to_array(), fit.inverse.to_array());
                for (k, (x, y)) in batch.blocks.iter().zip(out).enumerate() {
                    (self.store)(scales.as_ref()[k], 0.0, &symmetric_codes_of(levels, inverses.as_ref()[k], x), y);
                }
                0
            }
            SmallSearch::Affine(search) => {
                let fit = affine(isa, &search, &x, &weights);
                let (scales, depths) = (fit.scale.to_array(), fit.depth.to_array());
                let (inverses, bases) = (fit.inverse.to_array(), fit.base.to_array());
                for (k, (x, y)) in batch.blocks.iter().zip(out).enumerate() {
                    let (inverse, base) = (inverses.as_ref()[k], bases.as_ref()[k]);
                    let codes = x.map(|v| nearest(inverse * (v - base)).clamp(0, search.levels) as u8);
                    (self.store)(scales.as_ref()[k], -depths.as_ref()[k], &codes, y);
                }
                fit.declined.bits()
            }
        }
    }
}

/// [`mean_of_squares`] of each row, a row in each lane.
struct MeansOfSquares<'a> {
    source: &'a [f32],
    row_length: usize,
}

impl Kernel for MeansOfSquares<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> Vec<f32> {
        let mut means = Vec::with_capacity(self.source.len() / self.row_length);
        for rows in self.source.chunks(self.row_length * S::LANES) {
            let count = rows.len() / self.row_length;
            let mut at = [0; MAX_LANES];
            for (k, at) in at.iter_mut().enumerate() {
                *at = self.row_length * k.min(count - 1);
            }
            let mut sum = F32s::splat(isa, 0.0);
            for from in (0..self.row_length).step_by(N) {
                let mut x = [F32s::splat(isa, 0.0); N];
                F32s::columns(isa, &rows[from..], &at, &mut x);
                for v in x {
                    sum = sum + v * v;
                }
            }
            let mean = sum / F32s::splat(isa, self.row_length as f32);
            means.extend_from_slice(&mean.to_array().as_ref()[..count]);
        }
        means
    }
}
