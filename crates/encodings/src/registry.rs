//! The list of all encodings: a `mod` line in `lib.rs`, an entry here, and the encoding works
//! everywhere.

use gravure_core::{Encoding, PlaneEncoding};

/// All encodings, widest first within a family.
pub static ENCODINGS: &[&dyn Encoding] = &[
    // Plain numbers.
    &crate::floats::F64,
    &crate::floats::F32,
    &crate::floats::F16,
    &crate::floats::Bf16,
    &crate::floats::F8_E4M3,
    &crate::floats::F8_E5M2,
    &crate::integers::I64,
    &crate::integers::U64,
    &crate::integers::I32,
    &crate::integers::U32,
    &crate::integers::I16,
    &crate::integers::U16,
    &crate::integers::I8,
    &crate::integers::U8,
    &crate::integers::BOOL,
    // Blocks with one scale.
    &crate::q8_0::Q8_0,
    &crate::q5_1::Q5_1,
    &crate::q5_0::Q5_0,
    &crate::q4_1::Q4_1,
    &crate::q4_0::Q4_0,
    // Blocks with quantized scales.
    &crate::q6_k::Q6K,
    &crate::q5_k::Q5K,
    &crate::q4_k::Q4K,
    &crate::q3_k::Q3K,
    &crate::q2_k::Q2K,
    // Codebooks, ternary values, small floats.
    &crate::iq4_nl::Iq4Nl,
    &crate::iq4_xs::Iq4Xs,
    &crate::iq3_s::Iq3S,
    &crate::iq3_xxs::Iq3Xxs,
    &crate::iq2_s::Iq2S,
    &crate::iq2_xs::Iq2Xs,
    &crate::iq2_xxs::Iq2Xxs,
    &crate::iq1_m::Iq1M,
    &crate::iq1_s::Iq1S,
    &crate::q2_0::Q2_0,
    &crate::q1_0::Q1_0,
    &crate::tq2_0::Tq2_0,
    &crate::tq1_0::Tq1_0,
    &crate::mxfp4::Mxfp4,
    &crate::nvfp4::Nvfp4,
];

/// All encodings that spread a matrix over several tensors.
pub static PLANE_ENCODINGS: &[&dyn PlaneEncoding] = &[
    &crate::affine::MLX_AFFINE,
    &crate::affine::GPTQ,
    &crate::affine::GPTQ_V2,
    &crate::affine::AWQ,
    &crate::affine::COMPRESSED_PACKED,
    &crate::affine::COMPRESSED_INT8,
];
