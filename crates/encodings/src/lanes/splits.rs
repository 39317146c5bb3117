//! The search of [`iq1_search`](crate::iq1_search) on lanes: a group of weights in each.
//!
//! The scalar code tries all splits of a sorted group in order and takes one where
//! `x^2 > score * value`, which then sets the score; which of several nearly equal splits wins
//! depends on roundings along the way. Lanes do not repeat that. They find the few splits that can
//! matter, and the scalar code goes through those in the same order. They are the splits whose
//! score `x^2 / value` is within [`NEAR`] of the best one met so far. This is why the rest may be
//! left out:
//! - A comparison is wrong by 2.4e-7 of the score at most. Of the scores between the best, `m`, and
//!   `m * (1 - NEAR)`, at most 1122, some two neighbours are therefore farther apart than any
//!   comparison is wrong; call those above them high.
//! - Before the first high split, with the rest or without it, the score is not high, so that split
//!   is taken. From there on both ways have the same score, and only high splits can be taken.
//!
//! Lanes compute the scores with other roundings than the scalar code, which moves them by less
//! than 8e-5. Where numbers are so small or large that relative errors are no measure, all splits
//! are left to the scalar code.

use gravure_simd::{F32s, I32s, MAX_LANES, Mask, Simd};

use crate::iq_search::ELEMENTS;
use crate::iq1_search::{SHIFTED, Sorted, Splits};

/// Splits whose scores fall short of the best by at most this part are kept.
const NEAR: f32 = 1.0 / 1024.0;

/// Scores and sums of weights between this and its inverse are computed to full precision.
const SMALL: f32 = 1e-30;

/// The place of the first and the second change of level, in sixteenths of a group, where the best
/// split of ordinary weights is near: the first splits to be scored.
const LIKELY: [(usize, usize); 9] = [(4, 12), (4, 11), (5, 12), (5, 11), (4, 13), (3, 12), (3, 13), (5, 13), (3, 11)];

/// Sorts all groups of a block of weights and finds the splits of each that can be the best one.
///
/// A group has `N` weights in `H` parts, which have shifts of their own; `shifts` are the
/// combinations that may be chosen. `M` is `N + 1`.
#[inline(always)]
pub(crate) fn search<S: Simd, const N: usize, const M: usize, const H: usize, const C: usize, const G: usize>(
    isa: S,
    x: &[f32; ELEMENTS],
    weights: &[f32; ELEMENTS],
    shifts: &[[bool; H]; C],
    out: &mut [Sorted<N, M, H>; G],
) {
    let zero = F32s::splat(isa, 0.0);
    for start in (0..G).step_by(S::LANES) {
        // Lanes past the last group repeat it.
        let mut at = [0; MAX_LANES];
        for (k, at) in at.iter_mut().enumerate() {
            *at = N * (start + k).min(G - 1);
        }
        let (mut sorted_x, mut sorted_w) = ([zero; N], [zero; N]);
        F32s::columns(isa, x, &at, &mut sorted_x);
        F32s::columns(isa, weights, &at, &mut sorted_w);
        let mut order = [I32s::splat(isa, 0); N];
        for (i, order) in order.iter_mut().enumerate() {
            *order = I32s::splat(isa, i as i32);
        }
        sort(&mut sorted_x, &mut sorted_w, &mut order);

        let (mut sum_x, mut sum_w) = ([[zero; M]; H], [[zero; M]; H]);
        for j in 0..N {
            let product = sorted_w[j] * sorted_x[j];
            for h in 0..H {
                let first = I32s::splat(isa, (h * (N / H)) as i32);
                let last = I32s::splat(isa, ((h + 1) * (N / H)) as i32);
                // Nothing is added to the sums of the other parts: zero changes none of them.
                let own = order[j].lt(last) & !order[j].lt(first);
                sum_x[h][j + 1] = sum_x[h][j] + own.select(product, zero);
                sum_w[h][j + 1] = sum_w[h][j] + own.select(sorted_w[j], zero);
            }
        }

        let out = &mut out[start..G.min(start + S::LANES)];
        for (k, out) in out.iter_mut().enumerate() {
            out.splits = Splits::Some { count: 0, splits: [(0, 0); Splits::MOST] };
            for (to, from) in out.order.iter_mut().zip(&order) {
                *to = from.to_array().as_ref()[k] as u8;
            }
        }
        for h in 0..H {
            for j in 0..M {
                let (x, w) = (sum_x[h][j].to_array(), sum_w[h][j].to_array());
                for (k, out) in out.iter_mut().enumerate() {
                    out.sums.x[h][j] = x.as_ref()[k];
                    out.sums.w[h][j] = w.as_ref()[k];
                }
            }
        }
        splits(isa, &sum_x, &sum_w, shifts, out);
    }
}

