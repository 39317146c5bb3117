//! Text to tokens and back.
//!
//! Tokenizers of every kind that language models use, read from Hugging Face folders and GGUF
//! vocabularies into one compact value, [`Tokenizer`]. [Chat templates](chat) make texts of messages,
//! [grammars](grammar) say which texts may be generated.
#![forbid(unsafe_code)]

mod added;
mod byte_level;
mod charsmap;
pub mod chat;
mod decode;
mod encode;
mod engine;
pub mod grammar;
pub mod huggingface;
pub mod llama;
mod merges;
mod normalize;
mod pieces;
mod pipeline;
mod pretokenizers;
mod prove;
mod regex;
mod sentencepiece;
mod split;
mod tokenizer;
mod unicode;
mod vocabulary;

pub use encode::{Around, SpecialText};
pub use merges::Merges;
pub use prove::{Proof, prove};
pub use tokenizer::{ChatTemplate, Model, Settings, SpecialToken, Tokenizer};
pub use vocabulary::{TokenKind, Vocabulary};
