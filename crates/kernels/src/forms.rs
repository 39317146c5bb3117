//! The encodings that have integer kernels: one file each, a line here.

pub(crate) mod grouped;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
pub(crate) mod lattice;
mod mxfp4;
mod nvfp4;
mod q1_0;
mod q2_0;
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
mod tq1_0;
mod tq2_0;

use self::lattice::Lattice;
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
    nvfp4::Nvfp4,
    iq3_s::Iq3S,
    iq3_xxs::Iq3Xxs,
    iq2_s::Iq2S,
    iq2_xs::Iq2Xs,
    iq2_xxs::Iq2Xxs,
    iq1_m::Iq1M,
    iq1_s::Iq1S,
    tq1_0::Tq1_0,
    tq2_0::Tq2_0,
    q1_0::Q1_0,
    q2_0::Q2_0,
);

/// Who is shown the lattice of an encoding.
pub(crate) trait LatticeVisitor {
    /// What it makes of it.
    type Output;
    /// Sees it.
    fn visit<F: Lattice>(self) -> Self::Output;
}

macro_rules! lattices {
    ($($form:ty),* $(,)?) => {
        /// Shows `visitor` the lattice of the encoding `id`, where its weights are points of one.
        pub(crate) fn visit_lattice<V: LatticeVisitor>(id: &str, visitor: V) -> Option<V::Output> {
            $(if id == <$form>::ID { return Some(visitor.visit::<$form>()); })*
            let _ = visitor;
            None
        }
    };
}

lattices!(iq3_s::Iq3S, iq3_xxs::Iq3Xxs, iq2_s::Iq2S, iq2_xs::Iq2Xs, iq2_xxs::Iq2Xxs, iq1_m::Iq1M, iq1_s::Iq1S);

#[allow(clippy::needless_range_loop, reason = "see below")]
/// Codes of four bits: `i` in the low half of byte `i`, `i + bytes.len()` in the high half.
#[inline(always)]
fn nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(bytes.len());
    let high = &mut high[..bytes.len()];
    // Numbered: vectors come of it, of zipped iterators single bytes.
    for i in 0..bytes.len() {
        low[i] = bytes[i] & 15;
        high[i] = bytes[i] >> 4;
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

/// Signed levels as unsigned bytes: with `offset` added, which the form's offset takes away again. Bytes below 128
/// are multiplied faster by some processors.
const fn unsigned<const N: usize>(levels: &[i8; N], offset: i32) -> [u8; 16] {
    let mut out = [0; 16];
    let mut i = 0;
    while i < 16 {
        out[i] = (levels[i % N] as i32 + offset) as u8;
        i += 1;
    }
    out
}
