//! `iq3_s`: points of four weights and signs become codes of 4 bits for the odd numbers from -15 to 15; odd scales of
//! 4 bits for 32 weights in blocks of 256.

use gravure_encodings::parts::IQ3_S_POINTS;

use super::lattice::{halves, ones, put, spread};
use super::short;
use crate::form::{Form, Parts, Scales};

/// Levels of the points.
static POINTS: [u64; 512] = spread::<512, 4>(&IQ3_S_POINTS);

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
        parts.d = short(row, 0).into();
        halves(&row[106..110], &mut parts.scales);
        for v in 0..32 {
            let point = |i: usize| POINTS[usize::from(row[2 + i]) | usize::from(row[66 + i / 8] >> (i % 8) & 1) << 8];
            let levels = point(2 * v) | point(2 * v + 1) << 32;
            // 2 * level + 1 is twice the code, less 15: codes from 8 up, or from 7 down.
            put(&mut parts.codes, v, (levels | 0x0808_0808_0808_0808) ^ (ones(row[74 + v]) * 15));
        }
    }
}
