//! Grammars that a generated text has to follow: JSON schemas, regular expressions, GBNF, Lark.
//!
//! llguidance computes which tokens may come next. It works on bytes, so a token may end in the middle of
//! a word of the grammar.

mod facts;
mod gbnf;

use std::sync::Arc;

use gravure_base::{Error, Result};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use crate::tokenizer::Tokenizer;

/// Longest token, in bytes, that a constrained text may have: longer ones are runs of spaces and the like.
const LONGEST_TOKEN: usize = 1024;
/// Longest grammar, in bytes.
const LONGEST: u64 = 4 << 20;

/// What a text has to follow.
#[derive(Debug, Clone, PartialEq)]
pub enum GrammarSource {
    /// A JSON value that a schema describes.
    JsonSchema(serde_json::Value),
    /// A whole text that an expression matches, in the syntax of Rust's `regex`.
    Regex(String),
    /// llama.cpp's notation.
    Gbnf(String),
    /// llguidance's notation.
    Lark(String),
}

/// Makes constraints for one tokenizer.
pub struct Grammars {
    factory: ParserFactory,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl Grammars {
    /// For a vocabulary of which a model gives `width` logits, and whose texts end with one of `endings`.
    ///
    /// # Errors
    /// `Limit` for more than 2^24 tokens.
    pub fn new(tokenizer: &Tokenizer, width: usize, endings: &[u32]) -> Result<Self> {
        // One more token stands for the end where the vocabulary has none.
        let virtual_end =
            u32::try_from(width).ok().filter(|w| *w < 1 << 24).ok_or_else(|| Error::limit("too many tokens for a grammar"))?;
        let bytes = |id| Some(tokenizer.token_bytes(id)).filter(|b| b.len() <= LONGEST_TOKEN).unwrap_or_default();
        let mut words: Vec<Vec<u8>> = (0..virtual_end).map(bytes).collect();
        words.push(Vec::new());
        let mut ends: Vec<u32> = endings.iter().copied().filter(|id| *id < virtual_end).collect();
        if ends.is_empty() {
            ends.push(virtual_end);
        }
        let info = TokRxInfo::new(virtual_end + 1, ends.first().copied().unwrap_or(virtual_end));
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(|e| Error::bug(format!("no grammars: {e}")))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        // Grammars without words take an item for each character of each token that they try.
        factory.limits_mut().step_max_items = 4_000_000;
        Ok(Self { factory })
    }

    /// A constraint at the beginning of a text.
    ///
    /// # Errors
    /// `Request` for what is no grammar, or one that is not supported, with what is wrong; `Limit` for one
    /// that is too large.
    pub fn compile(&self, source: &GrammarSource) -> Result<Grammar> {
        let check = |text: &str| gravure_base::Limits::check(text.len() as u64, LONGEST, "bytes of a grammar");
        let grammar = match source {
            GrammarSource::JsonSchema(schema) => TopLevelGrammar::from_json_schema(with_bounded_space(schema)),
            GrammarSource::Regex(regex) => {
                check(regex)?;
                TopLevelGrammar::from_regex(regex)
            }
            GrammarSource::Gbnf(text) => {
                check(text)?;
                TopLevelGrammar::from_lark(gbnf::to_lark(text)?)
            }
            GrammarSource::Lark(text) => {
                check(text)?;
                TopLevelGrammar::from_lark(text.clone())
            }
        };
        let mut matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(Error::request(format!("the grammar cannot be used: {}", error.trim_end()))),
            None => {
                // What can never match says so now, not at the first token.
                matcher.compute_mask_or_eos().map_err(|e| Error::request(format!("the grammar cannot be used: {e}")))?;
                Ok(Grammar { matcher })
            }
        }
    }
}

/// A schema between whose signs a space or a line's beginning may stand: a small model that may write
/// spaces without end does.
fn with_bounded_space(schema: &serde_json::Value) -> serde_json::Value {
    let mut schema = schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.entry("x-guidance").or_insert_with(|| serde_json::json!({"whitespace_pattern": r" |\n[ \t]{0,40}"}));
    }
    schema
}

/// A constraint in the middle of a text.
pub struct Grammar {
    matcher: Matcher,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

impl Grammar {
    /// Sets the logits of tokens that may not come next to minus infinity.
    ///
    /// # Errors
    /// `Limit` where the grammar takes too much to compute.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|e| Error::limit(format!("the grammar takes too much to compute: {e}")))?;
        for (token, logit) in logits.iter_mut().enumerate() {
            if token >= mask.len() || !mask.is_allowed(token as u32) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// Takes in a token of the text.
    ///
    /// # Errors
    /// `Request` for a token that may not come.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        self.matcher.consume_token(token).map_err(|e| Error::request(format!("the grammar does not allow token {token}: {e}")))
    }

    /// Whether the text is complete and nothing may follow.
    pub fn finished(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Whether the text may end here.
    pub fn may_end(&mut self) -> bool {
        self.matcher.is_stopped() || self.matcher.is_accepting().unwrap_or(false)
    }
}
