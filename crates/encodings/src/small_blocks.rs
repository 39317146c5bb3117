//! What the blocks of 32 weights with one scale have in common.

use crate::search::sum_of_squares;

/// Mean of the squares of a row, which the weighted searches add to each weight's square.
pub(crate) fn mean_of_squares(row: &[f32]) -> f32 {
    sum_of_squares(row) / row.len() as f32
}

/// The weight of largest magnitude with its sign, the first where two are equal; zero where all
/// are. Finite weights only.
#[inline(always)]
pub(crate) fn signed_extreme(x: &[f32; 32]) -> f32 {
    let (low, high) = range(x);
    let high = if high > 0.0 { high } else { 0.0 };
    let low = if low < 0.0 { low } else { 0.0 };
    if high == -low && high > 0.0 {
        return x.iter().copied().find(|v| v.abs() == high).unwrap_or(high);
    }
    if high >= -low { high } else { low }
}

/// Smallest and largest of finite weights; where
/// the smallest is a zero, with the sign of the first one (and so the largest, where all are).
#[inline(always)]
pub(crate) fn range(x: &[f32; 32]) -> (f32, f32) {
    let lesser = |a: f32, b: f32| if a < b { a } else { b };
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    // Halving instead of a chain of 32: the order does not matter for finite numbers.
    let mut low: [f32; 16] = std::array::from_fn(|i| lesser(x[i], x[i + 16]));
    let mut high: [f32; 16] = std::array::from_fn(|i| greater(x[i], x[i + 16]));
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            low[i] = lesser(low[i], low[i + half]);
            high[i] = greater(high[i], high[i + half]);
        }
    }
    if low[0] == 0.0 {
        low[0] = x.iter().copied().find(|&v| v == 0.0).unwrap_or(low[0]);
        high[0] = if high[0] == 0.0 { low[0] } else { high[0] };
    }
    (low[0], high[0])
}

/// Packs 32 codes of four bits: code `i` in the low half of byte `i`, code `i + 16` in the high.
#[inline(always)]
pub(crate) fn pack_nibbles(codes: &[u8; 32], out: &mut [u8]) {
    for (i, byte) in out[..16].iter_mut().enumerate() {
        *byte = codes[i] & 15 | codes[i + 16] << 4;
    }
}

/// The inverse of [`pack_nibbles`].
#[inline(always)]
pub(crate) fn unpack_nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    for (i, byte) in bytes[..16].iter().enumerate() {
        codes[i] = byte & 15;
        codes[i + 16] = byte >> 4;
    }
    codes
}

/// The fifth bits of 32 codes, code `i` at bit `i`.
#[inline(always)]
pub(crate) fn fifth_bits(codes: &[u8; 32]) -> u32 {
    let mut out = [0; 4];
    for (byte, eight) in out.iter_mut().zip(codes.as_chunks::<8>().0) {
        // Each lowest bit of eight bytes is moved to its place in the top byte; no two meet.
        let bits = u64::from_le_bytes(*eight) >> 4 & 0x0101_0101_0101_0101;
        *byte = (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    }
    u32::from_le_bytes(out)
}

/// Adds the fifth bits to codes of four.
#[inline(always)]
pub(crate) fn add_fifth_bits(codes: &mut [u8; 32], bits: u32) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((bits >> i & 1) as u8) << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifth_bits_are_gathered_and_spread() {
        let codes: [u8; 32] = std::array::from_fn(|i| (i * 13 % 32) as u8);
        let expected = codes.iter().enumerate().fold(0, |bits, (i, &code)| bits | u32::from(code >> 4) << i);
        assert_eq!(fifth_bits(&codes), expected);
        let mut low = codes.map(|code| code & 15);
        add_fifth_bits(&mut low, expected);
        assert_eq!(low, codes);
    }

    #[test]
    fn the_first_of_equal_magnitudes_gives_the_sign() {
        let mut x = [0.25; 32];
        assert_eq!(signed_extreme(&x), 0.25);
        (x[3], x[20]) = (-1.0, 1.0);
        assert_eq!(signed_extreme(&x), -1.0);
        (x[2], x[20]) = (1.0, 0.0);
        assert_eq!(signed_extreme(&x), 1.0);
        assert_eq!(range(&x), (-1.0, 1.0));
        x = [0.0; 32];
        x[0] = -0.0;
        assert!(range(&x).0.is_sign_negative() && range(&x).1.is_sign_negative());
        assert!(signed_extreme(&x).is_sign_positive());
    }
}
