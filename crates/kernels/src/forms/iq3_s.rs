//! `iq3_s`: points of four weights and signs become codes of 4 bits for the odd numbers from -15 to 15; odd scales of
//! 4 bits for 32 weights in blocks of 256.

use gravure_encodings::parts::IQ3_S_POINTS;

use super::lattice::{self, Lattice, Numbers, Planes, halves, spread, values};
use super::short;
use crate::form::{Form, Parts, Scales};

/// Levels of the points.
static POINTS: [u64; 512] = spread::<512, 4>(&IQ3_S_POINTS);
/// The points as they are looked up.
static PLANES: Planes<512> = Planes::new(&IQ3_S_POINTS);
/// Codes of levels, with their offset.
static LEVELS: [u8; 64] = values(&[16, 18, 20, 22, 24, 26, 28, 30]);

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq3S;

impl Form for Iq3S {
    type Like = Self;
    const ID: &'static str = "iq3_s";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 4;
    const LOWEST: usize = 1;
    const OFFSET: i32 = 15;
    const SCALES: Scales = Scales::Odd;
    const ENCODED: usize = 110;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        lattice::split::<Self>(row, parts);
    }
}

impl Lattice for Iq3S {
    const WEIGHTS: usize = 4;
    const POINTS: &'static [u64] = &POINTS;
    const PLANES: &'static [u8] = PLANES.bytes();
    const VALUES: &'static [u8; 64] = &LEVELS;
    const SIGNS: bool = true;

    #[inline(always)]
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers) {
        parts.d = short(row, 0).into();
        halves(&row[106..110], &mut parts.scales);
        for (i, point) in numbers.points.iter_mut().enumerate() {
            *point = u16::from(row[2 + i]) | u16::from(row[66 + i / 8] >> (i % 8) & 1) << 8;
        }
        numbers.signs.copy_from_slice(&row[74..106]);
    }

    #[inline(always)]
    fn codes(levels: u64, turned: u64) -> u64 {
        // 2 * level + 1 is twice the code, less 15: codes from 8 up, or from 7 down.
        (levels | 0x0808_0808_0808_0808) ^ (turned * 15)
    }
}
