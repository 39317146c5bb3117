//! `iq2_xs`: points of eight weights and signs become codes of 3 bits for a value; odd scales of 4 bits for 16 weights
//! in blocks of 256.

use gravure_encodings::parts::{IQ2_XS_POINTS, eight_signs};

use super::lattice::{self, LARGEST_OF_THREE, Lattice, Numbers, Planes, THREE_LEVELS, THREE_VALUES, halves, spread};
use super::q6_k::Q6K;
use super::short;
use crate::form::{Form, Parts, Scales};

/// Levels of the points.
static POINTS: [u64; 512] = spread::<512, 8>(&IQ2_XS_POINTS);
/// The points as they are looked up.
static PLANES: Planes<512> = Planes::new(&IQ2_XS_POINTS);

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq2Xs;

impl Form for Iq2Xs {
    type Like = Q6K;
    const ID: &'static str = "iq2_xs";
    const COLUMNS: usize = 256;
    const GROUP: usize = 16;
    const BITS: usize = 3;
    const UNIT: f32 = 0.125;
    const OFFSET: i32 = LARGEST_OF_THREE;
    const SCALES: Scales = Scales::Odd;
    const TABLE: Option<&'static [u8; 16]> = Some(&THREE_LEVELS);
    const ENCODED: usize = 74;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        lattice::split::<Self>(row, parts);
    }
}

impl Lattice for Iq2Xs {
    const WEIGHTS: usize = 8;
    const POINTS: &'static [u64] = &POINTS;
    const PLANES: &'static [u8] = PLANES.bytes();
    const VALUES: &'static [u8; 64] = &THREE_VALUES;
    const SIGNS: bool = true;

    #[inline(always)]
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers) {
        parts.d = short(row, 0).into();
        halves(&row[66..74], &mut parts.scales);
        for v in 0..32 {
            let word = short(row, 2 + 2 * v);
            (numbers.points[v], numbers.signs[v]) = (word & 511, eight_signs(u32::from(word >> 9)));
        }
    }
}
