//! Half-precision rows to `f32`, at the speed of memory: the first step of every encoding of a
//! checkpoint.

use crate::dispatch::Isa;
use crate::lanes::I32s;
use crate::token::{Kernel, MAX_LANES, Simd};

/// Widens little-endian half-precision values. Panics where `source` has not two bytes for each
/// value of `out`.
pub fn widen_f16(isa: Isa, source: &[u8], out: &mut [f32]) {
    assert_eq!(source.len(), out.len() * 2, "two bytes for each value");
    isa.vectorize(WidenF16 { source, out });
}

/// Widens little-endian bfloat16 values. Panics where `source` has not two bytes for each value of
/// `out`.
pub fn widen_bf16(isa: Isa, source: &[u8], out: &mut [f32]) {
    assert_eq!(source.len(), out.len() * 2, "two bytes for each value");
    isa.vectorize(WidenBf16 { source, out });
}

struct WidenF16<'a> {
    source: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for WidenF16<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) {
        let mut chunks = self.out.chunks_exact_mut(S::LANES);
        let mut sources = self.source.chunks_exact(2 * S::LANES);
        for (values, bytes) in (&mut chunks).zip(&mut sources) {
            let mut bits = [0i32; MAX_LANES];
            for (bits, pair) in bits.iter_mut().zip(bytes.chunks_exact(2)) {
                *bits = i32::from(u16::from_le_bytes([pair[0], pair[1]]));
            }
            I32s::load(isa, &bits).as_f16_bits().store(values);
        }
        for (value, pair) in chunks.into_remainder().iter_mut().zip(sources.remainder().chunks_exact(2)) {
            *value = half::f16::from_le_bytes([pair[0], pair[1]]).to_f32();
        }
    }
}

struct WidenBf16<'a> {
    source: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for WidenBf16<'_> {
    type Output = ();

    // A shift: the compiler vectorizes the plain loop for whatever it is inlined into.
    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        for (value, pair) in self.out.iter_mut().zip(self.source.chunks_exact(2)) {
            *value = f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_on_every_isa() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for isa in Isa::available() {
            // An odd length, so that the tail is walked too.
            let count = 65535;
            let mut values = vec![0.0; count];
            widen_f16(isa, &bytes[..2 * count], &mut values);
            for (bits, value) in values.iter().enumerate() {
                let expected = half::f16::from_bits(bits as u16).to_f32();
                let same = expected.to_bits() == value.to_bits() || expected.is_nan() && value.is_nan();
                assert!(same, "{}: {bits:#06x} is {expected}, not {value}", isa.name());
            }
            widen_bf16(isa, &bytes[..2 * count], &mut values);
            for (bits, value) in values.iter().enumerate() {
                assert_eq!(value.to_bits(), (bits as u32) << 16, "{}", isa.name());
            }
        }
    }
}
