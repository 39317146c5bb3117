//! The steps between a text and its words: normalizers and pre-tokenizers, as data.
//!
//! ```text
//! text -> added tokens cut out -> normalizers -> splitters -> model (merges, scores, pieces) -> ids
//! ```

/// What a step looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// This very text.
    Text(String),
    /// A regular expression, in the dialect of Oniguruma.
    Regex(String),
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    Charsmap(Vec<u8>),
}

/// A way of splitting text into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Splitter {
    Split { pattern: Pattern, behavior: Behavior, invert: bool },
    ByteLevel { add_prefix_space: bool, use_regex: bool },
    Metaspace { replacement: char, scheme: PrependScheme, split: bool },
    Digits { individual: bool },
    Punctuation(Behavior),
    Whitespace,
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

/// How the tokens of a word are found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Engine {
    /// Merge rules.
    Bpe { byte_level: bool, ignore_merges: bool, unknown: Option<u32>, fuse_unknown: bool, byte_fallback: bool },
    /// The best-scored neighbours become one, as long as their text is a token.
    Scored,
    /// The most probable segmentation.
    Unigram { unknown: Option<u32>, byte_fallback: bool },
    /// The longest piece first.
    WordPiece { unknown: u32, prefix: String, longest_word: usize },
}

/// All steps of the source's view.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) added: Vec<AddedToken>,
    pub(crate) normalizers: Vec<Normalizer>,
    pub(crate) splitters: Vec<Splitter>,
    pub(crate) engine: Engine,
    pub(crate) prefix: Vec<u32>,
    pub(crate) suffix: Vec<u32>,
}
