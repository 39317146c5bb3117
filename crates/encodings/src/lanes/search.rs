//! The searches of [`search`](crate::search), one group in each lane. Read that file first: names
//! and order of operations are the same here.

use gravure_simd::{F32s, I32s, Mask, Simd};

use crate::search::{AffineSearch, Penalty, TINY};

/// The largest magnitude that vector rounding and the scalar trick agree about.
const ROUNDABLE: f32 = 4_194_303.0;

/// [`nearest`](crate::search::nearest) for any value whatever, bit for bit.
#[inline(always)]
pub(crate) fn nearest<S: Simd>(isa: S, value: F32s<S>) -> I32s<S> {
    let bits = (value + F32s::splat(isa, 12_582_912.0)).bits();
    (bits & I32s::splat(isa, 0x007f_ffff)) - I32s::splat(isa, 0x0040_0000)
}

/// What a group is worth in lanes: `scale * code - depth`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AffineFit<S: Simd> {
    /// The scale.
    pub(crate) scale: F32s<S>,
    /// The depth.
    pub(crate) depth: F32s<S>,
    /// The codes are `nearest(inverse * (x - base))`, clamped; zero where all weights are equal.
    pub(crate) inverse: F32s<S>,
    /// See `inverse`.
    pub(crate) base: F32s<S>,
    /// Lanes that have to be searched by the scalar code.
    pub(crate) declined: Mask<S>,
}

/// [`affine`](crate::search::affine) on lanes.
#[inline(always)]
pub(crate) fn affine<S: Simd, const N: usize>(isa: S, search: &AffineSearch, x: &[F32s<S>; N], weights: &[F32s<S>; N]) -> AffineFit<S> {
    let zero = F32s::splat(isa, 0.0);
    let one = F32s::splat(isa, 1.0);
    let roundable = F32s::splat(isa, ROUNDABLE);
    let levels = F32s::splat(isa, search.levels as f32);
    let (mut low, mut high) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = sum_w * x[0];
    for i in 1..N {
        low = x[i].min(low);
        high = x[i].max(high);
        sum_w = sum_w + weights[i];
        sum_x = sum_x + weights[i] * x[i];
    }
    low = low.gt(zero).select(zero, low);
    let flat = high.eq(low);

    let mut codes = [zero; N];
    let mut inverse = levels / (high - low);
    // Every value is within the range that rounding is right in where both ends are.
    let mut declined = !(inverse * (high - low)).abs().le(roundable);
    let (mut scale, mut offset) = (one / inverse, low);
    let mut base = low;
    let mut best = zero;
    for i in 0..N {
        let code = (inverse * (x[i] - low)).nearest().max(zero).min(levels);
        let difference = scale * code + offset - x[i];
        best = best + weights[i] * penalty(search, difference);
    }
    for k in 0..=search.steps {
        let candidate = F32s::splat(isa, search.first + search.step * k as f32 + search.levels as f32) / (high - offset);
        let ends = (candidate * (high - offset)).abs().le(roundable) & (candidate * (low - offset)).abs().le(roundable);
        declined = declined | !ends;
        let (mut sum_l, mut sum_l2, mut sum_xl) = (zero, zero, zero);
        for i in 0..N {
            let l = (candidate * (x[i] - offset)).nearest().max(zero).min(levels);
            codes[i] = l;
            let wl = weights[i] * l;
            sum_l = sum_l + wl;
            sum_l2 = sum_l2 + wl * l;
            sum_xl = sum_xl + wl * x[i];
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        let solvable = determinant.gt(zero);
        let mut fitted_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut fitted_offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        let above = fitted_offset.gt(zero);
        if above.any() {
            fitted_offset = above.select(zero, fitted_offset);
            fitted_scale = above.select(sum_xl / sum_l2, fitted_scale);
        }
        let mut error = zero;
        for i in 0..N {
            let difference = fitted_scale * codes[i] + fitted_offset - x[i];
            error = error + weights[i] * penalty(search, difference);
        }
        let better = solvable & error.lt(best);
        best = better.select(error, best);
        inverse = better.select(candidate, inverse);
        base = better.select(offset, base);
        scale = better.select(fitted_scale, scale);
        offset = better.select(fitted_offset, offset);
    }
    AffineFit {
        scale: flat.select(zero, scale),
        depth: flat.select(low, offset) * F32s::splat(isa, -1.0),
        inverse: flat.select(zero, inverse),
        base: flat.select(zero, base),
        declined: declined & !flat,
    }
}

#[inline(always)]
fn penalty<S: Simd>(search: &AffineSearch, difference: F32s<S>) -> F32s<S> {
    match search.penalty {
        Penalty::Absolute => difference.abs(),
        Penalty::Squared => difference * difference,
    }
}

/// [`positive`](crate::search::positive) on lanes; `x[i]` and `weights[i]` are value `i` of each.
/// Returns scales and codes.
#[inline(always)]
pub(crate) fn positive<S: Simd, const N: usize>(isa: S, levels: i32, x: &[F32s<S>; N], weights: &[F32s<S>; N]) -> (F32s<S>, [I32s<S>; N]) {
    let zero = F32s::splat(isa, 0.0);
    let one = F32s::splat(isa, 1.0);
    let top = F32s::splat(isa, levels as f32);
    let byte = I32s::splat(isa, 0xff);
    let most = I32s::splat(isa, levels);
    let mut high = zero;
    for v in x {
        high = high.max(*v);
    }
    let nothing = high.lt(F32s::splat(isa, TINY));

    let mut inverse = top / high;
    let mut best = zero;
    let scale = one / inverse;
    for i in 0..N {
        let difference = x[i] - scale * (nearest(isa, inverse * x[i]) & byte).to_f32();
        best = best + weights[i] * difference * difference;
    }
    for step in -4..=4 {
        if step == 0 {
            continue;
        }
        let candidate = F32s::splat(isa, 0.1 * step as f32 + levels as f32) / high;
        let scale = one / candidate;
        let mut error = zero;
        for i in 0..N {
            let difference = x[i] - scale * nearest(isa, candidate * x[i]).min(most).to_f32();
            error = error + weights[i] * difference * difference;
        }
        let better = error.lt(best);
        best = better.select(error, best);
        inverse = better.select(candidate, inverse);
    }

    let mut codes = [I32s::splat(isa, 0); N];
    let (mut with_x, mut with_code) = (zero, zero);
    for i in 0..N {
        let code = nearest(isa, inverse * x[i]).min(most);
        codes[i] = code & byte;
        let l = code.to_f32();
        with_x = with_x + weights[i] * x[i] * l;
        with_code = with_code + weights[i] * l * l;
    }
    for _ in 0..5 {
        let mut moved = Mask::none(isa);
        for i in 0..N {
            let (w, l) = (weights[i], codes[i].to_f32());
            let others_x = with_x - w * x[i] * l;
            let others_code = with_code - w * l * l;
            let able = others_x.gt(zero) & others_code.gt(zero);
            let code = nearest(isa, x[i] * others_code / others_x).min(most);
            let l = code.to_f32();
            let others_x = others_x + w * x[i] * l;
            let others_code = others_code + w * l * l;
            let gain = (others_x * others_x * with_code).gt(with_x * with_x * others_code);
            let moves = able & !code.eq(codes[i]) & gain;
            codes[i] = moves.select_i32(code & byte, codes[i]);
            with_x = moves.select(others_x, with_x);
            with_code = moves.select(others_code, with_code);
            moved = moved | moves;
        }
        if !(moved & !nothing).any() {
            break;
        }
    }
    let scale = with_code.gt(zero).select(with_x / with_code, zero);
    for code in &mut codes {
        *code = nothing.select_i32(I32s::splat(isa, 0), *code);
    }
    (nothing.select(zero, scale), codes)
}

/// What a group is worth in lanes: `scale * (code - levels)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SymmetricFit<S: Simd> {
    /// The scale.
    pub(crate) scale: F32s<S>,
    /// The codes are `nearest(inverse * x)`, clamped, plus `levels`; all zero where this is zero.
    pub(crate) inverse: F32s<S>,
}

