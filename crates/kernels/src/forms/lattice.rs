//! What the encodings share whose weights are points of lattices. Where a processor can permute bytes by bytes, the numbers of
//! points are looked up as they are multiplied ([`crate::integer::Points`]); elsewhere eight weights at a time become codes of a
//! level and a sign, which take as many bits as there are levels and signs, more than their share of a point's number:
//!
//! | | bits in the file | numbers | codes |
//! |---|---|---|---|
//! | iq3_s, iq3_xxs | 3.44, 3.06 | 3.44, 3.19 | 4.19 |
//! | iq2_s, iq2_xs, iq2_xxs | 2.56, 2.31, 2.06 | 2.94, 2.44, 2.19 | 3.31, 3.31, 3.19 |
//! | iq1_m, iq1_s | 1.75, 1.56 | 2.06, 1.94 | 2.44, 2.31 |

use gravure_encodings::parts::IQ2_VALUES;

use crate::form::{Form, Parts};

/// Weights of the blocks of all lattices.
pub(crate) const BLOCK: usize = 256;

/// Points and signs of one row of a block.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    /// Of each point in turn.
    pub(crate) points: [u16; BLOCK / 4],
    /// Of eight weights each, the first lowest: set for those that are turned around.
    pub(crate) signs: [u8; BLOCK / 8],
}

impl Default for Numbers {
    fn default() -> Self {
        Self { points: [0; BLOCK / 4], signs: [0; BLOCK / 8] }
    }
}

/// An encoding whose weights are points of a lattice, in blocks of [`BLOCK`].
pub(crate) trait Lattice: Form {
    /// Weights of a point: 4, with coordinates of three bits, or 8, with two.
    const WEIGHTS: usize;
    /// Whether points are looked up by their eight coordinates, of three levels each, and not by their numbers.
    const TRITS: bool = false;
    /// Levels of the coordinates, a byte each, the first lowest.
    const POINTS: &'static [u64];
    /// The packed points' lower bytes, and behind them their upper ones; [`TRITS`] where they are looked up by coordinates.
    const PLANES: &'static [u8];
    /// Codes of levels, which are the lowest bits of the index.
    const VALUES: &'static [u8; 64];
    /// Whether weights have signs: a code that is turned around is `2 * OFFSET - code`.
    const SIGNS: bool;

    /// Takes a row of a block apart, but for codes.
    fn numbers(row: &[u8], parts: &mut Parts, numbers: &mut Numbers);

    /// Codes as planes of bits have them of eight levels, with ones where weights are turned around: a bit above the level's.
    #[inline(always)]
    fn codes(levels: u64, turned: u64) -> u64 {
        levels | turned << (if Self::WEIGHTS == 4 { 3 } else { 2 })
    }
}

/// Takes a row of a block apart, with codes.
#[inline(always)]
pub(super) fn split<F: Lattice>(row: &[u8], parts: &mut Parts) {
    let mut numbers = Numbers::default();
    F::numbers(row, parts, &mut numbers);
    for v in 0..BLOCK / 8 {
        let point = |i: usize| F::POINTS[usize::from(numbers.points[i])];
        let levels = if F::WEIGHTS == 8 { point(v) } else { point(2 * v) | point(2 * v + 1) << 32 };
        let codes = F::codes(levels, ones(numbers.signs[v]));
        parts.codes[8 * v..8 * v + 8].copy_from_slice(&codes.to_le_bytes());
    }
}

/// Bytes in lines of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Planes<const N: usize>([[u8; N]; 2]);

impl<const N: usize> Planes<N> {
    /// Of packed points.
    pub(super) const fn new(points: &[u16; N]) -> Self {
        let mut out = [[0; N]; 2];
        let mut i = 0;
        while i < N {
            out[0][i] = points[i] as u8;
            out[1][i] = (points[i] >> 8) as u8;
            i += 1;
        }
        Self(out)
    }

