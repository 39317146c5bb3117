//! Searches of all groups of a batch, a group in each lane, whatever block it belongs to; and the
//! view across blocks, a block in each lane, for the searches that quantize the scales.

use gravure_simd::{F32s, MAX_LANES, Simd};

use super::batch::Batch;
use super::search::{affine, symmetric};
use crate::search::{AffineSearch, nearest};
use crate::super_blocks::N;

/// The most groups in a batch: 16 in each block.
const MOST: usize = N / 16 * MAX_LANES;

/// A number for each group of a batch, in order.
pub(crate) type PerGroup = [f32; MOST];

/// What the error of a weight counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ErrorWeights {
    /// The square of the weight.
    Square,
    /// Its magnitude.
    Magnitude,
    /// Its magnitude and the root of the mean square of its group.
    Typical,
    /// Importance as it is.
    Importance,
    /// `importance * sqrt(variance + x^2)`, the variance being the mean square of the block times
    /// this factor.
    Variance(f32),
}

/// `scale * code - depth` for each group.
#[derive(Debug)]
pub(crate) struct AffineFits {
    /// Scales.
    pub(crate) scales: PerGroup,
    /// Depths.
    pub(crate) depths: PerGroup,
    /// The codes are `nearest(inverse * (x - base))`, clamped.
    pub(crate) inverses: PerGroup,
    /// See `inverses`.
    pub(crate) bases: PerGroup,
    /// Sums of the error weights.
    pub(crate) totals: PerGroup,
    /// Bit `i` is set where a group of block `i` has to be searched by the scalar code.
    pub(crate) declined: u32,
}

impl AffineFits {
    /// Searches all groups of `G` weights.
    #[inline(always)]
    pub(crate) fn search<S: Simd, const G: usize>(isa: S, search: &AffineSearch, kind: ErrorWeights, batch: &Batch<'_, N>) -> Self {
        let blank = [0.0; MOST];
        let mut fits = Self { scales: blank, depths: blank, inverses: blank, bases: blank, totals: blank, declined: 0 };
        let variances = Variances::of(isa, kind, batch);
        for start in (0..batch.blocks.len() * (N / G)).step_by(S::LANES) {
            let x = batch.groups::<S, G>(isa, start);
            let weights = variances.error_weights(isa, batch, start, &x);
            sum(isa, &weights).store(&mut fits.totals[start..]);
            let fit = affine(isa, search, &x, &weights);
            fit.scale.store(&mut fits.scales[start..]);
            fit.depth.store(&mut fits.depths[start..]);
            fit.inverse.store(&mut fits.inverses[start..]);
            fit.base.store(&mut fits.bases[start..]);
            let odd = fit.declined.bits();
            if odd != 0 {
                for k in (0..S::LANES).filter(|k| odd >> k & 1 == 1) {
                    fits.declined |= 1 << ((start + k) / (N / G)).min(31);
                }
            }
        }
        fits
    }
}

/// `scale * (code - levels)` for each group.
#[derive(Debug)]
pub(crate) struct SymmetricFits {
    /// Scales.
    pub(crate) scales: PerGroup,
    /// The codes are `nearest(inverse * x)`, clamped, plus `levels`; all zero where this is zero.
    pub(crate) inverses: PerGroup,
    /// Sums of the error weights.
    pub(crate) totals: PerGroup,
}

impl SymmetricFits {
    /// Searches all groups of `G` weights.
    #[inline(always)]
    pub(crate) fn search<S: Simd, const G: usize>(isa: S, levels: i32, kind: ErrorWeights, batch: &Batch<'_, N>) -> Self {
        let blank = [0.0; MOST];
        let mut fits = Self { scales: blank, inverses: blank, totals: blank };
        let variances = Variances::of(isa, kind, batch);
        for start in (0..batch.blocks.len() * (N / G)).step_by(S::LANES) {
            let x = batch.groups::<S, G>(isa, start);
            let weights = variances.error_weights(isa, batch, start, &x);
            sum(isa, &weights).store(&mut fits.totals[start..]);
            let fit = symmetric(isa, levels, &x, &weights);
            fit.scale.store(&mut fits.scales[start..]);
            fit.inverse.store(&mut fits.inverses[start..]);
        }
        fits
    }
}

