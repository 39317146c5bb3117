//! What the encodings with sixteen uneven levels share: the search for a group's scale.
//!
//! All candidate scales are tried at once, one in each lane of an array: the sums of a candidate
//! must run over the weights one after the other (their order is part of the format), the
//! candidates do not depend on each other. The nearest level is a sum over the boundaries passed,
//! without a branch. Boundaries are exact: the middle of two neighbouring levels is a float, and so
//! is the distance of any weight near it to both.

use crate::codebooks::iq4::LEVELS;

/// Weights in a group.
pub(crate) const GROUP: usize = 32;
/// Candidate scales: the plain one and fifteen around it.
const CANDIDATES: usize = 16;

/// The levels as floats.
pub(crate) static TABLE: [f32; 16] = {
    let mut out = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        out[i] = LEVELS[i] as f32;
        i += 1;
    }
    out
};

/// The middles between neighbouring levels.
const BOUNDARIES: [f32; 15] = {
    let mut out = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        out[i] = (LEVELS[i] as f32 + LEVELS[i + 1] as f32) * 0.5;
        i += 1;
    }
    out
};

/// Code of the level nearest to `value`; the upper one of two that are equally near.
#[inline(always)]
pub(crate) fn code(value: f32) -> u8 {
    // Negated, so that a NaN (zero times an infinite inverse) gets the last code, as elsewhere.
    BOUNDARIES.iter().map(|&b| u8::from(!(value < b))).sum()
}

/// The level nearest to `value`.
#[inline(always)]
fn level(value: f32) -> f32 {
    let mut sum = f32::from(LEVELS[0]);
    for i in 0..15 {
        let step = f32::from(LEVELS[i + 1]) - f32::from(LEVELS[i]);
        sum += if value < BOUNDARIES[i] { 0.0 } else { step };
    }
    sum
}

/// The scale whose multiples of the levels store `x` with the smallest error, each error weighted;
/// zero where there is nothing to store. `extreme` is the weight of largest magnitude.
#[inline(always)]
pub(crate) fn scale(x: &[f32; GROUP], weights: &[f32; GROUP], extreme: f32) -> f32 {
    let lowest = f32::from(LEVELS[0]);
    let inverse: [f32; CANDIDATES] = std::array::from_fn(|c| match c {
        0 => 1.0 / (-extreme / lowest),
        _ => ((c as i32 - 8) as f32 + lowest) / extreme,
    });
    let mut with_x = [0.0f32; CANDIDATES];
    let mut with_level = [0.0f32; CANDIDATES];
    for (&x, &w) in x.iter().zip(weights) {
        for c in 0..CANDIDATES {
            let q = level(inverse[c] * x);
            let wq = w * q;
            with_x[c] += wq * x;
            with_level[c] += wq * q;
        }
    }
    let mut scale = if with_level[0] > 0.0 { with_x[0] / with_level[0] } else { 0.0 };
    let mut best = scale * with_x[0];
    for c in 1..CANDIDATES {
        if with_level[c] > 0.0 && with_x[c] * with_x[c] > best * with_level[c] {
            scale = with_x[c] / with_level[c];
            best = scale * with_x[c];
        }
    }
    scale
}

/// How much each rounding error counts.
#[inline(always)]
pub(crate) fn weights(x: &[f32; GROUP], importance: Option<&[f32; GROUP]>, variance: f32) -> [f32; GROUP] {
    match importance {
        Some(importance) => crate::search::error_weights(x, importance, variance),
        None => x.map(|v| v * v),
    }
}

/// Two codes in a byte: the first half of the group in the low nibbles.
#[inline(always)]
pub(crate) fn pack(codes: &[u8; GROUP], out: &mut [u8; GROUP / 2]) {
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = codes[i] | codes[i + GROUP / 2] << 4;
    }
}

/// Decodes a group.
#[inline(always)]
pub(crate) fn unpack(scale: f32, packed: &[u8; GROUP / 2], out: &mut [f32; GROUP]) {
    for (i, &byte) in packed.iter().enumerate() {
        out[i] = scale * f32::from(LEVELS[usize::from(byte & 15)]);
        out[i + GROUP / 2] = scale * f32::from(LEVELS[usize::from(byte >> 4)]);
    }
}

/// The codes of a packed group.
pub(crate) fn read_codes(packed: &[u8], codes: &mut [u16]) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code = u16::from(packed[i % (GROUP / 2)] >> (4 * (i / (GROUP / 2))) & 15);
    }
}

/// The inverse of [`read_codes`].
pub(crate) fn write_codes(codes: &[u16], packed: &mut [u8]) {
    for (i, byte) in packed[..GROUP / 2].iter_mut().enumerate() {
        *byte = (codes[i] | codes[i + GROUP / 2] << 4) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: halving the interval, then the nearer end, the upper one on a tie.
    fn by_definition(x: f32) -> u8 {
        let level = |i: usize| f32::from(LEVELS[i]);
        if x <= level(0) {
            return 0;
        }
        if x >= level(15) {
            return 15;
        }
        let (mut low, mut high) = (0, 15);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if x < level(middle) { high = middle } else { low = middle }
        }
        (if x - level(high - 1) < level(high) - x { high - 1 } else { high }) as u8
    }

    #[test]
    fn boundaries_are_exact() {
        let mut tried = 0;
        for &b in BOUNDARIES.iter().chain(&LEVELS.map(f32::from)) {
            let mut x = b;
            for _ in 0..1000 {
                x = x.next_down();
            }
            for _ in 0..2000 {
                assert_eq!(code(x), by_definition(x), "{x}");
                assert_eq!(level(x), f32::from(LEVELS[usize::from(code(x))]), "{x}");
                x = x.next_up();
                tried += 1;
            }
        }
        for i in -1400..1400 {
            let x = i as f32 * 0.1;
            assert_eq!(code(x), by_definition(x), "{x}");
            tried += 1;
        }
        assert_eq!(code(f32::NAN), by_definition(f32::NAN));
        assert!(tried > 60_000);
    }

    #[test]
    fn a_multiple_of_the_levels_is_found() {
        let x: [f32; GROUP] = std::array::from_fn(|i| f32::from(LEVELS[i % 16]) * 0.5);
        assert_eq!(scale(&x, &[1.0; GROUP], x[0]), 0.5);
    }
}
