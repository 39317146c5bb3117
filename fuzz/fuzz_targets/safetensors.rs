//! Any bytes are a safetensors file or a typed error: no panic, no allocation beyond the limits, no hang.
#![no_main]

use gravure_core::{Catalog, ErrorKind, Limits};
use libfuzzer_sys::fuzz_target;

static CATALOG: Catalog =
    Catalog { encodings: gravure_encodings::ENCODINGS, plane_encodings: gravure_encodings::PLANE_ENCODINGS, ..Catalog::EMPTY };

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = gravure_formats::fuzzing::read_safetensors(bytes, &CATALOG, &Limits::default()) {
        assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
    }
});