/// [`symmetric`](crate::search::symmetric) on lanes, for finite `x`. No lane is ever declined: the
/// extreme weight itself bounds what is rounded.
#[inline(always)]
pub(crate) fn symmetric<S: Simd, const N: usize>(isa: S, levels: i32, x: &[F32s<S>; N], weights: &[F32s<S>; N]) -> SymmetricFit<S> {
    let zero = F32s::splat(isa, 0.0);
    let (extreme, magnitude) = extreme(isa, x);
    let nothing = magnitude.lt(F32s::splat(isa, TINY));
    let mut weighted = *x;
    for i in 0..N {
        weighted[i] = weights[i] * x[i];
    }

    let mut inverse = F32s::splat(isa, -levels as f32) / extreme;
    let (with_x, with_code) = projections(isa, levels, x, weights, &weighted, inverse);
    let mut scale = with_code.eq(zero).select(zero, with_x / with_code);
    let mut best = scale * with_x;
    for step in -9..=9 {
        if step == 0 {
            continue;
        }
        let candidate = F32s::splat(isa, -(levels as f32 + 0.1 * step as f32)) / extreme;
        let (with_x, with_code) = projections(isa, levels, x, weights, &weighted, candidate);
        let better = with_code.gt(zero) & (with_x * with_x).gt(best * with_code);
        if better.any() {
            let fitted = with_x / with_code;
            inverse = better.select(candidate, inverse);
            scale = better.select(fitted, scale);
            best = better.select(fitted * with_x, best);
        }
    }
    SymmetricFit { scale: nothing.select(zero, scale), inverse: nothing.select(zero, inverse) }
}

