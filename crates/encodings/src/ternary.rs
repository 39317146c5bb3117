//! What the encodings of ternary weights share.

/// The weights as multiples of the largest magnitude, rounded with halves away from zero, plus one.
/// Where the inverse is infinite (below 2^-128) all are zero.
#[inline(always)]
pub(crate) fn ternary_codes<const N: usize>(x: &[f32; N], magnitude: f32) -> [u8; N] {
    let inverse = if magnitude != 0.0 { 1.0 / magnitude } else { 0.0 };
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    x.map(|v| 1 + u8::from(v * inverse >= 0.5) - u8::from(v * inverse <= -0.5))
}
