//! Any bytes as the pickle of an otherwise honest archive, whose checksum is right: what the target
//! `pytorch` rarely gets past.
#![no_main]

use gravure_core::{Catalog, ErrorKind, Limits};
use gravure_testing::hostile::zip::{Entry, Zip};
use libfuzzer_sys::fuzz_target;

static CATALOG: Catalog =
    Catalog { encodings: gravure_encodings::ENCODINGS, plane_encodings: gravure_encodings::PLANE_ENCODINGS, ..Catalog::EMPTY };

fuzz_target!(|bytes: &[u8]| {
    let entries =
        vec![Entry::new("m/data.pkl", bytes.to_vec()), Entry::new("m/data/0", vec![0; 64]), Entry::new("m/version", b"3\n".to_vec())];
    let archive = Zip::new(entries).build();
    let _ = gravure_formats::fuzzing::scan_pickle(&archive, &Limits::default());
    if let Err(error) = gravure_formats::fuzzing::read_pytorch(&archive, &CATALOG, &Limits::default()) {
        assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
    }
});
