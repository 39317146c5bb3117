//! What the two encodings of about one and a half bits share: a codebook of 2048 lattice points
//! with eight ternary coordinates, shifted as a whole by an eighth up or down.
//!
//! With three levels the best rounding of a group can be found exactly: it splits the sorted
//! weights at two places, and prefix sums give the scale and the score of each split.

use std::sync::LazyLock;

use gravure_simd::Simd;

use crate::codebooks::iq1::POINTS;
use crate::iq_lattice::{Errors, Found, Lattice};
use crate::iq_search::ELEMENTS;
use crate::lanes::lattice::nearest_point;
use crate::lanes::splits;

/// The codebook.
pub(crate) static LATTICE: LazyLock<Lattice<8, 2, 3>> = LazyLock::new(|| Lattice::new(&POINTS, 3));

/// Values of the three levels, shifted up and down.
pub(crate) const SHIFTED: [[f32; 3]; 2] = [[-1.0 + SHIFT, SHIFT, 1.0 + SHIFT], [-1.0 - SHIFT, -SHIFT, 1.0 - SHIFT]];

const SHIFT: f32 = 0.125;

/// Sums over the first 0, 1, .. of a sorted group, of each of its `H` parts: `M` is one more than its weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sums<const M: usize, const H: usize> {
    /// Of weights, with the weights of their errors.
    pub(crate) x: [[f32; M]; H],
    /// Of the weights of errors.
    pub(crate) w: [[f32; M]; H],
}

/// Which splits of a group have to be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Splits {
    /// All of them.
    All,
    /// Only these, in order.
    Some {
        /// How many of the following.
        count: usize,
        /// The places where the level changes for the first and for the second time.
        splits: [(u8, u8); Self::MOST],
    },
}

impl Splits {
    /// The longest list.
    pub(crate) const MOST: usize = 64;

    /// Adds a split that comes after those which are there.
    #[inline(always)]
    pub(crate) fn push(&mut self, first: usize, second: usize) {
        if let Self::Some { count, splits } = self {
            if let Some(split) = splits.get_mut(*count) {
                *split = (first as u8, second as u8);
                *count += 1;
            } else {
                *self = Self::All;
            }
        }
    }

    /// Calls `each` with all splits of `n` weights.
    #[inline(always)]
    pub(crate) fn for_each(&self, n: usize, mut each: impl FnMut(usize, usize)) {
        match self {
            Self::All => (0..=n).for_each(|first| (first..=n).for_each(|second| each(first, second))),
            Self::Some { count, splits } => {
                splits[..*count].iter().for_each(|&(first, second)| each(usize::from(first), usize::from(second)));
            }
        }
    }
}

/// A sorted group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sorted<const N: usize, const M: usize, const H: usize> {
    /// Indices of the weights in ascending order, equal ones in their order in the group.
    pub(crate) order: [u8; N],
    /// Sums in that order.
    pub(crate) sums: Sums<M, H>,
    /// What has to be tried.
    pub(crate) splits: Splits,
}

impl<const N: usize, const M: usize, const H: usize> Sorted<N, M, H> {
    /// To be filled.
    pub(crate) const BLANK: Self = Self { order: [0; N], sums: Sums { x: [[0.0; M]; H], w: [[0.0; M]; H] }, splits: Splits::All };
}

/// Sorts all groups of a block, with the lanes of `isa` where there is one, which also find the splits that
/// can be the best; `shifts` are the combinations for the `H` parts of a group.
#[inline(always)]
pub(crate) fn sorted<S: Simd, const N: usize, const M: usize, const H: usize, const C: usize, const G: usize>(
    isa: Option<S>,
    x: &[f32; ELEMENTS],
    weights: &[f32; ELEMENTS],
    shifts: &[[bool; H]; C],
) -> [Sorted<N, M, H>; G] {
    let mut groups = [Sorted::BLANK; G];
    match isa {
        Some(isa) => splits::search(isa, x, weights, shifts, &mut groups),
        None => {
            for (out, (x, w)) in groups.iter_mut().zip(x.as_chunks::<N>().0.iter().zip(weights.as_chunks::<N>().0)) {
                sort(x, w, out);
            }
        }
    }
    groups
}

#[inline(always)]
fn sort<const N: usize, const M: usize, const H: usize>(x: &[f32; N], weights: &[f32; N], out: &mut Sorted<N, M, H>) {
    out.order = ascending(x);
    let Sums { x: sum_x, w: sum_w } = &mut out.sums;
    for (j, &i) in out.order.iter().enumerate() {
        let i = usize::from(i);
        for h in 0..H {
            (sum_x[h][j + 1], sum_w[h][j + 1]) = (sum_x[h][j], sum_w[h][j]);
        }
        let own = i / (N / H);
        sum_x[own][j + 1] += weights[i] * x[i];
        sum_w[own][j + 1] += weights[i];
    }
}

