//! What the two encodings of about one and a half bits share: a codebook of 2048 lattice points
//! with eight ternary coordinates, shifted as a whole by an eighth up or down.

use std::sync::LazyLock;

use gravure_simd::Simd;

use crate::codebooks::iq1::POINTS;
use crate::iq_lattice::{Errors, Found, Lattice};
use crate::lanes::lattice::nearest_point;

/// The codebook.
pub(crate) static LATTICE: LazyLock<Lattice<8, 2, 3>> = LazyLock::new(|| Lattice::new(&POINTS, 3));

/// Values of the three levels, shifted up and down.
pub(crate) const SHIFTED: [[f32; 3]; 2] = [[-1.0 + SHIFT, SHIFT, 1.0 + SHIFT], [-1.0 - SHIFT, -SHIFT, 1.0 - SHIFT]];

const SHIFT: f32 = 0.125;

/// Indices of the weights in ascending order, equal ones in their order in the group.
#[inline(always)]
pub(crate) fn ascending<const N: usize>(x: &[f32; N]) -> [u8; N] {
    let mut order: [u8; N] = std::array::from_fn(|i| i as u8);
    // Small and stable; there is no NaN here.
    order.sort_by(|&a, &b| x[usize::from(a)].partial_cmp(&x[usize::from(b)]).unwrap_or(std::cmp::Ordering::Equal));
    order
}

/// Prefix sums of a group, zeros behind them: a whole stride may be loaded from any split on.
#[inline(always)]
pub(crate) fn padded<const SUMS: usize, const PADDED: usize>(sums: &[f32; SUMS]) -> [f32; PADDED] {
    let mut padded = [0.0; PADDED];
    padded[..SUMS].copy_from_slice(sums);
    padded
}

/// The point for eight levels: itself, or the near one with the smallest error under `scale`.
/// Returns whether it is the point itself too.
#[inline(always)]
pub(crate) fn find<S: Simd>(
    isa: Option<S>,
    levels: &[u8; 8],
    x: &[f32; 8],
    weights: &[f32; 8],
    scale: f32,
    values: &[f32; 3],
) -> Option<(u16, bool)> {
    if let Some(isa) = isa {
        return match LATTICE.look_up(Lattice::<8, 2, 3>::pack(levels)) {
            Found::Point(point) => Some((point, true)),
            Found::Near { packed, points } => {
                let mut errors = [[0.0; 8]; 8];
                for i in 0..8 {
                    for l in 0..8 {
                        // A table is indexed by three bits, the third of which is the next level's;
                        // the fourth level does not occur.
                        let difference = scale * values[(l & 3).min(2)] - x[i];
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
