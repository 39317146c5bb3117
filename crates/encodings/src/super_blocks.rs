//! What the blocks of 256 weights ("K" types) have in common: groups of 16 or 32 weights, each with
//! its own scale, and the scales quantized in turn with one half-precision factor for the block.
//!
//! An encoder goes through the same four steps in all of them: find the best scale of each group;
//! quantize the scales; round the weights again under the scales as they were stored; pack.

use gravure_core::contracts::Parts;

use crate::grid::{bytes_of, read_half};
use crate::numbers::{half_bits, half_value};
use crate::search::{AffineSearch, Penalty, affine, error_weights, nearest, positive, sum_of_squares};

/// Weights in a block.
pub(crate) const N: usize = 256;

/// The groups of `G` weights of a block.
#[inline(always)]
pub(crate) fn groups<T, const G: usize>(block: &[T; N]) -> &[[T; G]] {
    block.as_chunks::<G>().0
}

/// The groups of `G` codes of a block, to be written.
#[inline(always)]
pub(crate) fn groups_mut<T, const G: usize>(block: &mut [T; N]) -> &mut [[T; G]] {
    block.as_chunks_mut::<G>().0
}

/// Sum, first to last.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v)
}

/// Rounds a group to `d * code - m` again; a scale of zero leaves the codes that the search found.
#[inline(always)]
pub(crate) fn round_affine<const G: usize>(x: &[f32; G], d: f32, m: f32, levels: i32, found: impl Fn(&[f32; G]) -> [u8; G]) -> [u8; G] {
    if d != 0.0 { x.map(|v| nearest((v + m) / d).clamp(0, levels) as u8) } else { found(x) }
}

/// Rounds a group to `d * (code - levels)` again; a scale of zero leaves the codes that the search
/// found.
#[inline(always)]
pub(crate) fn round_symmetric<const G: usize>(x: &[f32; G], d: f32, levels: i32, found: impl Fn(&[f32; G]) -> [u8; G]) -> [u8; G] {
    if d != 0.0 { x.map(|v| (nearest(v / d).clamp(-levels, levels - 1) + levels) as u8) } else { found(x) }
}

/// Packs codes of two bits: byte `32 h + i` holds codes `128 h + i + 32 k` at bit `2 k`.
#[inline(always)]
pub(crate) fn pack_two_bits(codes: &[u8; N], out: &mut [u8]) {
    for (half, bytes) in codes.as_chunks::<128>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for i in 0..32 {
            bytes[i] = half[i] | half[i + 32] << 2 | half[i + 64] << 4 | half[i + 96] << 6;
        }
    }
}

/// The inverse of [`pack_two_bits`].
#[inline(always)]
pub fn unpack_two_bits(bytes: &[u8]) -> [u8; N] {
    let mut codes = [0; N];
    for (half, bytes) in codes.as_chunks_mut::<128>().0.iter_mut().zip(bytes.as_chunks::<32>().0) {
        for i in 0..32 {
            for k in 0..4 {
                half[i + 32 * k] = bytes[i] >> (2 * k) & 3;
            }
        }
    }
    codes
}

/// Eight scales and eight minima of six bits in twelve bytes.
///
/// ```text
/// byte 0..4    scale j (6 bits)      | upper 2 bits of scale j+4
/// byte 4..8    minimum j (6 bits)    | upper 2 bits of minimum j+4
/// byte 8..12   lower 4 of scale j+4  | lower 4 of minimum j+4
/// ```
#[inline(always)]
pub(crate) fn pack_six_bits(scales: &[u8; 8], minima: &[u8; 8]) -> [u8; 12] {
    let mut out = [0; 12];
    for j in 0..4 {
        out[j] = scales[j] | scales[j + 4] >> 4 << 6;
        out[j + 4] = minima[j] | minima[j + 4] >> 4 << 6;
        out[j + 8] = scales[j + 4] & 15 | minima[j + 4] << 4;
    }
    out
}

/// The inverse of [`pack_six_bits`]: scales, then minima.
#[inline(always)]
pub fn unpack_six_bits(bytes: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut minima) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scales[j] = bytes[j] & 63;
        minima[j] = bytes[j + 4] & 63;
        scales[j + 4] = bytes[j + 8] & 15 | bytes[j] >> 6 << 4;
        minima[j + 4] = bytes[j + 8] >> 4 | bytes[j + 4] >> 6 << 4;
    }
    (scales, minima)
}

/// A block of eight groups of 32 weights, `weight = d * scale * code - m * minimum`, before its
/// codes are packed.
#[derive(Debug)]
pub(crate) struct Affine32 {
    /// Bits of the factor of the scales.
    pub(crate) d: u16,
    /// Bits of the factor of the minima.
    pub(crate) m: u16,
    /// Scales and minima, see [`pack_six_bits`].
    pub(crate) scales: [u8; 12],
    /// One code a weight.
    pub(crate) codes: [u8; N],
}

