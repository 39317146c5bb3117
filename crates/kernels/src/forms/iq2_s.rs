//! `iq2_s`: points of eight weights and signs become codes of 3 bits for a value; odd scales of 4 bits for 16 weights
//! in blocks of 256.

use gravure_encodings::parts::IQ2_S_POINTS;

use super::lattice::{self, LARGEST_OF_THREE, Lattice, Numbers, THREE_LEVELS, THREE_VALUES, TRITS, halves, spread};
use super::q6_k::Q6K;
use super::short;
use crate::form::{Form, Parts, Scales};

/// Levels of the points.
static POINTS: [u64; 1024] = spread::<1024, 8>(&IQ2_S_POINTS);

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq2S;

impl Form for Iq2S {
    type Like = Q6K;
    const ID: &'static str = "iq2_s";
    const COLUMNS: usize = 256;
    const GROUP: usize = 16;
    const BITS: usize = 3;
    const UNIT: f32 = 0.125;
    const OFFSET: i32 = LARGEST_OF_THREE;
    const SCALES: Scales = Scales::Odd;
    const TABLE: Option<&'static [u8; 16]> = Some(&THREE_LEVELS);
    const ENCODED: usize = 82;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        lattice::split::<Self>(row, parts);
    }
}

impl Lattice for Iq2S {
    const WEIGHTS: usize = 8;
    const TRITS: bool = true;
    const POINTS: &'static [u64] = &POINTS;
    const PLANES: &'static [u8] = TRITS.bytes();
    const VALUES: &'static [u8; 64] = &THREE_VALUES;
    const SIGNS: bool = true;

    #[inline(always)]
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers) {
        parts.d = short(row, 0).into();
        halves(&row[74..82], &mut parts.scales);
        for v in 0..32 {
            numbers.points[v] = u16::from(row[2 + v]) | u16::from(row[66 + v / 4] >> (2 * (v % 4)) & 3) << 8;
        }
        numbers.signs.copy_from_slice(&row[34..66]);
    }
}
