//! The search of [`iq_search`](crate::iq_search) on lanes.
//!
//! Its two halves are spread differently, and neither over the weights, whose sums have an order:
//! - rounding and the sums of a candidate scale: a candidate in each lane (19 or 31 of them);
//! - the nearest point for a vector that is none itself: a near point in each lane, its error added
//!   up coordinate by coordinate out of tables of eight values that lie in registers.
//!
//! The road not taken is a group in each lane, as in [`search`](super::search): lists of near
//! points are of very different length, and all lanes would wait for the longest.

use gravure_simd::{F32s, I32s, MAX_LANES, Simd, Table};

use super::search::nearest;
use crate::iq_lattice::{Found, Lattice};
use crate::iq_search::{Candidates, Fit, Group, Refit};

/// The most candidates: whole vectors on every instruction set.
const MOST: usize = 32;

/// [`fit`](crate::iq_search::fit) on lanes.
#[inline(always)]
pub(crate) fn fit<S: Simd, const N: usize, const V: usize, const D: usize, const BITS: u32, const LEVELS: usize>(
    isa: S,
    lattice: &Lattice<D, BITS, LEVELS>,
    group: &Group<N>,
    candidates: Candidates,
    start: f32,
    range: f32,
) -> Option<Fit<V>> {
    let x = group.x.as_chunks::<D>().0;
    let roots = group.roots.as_chunks::<D>().0;
    let top = (2 * LEVELS - 1) as f32;
    let count = (2 * candidates.around + 1) as usize;
    let mut inverses = [0.0; MOST];
    for (inverse, step) in inverses.iter_mut().zip(-candidates.around..=candidates.around) {
        *inverse = (top + step as f32 * candidates.step) / range;
    }

    // Rounded levels, packed: of vector k under candidate c.
    let mut packed = [[0i32; MOST]; V];
    for from in (0..count).step_by(S::LANES) {
        let inverse = F32s::load(isa, &inverses[from..]);
        for k in 0..V {
            round::<S, D, BITS, LEVELS>(isa, &x[k], inverse).store(&mut packed[k][from..]);
        }
    }

    // Points, and the levels of those.
    let mut points = [[0u16; V]; MOST];
    let mut moved = [[false; V]; MOST];
    for c in 0..count {
        for k in 0..V {
            let scale = 1.0 / inverses[c];
            let (point, exact) = find(isa, lattice, packed[k][c], &x[k], &roots[k], scale)?;
            points[c][k] = point;
            moved[c][k] = !exact;
            packed[k][c] = i32::from(lattice.packed(point));
        }
    }

    // Projections of weights and points on the points.
    let (mut with_x, mut with_level) = ([0.0; MOST], [0.0; MOST]);
    for from in (0..count).step_by(S::LANES) {
        let (mut sum_x, mut sum_level) = (F32s::splat(isa, 0.0), F32s::splat(isa, 0.0));
        for k in 0..V {
            let mut levels = I32s::load(isa, &packed[k][from..]);
            for i in 0..D {
                let (w, x) = (group.weights[D * k + i], group.x[D * k + i]);
                let level = levels & I32s::splat(isa, (1 << BITS) - 1);
                levels = levels.shr::<BITS>();
                let q = (level + level + I32s::splat(isa, 1)).to_f32();
                sum_x = sum_x + F32s::splat(isa, w * x) * q;
                sum_level = sum_level + F32s::splat(isa, w) * q * q;
            }
        }
        sum_x.store(&mut with_x[from..]);
        sum_level.store(&mut with_level[from..]);
    }

    let (mut scale, mut best) = (start, 0.0f32);
    let mut chosen = None;
    for c in 0..count {
        if with_level[c] > 0.0 && with_x[c] * with_x[c] > best * with_level[c] {
            scale = with_x[c] / with_level[c];
            best = scale * with_x[c];
            chosen = Some(c);
        }
    }
    let (mut points, moved) = match chosen {
        Some(c) => (points[c], moved[c]),
        None => ([0; V], [candidates.refit == Refit::AllWhereMoved; V]),
    };
    let any = moved.contains(&true);
    if scale > 0.0 && (any || candidates.refit == Refit::All) {
        let inverse = 1.0 / scale;
        let (mut with_x, mut with_level) = (0.0f32, 0.0f32);
        for k in 0..V {
            if moved[k] || candidates.refit != Refit::Moved {
                let levels = round::<S, D, BITS, LEVELS>(isa, &x[k], F32s::splat(isa, inverse)).to_array().as_ref()[0];
                points[k] = find(isa, lattice, levels, &x[k], &roots[k], scale)?.0;
            }
            for (i, &level) in lattice.point(points[k]).iter().enumerate() {
                let (w, x, q) = (group.weights[D * k + i], group.x[D * k + i], f32::from(2 * level + 1));
                with_x += w * x * q;
                with_level += w * q * q;
            }
        }
        if with_level > 0.0 {
            scale = with_x / with_level;
        }
    }
    if scale.is_nan() { None } else { Some(Fit { scale, points }) }
}

