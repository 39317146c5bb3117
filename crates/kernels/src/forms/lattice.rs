//! What the encodings share whose weights are points of lattices: eight weights at a time become codes of a level and
//! a sign. A code takes as many bits as there are levels and signs, more than its share of a point's number:
//!
//! | | bits in the file | in memory |
//! |---|---|---|
//! | iq3_s, iq3_xxs | 3.44, 3.06 | 4.19 |
//! | iq2_s, iq2_xs, iq2_xxs | 2.56, 2.31, 2.06 | 3.31, 3.31, 3.19 |
//! | iq1_m, iq1_s | 1.75, 1.56 | 2.44, 2.31 |
//!
//! The road not taken: points that a kernel looks up in the table, which needs the file's bits alone. On Zen 5 that
//! is 36 G weights in a second and core for points of eight, half of it for points of four, where the codes are
//! read at 50 and more, as fast as memory is; other processors have less to spare.

use gravure_encodings::parts::IQ2_VALUES;

/// Largest value of the two-bit lattices, in eighths.
pub(super) const LARGEST_OF_THREE: i32 = 43;
/// Values of the two-bit lattices, and bit 2 for negative ones.
pub(super) static THREE_LEVELS: [u8; 16] = signed_levels(&IQ2_VALUES, LARGEST_OF_THREE);

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

/// Writes eight codes of vector `v`.
#[inline(always)]
pub(super) fn put(codes: &mut [u8], v: usize, eight: u64) {
    codes[8 * v..8 * v + 8].copy_from_slice(&eight.to_le_bytes());
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
