//! `iq2_s`: points of eight weights and signs become codes of 3 bits for a value; odd scales of 4 bits for 16 weights
//! in blocks of 256.

use gravure_encodings::parts::IQ2_S_POINTS;

use super::lattice::{LARGEST_OF_THREE, THREE_LEVELS, halves, ones, put, spread};
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
        parts.d = short(row, 0).into();
        halves(&row[74..82], &mut parts.scales);
        for v in 0..32 {
            let point = usize::from(row[2 + v]) | usize::from(row[66 + v / 4] >> (2 * (v % 4)) & 3) << 8;
            put(&mut parts.codes, v, POINTS[point] | ones(row[34 + v]) << 2);
        }
    }
}