/// The error weights' rule and what it needs to know of each block.
struct Variances {
    kind: ErrorWeights,
    of_block: [f32; MAX_LANES],
}

impl Variances {
    #[inline(always)]
    fn of<S: Simd>(isa: S, kind: ErrorWeights, batch: &Batch<'_, N>) -> Self {
        let mut of_block = [0.0; MAX_LANES];
        if let ErrorWeights::Variance(factor) = kind {
            let sums = batch.sums_of_squares(isa);
            (F32s::splat(isa, factor) * sums / F32s::splat(isa, N as f32)).store(&mut of_block);
        }
        Self { kind, of_block }
    }

    #[inline(always)]
    fn error_weights<S: Simd, const G: usize>(&self, isa: S, batch: &Batch<'_, N>, start: usize, x: &[F32s<S>; G]) -> [F32s<S>; G] {
        let mut weights = *x;
        match self.kind {
            ErrorWeights::Square => {
                for w in &mut weights {
                    *w = *w * *w;
                }
            }
            ErrorWeights::Magnitude => {
                for w in &mut weights {
                    *w = w.abs();
                }
            }
            ErrorWeights::Typical => {
                let mut squares = F32s::splat(isa, 0.0);
                for v in x {
                    squares = squares + *v * *v;
                }
                let typical = (squares / F32s::splat(isa, G as f32)).sqrt();
                for w in &mut weights {
                    *w = typical + w.abs();
                }
            }
            ErrorWeights::Importance => weights = batch.importance::<S, G>(isa, start),
            ErrorWeights::Variance(_) => {
                let importance = batch.importance::<S, G>(isa, start);
                let mut variance = [0.0; MAX_LANES];
                for (k, v) in variance.iter_mut().enumerate() {
                    *v = self.of_block[((start + k) / (N / G)).min(MAX_LANES - 1)];
                }
                let variance = F32s::load(isa, &variance);
                for i in 0..G {
                    weights[i] = importance[i] * (variance + x[i] * x[i]).sqrt();
                }
            }
        }
        weights
    }
}

/// The sum of each lane, first to last.
#[inline(always)]
fn sum<S: Simd, const G: usize>(isa: S, values: &[F32s<S>; G]) -> F32s<S> {
    let mut sum = F32s::splat(isa, 0.0);
    for v in values {
        sum = sum + *v;
    }
    sum
}

/// Values of the `GROUPS` groups of each block: lane `k` of vector `j` is that of group `j` of
/// block `k`.
#[inline(always)]
pub(crate) fn by_block<S: Simd, const GROUPS: usize>(isa: S, values: &PerGroup) -> [F32s<S>; GROUPS] {
    let mut at = [0; MAX_LANES];
    for (k, at) in at.iter_mut().enumerate() {
        *at = GROUPS * k;
    }
    let mut lanes = [F32s::splat(isa, 0.0); GROUPS];
    F32s::columns(isa, values, &at, &mut lanes);
    lanes
}

/// The values of the groups of block `k`.
#[inline(always)]
pub(crate) fn of_block<const GROUPS: usize>(values: &PerGroup, k: usize) -> &[f32; GROUPS] {
    &values.as_chunks::<GROUPS>().0[k]
}

/// The codes that a symmetric search found, from its inverse scale.
#[inline(always)]
pub(crate) fn symmetric_codes_of<const G: usize>(levels: i32, inverse: f32, x: &[f32; G]) -> [u8; G] {
    if inverse == 0.0 { [0; G] } else { x.map(|v| (nearest(inverse * v).clamp(-levels, levels - 1) + levels) as u8) }
}
