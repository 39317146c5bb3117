//! GGUF's numbers for tensor types, and the encodings that they stand for.
//!
//! The numbers are the `ggml_type` enumeration of
//! <https://github.com/ggml-org/ggml/blob/master/include/ggml.h>. Those that are missing were either
//! never written to files or belong to layouts that llama.cpp has given up.

use gravure_core::{Catalog, Encoding, Error, Result};

/// Type number and encoding id.
const TYPES: &[(u32, &str)] = &[
    (0, "f32"),
    (1, "f16"),
    (2, "q4_0"),
    (3, "q4_1"),
    (6, "q5_0"),
    (7, "q5_1"),
    (8, "q8_0"),
    (10, "q2_k"),
    (11, "q3_k"),
    (12, "q4_k"),
    (13, "q5_k"),
    (14, "q6_k"),
    (16, "iq2_xxs"),
    (17, "iq2_xs"),
    (18, "iq3_xxs"),
    (19, "iq1_s"),
    (20, "iq4_nl"),
    (21, "iq3_s"),
    (22, "iq2_s"),
    (23, "iq4_xs"),
    (24, "i8"),
    (25, "i16"),
    (26, "i32"),
    (27, "i64"),
    (28, "f64"),
    (29, "iq1_m"),
    (30, "bf16"),
    (34, "tq1_0"),
    (35, "tq2_0"),
    (39, "mxfp4"),
    (40, "nvfp4"),
    (41, "q1_0"),
    (42, "q2_0"),
];

/// Numbers whose layout is no longer read by anyone, for a better message.
const RETIRED: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

/// The type number of an encoding, where GGUF has one.
pub(crate) fn type_of(encoding: &dyn Encoding) -> Option<u32> {
    TYPES.iter().find(|(_, id)| *id == encoding.id()).map(|(number, _)| *number)
}

/// The encoding of a type number.
///
/// # Errors
/// `Unsupported` for a number that is unknown here, was retired, or whose encoding this build has not.
pub(crate) fn encoding_of(number: u32, catalog: &Catalog) -> Result<&'static dyn Encoding> {
    if let Some((_, id)) = TYPES.iter().find(|(n, _)| *n == number) {
        return catalog.encoding(id);
    }
    if let Some((_, name)) = RETIRED.iter().find(|(n, _)| *n == number) {
        return Err(Error::unsupported(format!("tensor type {number} ({name}) is no longer in use"))
            .help("make the file again from its source with a current converter"));
    }
    Err(Error::unsupported(format!("tensor type {number} is unknown"))
        .help("the file is newer than this build, or damaged: look for a newer release, or get the file again"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{RETIRED, TYPES};

    #[test]
    fn numbers_and_ids_are_unique() {
        let numbers: BTreeSet<u32> = TYPES.iter().chain(RETIRED).map(|(n, _)| *n).collect();
        let ids: BTreeSet<&str> = TYPES.iter().map(|(_, id)| *id).collect();
        assert_eq!(numbers.len(), TYPES.len() + RETIRED.len());
        assert_eq!(ids.len(), TYPES.len());
        assert_eq!(numbers, (0..=42).collect());
    }
}
