//! What the encodings' [`Grid`](gravure_core::Grid)s share: factors as halves, scale codes, tables of
//! lattice points.

use gravure_core::contracts::Steps;

use crate::numbers::{half_bits, half_value};

/// The largest finite half.
const LARGEST: f32 = 65_504.0;

/// The finite half nearest to `value`; zero for NaN.
pub(crate) fn nearest_half(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { half_value(half_bits(value.clamp(-LARGEST, LARGEST))) }
}

/// The half at an offset of a block.
pub(crate) fn read_half(block: &[u8], at: usize) -> f32 {
    half_value(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Writes a half at an offset of a block.
pub(crate) fn write_half(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&half_bits(value).to_le_bytes());
}

/// `factor * code`, codes from `lowest` to `highest`.
pub(crate) const fn multiples(lowest: i32, highest: i32) -> Steps {
    Steps::Codes { range: (lowest, highest), first: 0.0, step: 1.0, multiplier: 1.0 }
}

/// `factor * -code`: what is subtracted, codes from 0 to `highest`.
pub(crate) const fn depths(highest: i32) -> Steps {
    Steps::Codes { range: (0, highest), first: 0.0, step: 1.0, multiplier: -1.0 }
}

/// `factor * (first + step * code) * multiplier`, codes of four bits.
pub(crate) const fn nibbles(first: f32, step: f32, multiplier: f32) -> Steps {
    Steps::Codes { range: (0, 15), first, step, multiplier }
}

/// The magnitudes of packed points: `levels` takes one apart, `value` gives a level's magnitude.
pub(crate) fn magnitudes<const D: usize>(points: &[u16], levels: impl Fn(u16) -> [u8; D], value: impl Fn(u8) -> f32) -> Vec<f32> {
    points.iter().flat_map(|&p| levels(p)).map(value).collect()
}

/// Four-bit scale codes, two in a byte, the first in the low half.
pub(crate) fn read_nibbles(bytes: &[u8], codes: &mut [i32]) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code = i32::from(bytes[i / 2] >> (4 * (i % 2)) & 15);
    }
}

/// The inverse of [`read_nibbles`].
pub(crate) fn write_nibbles(codes: &[i32], bytes: &mut [u8]) {
    bytes.fill(0);
    for (i, code) in codes.iter().enumerate() {
        bytes[i / 2] |= (*code as u8 & 15) << (4 * (i % 2));
    }
}

/// Codes as bytes, for packing.
pub(crate) fn bytes_of<const N: usize>(codes: &[u16]) -> [u8; N] {
    std::array::from_fn(|i| codes[i] as u8)
}

/// Codes from unpacked bytes.
pub(crate) fn set_codes(codes: &mut [u16], bytes: &[u8]) {
    for (code, byte) in codes.iter_mut().zip(bytes) {
        *code = u16::from(*byte);
    }
}
