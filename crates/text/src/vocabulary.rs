//! Tokens in one arena, with an index from text to id.
//!
//! Why not `Vec<String>` and `HashMap<String, u32>`: those take about 150 bytes a token beside the
//! text. Here a token costs its text, 13 bytes of columns and 8 to 16 bytes of index.
//!
//! ```text
//! text   [ t0 | t1 | t2 | ... ]       one string
//! ends   [ e0,  e1,  e2,  ... ]       where each token ends
//! scores [ s0,  s1,  s2,  ... ]       log probability or merge priority
//! kinds  [ k0,  k1,  k2,  ... ]       what it is
//! index  [ id | empty | id | ... ]    open addressing, at most half full
//! ```
//!
//! The hash is keyed at random, so that a hostile vocabulary cannot aim at one slot.

use std::hash::{BuildHasher, RandomState};

use gravure_base::{Error, Result};

const EMPTY: u32 = u32::MAX;

/// What a token is for. The numbers are those of SentencePiece's `ModelProto`, which GGUF shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum TokenKind {
    /// The file does not say.
    Undefined = 0,
    /// A piece of text.
    #[default]
    Normal = 1,
    /// Stands for what the vocabulary cannot spell.
    Unknown = 2,
    /// Steers the model; never text of the user.
    Control = 3,
    /// Matched whole in the text before anything else.
    UserDefined = 4,
    /// A hole in the numbering.
    Unused = 5,
    /// One byte, spelled `<0xAB>`.
    Byte = 6,
}

impl TokenKind {
    /// The kind of this number; `Undefined` for a number that means nothing.
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Undefined,
        }
    }
}

/// Tokens by id. Texts are unique.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    text: String,
    ends: Vec<u32>,
    scores: Vec<f32>,
    kinds: Vec<TokenKind>,
    index: Vec<u32>,
    seed: u64,
}

impl Vocabulary {
    /// An empty vocabulary with room for `tokens` of together `bytes` bytes.
    pub fn with_capacity(tokens: usize, bytes: usize) -> Self {
        let mut new = Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(tokens),
            scores: Vec::with_capacity(tokens),
            kinds: Vec::with_capacity(tokens),
            seed: RandomState::new().hash_one(0),
            ..Self::default()
        };
        new.rebuild_index(tokens);
        new
    }

    /// Adds the next id.
    ///
    /// # Errors
    /// `Input` where the text is already there, `Limit` past four gigabytes of text.
    pub fn push(&mut self, text: &str, score: f32, kind: TokenKind) -> Result<u32> {
        if let Some(other) = self.find(text) {
            return Err(Error::input(format!("tokens {other} and {} have the same text {}", self.len(), shown(text))));
        }
        let end = self.text.len() as u64 + text.len() as u64;
        let id = self.len() as u32;
        let end = u32::try_from(end).map_err(|_| Error::limit("the vocabulary has more than 4 GiB of text"))?;
        if id == EMPTY {
            return Err(Error::limit("the vocabulary has more than 2^32 - 1 tokens"));
        }
        self.text.push_str(text);
        self.ends.push(end);
        self.scores.push(score);
        self.kinds.push(kind);
        if self.len() * 2 > self.index.len() {
            self.rebuild_index(self.len() * 2);
        } else {
            self.enter(id);
        }
        Ok(id)
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of a token, as the vocabulary spells it (byte-level, with `▁`, with `##`).
    pub fn text(&self, id: u32) -> Option<&str> {
        let at = id as usize;
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..end)
    }

    /// The score of a token.
    pub fn score(&self, id: u32) -> Option<f32> {
        self.scores.get(id as usize).copied()
    }

    /// The kind of a token.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// The id of a text.
    pub fn find(&self, text: &str) -> Option<u32> {
        if self.index.is_empty() {
            return None;
        }
        let mask = self.index.len() - 1;
        let mut slot = hash(text.as_bytes(), self.seed) & mask;
        loop {
            match self.index[slot] {
                EMPTY => return None,
                id if self.text(id) == Some(text) => return Some(id),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// All texts in order of id.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len() as u32).map(|id| self.text(id).unwrap_or_default())
    }

    /// All scores in order of id.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// All kinds in order of id.
    pub fn kinds(&self) -> &[TokenKind] {
        &self.kinds
    }

    /// Bytes held on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.kinds.capacity() + 4 * (self.ends.capacity() + self.scores.capacity() + self.index.capacity())
    }

    pub(crate) fn set_score(&mut self, id: u32, score: f32) {
        if let Some(place) = self.scores.get_mut(id as usize) {
            *place = score;
        }
    }

    pub(crate) fn set_kind(&mut self, id: u32, kind: TokenKind) {
        if let Some(place) = self.kinds.get_mut(id as usize) {
            *place = kind;
        }
    }

    fn rebuild_index(&mut self, tokens: usize) {
        self.index = vec![EMPTY; (tokens.max(8) * 2).next_power_of_two()];
        for id in 0..self.len() as u32 {
            self.enter(id);
        }
    }

    fn enter(&mut self, id: u32) {
        let mask = self.index.len() - 1;
        let text = self.text(id).unwrap_or_default();
        let mut slot = hash(text.as_bytes(), self.seed) & mask;
        while self.index[slot] != EMPTY {
            slot = (slot + 1) & mask;
        }
        self.index[slot] = id;
    }
}

/// Multiply and fold, eight bytes at a time, keyed: three times as fast as the standard hash on
/// texts of a few bytes, and a vocabulary with its merge rules is a million look-ups.
fn hash(bytes: &[u8], seed: u64) -> usize {
    let fold = |state: u64, word: u64| {
        let wide = u128::from(state ^ word) * 0x9E37_79B9_7F4A_7C15;
        (wide as u64) ^ (wide >> 64) as u64
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(seed ^ bytes.len() as u64, |state, word| fold(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(fold(state, u64::from_le_bytes(last)), seed) as usize
}

/// A text for a message: quoted, escaped, cut to a length.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{:?}...", &text[..at]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_pushed_and_refuses_it_twice() {
        let mut vocabulary = Vocabulary::with_capacity(2, 0);
        for i in 0..1000u32 {
            assert_eq!(vocabulary.push(&format!("token {i}"), i as f32, TokenKind::Normal).unwrap(), i);
        }
        for i in 0..1000u32 {
            let text = format!("token {i}");
            assert_eq!(vocabulary.find(&text), Some(i));
            assert_eq!(vocabulary.text(i), Some(text.as_str()));
            assert_eq!(vocabulary.score(i), Some(i as f32));
        }
        assert_eq!(vocabulary.find("token"), None);
        assert_eq!(vocabulary.text(1000), None);
        assert!(vocabulary.push("token 7", 0.0, TokenKind::Normal).unwrap_err().to_string().contains("tokens 7 and 1000"));
    }

    #[test]
    fn an_empty_text_is_a_token_like_any_other() {
        let mut vocabulary = Vocabulary::default();
        assert_eq!(vocabulary.find(""), None);
        vocabulary.push("", 0.0, TokenKind::Normal).unwrap();
        assert_eq!(vocabulary.find(""), Some(0));
    }
}
