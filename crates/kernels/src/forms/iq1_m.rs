//! `iq1_m`: points of eight ternary weights become codes of 2 bits, in eighths; the eighths of eight weights move up
//! or down by one; odd scales of 4 bits for 16 weights in blocks of 256.

use super::iq1_s::{EIGHTHS, POINTS};
use super::lattice::{self, Lattice, Numbers, TRITS};
use super::q6_k::Q6K;
use super::short;
use crate::form::{Form, Parts, Scales};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iq1M;

impl Form for Iq1M {
    type Like = Q6K;
    const ID: &'static str = "iq1_m";
    const COLUMNS: usize = 256;
    const GROUP: usize = 16;
    const BITS: usize = 2;
    const UNIT: f32 = 0.125;
    const LOWEST: usize = 3;
    const SHIFTS: bool = true;
    const OFFSET: i32 = 9;
    const SCALES: Scales = Scales::Odd;
    const ENCODED: usize = 56;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        lattice::split::<Self>(row, parts);
    }
}

impl Lattice for Iq1M {
    const WEIGHTS: usize = 8;
    const TRITS: bool = true;
    const POINTS: &'static [u64] = &POINTS;
    const PLANES: &'static [u8] = TRITS.bytes();
    const VALUES: &'static [u8; 64] = &EIGHTHS;
    const SIGNS: bool = false;

    #[inline(always)]
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers) {
        let words: [u16; 4] = std::array::from_fn(|i| short(row, 48 + 2 * i));
        parts.d = (0..4).fold(0, |bits, i| bits | u32::from(words[i] >> 12) << (4 * i));
        parts.shifts = 0;
        for g in 0..16 {
            parts.scales[g] = (words[g / 4] >> (3 * (g % 4)) & 7) as u8;
        }
        for v in 0..32 {
            let high = row[32 + v / 2] >> (4 * (v % 2));
            parts.shifts |= u32::from(high >> 3 & 1 ^ 1) << v;
            numbers.points[v] = u16::from(row[v]) | u16::from(high & 7) << 8;
        }
    }
}