/// Packed levels of a vector under an inverse scale in each lane.
#[inline(always)]
fn round<S: Simd, const D: usize, const BITS: u32, const LEVELS: usize>(isa: S, x: &[f32; D], inverse: F32s<S>) -> I32s<S> {
    let (half, one) = (F32s::splat(isa, 0.5), F32s::splat(isa, 1.0));
    let (least, most) = (I32s::splat(isa, 0), I32s::splat(isa, LEVELS as i32 - 1));
    let mut packed = least;
    for v in x.iter().rev() {
        let level = nearest(isa, half * (inverse * F32s::splat(isa, *v) - one)).max(least).min(most);
        packed = packed.shl::<BITS>() | level;
    }
    packed
}

/// [`Lattice::find`] with a near point in each lane.
#[inline(always)]
fn find<S: Simd, const D: usize, const BITS: u32, const LEVELS: usize>(
    isa: S,
    lattice: &Lattice<D, BITS, LEVELS>,
    packed: i32,
    x: &[f32; D],
    roots: &[f32; D],
    scale: f32,
) -> Option<(u16, bool)> {
    match lattice.look_up(packed as usize) {
        Found::Point(point) => Some((point, true)),
        Found::Near { packed, points } => {
            let mut errors = [[0.0; 8]; D];
            for i in 0..D {
                for l in 0..8 {
                    // A table is indexed by three bits: with levels of two, the third is another's.
                    let level = l & ((1 << BITS) - 1);
                    let difference = scale * (2 * level + 1) as f32 - x[i];
                    errors[i][l] = roots[i] * difference * difference;
                }
            }
            Some((nearest_point::<S, D, BITS>(isa, packed, points, &errors)?, false))
        }
    }
}

/// The point with the smallest error, the first of equals, out of near ones: their levels and their
/// numbers, filled up to whole vectors. `errors[i]` is indexed by the level of coordinate `i`.
/// `None` where no error is a number.
#[inline(always)]
pub(crate) fn nearest_point<S: Simd, const D: usize, const BITS: u32>(
    isa: S,
    packed: &[u16],
    points: &[u16],
    errors: &[[f32; 8]; D],
) -> Option<u16> {
    let mut tables = [Table::new(isa, &errors[0]); D];
    for i in 1..D {
        tables[i] = Table::new(isa, &errors[i]);
    }
    let mut lane = [0i32; MAX_LANES];
    for (k, lane) in lane.iter_mut().enumerate() {
        *lane = k as i32;
    }
    let none = I32s::splat(isa, i32::MAX);
    let (mut here, step) = (I32s::load(isa, &lane), I32s::splat(isa, S::LANES as i32));
    let (mut smallest, mut at) = (F32s::splat(isa, f32::MAX), none);
    for packed in packed.chunks_exact(S::LANES) {
        let mut wide = [0i32; MAX_LANES];
        for (wide, packed) in wide.iter_mut().zip(packed) {
            *wide = i32::from(*packed);
        }
        let mut levels = I32s::load(isa, &wide);
        let mut error = F32s::splat(isa, 0.0);
        for table in tables {
            error = error + table.look_up(levels);
            levels = levels.shr::<BITS>();
        }
        let better = error.lt(smallest);
        smallest = better.select(error, smallest);
        at = better.select_i32(here, at);
        here = here + step;
    }
    let least = F32s::splat(isa, smallest.least());
    points.get(smallest.eq(least).select_i32(at, none).least() as usize).copied()
}
