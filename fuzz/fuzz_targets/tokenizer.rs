//! Any bytes are a `tokenizer.json` or a typed error; a tokenizer that was read tokenizes text, in both of
//! its views, without a panic or a hang.
#![no_main]

use gravure_core::{Error, ErrorKind, Limits};
use gravure_text::{Tokenizer, huggingface, llama};
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "Hello, w\u{f6}rld! 1234 <s> \u{4f60}\u{597d}\n\n  don't ab\u{301}";

fn check(error: &Error) {
    assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
}

fn use_it(tokenizer: &Tokenizer) {
    match tokenizer.encode(TEXT) {
        Ok(ids) => {
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary().len()));
            let _ = tokenizer.decode(&ids).map_err(|e| check(&e));
        }
        Err(error) => check(&error),
    }
}

fuzz_target!(|bytes: &[u8]| {
    match huggingface::from_json(bytes, &Limits::default()) {
        Err(error) => check(&error),
        Ok(tokenizer) => {
            use_it(&tokenizer);
            match llama::from_source(&tokenizer) {
                Ok(written) => use_it(&written),
                Err(error) => check(&error),
            }
        }
    }
});
