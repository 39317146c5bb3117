//! Tokenizers.
#![forbid(unsafe_code)]

/// A tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {}
