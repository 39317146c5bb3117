//! Blocks of eight groups of 32 weights with scales and minima of six bits, four or five bits a
//! code.

use gravure_simd::{MAX_LANES, Simd};

use super::batch::{Batch, BatchEncoder};
use super::groups::{AffineFits, ErrorWeights, by_block, of_block};
use super::search::positive;
use crate::search::nearest;
use crate::super_blocks::{Affine32, N, evenly};

/// Weights in a group.
const G: usize = 32;
/// Groups in a block.
const GROUPS: usize = N / G;

/// Fits blocks and hands each one to the encoding's own packing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine32Lanes<P> {
    /// Largest code.
    pub(crate) levels: i32,
    /// First, step and number of the search's candidates where there is no importance.
    pub(crate) candidates: (f32, f32, i32),
    /// Writes a fitted block.
    pub(crate) pack: P,
}

impl<P: Fn(&Affine32, &mut [u8; B]) + Copy, const B: usize> BatchEncoder<N, B> for Affine32Lanes<P> {
    #[inline(always)]
    fn encode<S: Simd>(self, isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32 {
        let levels = self.levels;
        let search = Affine32::search(levels, self.candidates, batch.has_importance());
        let mut quantized = [[(0.0, [0; GROUPS]); 2]; MAX_LANES];
        let fits = if batch.has_importance() {
            let fits = AffineFits::search::<S, G>(isa, &search, ErrorWeights::Variance(2.0), batch);
            let totals = by_block(isa, &fits.totals);
            for (which, values) in [&fits.scales, &fits.depths].into_iter().enumerate() {
                let (factor, fitted) = positive(isa, 63, &by_block::<S, GROUPS>(isa, values), &totals);
                let (factor, fitted) = (factor.to_array(), fitted.map(|code| code.to_array()));
                for k in 0..S::LANES {
                    let mut codes = [0; GROUPS];
                    for j in 0..GROUPS {
                        codes[j] = (fitted[j].as_ref()[k] as u8).min(63);
                    }
                    quantized[k][which] = (factor.as_ref()[k], codes);
                }
            }
            fits
        } else {
            let fits = AffineFits::search::<S, G>(isa, &search, ErrorWeights::Typical, batch);
            for k in 0..batch.blocks.len() {
                quantized[k] = [evenly(of_block(&fits.scales, k)), evenly(of_block(&fits.depths, k))];
            }
            fits
        };
        for (k, (x, out)) in batch.blocks.iter().zip(out).enumerate() {
            let (inverses, bases): (&[f32; GROUPS], &[f32; GROUPS]) = (of_block(&fits.inverses, k), of_block(&fits.bases, k));
            let found = |j: usize, x: &[f32; G]| x.map(|v| nearest(inverses[j] * (v - bases[j])).clamp(0, levels) as u8);
            let block = Affine32::finish(levels, x, quantized[k], found);
            (self.pack)(&block, out);
        }
        fits.declined
    }
}
