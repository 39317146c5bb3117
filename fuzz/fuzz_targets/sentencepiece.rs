//! Any bytes are a `tokenizer.model` or a typed error; a tokenizer that was read tokenizes text.
#![no_main]

use gravure_core::{ErrorKind, Limits};
use gravure_text::huggingface;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let result = huggingface::from_sentencepiece(bytes, &Limits::default()).and_then(|t| t.encode("Hello, w\u{f6}rld! 12 <s>\n"));
    if let Err(error) = result {
        assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
    }
});
