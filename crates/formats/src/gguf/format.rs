//! The format as the registry sees it.

use std::path::Path;

use gravure_core::{Confidence, Format};

/// The GGUF format.
#[derive(Debug, Clone, Copy)]
pub struct Gguf;

impl Format for Gguf {
    fn id(&self) -> &'static str {
        "gguf"
    }

    fn doc(&self) -> &'static str {
        "GGUF of llama.cpp: metadata, tokenizer and block-quantized tensors in one file or in shards"
    }

    fn extension(&self) -> Option<&'static str> {
        Some("gguf")
    }

    fn probe(&self, path: &Path, head: &[u8]) -> Confidence {
        if head.starts_with(b"GGUF") {
            Confidence::Certain
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
            Confidence::Name
        } else {
            Confidence::No
        }
    }
}
