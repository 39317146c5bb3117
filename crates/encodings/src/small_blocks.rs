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

/// Smallest and largest of finite weights.
#[inline(always)]
pub(crate) fn range(x: &[f32; 32]) -> (f32, f32) {
    // Lanes first: eight running extremes are two vector registers, one would be a chain of 32.
    let (mut low, mut high) = ([f32::MAX; 8], [-f32::MAX; 8]);
    for lanes in x.as_chunks::<8>().0 {
        for i in 0..8 {
            low[i] = if lanes[i] < low[i] { lanes[i] } else { low[i] };
            high[i] = if lanes[i] > high[i] { lanes[i] } else { high[i] };
        }
    }
    let least = low.iter().fold(f32::MAX, |a, &b| if b < a { b } else { a });
    let most = high.iter().fold(-f32::MAX, |a, &b| if b > a { b } else { a });
    (least, most)
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
    codes.iter().enumerate().fold(0, |bits, (i, &code)| bits | u32::from(code >> 4 & 1) << i)
}

/// Adds the fifth bits to codes of four.
#[inline(always)]
pub(crate) fn add_fifth_bits(codes: &mut [u8; 32], bits: u32) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((bits >> i & 1) as u8) << 4;
    }
}
