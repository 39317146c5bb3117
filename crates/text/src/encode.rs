//! From text to tokens.

use std::borrow::Cow;

use gravure_base::{Error, Result};

use crate::added::Part;
use crate::normalize::normalize;
use crate::pipeline::{Cut, Pipeline};
use crate::split::split;
use crate::tokenizer::Tokenizer;

/// What is put around a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Around {
    /// Nothing.
    #[default]
    Nothing,
    /// The beginning and end of sequence, as the tokenizer does by itself.
    Specials,
}

/// What the spelling of a special token in a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialText {
    /// The token.
    #[default]
    Token,
    /// Text like any other. A source tokenizer has no such view and always reads the token.
    Text,
}

impl Tokenizer {
    /// The tokens of a text, special tokens in it among them, with nothing put around it.
    ///
    /// # Errors
    /// `Unsupported` where the vocabulary names steps that this build does not know; `Limit` where a
    /// regex of the tokenizer takes too many steps; `Input` where the vocabulary cannot spell the
    /// text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_with(text, Around::Nothing, SpecialText::Token)
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with(&self, text: &str, around: Around, special: SpecialText) -> Result<Vec<u32>> {
        let Some(pipeline) = &self.pipeline else {
            let name = self.settings.pre.as_deref().unwrap_or_default();
            return Err(Error::unsupported(format!("the pre-tokenizer {name:?} is not known")));
        };
        let mut out = Vec::with_capacity(text.len() / 3 + 2);
        if around == Around::Specials {
            out.extend_from_slice(&pipeline.prefix);
        }
        self.encode_text(pipeline, text, special, &mut out)?;
        if around == Around::Specials {
            out.extend_from_slice(&pipeline.suffix);
        }
        Ok(out)
    }

    fn encode_text(&self, pipeline: &Pipeline, text: &str, special: SpecialText, out: &mut Vec<u32>) -> Result<()> {
        let mut parts = Vec::new();
        match &pipeline.cut {
            Cut::Leftmost { raw, normalized } => {
                raw.cut(text, &mut parts);
                let mut first = true;
                for part in parts {
                    let Part::Text(text) = part else {
                        self.push(part, out);
                        first = false;
                        continue;
                    };
                    let text = normalize(&pipeline.normalizers, text)?;
                    let mut inner = Vec::new();
                    normalized.cut(&text, &mut inner);
                    for part in &inner {
                        match part {
                            Part::Text(text) => self.encode_words(pipeline, (*text).to_owned(), first, out)?,
                            Part::Token(_) => self.push(*part, out),
                        }
                        first = false;
                    }
                }
            }
            Cut::LongestFirst(tokens) => {
                tokens.cut(text, special == SpecialText::Token, &mut parts);
                let mut after_token = true;
                for part in parts {
                    let Part::Text(text) = part else {
                        self.push(part, out);
                        after_token = true;
                        continue;
                    };
                    let text: Cow<'_, str> = if pipeline.space_prefix && after_token { [" ", text].concat().into() } else { text.into() };
                    let text = normalize(&pipeline.normalizers, &text)?.into_owned();
                    self.encode_words(pipeline, text, after_token, out)?;
                    after_token = false;
                }
            }
        }
        Ok(())
    }

    fn push(&self, part: Part<'_>, out: &mut Vec<u32>) {
        if let Part::Token(id) = part {
            out.push(id);
        }
    }

    fn encode_words(&self, pipeline: &Pipeline, text: String, first: bool, out: &mut Vec<u32>) -> Result<()> {
        let words = split(&pipeline.splitters, text, first)?;
        words.iter().try_for_each(|word| pipeline.engine.encode(&self.vocabulary, &self.merges, word, words.spelled, out))
    }
}