/// The candidates of a search that knows the importance of its weights.
pub(crate) const WEIGHTED: (f32, f32, i32) = (-0.9, 0.05, 36);

impl Affine32 {
    /// Reads factors, scales and minima, which stand before the codes of a block.
    pub(crate) fn read_scales(block: &[u8], parts: &mut Parts) {
        let (scales, minima) = unpack_six_bits(&std::array::from_fn(|i| block[4 + i]));
        parts.factors = [read_half(block, 0), read_half(block, 2)];
        parts.scales.copy_from_slice(&scales.map(i32::from));
        parts.offsets.copy_from_slice(&minima.map(i32::from));
    }

    /// The block of the parts that a method has chosen.
    pub(crate) fn from_parts(parts: &Parts) -> Self {
        let bytes = |values: &[i32]| std::array::from_fn(|j| values[j] as u8);
        Self {
            d: half_bits(parts.factors[0]),
            m: half_bits(parts.factors[1]),
            scales: pack_six_bits(&bytes(&parts.scales), &bytes(&parts.offsets)),
            codes: bytes_of(&parts.codes),
        }
    }

    /// The search of a group with codes up to `levels`; `candidates` are first, step and number of
    /// the one without importance.
    #[inline(always)]
    pub(crate) fn search(levels: i32, candidates: (f32, f32, i32), has_importance: bool) -> AffineSearch {
        let (first, step, steps) = if has_importance { WEIGHTED } else { candidates };
        AffineSearch { levels, first, step, steps, penalty: Penalty::Squared }
    }

    /// Fits a block, see [`search`](Self::search).
    pub(crate) fn fit(levels: i32, candidates: (f32, f32, i32), x: &[f32; N], importance: Option<&[f32; N]>) -> Self {
        let search = Self::search(levels, candidates, importance.is_some());
        let mut codes = [0; N];
        let (mut scales, mut depths, mut totals) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        let variance = 2.0 * sum_of_squares(x) / N as f32;
        for j in 0..8 {
            let group: &[f32; 32] = &groups(x)[j];
            let weights = match importance {
                Some(importance) => error_weights(group, &groups(importance)[j], variance),
                None => {
                    let typical = (sum_of_squares(group) / 32.0).sqrt();
                    group.map(|v| typical + v.abs())
                }
            };
            totals[j] = sum(&weights);
            (scales[j], depths[j]) = affine(&search, group, &weights, &mut groups_mut(&mut codes)[j]);
        }
        let quantized = match importance {
            Some(_) => [fitted(&scales, &totals), fitted(&depths, &totals)],
            None => [evenly(&scales), evenly(&depths)],
        };
        Self::finish(levels, x, quantized, |j, _| groups::<_, 32>(&codes)[j])
    }

    /// Rounds the weights under quantized scales and depths (each a factor and codes); `found` gives
    /// the codes that the search found for a group.
    #[inline(always)]
    pub(crate) fn finish(levels: i32, x: &[f32; N], quantized: [(f32, [u8; 8]); 2], found: impl Fn(usize, &[f32; 32]) -> [u8; 32]) -> Self {
        let [(d, scales), (m, depths)] = quantized;
        let mut block = Self { d: half_bits(d), m: half_bits(m), scales: pack_six_bits(&scales, &depths), codes: [0; N] };
        let (d, m) = (half_value(block.d), half_value(block.m));
        let (scales, depths) = unpack_six_bits(&block.scales);
        for (j, (x, codes)) in groups::<_, 32>(x).iter().zip(groups_mut::<_, 32>(&mut block.codes)).enumerate() {
            *codes = round_affine(x, d * f32::from(scales[j]), m * f32::from(depths[j]), levels, |x| found(j, x));
        }
        block
    }
}

/// Six-bit codes by a weighted search.
fn fitted(values: &[f32; 8], weights: &[f32; 8]) -> (f32, [u8; 8]) {
    let mut codes = [0; 8];
    (positive(63, values, weights, &mut codes), codes.map(|c| c.min(63)))
}

/// Six-bit codes with the largest value on 63.
#[inline(always)]
pub(crate) fn evenly(values: &[f32; 8]) -> (f32, [u8; 8]) {
    let largest = largest(values);
    let inverse = if largest > 0.0 { 63.0 / largest } else { 0.0 };
    (largest / 63.0, values.map(|v| (nearest(inverse * v) as u8).min(63)))
}

/// The largest value above zero, or zero.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, &v| if v > largest { v } else { largest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packings_have_inverses() {
        let scales: [u8; 8] = std::array::from_fn(|i| (i * 9 % 64) as u8);
        let minima: [u8; 8] = std::array::from_fn(|i| (63 - i * 5) as u8);
        assert_eq!(unpack_six_bits(&pack_six_bits(&scales, &minima)), (scales, minima));
        let codes: [u8; N] = std::array::from_fn(|i| (i * 7 / 3 % 4) as u8);
        let mut packed = [0; 64];
        pack_two_bits(&codes, &mut packed);
        assert_eq!(unpack_two_bits(&packed), codes);
    }
}
