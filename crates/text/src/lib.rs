//! Text to tokens and back.
//!
//! Tokenizers of every kind that language models use, read from Hugging Face folders and GGUF
//! vocabularies into one compact value, [`Tokenizer`].
#![forbid(unsafe_code)]

pub mod huggingface;
mod json;
pub mod llama;
mod merges;
mod pipeline;
mod pretokenizers;
mod tokenizer;
mod vocabulary;

pub use merges::Merges;
pub use tokenizer::{ChatTemplate, Model, Settings, SpecialToken, Tokenizer};
pub use vocabulary::{TokenKind, Vocabulary};
