//! One value for a tokenizer: what it states, and how it turns text into tokens and back.
//!
//! A vocabulary exists in two views. The *source* tokenizer splits and merges as Hugging Face or
//! SentencePiece do; the same vocabulary *written* into a GGUF splits and merges as llama.cpp does,
//! with other regexes, other Unicode tables and another treatment of special tokens. Both views are
//! this type; they differ in the pipeline that the reader built. [`crate::llama::from_source`] goes
//! from the first to the second, and [`crate::prove`] shows that they agree.

use std::sync::Arc;

use gravure_base::{Error, Result};

use crate::merges::Merges;
use crate::pipeline::Pipeline;
use crate::vocabulary::Vocabulary;

/// How a tokenizer finds the tokens of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Model {
    /// Byte-pair encoding by merge rules over bytes spelled as printable characters (GPT-2).
    ByteLevelBpe,
    /// Byte-pair encoding by merge rules over characters, spaces spelled `▁` (Gemma 4).
    CharacterBpe,
    /// Byte-pair encoding by the scores of the tokens, spaces spelled `▁` (SentencePiece, Llama 2).
    ScoredBpe,
    /// The most probable segmentation (SentencePiece unigram, T5).
    Unigram,
    /// Longest match first (BERT).
    WordPiece,
}

impl Model {
    /// A name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByteLevelBpe => "byte-level BPE",
            Self::CharacterBpe => "character BPE",
            Self::ScoredBpe => "SentencePiece BPE",
            Self::Unigram => "SentencePiece unigram",
            Self::WordPiece => "WordPiece",
        }
    }
}

/// A token with a role of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialToken {
    /// Beginning of sequence.
    Bos,
    /// End of sequence.
    Eos,
    /// Unknown text.
    Unk,
    /// Separator.
    Sep,
    /// Padding.
    Pad,
    /// Class of the sequence.
    Cls,
    /// Masked place.
    Mask,
    /// End of turn.
    Eot,
    /// End of message.
    Eom,
    /// Fill in the middle: what comes before.
    FimPrefix,
    /// Fill in the middle: what comes after.
    FimSuffix,
    /// Fill in the middle: what is asked for.
    FimMiddle,
    /// Fill in the middle: padding.
    FimPad,
    /// Fill in the middle: name of the repository.
    FimRepository,
    /// Fill in the middle: separator of files.
    FimSeparator,
}

/// What a tokenizer states beside its tokens. `None` where it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Name of the pre-tokenizer, in the spelling that llama.cpp gave it.
    pub pre: Option<String>,
    /// Whether the beginning-of-sequence token is put before a text.
    pub add_bos: Option<bool>,
    /// Whether the end-of-sequence token is put after a text.
    pub add_eos: Option<bool>,
    /// Whether a separator is put between (and after) texts.
    pub add_sep: Option<bool>,
    /// Whether a space is put before a text.
    pub add_space_prefix: Option<bool>,
    /// Whether runs of spaces become one.
    pub remove_extra_whitespaces: Option<bool>,
    /// Whether text is put in lower case.
    pub lowercase: Option<bool>,
    /// Whether accents are removed.
    pub strip_accents: Option<bool>,
    /// Whether spaces before punctuation are dropped when text is made of tokens.
    pub clean_spaces: Option<bool>,
    /// SentencePiece's compiled normalization rules; empty where there are none.
    pub charsmap: Vec<u8>,
}

/// A Jinja template that turns messages into text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    /// Its name; `None` for the default one.
    pub name: Option<String>,
    /// The Jinja source.
    pub source: String,
}

/// A tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(crate) model: Model,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) merges: Merges,
    pub(crate) specials: Vec<(SpecialToken, u32)>,
    pub(crate) settings: Settings,
    pub(crate) templates: Vec<ChatTemplate>,
    /// How text becomes words; `None` where the source names steps that this build does not know.
    pub(crate) pipeline: Option<Arc<Pipeline>>,
}

impl Tokenizer {
    /// How it finds the tokens of a word.
    pub fn model(&self) -> Model {
        self.model
    }

    /// Its tokens.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Its merge rules; empty where it has none.
    pub fn merges(&self) -> &Merges {
        &self.merges
    }

    /// The merge rules as pairs of texts, in order of rank.
    pub fn merge_texts(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let text = |id| self.merges.text(&self.vocabulary, id).unwrap_or_default();
        self.merges.iter().map(move |(left, right, _)| (text(left), text(right)))
    }

    /// Its special tokens, in the order in which the source stated them.
    pub fn specials(&self) -> &[(SpecialToken, u32)] {
        &self.specials
    }

    /// The token with this role.
    pub fn special(&self, role: SpecialToken) -> Option<u32> {
        self.specials.iter().find(|(r, _)| *r == role).map(|(_, id)| *id)
    }

    /// What it states beside its tokens.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its chat templates, the default one first.
    pub fn chat_templates(&self) -> &[ChatTemplate] {
        &self.templates
    }

    /// Bytes held on the heap, without templates.
    pub fn heap_bytes(&self) -> usize {
        self.vocabulary.heap_bytes() + self.merges.heap_bytes()
    }

    /// Adds a role; the first statement of a role counts.
    pub(crate) fn set_special(&mut self, role: SpecialToken, id: u32) -> Result<()> {
        if id as usize >= self.vocabulary.len() {
            return Err(Error::input(format!("the {role:?} token has the id {id}, but there are only {} tokens", self.vocabulary.len())));
        }
        if self.special(role).is_none() {
            self.specials.push((role, id));
        }
        Ok(())
    }

    /// Whether `text` spells a byte as `<0xAB>`; the byte.
    pub(crate) fn byte_of(text: &str) -> Option<u8> {
        let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
        let digits = hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(hex, 16).ok()).flatten()
    }
}
