//! Any configuration with any safetensors is a low-rank adapter, whose pairs are read, or a typed error: no panic, no
//! allocation beyond the limits, no hang.
//!
//! An input is two files: two bytes, the length of `adapter_config.json`, lowest byte first; that file; the weights.
#![no_main]

use gravure_core::{Catalog, ErrorKind, Limits};
use libfuzzer_sys::fuzz_target;

static CATALOG: Catalog = Catalog { encodings: gravure_encodings::ENCODINGS, ..Catalog::EMPTY };

fuzz_target!(|bytes: &[u8]| {
    let Some((length, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let Some((config, weights)) = bytes.split_at_checked(usize::from(u16::from_le_bytes(*length))) else { return };
    if let Err(error) = gravure_formats::fuzzing::read_adapter(config, weights, &CATALOG, &Limits::default()) {
        assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
    }
});
