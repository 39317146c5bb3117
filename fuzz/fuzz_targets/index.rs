//! Any bytes are an index of shards or a typed error: no panic, no allocation beyond the limits, no hang.
#![no_main]

use gravure_core::{ErrorKind, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = gravure_formats::fuzzing::read_index(bytes, &Limits::default()) {
        assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
    }
});
