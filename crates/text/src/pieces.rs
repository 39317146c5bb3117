//! The bytes of single tokens, and the tokens that end a text: what a generator needs, which sees one
//! token after the other in the middle of a text.

use crate::byte_level;
use crate::decode::{Decoder, Step};
use crate::pipeline::Pattern;
use crate::tokenizer::{Model, SpecialToken, Tokenizer};
use crate::vocabulary::TokenKind;

/// Spellings of tokens that end a turn or a text in models at large. Few files say of themselves which
/// tokens these are, so every runtime knows them by their spelling.
const ENDINGS: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<turn|>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

impl Tokenizer {
    /// The bytes that a token stands for in the middle of a text: a space before it belongs to it. Empty
    /// for control tokens, and for an id that is no token.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some((text, kind)) = self.vocabulary.text(id).zip(self.vocabulary.kind(id)) else { return Vec::new() };
        match self.pipeline.as_ref().map(|p| &p.decoder) {
            Some(Decoder::Steps(steps)) => match kind {
                TokenKind::Control | TokenKind::Unknown => Vec::new(),
                _ => self.bytes_by_steps(steps, text),
            },
            Some(Decoder::Pieces { .. }) | None => match kind {
                TokenKind::Control | TokenKind::Unknown | TokenKind::Unused | TokenKind::Undefined => Vec::new(),
                TokenKind::UserDefined => text.as_bytes().to_vec(),
                TokenKind::Byte => Self::byte_of(text).into_iter().collect(),
                TokenKind::Normal if self.model == Model::ByteLevelBpe => spelled(text),
                TokenKind::Normal => text.replace('▁', " ").into_bytes(),
            },
        }
    }

    fn bytes_by_steps(&self, steps: &[Step], text: &str) -> Vec<u8> {
        if steps.is_empty() {
            return format!(" {text}").into_bytes();
        }
        let mut text = text.to_owned();
        for step in steps {
            match step {
                Step::ByteLevel => return spelled(&text),
                Step::ByteFallback => {
                    if let Some(byte) = Self::byte_of(&text) {
                        return vec![byte];
                    }
                }
                Step::Replace { pattern: Pattern::Text(from), content } => text = text.replace(from.as_str(), content),
                Step::Metaspace { replacement, .. } => text = text.replace(*replacement, " "),
                Step::WordPiece { prefix, .. } => match text.strip_prefix(prefix.as_str()) {
                    Some(rest) => text = rest.to_owned(),
                    None => text.insert(0, ' '),
                },
                // What is taken from a text's ends is not taken from its middle.
                Step::Fuse | Step::Strip { .. } | Step::Replace { pattern: Pattern::Regex(_), .. } => {}
            }
        }
        text.into_bytes()
    }

    /// The tokens that are put before a text that is to be continued.
    pub fn beginning(&self) -> &[u32] {
        self.pipeline.as_ref().map_or(&[], |p| &p.prefix)
    }

    /// The tokens after which nothing more is to be generated, by role and by spelling, in order of id.
    pub fn endings(&self) -> Vec<u32> {
        let roles = [SpecialToken::Eos, SpecialToken::Eot, SpecialToken::Eom];
        let by_role = roles.into_iter().filter_map(|role| self.special(role));
        // A spelling ends a text only as a token of its own kind, not where a vocabulary has it as a word.
        let special = |id: &u32| self.vocabulary.kind(*id).is_some_and(|k| matches!(k, TokenKind::Control | TokenKind::UserDefined));
        let by_text = ENDINGS.iter().filter_map(|text| self.vocabulary.find(text)).filter(special);
        let mut all: Vec<u32> = by_role.chain(by_text).collect();
        // A model that ends messages by calls and returns uses the other for parts of a message.
        let ends_messages = ["<|return|>", "<|call|>"].iter().all(|t| self.vocabulary.find(t).is_some());
        if let Some(part) = self.vocabulary.find("<|end|>").filter(|_| ends_messages) {
            all.retain(|id| *id != part);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The bytes that a byte-level text spells; a text that spells none stands for itself.
fn spelled(text: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = text.chars().map(byte_level::byte_of).collect();
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}
