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
    // As integers, because their least and greatest may be taken in any order: float extremes would
    // be a chain of 32, for the sake of NaNs that are not there.
    let ordered = x.map(|v| flip(v.to_bits() as i32));
    let low = ordered.iter().fold(i32::MAX, |low, &v| low.min(v));
    let high = ordered.iter().fold(i32::MIN, |high, &v| high.max(v));
    let (mut low, mut high) = (f32::from_bits(flip(low) as u32), f32::from_bits(flip(high) as u32));
    if low == 0.0 {
        low = x.iter().copied().find(|&v| v == 0.0).unwrap_or(low);
        high = if high == 0.0 { low } else { high };
    }
    (low, high)
}

/// Bits of a float to an integer of the same order, and back.
#[inline(always)]
fn flip(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

/// The largest magnitude among finite weights.
#[inline(always)]
pub(crate) fn magnitude(x: &[f32; 32]) -> f32 {
    f32::from_bits(x.iter().fold(0, |largest, v| largest.max(v.to_bits() as i32 & i32::MAX)) as u32)
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

/// Codes of five bits from packed nibbles and the fifth bits.
#[inline(always)]
pub(crate) fn unpack_fives(bytes: &[u8], fifth: u32) -> [i32; 32] {
    let mut codes = [0; 32];
    for i in 0..16 {
        codes[i] = (u32::from(bytes[i] & 15) | (fifth >> i & 1) << 4) as i32;
    }
    for i in 0..16 {
        codes[i + 16] = (u32::from(bytes[i] >> 4) | (fifth >> (i + 16) & 1) << 4) as i32;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifth_bits_are_gathered_and_spread() {
        let codes: [u8; 32] = std::array::from_fn(|i| (i * 13 % 32) as u8);
        let expected = codes.iter().enumerate().fold(0, |bits, (i, &code)| bits | u32::from(code >> 4) << i);
        assert_eq!(fifth_bits(&codes), expected);
        let mut packed = [0; 16];
        pack_nibbles(&codes, &mut packed);
        assert_eq!(unpack_fives(&packed, expected), codes.map(i32::from));
    }

    #[test]
    fn the_first_of_equal_magnitudes_gives_the_sign() {
        let mut x = [0.25; 32];
        assert_eq!(signed_extreme(&x), 0.25);
        (x[3], x[20]) = (-1.0, 1.0);
        assert_eq!(signed_extreme(&x), -1.0);
        (x[2], x[20]) = (1.0, 0.0);
        assert_eq!(signed_extreme(&x), 1.0);
        assert_eq!((range(&x), magnitude(&x)), ((-1.0, 1.0), 1.0));
        x = [0.0; 32];
        x[0] = -0.0;
        assert!(range(&x).0.is_sign_negative() && range(&x).1.is_sign_negative());
        assert!(signed_extreme(&x).is_sign_positive());
    }
}
