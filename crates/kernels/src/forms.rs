//! The encodings that have integer kernels: one file each, a line here.

mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

use crate::form::Form;

/// Who is shown the form of an encoding.
pub(crate) trait Visitor {
    /// What it makes of it.
    type Output;
    /// Sees it.
    fn visit<F: Form>(self) -> Self::Output;
}

macro_rules! forms {
    ($($form:ty),* $(,)?) => {
        /// Shows `visitor` the form of the encoding `id`, where it has one.
        pub(crate) fn visit<V: Visitor>(id: &str, visitor: V) -> Option<V::Output> {
            $(if id == <$form>::ID { return Some(visitor.visit::<$form>()); })*
            let _ = visitor;
            None
        }
    };
}

forms!(
    q4_0::Q4_0,
    q4_1::Q4_1,
    q5_0::Q5_0,
    q5_1::Q5_1,
    q8_0::Q8_0,
    q2_k::Q2K,
    q3_k::Q3K,
    q4_k::Q4K,
    q5_k::Q5K,
    q6_k::Q6K,
    iq4_nl::Iq4Nl,
    iq4_xs::Iq4Xs,
    mxfp4::Mxfp4,
);

/// Codes of four bits: `i` in the low half of byte `i`, `i + bytes.len()` in the high half.
#[inline(always)]
fn nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(bytes.len());
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}

/// Bit `i` of the word is put into code `i` at `at`.
#[inline(always)]
fn add_bits(word: u32, at: u32, codes: &mut [u8]) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((word >> i & 1) << at) as u8;
    }
}

/// A little-endian number of 16 bits.
#[inline(always)]
fn short(row: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([row[at], row[at + 1]])
}

/// A little-endian number of 32 bits.
#[inline(always)]
fn word(row: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]])
}

/// Signed levels as unsigned bytes: with 128 added, which the form's offset takes away again.
const fn unsigned(levels: [i8; 16]) -> [u8; 16] {
    let mut out = [0; 16];
    let mut i = 0;
    while i < 16 {
        out[i] = (levels[i] as u8) ^ 0x80;
        i += 1;
    }
    out
}