    /// All of them.
    pub(super) const fn bytes(&'static self) -> &'static [u8] {
        self.0.as_flattened()
    }
}

/// What three coordinates are looked up in: as long as a vector.
const FEW: usize = 64;

/// What [`Lattice::TRITS`] are looked up in: of the 256 numbers that stand for the first five coordinates of a point the lower bytes and
/// the upper ones, and of 64 that stand for the last three the upper ones.
pub(super) static TRITS: Trits = Trits::new();

/// See [`TRITS`].
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Trits([u8; 2 * 256 + FEW]);

impl Trits {
    const fn new() -> Self {
        let mut out = [0; 2 * 256 + FEW];
        let mut number = 0;
        while number < 256 {
            let (mut left, mut packed, mut i) = (number, 0, 0);
            while i < 5 {
                packed |= (left % 3) << (2 * i);
                left /= 3;
                i += 1;
            }
            out[number] = packed as u8;
            out[256 + number] = (packed >> 8) as u8;
            if number < FEW {
                // Coordinates from the sixth on: two bits further in the upper byte.
                out[512 + number] = (packed << 2) as u8;
            }
            number += 1;
        }
        Self(out)
    }

    /// All of it.
    pub(super) const fn bytes(&'static self) -> &'static [u8] {
        &self.0
    }
}

/// [`Lattice::VALUES`] of codes of levels.
pub(super) const fn values<const N: usize>(codes: &[u8; N]) -> [u8; 64] {
    let mut out = [0; 64];
    let mut i = 0;
    while i < 64 {
        out[i] = codes[i % N];
        i += 1;
    }
    out
}

/// The first eight or four of some codes.
pub(super) const fn first<const N: usize>(codes: &[u8; 16]) -> [u8; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = codes[i];
        i += 1;
    }
    out
}

/// Largest value of the two-bit lattices, in eighths.
pub(super) const LARGEST_OF_THREE: i32 = 43;
/// Values of the two-bit lattices, and bit 2 for negative ones.
pub(super) static THREE_LEVELS: [u8; 16] = signed_levels(&IQ2_VALUES, LARGEST_OF_THREE);
/// [`Lattice::VALUES`] of the two-bit lattices.
pub(super) static THREE_VALUES: [u8; 64] = values(&first::<4>(&signed_levels(&IQ2_VALUES, LARGEST_OF_THREE)));

/// Bytes of codes of a level and, above it, a sign: values with `offset` added.
pub(super) const fn signed_levels<const N: usize>(values: &[f32; N], offset: i32) -> [u8; 16] {
    let mut out = [0; 16];
    let mut i = 0;
    while i < 16 {
        let value = values[i % N] as i32;
        out[i] = (offset + if i / N % 2 == 1 { -value } else { value }) as u8;
        i += 1;
    }
    out
}

/// Levels of the coordinates of packed points, a byte each, the first lowest. `D` coordinates share 16 bits.
pub(super) const fn spread<const N: usize, const D: usize>(points: &[u16; N]) -> [u64; N] {
    let bits = if D == 4 { 3 } else { 2 };
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        let mut k = 0;
        while k < D {
            out[i] |= (points[i] as u64 >> (bits * k) & ((1 << bits) - 1)) << (8 * k);
            k += 1;
        }
        i += 1;
    }
    out
}

/// One in each byte whose bit is set.
#[inline(always)]
pub(super) fn ones(bits: u8) -> u64 {
    let each = u64::from(bits).wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    (each + 0x7f7f_7f7f_7f7f_7f7f) >> 7 & 0x0101_0101_0101_0101
}

/// Scales of four bits, an even group in the low half of a byte.
#[inline(always)]
pub(super) fn halves(bytes: &[u8], scales: &mut [u8]) {
    for (byte, two) in bytes.iter().zip(scales.chunks_exact_mut(2)) {
        (two[0], two[1]) = (byte & 15, byte >> 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_become_bytes() {
        for bits in 0..=255 {
            assert_eq!(ones(bits).to_le_bytes(), std::array::from_fn(|i| bits >> i & 1));
        }
    }
}
