//! `iq3_xxs`: points of four weights and signs become codes of 4 bits for a value; odd scales of 4 bits for 32 weights
//! in blocks of 256.

use gravure_encodings::parts::{IQ3_XXS_POINTS, IQ3_XXS_VALUES, eight_signs};

use super::iq3_s::Iq3S;
use super::lattice::{self, Lattice, Numbers, Planes, first, signed_levels, spread, values};
use super::{short, word};
use crate::form::{Form, Parts, Scales};

/// Levels of the points.
static POINTS: [u64; 256] = spread::<256, 4>(&IQ3_XXS_POINTS);
/// The points as they are looked up.
static PLANES: Planes<256> = Planes::new(&IQ3_XXS_POINTS);
/// Largest value, in quarters.
const LARGEST: i32 = 62;
/// Values, and bit 3 for negative ones.
static VALUES: [u8; 16] = signed_levels(&IQ3_XXS_VALUES, LARGEST);
/// Codes of levels.
static LEVELS: [u8; 64] = values(&first::<8>(&signed_levels(&IQ3_XXS_VALUES, LARGEST)));

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq3Xxs;

impl Form for Iq3Xxs {
    type Like = Iq3S;
    const ID: &'static str = "iq3_xxs";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const UNIT: f32 = 0.25;
    const OFFSET: i32 = LARGEST;
    const SCALES: Scales = Scales::Odd;
    const TABLE: Option<&'static [u8; 16]> = Some(&VALUES);
    const ENCODED: usize = 98;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        lattice::split::<Self>(row, parts);
    }
}

impl Lattice for Iq3Xxs {
    const WEIGHTS: usize = 4;
    const POINTS: &'static [u64] = &POINTS;
    const PLANES: &'static [u8] = PLANES.bytes();
    const VALUES: &'static [u8; 64] = &LEVELS;
    const SIGNS: bool = true;

    #[inline(always)]
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers) {
        parts.d = short(row, 0).into();
        for v in 0..32 {
            let signs = word(row, 66 + v / 4 * 4);
            if v % 4 == 0 {
                parts.scales[v / 4] = (signs >> 28) as u8;
            }
            numbers.signs[v] = eight_signs(signs >> (7 * (v % 4)));
        }
        numbers.points.iter_mut().zip(&row[2..66]).for_each(|(point, byte)| *point = u16::from(*byte));
    }
}
