//! The values of a four-bit float with two exponent bits and one fraction bit (E2M1), doubled so
//! that they are integers: sign in bit 3.
//!
//! Spec: OCP Microscaling Formats (MX) 1.0, `https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf`.

/// Twice the values, by code.
pub const DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The middles between the magnitudes of neighbouring codes.
const BOUNDARIES: [f32; 7] = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];

/// Beyond this many scales the distances to two codes can round to the same float.
const FAR: f32 = 65_536.0;

/// Code of the multiple of `scale` nearest to each weight, the smaller magnitude of two equally
/// near. `scale` is not negative and its multiples are exact.
#[inline(always)]
pub(crate) fn codes<const N: usize>(x: &[f32; N], scale: f32) -> [u8; N] {
    if !x.iter().all(|v| v.abs() < FAR * scale) {
        return x.map(|v| by_distance(v, scale));
    }
    let boundaries = BOUNDARIES.map(|b| b * scale);
    x.map(|v| {
        let magnitude: u8 = boundaries.iter().map(|&b| u8::from(v.abs() > b)).sum();
        // There is no negative zero.
        magnitude | u8::from(v < -boundaries[0]) << 3
    })
}

/// The definition: the first code with the smallest distance as a float.
fn by_distance(x: f32, scale: f32) -> u8 {
    let distance = |code: u8| (f32::from(DOUBLED[usize::from(code)]) * scale - x).abs();
    (1..16).fold(0, |best, code| if distance(code) < distance(best) { code } else { best })
}

/// Packs two codes in a byte, the first half of the group in the low nibbles.
#[inline(always)]
pub(crate) fn pack(codes: &[u8], out: &mut [u8]) {
    let (low, high) = codes.split_at(out.len());
    for ((byte, low), high) in out.iter_mut().zip(low).zip(high) {
        *byte = low | high << 4;
    }
}

/// Decodes a group.
#[inline(always)]
pub(crate) fn unpack(scale: f32, packed: &[u8], out: &mut [f32]) {
    let (low, high) = out.split_at_mut(packed.len());
    for ((&byte, low), high) in packed.iter().zip(low).zip(high) {
        *low = f32::from(DOUBLED[usize::from(byte & 15)]) * scale;
        *high = f32::from(DOUBLED[usize::from(byte >> 4)]) * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_exact() {
        for scale in [1.0f32, 0.25, 1.375, 0.009_765_625, 2f32.powi(-128), 2f32.powi(100)] {
            for step in -320..=320 {
                let around = step as f32 * 0.05 * scale;
                for at in BOUNDARIES.iter().flat_map(|&b| [b * scale, -b * scale]).chain([around]) {
                    for x in [at.next_down(), at, at.next_up()] {
                        assert_eq!(codes(&[x], scale)[0], by_distance(x, scale), "{x:e} in units of {scale:e}");
                    }
                }
            }
        }
        assert_eq!(codes(&[1.0, -1.0], 0.0), [0, 0]);
        assert_eq!(codes(&[1e20, -1e20, 1.0], 1.0), [by_distance(1e20, 1.0), by_distance(-1e20, 1.0), 1]);
    }
}