#[inline(always)]
fn ascending<const N: usize>(x: &[f32; N]) -> [u8; N] {
    let mut order: [u8; N] = std::array::from_fn(|i| i as u8);
    // Small and stable; there is no NaN here.
    order.sort_by(|&a, &b| x[usize::from(a)].partial_cmp(&x[usize::from(b)]).unwrap_or(std::cmp::Ordering::Equal));
    order
}

/// Where the levels change in a sorted group, and what fits then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split<const H: usize> {
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) scale: f32,
    pub(crate) down: [bool; H],
}

/// The outcome for a group of `V` vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit<const H: usize, const V: usize> {
    pub(crate) scale: f32,
    pub(crate) down: [bool; H],
    pub(crate) points: [u16; V],
}

/// The points for the levels of a split, and the scale that fits them; gives up where that is no number.
#[inline(always)]
pub(crate) fn fit<S: Simd, const N: usize, const H: usize, const V: usize>(
    isa: Option<S>,
    x: &[f32; N],
    weights: &[f32; N],
    order: &[u8; N],
    split: Split<H>,
) -> Option<Fit<H, V>> {
    let Split { first, second, mut scale, mut down } = split;
    let mut levels = [0u8; N];
    for (j, &i) in order.iter().enumerate() {
        levels[usize::from(i)] = u8::from(j >= first) + u8::from(j >= second);
    }
    if scale < 0.0 {
        levels = levels.map(|l| 2 - l);
        scale = -scale;
        down = down.map(|d| !d);
    }
    let (vectors, vector_weights) = (x.as_chunks::<8>().0, weights.as_chunks::<8>().0);
    let values = |k: usize| &SHIFTED[usize::from(down[k * H / V])];
    let mut points = [0u16; V];
    let mut moved = false;
    for (k, levels) in levels.as_chunks::<8>().0.iter().enumerate() {
        let (point, exact) = find(isa, levels, &vectors[k], &vector_weights[k], scale, values(k))?;
        points[k] = point;
        moved |= !exact;
    }
    if moved {
        let mut sums = (0.0, 0.0);
        for k in 0..V {
            add_projections(points[k], &vectors[k], &vector_weights[k], |l| values(k)[usize::from(l)], &mut sums);
        }
        if sums.0 > 0.0 && sums.1 > 0.0 {
            scale = sums.0 / sums.1;
        }
    }
    if scale.is_nan() { None } else { Some(Fit { scale, down, points }) }
}

/// The point for eight levels: itself, or the near one with the smallest error under `scale`.
/// Returns whether it is the point itself too.
#[inline(always)]
fn find<S: Simd>(isa: Option<S>, levels: &[u8; 8], x: &[f32; 8], weights: &[f32; 8], scale: f32, values: &[f32; 3]) -> Option<(u16, bool)> {
    if let Some(isa) = isa {
        return match LATTICE.look_up(Lattice::<8, 2, 3>::pack(levels)) {
            Found::Point(point) => Some((point, true)),
            Found::Near { packed, points } => {
                // A table is indexed by three bits, the third of which is the next level's; the
                // fourth level does not occur.
                let scaled: [f32; 8] = std::array::from_fn(|l| scale * values[(l & 3).min(2)]);
                let mut errors = [[0.0; 8]; 8];
                for i in 0..8 {
                    for l in 0..8 {
                        let difference = scaled[l] - x[i];
                        errors[i][l] = weights[i] * difference * difference;
                    }
                }
                Some((nearest_point::<S, 8, 2>(isa, packed, points, &errors)?, false))
            }
        };
    }
    LATTICE.find(levels, || -> Errors<8, 3> {
        std::array::from_fn(|i| {
            std::array::from_fn(|l| {
                let difference = scale * values[l] - x[i];
                weights[i] * difference * difference
            })
        })
    })
}

/// Adds the projections of eight weights on the values of a point: with the weights, with itself.
#[inline(always)]
pub(crate) fn add_projections(point: u16, x: &[f32; 8], weights: &[f32; 8], value: impl Fn(u8) -> f32, sums: &mut (f32, f32)) {
    for (i, &level) in LATTICE.point(point).iter().enumerate() {
        let q = value(level);
        sums.0 += weights[i] * q * x[i];
        sums.1 += weights[i] * q * q;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_keep_their_order() {
        assert_eq!(ascending(&[1.0, -0.0, 3.0, 0.0, 1.0, -2.0, 0.0, 1.0]), [5, 1, 3, 6, 0, 4, 7, 2]);
    }
}
