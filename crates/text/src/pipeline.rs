//! The steps between a text and its words: normalizers and pre-tokenizers, as data.
//!
//! ```text
//! text -> added tokens cut out -> normalizers -> splitters -> model (merges, scores, pieces) -> ids
//! ```

use crate::added::{Leftmost, LongestFirst};
use crate::charsmap::Charsmap;
use crate::decode::Decoder;
use crate::engine::Engine;
use crate::normalize::SentencePieceSpaces;
use crate::regex::Regex;

/// What a step looks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pattern {
    /// This very text.
    Text(String),
    /// A regular expression, in the dialect of Oniguruma.
    Regex(Regex),
}

/// What becomes of the text that a splitter's pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// When a [`Splitter::Metaspace`] puts its mark before a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrependScheme {
    Always,
    First,
    Never,
}

/// BERT's normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct BertNormalizer {
    /// Drops control characters and turns each whitespace into a space.
    pub(crate) clean_text: bool,
    /// Puts spaces around CJK ideographs.
    pub(crate) handle_chinese_chars: bool,
    /// Decomposes and drops the marks.
    pub(crate) strip_accents: bool,
    /// Puts in lower case.
    pub(crate) lowercase: bool,
}

/// A change of the text before it is split.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Normalizer {
    Prepend(String),
    Replace {
        pattern: Pattern,
        content: String,
    },
    Lowercase,
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    StripAccents,
    Strip {
        left: bool,
        right: bool,
    },
    Bert(BertNormalizer),
    /// SentencePiece's compiled rules.
    Charsmap(Charsmap),
    /// BERT's normalization as llama.cpp does it, down to the words.
    BertWords {
        strip_accents: bool,
        lowercase: bool,
    },
    SentencePieceSpaces(SentencePieceSpaces),
}

/// A way of splitting text into words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Splitter {
    Split {
        pattern: Pattern,
        behavior: Behavior,
        invert: bool,
    },
    ByteLevel {
        add_prefix_space: bool,
        regex: Option<Regex>,
    },
    Metaspace {
        replacement: char,
        scheme: PrependScheme,
        split: bool,
    },
    Digits {
        individual: bool,
    },
    Punctuation(Behavior),
    /// Runs of letters and digits, runs of what is neither; the regex says so.
    Whitespace(Regex),
    WhitespaceSplit,
    Bert,
    CharDelimiter(char),
}

/// A token that is cut out of the text before it is split.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
    pub(crate) special: bool,
    /// Only where no letter or digit touches it.
    pub(crate) single_word: bool,
    /// Takes the whitespace on its left with it.
    pub(crate) lstrip: bool,
    /// Takes the whitespace on its right with it.
    pub(crate) rstrip: bool,
    /// Is looked for in the normalized text, itself normalized.
    pub(crate) normalized: bool,
}

/// How added tokens are cut out of a text.
#[derive(Debug, Clone)]
pub(crate) enum Cut {
    /// Leftmost first; once in the text as it is, once in the normalized text.
    Leftmost { raw: Leftmost, normalized: Leftmost },
    /// The longest token everywhere, then the next.
    LongestFirst(LongestFirst),
}

/// All steps of one view.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) cut: Cut,
    /// A space is put before a text that starts, or follows a token that was cut out.
    pub(crate) space_prefix: bool,
    pub(crate) normalizers: Vec<Normalizer>,
    pub(crate) splitters: Vec<Splitter>,
    pub(crate) engine: Engine,
    /// Tokens before a text.
    pub(crate) prefix: Vec<u32>,
    /// Tokens after a text.
    pub(crate) suffix: Vec<u32>,
    pub(crate) decoder: Decoder,
}
