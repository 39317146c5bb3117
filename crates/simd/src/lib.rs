//! Portable vector lanes: code written once, run on whatever the processor has.
//!
//! An operation is a small struct that implements [`Kernel`]; its `run` is generic over a token
//! `S: Simd`. A token is a proof that the processor has an instruction set: only detection can make
//! one ([`Isa::detect`], [`Isa::available`]), so safe code that holds one may use its vectors.
//! [`Isa::vectorize`] enters a function compiled for that instruction set and inlines the kernel
//! into it.
//!
//! ```
//! use gravure_simd::{F32s, Isa, Kernel, Simd};
//!
//! struct SumOfSquares<'a>(&'a [f32]);
//!
//! impl Kernel for SumOfSquares<'_> {
//!     type Output = f32;
//!     #[inline(always)]
//!     fn run<S: Simd>(self, isa: S) -> f32 {
//!         let mut sum = F32s::splat(isa, 0.0);
//!         for chunk in self.0.chunks_exact(S::LANES) {
//!             let x = F32s::load(isa, chunk);
//!             sum = sum + x * x;
//!         }
//!         sum.to_array().as_ref().iter().sum()
//!     }
//! }
//!
//! assert_eq!(Isa::detect().vectorize(SumOfSquares(&[1.0; 16])), 16.0);
//! ```
//!
//! # Laws
//! - **No operation is ever fused or reordered.** `a * b + c` is a multiplication and an addition,
//!   each rounded, on every instruction set: lane `i` of a result has the bits that the scalar
//!   expression would have. Encoders rely on it to write the same bytes everywhere.
//! - Every function on the way from `run` to the operations is `#[inline(always)]`; one that is not
//!   is compiled for the baseline and pays a call for every operation. Closures cannot carry that
//!   attribute: kernels use plain loops.
//! - `unsafe` stays in `arch`: one block per operation, sound because the token exists.
//!
//! | token | lanes | found on |
//! |---|---|---|
//! | [`Amx`](arch::Amx) | 16 | x86-64 with all of the next and AMX: tiles beside the lanes |
//! | [`Avx512`](arch::Avx512) | 16 | x86-64 with AVX-512 F, BW, DQ, VL |
//! | [`Avx2`](arch::Avx2) | 8 | x86-64 with AVX2 and F16C |
//! | [`Neon`](arch::Neon) | 4 | AArch64 |
//! | [`Portable`](arch::Portable) | 8 | everywhere: plain arrays, which the compiler maps to the baseline |

pub mod arch;
mod dispatch;
mod lanes;
pub mod math;
mod token;

pub use dispatch::Isa;
pub use lanes::{F32s, I32s, Mask, Table};
pub use token::{Kernel, MAX_LANES, Simd};
