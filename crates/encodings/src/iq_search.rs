//! The search that the two- and three-bit lattice encodings share: for a group of weights, a scale
//! and a lattice point for each `D` of them.
//!
//! Weights are made positive first (their signs are stored apart), then a number of candidate
//! scales are tried: weights are rounded to odd multiples of half the scale, rounded vectors that
//! are no lattice points are moved to near ones, and the scale is refitted to the points by
//! weighted least squares. Float operations and their order are part of the format.

use gravure_simd::Simd;

use crate::iq_lattice::{Errors, Lattice};
use crate::lanes;
use crate::search::nearest;

/// Weights in a block.
pub(crate) const ELEMENTS: usize = 256;

/// What is tried for a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidates {
    /// Candidates on each side of the plain one.
    pub(crate) around: i32,
    /// Their distance, in levels of the largest weight.
    pub(crate) step: f32,
    /// Which vectors are rounded once more under the final scale.
    pub(crate) refit: Refit,
}

/// Which vectors are rounded once more under the final scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refit {
    /// Those that were moved to a near point.
    Moved,
    /// All, where any was moved.
    AllWhereMoved,
    /// All.
    All,
}

/// A group: weights made positive, how much their errors count, and the square roots of that, by
/// which near points are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<const N: usize> {
    pub(crate) x: [f32; N],
    pub(crate) weights: [f32; N],
    pub(crate) roots: [f32; N],
}

/// The outcome: a scale and `V` points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit<const V: usize> {
    pub(crate) scale: f32,
    pub(crate) points: [u16; V],
}

/// The weights without signs, and the signs: bit `i` is set where weight `i` of eight is negative.
#[inline(always)]
pub(crate) fn split_signs<const N: usize, const S: usize>(x: &[f32; N]) -> ([f32; N], [u8; S]) {
    let mut signs = [0; S];
    for (i, v) in x.iter().enumerate() {
        // Minus zero counts as positive and keeps its sign.
        signs[i / 8] |= u8::from(*v < 0.0) << (i % 8);
    }
    (x.map(|v| if v < 0.0 { -v } else { v }), signs)
}

/// Makes the number of negative signs among eight even, so that seven bits hold them: where it is
/// odd, the weight whose wrong sign costs least gets it.
#[inline(always)]
pub(crate) fn even_signs<const N: usize>(x: &mut [f32; N], weights: &[f32; N], signs: &mut [u8]) {
    for (k, signs) in signs.iter_mut().enumerate() {
        if signs.count_ones() % 2 == 1 {
            let cost = |i: usize| weights[8 * k + i] * x[8 * k + i] * x[8 * k + i];
            let cheapest = (1..8).fold(0, |cheapest, i| if cost(i) < cost(cheapest) { i } else { cheapest });
            x[8 * k + cheapest] = -x[8 * k + cheapest];
            *signs ^= 1 << cheapest;
        }
        *signs &= 127;
    }
}

/// All eight signs from seven: their number is even.
#[inline(always)]
pub fn eight_signs(seven: u32) -> u8 {
    let seven = (seven & 127) as u8;
    seven | ((seven.count_ones() & 1) as u8) << 7
}

/// The largest of the weights.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    x.iter().fold(x[0], |largest, &v| if largest > v { largest } else { v })
}

/// Levels of one vector under an inverse scale.
#[inline(always)]
fn round<const D: usize, const LEVELS: usize>(x: &[f32; D], inverse: f32) -> [u8; D] {
    x.map(|v| nearest(0.5 * (inverse * v - 1.0)).clamp(0, LEVELS as i32 - 1) as u8)
}

/// The weighted squared error of each level of each coordinate.
#[inline(always)]
fn errors<const D: usize, const LEVELS: usize>(x: &[f32; D], weights: &[f32; D], scale: f32) -> Errors<D, LEVELS> {
    std::array::from_fn(|i| {
        std::array::from_fn(|l| {
            let difference = scale * (2 * l + 1) as f32 - x[i];
            weights[i] * difference * difference
        })
    })
}

