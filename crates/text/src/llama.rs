//! The view of a vocabulary that a GGUF holds and llama.cpp reads.
//!
//! [`from_source`] turns a Hugging Face or SentencePiece tokenizer into it by the rules of
//! `convert_hf_to_gguf.py`; [`from_parts`] builds it from what a file holds.

use gravure_base::{Error, Result};

use crate::merges::{Merges, Repeated, UnknownParts};
use crate::pipeline::{Engine, Splitter};
use crate::pretokenizers::PreTokenizer;
use crate::tokenizer::{ChatTemplate, Model, Settings, SpecialToken, Tokenizer};
use crate::vocabulary::{TokenKind, Vocabulary};

/// What a file of this view holds.
#[derive(Debug)]
pub struct Parts<'a> {
    /// How it finds the tokens of a word.
    pub model: Model,
    /// Token texts by id; unique.
    pub tokens: &'a [String],
    /// Scores by id, or empty.
    pub scores: &'a [f32],
    /// Kinds by id, or empty where all are normal.
    pub kinds: &'a [TokenKind],
    /// Merge rules: two texts with a space between.
    pub merges: &'a [String],
    /// Roles of tokens.
    pub specials: Vec<(SpecialToken, u32)>,
    /// What else it states.
    pub settings: Settings,
    /// Chat templates, the default one first.
    pub templates: Vec<ChatTemplate>,
}

/// Builds the tokenizer.
///
/// # Errors
/// `Input` where texts repeat, lengths differ, an id is out of range, or a merge rule has no space.
pub fn from_parts(parts: Parts<'_>) -> Result<Tokenizer> {
    let count = parts.tokens.len();
    for (what, len) in [("scores", parts.scores.len()), ("token types", parts.kinds.len())] {
        if len != 0 && len < count {
            return Err(Error::input(format!("there are {count} tokens, but {len} {what}")));
        }
    }
    let bytes = parts.tokens.iter().map(String::len).sum();
    let mut vocabulary = Vocabulary::with_capacity(count, bytes);
    for (id, text) in parts.tokens.iter().enumerate() {
        let score = parts.scores.get(id).copied().unwrap_or(0.0);
        let kind = parts.kinds.get(id).copied().unwrap_or(TokenKind::Normal);
        // llama.cpp gives a token without a text this one.
        let filled = if text.is_empty() { Some(format!("[EMPTY_{id}]")) } else { None };
        vocabulary.push(filled.as_deref().unwrap_or(text), score, kind)?;
    }
    let mut pairs = Vec::with_capacity(parts.merges.len());
    for (rank, line) in parts.merges.iter().enumerate() {
        // A space may stand at the very start, as the first half.
        let first = line.chars().next().map_or(0, char::len_utf8);
        let space = line.get(first..).and_then(|rest| rest.find(' ')).map(|at| at + first);
        let space = space.ok_or_else(|| Error::input(format!("merge rule {rank} has no space between two texts")))?;
        pairs.push((&line[..space], &line[space + 1..]));
    }
    let merges = Merges::new(&vocabulary, pairs.into_iter(), UnknownParts::Keep, Repeated::FirstCounts)?;
    let mut tokenizer = Tokenizer {
        model: parts.model,
        vocabulary,
        merges,
        specials: Vec::new(),
        settings: parts.settings,
        templates: parts.templates,
        pipeline: None,
    };
    for (role, id) in parts.specials {
        tokenizer.set_special(role, id)?;
    }
    Ok(tokenizer)
}

/// The written view of a source tokenizer.
///
/// # Errors
/// `Unsupported` for what llama.cpp cannot do: a pre-tokenizer or a normalizer that it does not
/// have.
pub fn from_source(source: &Tokenizer) -> Result<Tokenizer> {
    let Some(pipeline) = &source.pipeline else { return Ok(source.clone()) };
    let mut settings = source.settings.clone();
    settings.pre = Some(match source.model {
        Model::ByteLevelBpe => {
            let ignore_merges = matches!(pipeline.engine, Engine::Bpe { ignore_merges: true, .. });
            let clean_spaces = settings.clean_spaces == Some(true);
            let known = PreTokenizer::of_splitters(&pipeline.splitters, ignore_merges, clean_spaces)?;
            // The same regexes, but with separators around texts.
            let name = if known.name() == "gpt-2" && settings.add_sep == Some(true) { "roberta-bpe" } else { known.name() };
            name.to_owned()
        }
        // What llama.cpp does with these words does not depend on the name.
        Model::WordPiece => "bert-bge".to_owned(),
        Model::CharacterBpe | Model::ScoredBpe | Model::Unigram => "default".to_owned(),
    });
    if source.model == Model::WordPiece && pipeline.splitters != [Splitter::Bert] {
        return Err(Error::unsupported("llama.cpp splits a WordPiece text as BERT does; this tokenizer does not"));
    }
    let mut vocabulary = Vocabulary::with_capacity(source.vocabulary.len(), source.vocabulary.heap_bytes() / 4);
    let mut spelled = String::new();
    for (id, text) in source.vocabulary.texts().enumerate() {
        let id = id as u32;
        let kind = source.vocabulary.kind(id).unwrap_or_default();
        spelled.clear();
        match kind {
            // Tokens that are cut out of the text are spelled as the text has them.
            TokenKind::UserDefined => spelled.push_str(&text.replace('▁', " ")),
            TokenKind::Control => spelled.push_str(text),
            _ => spelled.push_str(text),
        }
        if source.model == Model::WordPiece && kind != TokenKind::Control {
            // The start of a word is marked instead of its continuation.
            spelled = match spelled.strip_prefix("##") {
                Some(rest) => rest.to_owned(),
                None => format!("▁{spelled}"),
            };
        }
        vocabulary.push(&spelled, source.vocabulary.score(id).unwrap_or(0.0), kind)?;
    }
    let merges = match source.model {
        Model::ByteLevelBpe | Model::CharacterBpe => source.merges.clone(),
        Model::ScoredBpe | Model::Unigram | Model::WordPiece => Merges::default(),
    };
    Ok(Tokenizer {
        model: source.model,
        vocabulary,
        merges,
        specials: source.specials.clone(),
        settings,
        templates: source.templates.clone(),
        pipeline: None,
    })
}
