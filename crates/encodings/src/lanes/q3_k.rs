//! `q3_k` on lanes.

use gravure_simd::{F32s, MAX_LANES, Mask, Simd};

use super::batch::{Batch, BatchEncoder};
use super::groups::{ErrorWeights, SymmetricFits, by_block, of_block, symmetric_codes_of};
use super::search::{symmetric, symmetric_codes, symmetric_descent};
use crate::q3_k::{B, evenly, finish};
use crate::super_blocks::N;

/// Weights in a group.
const G: usize = 16;
/// Groups in a block.
const GROUPS: usize = N / G;

/// The encoder of batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Q3KLanes;

impl BatchEncoder<N, B> for Q3KLanes {
    #[inline(always)]
    fn encode<S: Simd>(self, isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32 {
        if batch.has_importance() { weighted(isa, batch, out) } else { plain(isa, batch, out) }
    }
}

#[inline(always)]
fn weighted<S: Simd>(isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32 {
    let fits = SymmetricFits::search::<S, G>(isa, 4, ErrorWeights::Variance(2.0), batch);
    let scales: [F32s<S>; GROUPS] = by_block(isa, &fits.scales);
    // Error weights beyond the range of a float leave scales that are no numbers.
    let mut odd = Mask::none(isa);
    for scale in scales {
        odd = odd | !scale.abs().le(F32s::splat(isa, f32::MAX));
    }
    let fit = symmetric(isa, 32, &scales, &by_block(isa, &fits.totals));
    let codes = symmetric_codes(isa, 32, &scales, fit.inverse).map(|code| code.to_array());
    let factors = fit.scale.to_array();
    for (k, (x, out)) in batch.blocks.iter().zip(out).enumerate() {
        let mut of_this = [0; GROUPS];
        for j in 0..GROUPS {
            of_this[j] = codes[j].as_ref()[k] as u8;
        }
        let inverses: &[f32; GROUPS] = of_block(&fits.inverses, k);
        finish(x, (factors.as_ref()[k], of_this), |j, x| symmetric_codes_of(4, inverses[j], x), out);
    }
    odd.bits()
}

#[inline(always)]
fn plain<S: Simd>(isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32 {
    let mut fitted = [0.0; GROUPS * MAX_LANES];
    for start in (0..batch.blocks.len() * GROUPS).step_by(2 * S::LANES) {
        let x = [batch.groups::<S, G>(isa, start), batch.groups::<S, G>(isa, start + S::LANES)];
        let [first, second] = symmetric_descent(isa, 4, &x);
        first.store(&mut fitted[start..]);
        second.store(&mut fitted[start + S::LANES..]);
    }
    for (k, (x, out)) in batch.blocks.iter().zip(out).enumerate() {
        // The codes of the descent are kept only under a scale that rounds to nothing, too seldom
        // to carry them along: they are searched again.
        let found = |_, x: &[f32; G]| {
            let mut codes = [0; G];
            crate::search::symmetric_descent(4, x, &mut codes);
            codes
        };
        finish(x, evenly(of_block(&fitted, k)), found, out);
    }
    0
}
