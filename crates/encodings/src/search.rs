//! Searches for the scale (and offset) that store a group of weights best.
//!
//! Each is a short walk over candidates: codes are chosen for a candidate scale, then the scale is
//! refitted to the codes by least squares, and the candidate with the smallest weighted error wins.
//! The order of float operations is part of the format: two encoders that add in another order
//! disagree in a code now and then, and the bytes are to be those of the reference implementation.
//! So every sum runs from the first weight to the last, products associate as written, and nothing
//! is fused. Faster encoders put a group into each vector lane and keep the order within it.

/// Below this a group counts as all zero.
pub(crate) const TINY: f32 = 1e-15;

/// Bits of 1.5 * 2^23, which has integers as its units in the last place.
const ROUNDING_BIAS: f32 = 12_582_912.0;

/// The integer nearest to `value`, ties to even. Right up to 2^22; beyond that, and for NaN, some
/// integer of 23 bits, the same as everybody's.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> i32 {
    ((value + ROUNDING_BIAS).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// The weight of largest magnitude (the first of equals) and that magnitude.
#[inline(always)]
pub(crate) fn extreme(x: &[f32]) -> (f32, f32) {
    let mut extreme = 0.0;
    let mut magnitude = 0.0;
    for &v in x {
        if v.abs() > magnitude {
            magnitude = v.abs();
            extreme = v;
        }
    }
    (extreme, magnitude)
}

/// The sum of squares, first to last.
#[inline(always)]
pub(crate) fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v * v)
}

/// How much each rounding error counts: importance, more of it for large weights.
#[inline(always)]
pub(crate) fn error_weights<const N: usize>(x: &[f32; N], importance: &[f32; N], variance: f32) -> [f32; N] {
    std::array::from_fn(|i| importance[i] * (variance + x[i] * x[i]).sqrt())
}

/// `scale * (code - levels)`, codes `0 .. 2 * levels`: tries 19 scales around the one that puts the
/// extreme weight on the outermost code.
///
/// `weights` are the error weights; without them the square of each weight counts. Returns the
/// scale, zero where all weights are.
pub(crate) fn symmetric<const N: usize>(levels: i32, x: &[f32; N], weights: Option<&[f32; N]>, codes: &mut [u8; N]) -> f32 {
    let (extreme, magnitude) = extreme(x);
    if magnitude < TINY {
        codes.fill(0);
        return 0.0;
    }
    let squares: [f32; N];
    let weights = match weights {
        Some(given) => given,
        None => {
            squares = x.map(|v| v * v);
            &squares
        }
    };
    let code = |inverse: f32, v: f32| nearest(inverse * v).clamp(-levels, levels - 1);
    let projections = |inverse: f32| {
        let (mut with_x, mut with_code) = (0.0, 0.0);
        for i in 0..N {
            let l = code(inverse, x[i]) as f32;
            with_x += weights[i] * x[i] * l;
            with_code += weights[i] * l * l;
        }
        (with_x, with_code)
    };

    let mut inverse = -levels as f32 / extreme;
    let (with_x, with_code) = projections(inverse);
    let mut scale = if with_code != 0.0 { with_x / with_code } else { 0.0 };
    let mut best = scale * with_x;
    for step in (-9..=9).filter(|&step| step != 0) {
        let candidate = -(levels as f32 + 0.1 * step as f32) / extreme;
        let (with_x, with_code) = projections(candidate);
        if with_code > 0.0 && with_x * with_x > best * with_code {
            inverse = candidate;
            scale = with_x / with_code;
            best = scale * with_x;
        }
    }
    for (c, &v) in codes.iter_mut().zip(x) {
        *c = (code(inverse, v) + levels) as u8;
    }
    scale
}

