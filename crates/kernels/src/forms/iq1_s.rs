//! `iq1_s`: points of eight ternary weights become codes of 2 bits, in eighths; all eighths of 32 weights move up or
//! down by one; odd scales of 4 bits for 32 weights in blocks of 256.

use gravure_encodings::parts::IQ1_POINTS;

use super::iq3_s::Iq3S;
use super::lattice::{self, Lattice, Numbers, TRITS, spread, values};
use super::short;
use crate::form::{Form, Parts, Scales};

/// Levels of the points.
pub(super) static POINTS: [u64; 2048] = spread::<2048, 8>(&IQ1_POINTS);
/// Codes of levels.
pub(super) static EIGHTHS: [u8; 64] = values(&[0, 8, 16, 24]);

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq1S;

impl Form for Iq1S {
    type Like = Iq3S;
    const ID: &'static str = "iq1_s";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 2;
    const UNIT: f32 = 0.125;
    const LOWEST: usize = 3;
    const SHIFTS: bool = true;
    const OFFSET: i32 = 9;
    const SCALES: Scales = Scales::Odd;
    const ENCODED: usize = 50;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        lattice::split::<Self>(row, parts);
    }
}

impl Lattice for Iq1S {
    const WEIGHTS: usize = 8;
    const TRITS: bool = true;
    const POINTS: &'static [u64] = &POINTS;
    const PLANES: &'static [u8] = TRITS.bytes();
    const VALUES: &'static [u8; 64] = &EIGHTHS;
    const SIGNS: bool = false;

    #[inline(always)]
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers) {
        parts.d = short(row, 0).into();
        parts.shifts = 0;
        for v in 0..32 {
            let word = short(row, 34 + 2 * (v / 4));
            parts.scales[v / 4] = (word >> 12 & 7) as u8;
            parts.shifts |= u32::from(word >> 15 ^ 1) << v;
            numbers.points[v] = u16::from(row[2 + v]) | (word >> (3 * (v % 4)) & 7) << 8;
        }
    }
}
