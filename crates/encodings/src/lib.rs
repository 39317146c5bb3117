//! How the bits of a block of weights are stored: one file for each encoding, all of them listed
//! in [`ENCODINGS`].
//!
//! A file holds the block's layout, its encoder and its decoder, and nothing of any other
//! encoding. Searches that several encodings share lie in their own modules. Whatever is in the
//! registry gets the tests of `tests/suite` without asking for them: golden vectors, stable
//! round trips, error bounds, independence of rows.
//!
//! Bytes equal those of the reference implementation (ggml's `ggml_quantize_chunk` in its baseline
//! build): the same operations on the same `f32` values in the same order, never contracted.
#![forbid(unsafe_code)]
#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must go where the reference sends it")]
#![allow(clippy::needless_range_loop, reason = "loops over several arrays in step")]

mod affine;
mod blocks;
mod codebooks;
mod floats;
mod grid;
mod integers;
mod iq1_m;
mod iq1_s;
mod iq1_search;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_levels;
mod iq4_nl;
mod iq4_xs;
mod iq_blocks;
mod iq_lattice;
mod iq_search;
mod lanes;
mod mxfp4;
mod numbers;
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
mod registry;
mod search;
mod small_blocks;
mod super_blocks;
mod ternary;
mod tq1_0;
mod tq2_0;
mod vectorized;

pub use registry::{ENCODINGS, PLANE_ENCODINGS};

/// How codes and scales lie in blocks, for kernels that take blocks apart without decoding them.
pub mod parts {
    pub use crate::codebooks::fp4::DOUBLED as FP4_DOUBLED;
    pub use crate::codebooks::iq1::POINTS as IQ1_POINTS;
    pub use crate::codebooks::iq2::VALUES as IQ2_VALUES;
    pub use crate::codebooks::iq2_s::POINTS as IQ2_S_POINTS;
    pub use crate::codebooks::iq2_xs::POINTS as IQ2_XS_POINTS;
    pub use crate::codebooks::iq2_xxs::POINTS as IQ2_XXS_POINTS;
    pub use crate::codebooks::iq3_s::POINTS as IQ3_S_POINTS;
    pub use crate::codebooks::iq3_xxs::POINTS as IQ3_XXS_POINTS;
    pub use crate::codebooks::iq4::LEVELS as IQ4_LEVELS;
    pub use crate::iq_search::eight_signs;
    pub use crate::iq3_xxs::VALUES as IQ3_XXS_VALUES;
    pub use crate::mxfp4::half_of_power;
    pub use crate::q3_k::unpack_scales as unpack_three_bit_scales;
    pub use crate::super_blocks::{unpack_six_bits, unpack_two_bits};
}
