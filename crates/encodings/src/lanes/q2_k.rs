//! `q2_k` on lanes.

use gravure_simd::{MAX_LANES, Simd};

use super::batch::{Batch, BatchEncoder};
use super::groups::{AffineFits, ErrorWeights, by_block, of_block};
use super::search::positive;
use crate::q2_k::{B, IMPORTANT, PLAIN, evenly, finish};
use crate::search::nearest;
use crate::super_blocks::N;

/// Weights in a group.
const G: usize = 16;
/// Groups in a block.
const GROUPS: usize = N / G;

/// The encoder of batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q2KLanes;

impl BatchEncoder<N, B> for Q2KLanes {
    #[inline(always)]
    fn encode<S: Simd>(self, isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32 {
        let levels = PLAIN.levels;
        let mut quantized = [[(0.0, [0; GROUPS]); 2]; MAX_LANES];
        let fits = if batch.has_importance() {
            let fits = AffineFits::search::<S, G>(isa, &IMPORTANT, ErrorWeights::Variance(1.0), batch);
            let totals = by_block(isa, &fits.totals);
            for (which, values) in [&fits.scales, &fits.depths].into_iter().enumerate() {
                let (factor, fitted) = positive(isa, 15, &by_block::<S, GROUPS>(isa, values), &totals);
                let (factor, fitted) = (factor.to_array(), fitted.map(|code| code.to_array()));
                for k in 0..S::LANES {
                    let mut codes = [0; GROUPS];
                    for j in 0..GROUPS {
                        codes[j] = fitted[j].as_ref()[k] as u8;
                    }
                    quantized[k][which] = (factor.as_ref()[k], codes);
                }
            }
            fits
        } else {
            let fits = AffineFits::search::<S, G>(isa, &PLAIN, ErrorWeights::Magnitude, batch);
            for k in 0..batch.blocks.len() {
                quantized[k] = [evenly(of_block(&fits.scales, k)), evenly(of_block(&fits.depths, k))];
            }
            fits
        };
        for (k, (x, out)) in batch.blocks.iter().zip(out).enumerate() {
            let (inverses, bases): (&[f32; GROUPS], &[f32; GROUPS]) = (of_block(&fits.inverses, k), of_block(&fits.bases, k));
            let found = |j: usize, x: &[f32; G]| x.map(|v| nearest(inverses[j] * (v - bases[j])).clamp(0, levels) as u8);
            finish(x, quantized[k], found, out);
        }
        fits.declined
    }
}
