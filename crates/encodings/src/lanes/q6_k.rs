//! `q6_k` on lanes.

use gravure_simd::Simd;

use super::batch::{Batch, BatchEncoder};
use super::groups::{ErrorWeights, SymmetricFits, of_block, symmetric_codes_of};
use crate::q6_k::{B, finish};
use crate::super_blocks::N;

/// Weights in a group.
const G: usize = 16;
/// Groups in a block.
const GROUPS: usize = N / G;

/// The encoder of batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q6KLanes;

impl BatchEncoder<N, B> for Q6KLanes {
    #[inline(always)]
    fn encode<S: Simd>(self, isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32 {
        let kind = if batch.has_importance() { ErrorWeights::Importance } else { ErrorWeights::Square };
        let fits = SymmetricFits::search::<S, G>(isa, 32, kind, batch);
        for (k, (x, out)) in batch.blocks.iter().zip(out).enumerate() {
            let inverses: &[f32; GROUPS] = of_block(&fits.inverses, k);
            finish(x, of_block(&fits.scales, k), |j, x| symmetric_codes_of(32, inverses[j], x), out);
        }
        0
    }
}
