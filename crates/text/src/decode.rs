//! From tokens to text.

use gravure_base::{Error, Result};

use crate::byte_level;
use crate::pipeline::Pattern;
use crate::tokenizer::{Model, SpecialToken, Tokenizer};
use crate::vocabulary::TokenKind;

/// How texts of tokens become a text.
#[derive(Debug, Clone)]
pub(crate) enum Decoder {
    /// Steps over the list of texts, as `tokenizer.json` spells them out. Without any, texts are
    /// put together with a space between.
    Steps(Vec<Step>),
    /// Each token by its kind, as llama.cpp does. The flag says that the space which was put before
    /// a text is taken away again.
    Pieces { drop_space: bool },
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    ByteLevel,
    Replace { pattern: Pattern, content: String },
    ByteFallback,
    Fuse,
    Strip { what: char, start: usize, stop: usize },
    Metaspace { replacement: char, prefix: bool },
    WordPiece { prefix: String, cleanup: bool },
}

impl Tokenizer {
    /// The text of tokens; control tokens are left out. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// `Request` for an id that is no token, `Unsupported` as for [`Tokenizer::encode`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut texts: Vec<(&str, TokenKind)> = Vec::with_capacity(ids.len());
        for &id in ids {
            let text = self.vocabulary.text(id).zip(self.vocabulary.kind(id));
            texts.push(text.ok_or_else(|| Error::request(format!("{id} is no token; there are {}", self.vocabulary.len())))?);
        }
        let Some(pipeline) = &self.pipeline else {
            return Err(Error::unsupported("the pre-tokenizer of this vocabulary is not known"));
        };
        match &pipeline.decoder {
            Decoder::Steps(steps) => {
                texts.retain(|(_, kind)| !matches!(kind, TokenKind::Control | TokenKind::Unknown));
                decode_steps(steps, texts)
            }
            Decoder::Pieces { drop_space } => Ok(self.decode_pieces(ids, &texts, *drop_space)),
        }
    }

    fn decode_pieces(&self, ids: &[u32], texts: &[(&str, TokenKind)], drop_space: bool) -> String {
        let mut out: Vec<u8> = Vec::new();
        // After a beginning of sequence the first text has its space as well.
        let skipped = ids.first().is_some_and(|&id| self.settings.add_bos == Some(true) && self.special(SpecialToken::Bos) == Some(id));
        for (at, (text, kind)) in texts.iter().enumerate() {
            let start = out.len();
            match kind {
                TokenKind::Control | TokenKind::Unknown | TokenKind::Unused | TokenKind::Undefined => {}
                TokenKind::UserDefined => out.extend_from_slice(text.as_bytes()),
                TokenKind::Byte => out.extend(Self::byte_of(text)),
                TokenKind::Normal if self.model == Model::ByteLevelBpe => spelled_bytes(text, &mut out),
                TokenKind::Normal => out.extend_from_slice(text.replace('▁', " ").as_bytes()),
            }
            if drop_space && at == usize::from(skipped) && out.get(start) == Some(&b' ') {
                out.remove(start);
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Appends the bytes that a text spells; a text that spells none stands for itself.
fn spelled_bytes(text: &str, out: &mut Vec<u8>) {
    let bytes: Option<Vec<u8>> = text.chars().map(byte_level::byte_of).collect();
    match bytes {
        Some(bytes) => out.extend_from_slice(&bytes),
        None => out.extend_from_slice(text.as_bytes()),
    }
}

fn decode_steps(steps: &[Step], texts: Vec<(&str, TokenKind)>) -> Result<String> {
    let mut parts: Vec<String> = texts.into_iter().map(|(text, _)| text.to_owned()).collect();
    if steps.is_empty() {
        return Ok(parts.join(" "));
    }
    for step in steps {
        parts = apply(step, parts)?;
    }
    Ok(parts.concat())
}

fn apply(step: &Step, mut parts: Vec<String>) -> Result<Vec<String>> {
    match step {
        Step::ByteLevel => {
            let mut bytes = Vec::new();
            parts.iter().for_each(|part| spelled_bytes(part, &mut bytes));
            Ok(vec![String::from_utf8_lossy(&bytes).into_owned()])
        }
        Step::Fuse => Ok(vec![parts.concat()]),
        Step::Replace { pattern: Pattern::Text(from), content } => {
            parts.iter_mut().for_each(|part| *part = part.replace(from.as_str(), content));
            Ok(parts)
        }
        Step::Replace { pattern: Pattern::Regex(_), .. } => Err(Error::unsupported("a decoder that replaces by a regex is not known")),
        Step::ByteFallback => {
            let mut out = Vec::with_capacity(parts.len());
            let mut bytes = Vec::new();
            for part in parts {
                match Tokenizer::byte_of(&part) {
                    Some(byte) => bytes.push(byte),
                    None => {
                        flush(&mut bytes, &mut out);
                        out.push(part);
                    }
                }
            }
            flush(&mut bytes, &mut out);
            Ok(out)
        }
        Step::Strip { what, start, stop } => {
            for part in &mut parts {
                let skipped: usize = part.chars().take(*start).take_while(|c| c == what).map(char::len_utf8).sum();
                part.drain(..skipped);
                let skipped: usize = part.chars().rev().take(*stop).take_while(|c| c == what).map(char::len_utf8).sum();
                part.truncate(part.len() - skipped);
            }
            Ok(parts)
        }
        Step::Metaspace { replacement, prefix } => {
            for (at, part) in parts.iter_mut().enumerate() {
                let prefixed = at == 0 && *prefix && part.starts_with(*replacement);
                let body = if prefixed { &part[replacement.len_utf8()..] } else { part.as_str() };
                *part = body.replace(*replacement, " ");
            }
            Ok(parts)
        }
        Step::WordPiece { prefix, cleanup } => {
            for (at, part) in parts.iter_mut().enumerate() {
                if at > 0 {
                    *part = match part.strip_prefix(prefix.as_str()) {
                        Some(rest) => rest.to_owned(),
                        None => format!(" {part}"),
                    };
                }
                if *cleanup {
                    *part = clean(part);
                }
            }
            Ok(parts)
        }
    }
}

/// Bytes that follow each other are UTF-8 together, or each of them is U+FFFD.
fn flush(bytes: &mut Vec<u8>, out: &mut Vec<String>) {
    if bytes.is_empty() {
        return;
    }
    match String::from_utf8(std::mem::take(bytes)) {
        Ok(text) => out.push(text),
        Err(e) => out.extend(e.as_bytes().iter().map(|_| char::REPLACEMENT_CHARACTER.to_string())),
    }
}

/// Undoes the spaces that English tokenization puts.
fn clean(text: &str) -> String {
    const RULES: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES.iter().fold(text.to_owned(), |text, (from, to)| if text.contains(from) { text.replace(from, to) } else { text })
}
