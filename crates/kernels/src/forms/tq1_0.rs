//! `tq1_0`: ternary weights become codes of 2 bits; a scale for 256.

use super::iq3_s::Iq3S;
use super::short;
use crate::form::{Form, Parts};

/// Runs of bytes: the first, how many, the first weight, digits of each.
const RUNS: [(usize, usize, usize, usize); 3] = [(0, 32, 0, 5), (32, 16, 160, 5), (48, 4, 240, 4)];

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tq1_0;

impl Form for Tq1_0 {
    type Like = Iq3S;
    const ID: &'static str = "tq1_0";
    const COLUMNS: usize = 256;
    const GROUP: usize = 32;
    const BITS: usize = 2;
    const OFFSET: i32 = 1;
    const ENCODED: usize = 54;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        parts.d = short(row, 52).into();
        for (byte, stride, first, digits) in RUNS {
            for m in 0..stride {
                let mut fraction = row[byte + m];
                for n in 0..digits {
                    parts.codes[first + m + n * stride] = ((u16::from(fraction) * 3) >> 8) as u8;
                    fraction = fraction.wrapping_mul(3);
                }
            }
        }
    }
}