/// The codes under a candidate projected on the weights and on themselves.
#[inline(always)]
fn projections<S: Simd, const N: usize>(
    isa: S,
    levels: i32,
    x: &[F32s<S>; N],
    weights: &[F32s<S>; N],
    weighted: &[F32s<S>; N],
    inverse: F32s<S>,
) -> (F32s<S>, F32s<S>) {
    let (lowest, highest) = (F32s::splat(isa, -levels as f32), F32s::splat(isa, (levels - 1) as f32));
    let (mut with_x, mut with_code) = (F32s::splat(isa, 0.0), F32s::splat(isa, 0.0));
    for i in 0..N {
        let l = (inverse * x[i]).nearest().max(lowest).min(highest);
        with_x = with_x + weighted[i] * l;
        with_code = with_code + weights[i] * l * l;
    }
    (with_x, with_code)
}

/// The codes that [`symmetric`] found, from its `inverse`.
#[inline(always)]
pub(crate) fn symmetric_codes<S: Simd, const N: usize>(isa: S, levels: i32, x: &[F32s<S>; N], inverse: F32s<S>) -> [I32s<S>; N] {
    let zero = I32s::splat(isa, 0);
    let nothing = inverse.eq(F32s::splat(isa, 0.0));
    let mut codes = [zero; N];
    for i in 0..N {
        let l = nearest(isa, inverse * x[i]).max(I32s::splat(isa, -levels)).min(I32s::splat(isa, levels - 1));
        codes[i] = nothing.select_i32(zero, l + I32s::splat(isa, levels));
    }
    codes
}

/// [`extreme`](crate::search::extreme) on lanes.
#[inline(always)]
fn extreme<S: Simd, const N: usize>(isa: S, x: &[F32s<S>; N]) -> (F32s<S>, F32s<S>) {
    let zero = F32s::splat(isa, 0.0);
    let (mut extreme, mut magnitude) = (zero, zero);
    for v in x {
        let larger = v.abs().gt(magnitude);
        magnitude = larger.select(v.abs(), magnitude);
        extreme = larger.select(*v, extreme);
    }
    (extreme, magnitude)
}

/// [`symmetric_descent`](crate::search::symmetric_descent) on lanes; the scales alone, because the
/// codes are hardly ever kept.
///
/// `K` vectors of groups side by side: a move depends on the one before through a division, some 45
/// cycles of latency, which other groups fill.
#[inline(always)]
pub(crate) fn symmetric_descent<S: Simd, const N: usize, const K: usize>(isa: S, levels: i32, x: &[[F32s<S>; N]; K]) -> [F32s<S>; K] {
    let zero = F32s::splat(isa, 0.0);
    let (lowest, highest) = (F32s::splat(isa, -levels as f32), F32s::splat(isa, (levels - 1) as f32));
    let (least, most) = (I32s::splat(isa, -levels), I32s::splat(isa, levels - 1));
    let (mut weights, mut weighted, mut codes) = (*x, *x, *x);
    let (mut with_x, mut with_code, mut nothing) = ([zero; K], [zero; K], [Mask::none(isa); K]);
    for k in 0..K {
        let (extreme, magnitude) = extreme(isa, &x[k]);
        nothing[k] = magnitude.lt(F32s::splat(isa, TINY));
        let inverse = lowest / extreme;
        for i in 0..N {
            let l = (inverse * x[k][i]).nearest().max(lowest).min(highest);
            weights[k][i] = x[k][i] * x[k][i];
            weighted[k][i] = weights[k][i] * x[k][i];
            codes[k][i] = l;
            with_x[k] = with_x[k] + weighted[k][i] * l;
            with_code[k] = with_code[k] + weights[k][i] * l * l;
        }
    }
    for _ in 0..5 {
        let mut moved = Mask::none(isa);
        for i in 0..N {
            for k in 0..K {
                let (w, l) = (weights[k][i], codes[k][i]);
                let others_x = with_x[k] - weighted[k][i] * l;
                let others_code = with_code[k] - w * l * l;
                let able = others_x.gt(zero);
                let better = nearest(isa, x[k][i] * others_code / others_x).max(least).min(most).to_f32();
                let others_x = others_x + weighted[k][i] * better;
                let others_code = others_code + w * better * better;
                let gain = others_code.gt(zero) & (others_x * others_x * with_code[k]).gt(with_x[k] * with_x[k] * others_code);
                let moves = able & !better.eq(l) & gain;
                codes[k][i] = moves.select(better, l);
                with_x[k] = moves.select(others_x, with_x[k]);
                with_code[k] = moves.select(others_code, with_code[k]);
                moved = moved | (moves & !nothing[k]);
            }
        }
        if !moved.any() {
            break;
        }
    }
    for k in 0..K {
        let scale = with_code[k].gt(zero).select(with_x[k] / with_code[k], zero);
        with_x[k] = nothing[k].select(zero, scale);
    }
    with_x
}