/// Projections of a group on its points: with the weights, and with themselves.
#[inline(always)]
fn projections<const N: usize, const V: usize, const D: usize, const BITS: u32, const LEVELS: usize>(
    lattice: &Lattice<D, BITS, LEVELS>,
    group: &Group<N>,
    points: &[u16; V],
) -> (f32, f32) {
    let (mut with_x, mut with_level) = (0.0f32, 0.0f32);
    for (k, &point) in points.iter().enumerate() {
        for (i, &level) in lattice.point(point).iter().enumerate() {
            let (w, x, q) = (group.weights[D * k + i], group.x[D * k + i], f32::from(2 * level + 1));
            with_x += w * x * q;
            with_level += w * q * q;
        }
    }
    (with_x, with_level)
}

/// Finds the best scale and points of a group. `start` is the scale that is kept where no candidate
/// is any better, `range` the weight that the plain candidate puts on the highest level.
#[inline(always)]
pub(crate) fn fit<S: Simd, const N: usize, const V: usize, const D: usize, const BITS: u32, const LEVELS: usize>(
    isa: Option<S>,
    lattice: &Lattice<D, BITS, LEVELS>,
    group: &Group<N>,
    candidates: Candidates,
    start: f32,
    range: f32,
) -> Option<Fit<V>> {
    match isa {
        Some(isa) => lanes::lattice::fit(isa, lattice, group, candidates, start, range),
        None => fit_scalar(lattice, group, candidates, start, range),
    }
}

/// [`fit`] by the scalar code.
pub(crate) fn fit_scalar<const N: usize, const V: usize, const D: usize, const BITS: u32, const LEVELS: usize>(
    lattice: &Lattice<D, BITS, LEVELS>,
    group: &Group<N>,
    candidates: Candidates,
    start: f32,
    range: f32,
) -> Option<Fit<V>> {
    let x = group.x.as_chunks::<D>().0;
    let roots = group.roots.as_chunks::<D>().0;
    let top = (2 * LEVELS - 1) as f32;
    let (mut scale, mut best) = (start, 0.0f32);
    let mut points = [0u16; V];
    let mut moved = [candidates.refit == Refit::AllWhereMoved; V];
    for step in -candidates.around..=candidates.around {
        let inverse = (top + step as f32 * candidates.step) / range;
        let candidate_scale = 1.0 / inverse;
        let mut candidate = [0u16; V];
        let mut candidate_moved = [false; V];
        for k in 0..V {
            let levels = round::<D, LEVELS>(&x[k], inverse);
            let (point, exact) = lattice.find(&levels, || errors(&x[k], &roots[k], candidate_scale))?;
            candidate[k] = point;
            candidate_moved[k] = !exact;
        }
        let (with_x, with_level) = projections(lattice, group, &candidate);
        if with_level > 0.0 && with_x * with_x > best * with_level {
            scale = with_x / with_level;
            best = scale * with_x;
            points = candidate;
            moved = candidate_moved;
        }
    }
    let any = moved.contains(&true);
    if scale > 0.0 && (any || candidates.refit == Refit::All) {
        let inverse = 1.0 / scale;
        for k in 0..V {
            if moved[k] || candidates.refit != Refit::Moved {
                let levels = round::<D, LEVELS>(&x[k], inverse);
                points[k] = lattice.find(&levels, || errors(&x[k], &roots[k], scale))?.0;
            }
        }
        let (with_x, with_level) = projections(lattice, group, &points);
        if with_level > 0.0 {
            scale = with_x / with_level;
        }
    }
    if scale.is_nan() { None } else { Some(Fit { scale, points }) }
}

/// The scales of a block's groups as odd multiples of half a step, `codes` 0 to 15; returns the
/// step, zero where all scales are.
#[inline(always)]
pub(crate) fn code_scales<const G: usize>(scales: &[f32; G], steps: f32, highest: i32) -> (f32, [u8; G]) {
    let largest = scales.iter().fold(0.0f32, |largest, &s| if largest > s { largest } else { s });
    if largest == 0.0 {
        return (0.0, [0; G]);
    }
    let step = largest / steps;
    let inverse = 1.0 / step;
    (step, scales.map(|s| nearest(0.5 * (inverse * s - 1.0)).clamp(0, highest) as u8))
}

/// Writes eight weights: levels times scale, with signs.
#[inline(always)]
pub(crate) fn unpack_eight(scale: f32, values: [f32; 8], signs: u8, out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = scale * values[i % 8] * if signs >> (i % 8) & 1 == 1 { -1.0 } else { 1.0 };
    }
}
