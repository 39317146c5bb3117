//! The list of all encodings: a `mod` line in `lib.rs`, an entry here, and the encoding works
//! everywhere.

use gravure_core::Encoding;

/// All encodings, widest first within a family.
pub static ENCODINGS: &[&dyn Encoding] = &[
    // Plain numbers.

    // Blocks with one scale.

    // Blocks with quantized scales.

    // Codebooks, ternary values, small floats.
];