/// `scale * (code - levels)` like [`symmetric`], by coordinate descent from the first guess: up to
/// five rounds in which each code may move to where it fits the scale of all the others best.
///
/// Returns the scale; where it is zero all codes are zero too, not `levels`.
pub(crate) fn symmetric_descent<const N: usize>(levels: i32, x: &[f32; N], codes: &mut [u8; N]) -> f32 {
    let (extreme, magnitude) = extreme(x);
    if magnitude < TINY {
        codes.fill(0);
        return 0.0;
    }
    let inverse = -levels as f32 / extreme;
    let weights = x.map(|v| v * v);
    let mut signed = [0i32; N];
    let (mut with_x, mut with_code) = (0.0f32, 0.0f32);
    for i in 0..N {
        signed[i] = nearest(inverse * x[i]).clamp(-levels, levels - 1);
        let l = signed[i] as f32;
        with_x += weights[i] * x[i] * l;
        with_code += weights[i] * l * l;
    }
    for _ in 0..5 {
        let mut moved = false;
        for i in 0..N {
            let (w, l) = (weights[i], signed[i] as f32);
            let mut others_x = with_x - w * x[i] * l;
            if !(others_x > 0.0) {
                continue;
            }
            let mut others_code = with_code - w * l * l;
            let better = nearest(x[i] * others_code / others_x).clamp(-levels, levels - 1);
            if better == signed[i] {
                continue;
            }
            let l = better as f32;
            others_x += w * x[i] * l;
            others_code += w * l * l;
            if others_code > 0.0 && others_x * others_x * with_code > with_x * with_x * others_code {
                signed[i] = better;
                with_x = others_x;
                with_code = others_code;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    *codes = signed.map(|l| (l + levels) as u8);
    if with_code > 0.0 { with_x / with_code } else { 0.0 }
}

/// How far an error counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Penalty {
    Absolute,
    Squared,
}

/// The candidates of [`affine`]: the range is divided by `levels + first + step * k`, for `k` from
/// 0 to `steps`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AffineSearch {
    /// Largest code.
    pub(crate) levels: i32,
    /// Offset of the first candidate.
    pub(crate) first: f32,
    /// Distance of candidates.
    pub(crate) step: f32,
    /// Number of candidates less one.
    pub(crate) steps: i32,
    /// What is minimized.
    pub(crate) penalty: Penalty,
}

/// `scale * code - depth`, codes `0 ..= levels`, `depth` not negative: a search over candidate
/// scales with both parameters refitted by weighted least squares. Returns scale and depth.
pub(crate) fn affine<const N: usize>(search: &AffineSearch, x: &[f32; N], weights: &[f32; N], codes: &mut [u8; N]) -> (f32, f32) {
    let levels = search.levels as f32;
    let (mut low, mut high) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = sum_w * x[0];
    for i in 1..N {
        low = if x[i] < low { x[i] } else { low };
        high = if x[i] > high { x[i] } else { high };
        sum_w += weights[i];
        sum_x += weights[i] * x[i];
    }
    if low > 0.0 {
        low = 0.0;
    }
    if high == low {
        codes.fill(0);
        return (0.0, -low);
    }
    let code = |inverse: f32, v: f32, offset: f32| nearest(inverse * (v - offset)).clamp(0, search.levels) as u8;
    let error = |codes: &[u8; N], scale: f32, offset: f32| {
        let mut sum = 0.0;
        for i in 0..N {
            let difference = scale * f32::from(codes[i]) + offset - x[i];
            let penalty = match search.penalty {
                Penalty::Absolute => difference.abs(),
                Penalty::Squared => difference * difference,
            };
            sum += weights[i] * penalty;
        }
        sum
    };

    let inverse = levels / (high - low);
    *codes = x.map(|v| code(inverse, v, low));
    let (mut scale, mut offset) = (1.0 / inverse, low);
    let mut best = error(codes, scale, offset);
    for k in 0..=search.steps {
        // The range starts at the best offset so far, not at the lowest weight.
        let inverse = (search.first + search.step * k as f32 + levels) / (high - offset);
        let candidate = x.map(|v| code(inverse, v, offset));
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for i in 0..N {
            let l = f32::from(candidate[i]);
            let wl = weights[i] * l;
            sum_l += wl;
            sum_l2 += wl * l;
            sum_xl += wl * x[i];
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if !(determinant > 0.0) {
            continue;
        }
        let mut fitted_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut fitted_offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if fitted_offset > 0.0 {
            fitted_offset = 0.0;
            fitted_scale = sum_xl / sum_l2;
        }
        let candidate_error = error(&candidate, fitted_scale, fitted_offset);
        if candidate_error < best {
            *codes = candidate;
            best = candidate_error;
            scale = fitted_scale;
            offset = fitted_offset;
        }
    }
    (scale, -offset)
}

/// `scale * code` for values that are not negative (the scales and depths of a block's groups),
/// codes `0 ..= levels`: nine candidate scales, then coordinate descent. Returns the scale.
pub(crate) fn positive<const N: usize>(levels: i32, x: &[f32; N], weights: &[f32; N], codes: &mut [u8; N]) -> f32 {
    let high = x.iter().fold(0.0, |high, &v| if high > v { high } else { v });
    if high < TINY {
        codes.fill(0);
        return 0.0;
    }
    // Codes are bytes everywhere but in the candidates: a fitted scale below zero wraps around.
    let mut inverse = levels as f32 / high;
    let mut best = weighted_error(x, weights, 1.0 / inverse, |v| f32::from(nearest(inverse * v) as u8));
    for step in (-4..=4).filter(|&step| step != 0) {
        let candidate = (0.1 * step as f32 + levels as f32) / high;
        let candidate_error = weighted_error(x, weights, 1.0 / candidate, |v| nearest(candidate * v).min(levels) as f32);
        if candidate_error < best {
            best = candidate_error;
            inverse = candidate;
        }
    }
    let (mut with_x, mut with_code) = (0.0, 0.0);
    for i in 0..N {
        let l = nearest(inverse * x[i]).min(levels);
        codes[i] = l as u8;
        with_x += weights[i] * x[i] * l as f32;
        with_code += weights[i] * l as f32 * l as f32;
    }
    for _ in 0..5 {
        let mut moved = false;
        for i in 0..N {
            let (w, l) = (weights[i], f32::from(codes[i]));
            let mut others_x = with_x - w * x[i] * l;
            let mut others_code = with_code - w * l * l;
            if !(others_x > 0.0 && others_code > 0.0) {
                continue;
            }
            let better = nearest(x[i] * others_code / others_x).min(levels);
            if better == i32::from(codes[i]) {
                continue;
            }
            others_x += w * x[i] * better as f32;
            others_code += w * better as f32 * better as f32;
            if others_x * others_x * with_code > with_x * with_x * others_code {
                codes[i] = better as u8;
                with_x = others_x;
                with_code = others_code;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    if with_code > 0.0 { with_x / with_code } else { 0.0 }
}

fn weighted_error<const N: usize>(x: &[f32; N], weights: &[f32; N], scale: f32, code: impl Fn(f32) -> f32) -> f32 {
    let mut sum = 0.0;
    for (&v, &w) in x.iter().zip(weights) {
        let difference = v - scale * code(v);
        sum += w * difference * difference;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_round_to_even() {
        let cases = [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (0.500_000_1, 1), (-7.3, -7), (4_194_303.0, 4_194_303)];
        for (value, expected) in cases {
            assert_eq!(nearest(value), expected, "{value}");
        }
        assert_eq!(nearest(f32::NAN), 0);
        assert_eq!(nearest(f32::INFINITY), -0x0040_0000);
    }

    #[test]
    fn what_fits_exactly_is_found() {
        let x: [f32; 16] = std::array::from_fn(|i| 0.25 * (i as f32 - 8.0));
        let mut codes = [0; 16];
        assert_eq!(symmetric(8, &x, None, &mut codes), 0.25);
        assert_eq!(codes, std::array::from_fn(|i| i as u8));
        assert_eq!(symmetric_descent(8, &x, &mut codes), 0.25);
        assert_eq!(codes, std::array::from_fn(|i| i as u8));
        let search = AffineSearch { levels: 15, first: -1.0, step: 0.1, steps: 20, penalty: Penalty::Squared };
        assert_eq!(affine(&search, &x, &[1.0; 16], &mut codes), (0.25, 2.0));
        assert_eq!(codes, std::array::from_fn(|i| i as u8));
        let x: [f32; 16] = std::array::from_fn(|i| 0.25 * i as f32);
        assert_eq!(positive(15, &x, &[1.0; 16], &mut codes), 0.25);
        assert_eq!(codes, std::array::from_fn(|i| i as u8));
    }

    #[test]
    fn zeros_have_no_scale() {
        let mut codes = [9; 16];
        assert_eq!(symmetric(8, &[0.0; 16], None, &mut codes), 0.0);
        assert_eq!(codes, [0; 16]);
        assert_eq!(positive(15, &[0.0; 16], &[1.0; 16], &mut codes), 0.0);
    }
}
