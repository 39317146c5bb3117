//! `iq2_xxs`: points of eight weights and signs become codes of 3 bits for a value; odd scales of 4 bits for 32
//! weights in blocks of 256.

use gravure_encodings::parts::{IQ2_XXS_POINTS, eight_signs};

use super::iq3_s::Iq3S;
use super::lattice::{self, LARGEST_OF_THREE, Lattice, Numbers, Planes, THREE_LEVELS, THREE_VALUES, spread};
use super::{short, word};
use crate::form::{Form, Parts, Scales};

/// Levels of the points.
static POINTS: [u64; 256] = spread::<256, 8>(&IQ2_XXS_POINTS);
/// The points as they are looked up.
static PLANES: Planes<256> = Planes::new(&IQ2_XXS_POINTS);

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq2Xxs;

impl Form for Iq2Xxs {
    type Like = Iq3S;
    const ID: &'static str = "iq2_xxs";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 3;
    const UNIT: f32 = 0.125;
    const OFFSET: i32 = LARGEST_OF_THREE;
    const SCALES: Scales = Scales::Odd;
    const TABLE: Option<&'static [u8; 16]> = Some(&THREE_LEVELS);
    const ENCODED: usize = 66;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        lattice::split::<Self>(row, parts);
    }
}

impl Lattice for Iq2Xxs {
    const WEIGHTS: usize = 8;
    const POINTS: &'static [u64] = &POINTS;
    const PLANES: &'static [u8] = PLANES.bytes();
    const VALUES: &'static [u8; 64] = &THREE_VALUES;
    const SIGNS: bool = true;

    #[inline(always)]
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers) {
        parts.d = short(row, 0).into();
        for v in 0..32 {
            let (at, k) = (2 + 8 * (v / 4), v % 4);
            let signs = word(row, at + 4);
            parts.scales[v / 4] = (signs >> 28) as u8;
            (numbers.points[v], numbers.signs[v]) = (row[at + k].into(), eight_signs(signs >> (7 * k)));
        }
    }
}
