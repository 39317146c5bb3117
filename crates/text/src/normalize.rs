//! Normalizers: what is done to a text before it is split.

use std::borrow::Cow;

use gravure_base::Result;
use unicode_normalization::UnicodeNormalization;

use crate::charsmap::Charsmap;
use crate::pipeline::{BertNormalizer, Normalizer, Pattern};
use crate::unicode::{self, Class, MARK, OTHER, Table};

/// Applies normalizers in order.
pub(crate) fn normalize<'a>(normalizers: &[Normalizer], text: &'a str) -> Result<Cow<'a, str>> {
    let mut out = Cow::Borrowed(text);
    for normalizer in normalizers {
        if let Some(changed) = apply(normalizer, &out)? {
            out = Cow::Owned(changed);
        }
    }
    Ok(out)
}

/// The changed text; `None` where nothing changes.
fn apply(normalizer: &Normalizer, text: &str) -> Result<Option<String>> {
    Ok(match normalizer {
        Normalizer::Prepend(_) if text.is_empty() => None,
        Normalizer::Prepend(prefix) => Some([prefix, text].concat()),
        Normalizer::Replace { pattern: Pattern::Text(from), .. } if !text.contains(from.as_str()) => None,
        Normalizer::Replace { pattern: Pattern::Text(from), content } => Some(text.replace(from.as_str(), content)),
        Normalizer::Replace { pattern: Pattern::Regex(regex), content } => {
            let mut out = String::with_capacity(text.len());
            let mut done = 0;
            while let Some((start, end)) = regex.find_at(text, done)? {
                out.push_str(&text[done..start]);
                out.push_str(content);
                done = end;
            }
            out.push_str(&text[done..]);
            Some(out)
        }
        Normalizer::Lowercase => Some(text.chars().flat_map(char::to_lowercase).collect()),
        // ASCII is in all four forms.
        Normalizer::Nfc | Normalizer::Nfd | Normalizer::Nfkc | Normalizer::Nfkd if text.is_ascii() => None,
        Normalizer::Nfc => Some(text.nfc().collect()),
        Normalizer::Nfd => Some(text.nfd().collect()),
        Normalizer::Nfkc => Some(text.nfkc().collect()),
        Normalizer::Nfkd => Some(text.nfkd().collect()),
        Normalizer::StripAccents if text.is_ascii() => None,
        Normalizer::StripAccents => Some(text.chars().filter(|&c| unicode::traits(c, Table::Marks) & MARK == 0).collect()),
        Normalizer::Strip { left, right } => {
            let text = if *left { text.trim_start() } else { text };
            Some(if *right { text.trim_end() } else { text }.to_owned())
        }
        Normalizer::Bert(bert) => Some(bert_normalize(*bert, text)),
        Normalizer::BertWords { strip_accents, lowercase } => Some(bert_words(*strip_accents, *lowercase, text)),
        Normalizer::Charsmap(map) => Some(map.normalize(text)),
        Normalizer::SentencePieceSpaces(spaces) => Some(spaces.apply(text)),
    })
}

/// What SentencePiece does to the spaces of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct SentencePieceSpaces {
    /// One space before the text.
    pub(crate) prefix: bool,
    /// One space after the text instead.
    pub(crate) suffix: bool,
    /// Runs become one, and none is left at the ends.
    pub(crate) merge: bool,
    /// Spaces are spelled `▁`.
    pub(crate) escape: bool,
}

impl SentencePieceSpaces {
    fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        let space = if self.escape { '▁' } else { ' ' };
        let body = if self.merge { text.trim_matches(' ') } else { text };
        if body.is_empty() {
            return out;
        }
        if self.prefix && !self.suffix {
            out.push(space);
        }
        let mut before = false;
        for c in body.chars() {
            let is_space = c == ' ';
            if !(is_space && before && self.merge) {
                out.push(if is_space { space } else { c });
            }
            before = is_space;
        }
        if self.prefix && self.suffix {
            out.push(space);
        }
        out
    }
}

fn bert_normalize(bert: BertNormalizer, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let whitespace = c.is_whitespace();
        if bert.clean_text {
            if c == '\0' || c == '\u{fffd}' || is_control(c) {
                continue;
            }
            if whitespace {
                out.push(' ');
                continue;
            }
        }
        if bert.handle_chinese_chars && is_ideograph(c) {
            out.extend([' ', c, ' ']);
        } else {
            out.push(c);
        }
    }
    if bert.strip_accents && !out.is_ascii() {
        out = out.nfd().filter(|&c| unicode::traits(c, Table::Categories) & unicode::bit(Class::Mn) == 0).collect();
    }
    if bert.lowercase {
        out = out.chars().flat_map(char::to_lowercase).collect();
    }
    out
}

fn is_control(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r') && unicode::traits(c, Table::Categories) & OTHER & !unicode::bit(Class::Unassigned) != 0
}

/// The ideographs around which BERT puts spaces. The gap before 2B920 is in the original.
pub(crate) fn is_ideograph(c: char) -> bool {
    matches!(c as u32,
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x2_0000..=0x2_a6df | 0x2_a700..=0x2_b73f | 0x2_b740..=0x2_b81f
        | 0x2_b920..=0x2_ceaf | 0xf900..=0xfaff | 0x2_f800..=0x2_fa1f)
}

/// The words of a text with one space between, as llama.cpp finds them.
fn bert_words(strip_accents: bool, lowercase: bool, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Of a decomposed character only the first counts: the rest are marks, or so it is assumed.
        let c = if strip_accents { c.nfd().next().unwrap_or(c) } else { c };
        let traits = unicode::traits(c, Table::LlamaCpp);
        if traits & unicode::WHITESPACE != 0 {
            out.push(' ');
            continue;
        }
        let control = traits & OTHER & !unicode::bit(Class::Unassigned) != 0;
        if c == '\0' || c == '\u{fffd}' || control || strip_accents && traits & MARK != 0 {
            continue;
        }
        // One character for one character: its simple lower case.
        let folded = if lowercase { c.to_lowercase().next().unwrap_or(c) } else { c };
        let symbol = (c as u32) < 0x7f && traits & unicode::SYMBOL != 0;
        if traits & unicode::PUNCTUATION != 0 || symbol || is_ideograph(c) {
            out.extend([' ', folded, ' ']);
        } else {
            out.push(folded);
        }
    }
    out
}

/// SentencePiece's rules, checked once.
pub(crate) fn charsmap(bytes: &[u8]) -> Result<Normalizer> {
    Ok(Normalizer::Charsmap(Charsmap::new(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bert_cleans_and_folds() {
        let all = BertNormalizer { clean_text: true, handle_chinese_chars: true, strip_accents: true, lowercase: true };
        assert_eq!(bert_normalize(all, "Ça\tVA\u{0}\u{7f} 中x\u{a0}İ"), "ca va  中 x i");
        let cased = BertNormalizer { strip_accents: false, lowercase: false, ..all };
        assert_eq!(bert_normalize(cased, "Ça\u{200b}VA"), "ÇaVA");
    }

    #[test]
    fn spaces_of_sentencepiece() {
        let spaces = SentencePieceSpaces { prefix: true, suffix: false, merge: true, escape: true };
        assert_eq!(spaces.apply("  a  b "), "▁a▁b");
        assert_eq!(spaces.apply("   "), "");
        let plain = SentencePieceSpaces { merge: false, ..spaces };
        assert_eq!(plain.apply(" a  b "), "▁▁a▁▁b▁");
    }
}