/// Sorts each lane by `x`, equal ones by `order`: Batcher's network.
#[inline(always)]
fn sort<S: Simd, const N: usize>(x: &mut [F32s<S>; N], w: &mut [F32s<S>; N], order: &mut [I32s<S>; N]) {
    let mut run = 1;
    while run < N {
        let mut distance = run;
        while distance > 0 {
            for first in (distance % run..N - distance).step_by(2 * distance) {
                for a in first..(first + distance).min(N - distance) {
                    let b = a + distance;
                    if a / (2 * run) != b / (2 * run) {
                        continue;
                    }
                    let swap = x[b].lt(x[a]) | (x[b].eq(x[a]) & order[b].lt(order[a]));
                    (x[a], x[b]) = (swap.select(x[b], x[a]), swap.select(x[a], x[b]));
                    (w[a], w[b]) = (swap.select(w[b], w[a]), swap.select(w[a], w[b]));
                    (order[a], order[b]) = (swap.select_i32(order[b], order[a]), swap.select_i32(order[a], order[b]));
                }
            }
            distance /= 2;
        }
        run *= 2;
    }
}

/// What the score of a split is made of, `C` combinations of shifts in one lane each: the
/// projections of the weights are `x - before[first] - before[second]`, those of the levels
/// `value + first[first] + second[second]`.
struct Scores<S: Simd, const M: usize, const C: usize> {
    x: [F32s<S>; C],
    before: [F32s<S>; M],
    first: [[F32s<S>; C]; M],
    second: [[F32s<S>; C]; M],
}

impl<S: Simd, const M: usize, const C: usize> Scores<S, M, C> {
    #[inline(always)]
    fn new<const H: usize>(isa: S, sum_x: &[[F32s<S>; M]; H], sum_w: &[[F32s<S>; M]; H], shifts: &[[bool; H]; C]) -> Self {
        let zero = F32s::splat(isa, 0.0);
        let mut scores = Self { x: [zero; C], before: [zero; M], first: [[zero; C]; M], second: [[zero; C]; M] };
        for h in 0..H {
            for j in 0..M {
                scores.before[j] = scores.before[j] + sum_x[h][j];
            }
            for (c, down) in shifts.iter().enumerate() {
                let [low, middle, high] = SHIFTED[usize::from(down[h])];
                scores.x[c] = scores.x[c] + sum_x[h][M - 1] * F32s::splat(isa, high);
                let all = sum_w[h][M - 1] * F32s::splat(isa, high * high);
                let first = F32s::splat(isa, low * low - middle * middle);
                let second = F32s::splat(isa, middle * middle - high * high);
                for j in 0..M {
                    scores.first[j][c] = scores.first[j][c] + (all + sum_w[h][j] * first);
                    scores.second[j][c] = scores.second[j][c] + sum_w[h][j] * second;
                }
            }
        }
        scores
    }

    /// The projections of combination `c`.
    #[inline(always)]
    fn projections(&self, first: usize, second: usize, c: usize) -> (F32s<S>, F32s<S>) {
        (self.x[c] - self.before[first] - self.before[second], self.first[first][c] + self.second[second][c])
    }
}

/// Lists the splits of the groups in all lanes that can be the best.
#[inline(always)]
fn splits<S: Simd, const N: usize, const M: usize, const H: usize, const C: usize>(
    isa: S,
    sum_x: &[[F32s<S>; M]; H],
    sum_w: &[[F32s<S>; M]; H],
    shifts: &[[bool; H]; C],
    out: &mut [Sorted<N, M, H>],
) {
    let near = F32s::splat(isa, 1.0 - NEAR);
    let scores = Scores::new(isa, sum_x, sum_w, shifts);
    // What a score must reach to be looked at.
    let mut bound = F32s::splat(isa, 0.0);
    for (first, second) in LIKELY {
        for c in 0..C {
            let (x, value) = scores.projections(first * N / 16, second * N / 16, c);
            bound = (x * x / value * near).max(bound);
        }
    }
    let lanes = u32::MAX >> (32 - out.len());
    for first in 0..M {
        let mut x = scores.x;
        for x in &mut x {
            *x = *x - scores.before[first];
        }
        for second in first..M {
            let mut reach = Mask::none(isa);
            for c in 0..C {
                let x = x[c] - scores.before[second];
                reach = reach | (x * x).gt(bound * (scores.first[first][c] + scores.second[second][c]));
            }
            let mut bits = reach.bits() & lanes;
            if bits == 0 {
                continue;
            }
            while bits != 0 {
                out[bits.trailing_zeros() as usize].splits.push(first, second);
                bits &= bits - 1;
            }
            for c in 0..C {
                let (x, value) = scores.projections(first, second, c);
                bound = (x * x / value * near).max(bound);
            }
        }
    }
    // Of weights that are no numbers, or so small or large that products leave the range of floats,
    // all splits are tried.
    let (small, large) = (F32s::splat(isa, SMALL), F32s::splat(isa, 1.0 / SMALL));
    let mut total = F32s::splat(isa, 0.0);
    for sum in sum_w {
        total = total + sum[M - 1];
    }
    let product = bound * total;
    let precise = bound.gt(small)
        & bound.lt(large)
        & total.gt(small)
        & total.lt(large)
        & (product * F32s::splat(isa, 0.01)).gt(small)
        & product.lt(large);
    let precise = precise.bits();
    for (k, out) in out.iter_mut().enumerate() {
        if precise >> k & 1 == 0 {
            out.splits = Splits::All;
        }
    }
}
