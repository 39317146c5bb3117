//! How the bits of a block of weights are stored: one file for each encoding, all of them listed
//! in [`ENCODINGS`].
//!
//! A file holds the block's layout, its encoder and its decoder, and nothing of any other
//! encoding. Searches that several encodings share lie in their own modules. Whatever is in the
//! registry gets the tests of `tests/suite.rs` without asking for them: golden vectors, stable
//! round trips, error bounds, independence of rows.
//!
//! Bytes equal those of the reference implementation (ggml's `ggml_quantize_chunk` in its baseline
//! build): the same operations on the same `f32` values in the same order, never contracted.
#![forbid(unsafe_code)]

mod registry;

pub use registry::ENCODINGS;
