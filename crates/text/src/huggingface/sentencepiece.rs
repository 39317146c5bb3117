//! `tokenizer.model`: scores and kinds for a `tokenizer.json`, or the whole tokenizer where it is
//! alone.

use std::collections::HashSet;
use std::sync::Arc;

use gravure_base::{Error, Limits, Result};
use serde_json::Value;

use super::Side;
use super::build::{LARGEST_PADDING, looks_special, vocabulary_size};
use crate::added::Leftmost;
use crate::charsmap::Charsmap;
use crate::decode::{Decoder, Step};
use crate::engine::{self, Engine, Scored, Unigram};
use crate::merges::Merges;
use crate::normalize::SentencePieceSpaces;
use crate::pipeline::{AddedToken, Cut, Normalizer, Pattern, Pipeline};
use crate::sentencepiece::{Algorithm, Message};
use crate::tokenizer::{Model, Settings, SpecialToken, Tokenizer};
use crate::vocabulary::{TokenKind, Vocabulary, shown};

/// The score of a token that was added, and of a hole in the numbering.
const ADDED_SCORE: f32 = -1000.0;
const HOLE_SCORE: f32 = -10000.0;

/// A token that the JSON files put over a piece.
struct Overlay {
    id: u32,
    text: String,
    kind: TokenKind,
}

/// Tokens of `added_tokens.json` and of `added_tokens_decoder` in `tokenizer_config.json`.
fn overlays(side: &Side) -> Result<Vec<Overlay>> {
    let wrong = |file: &str| Error::input(format!("an added token of {file} has no id or no content"));
    let mut out = Vec::new();
    for (text, id) in side.added_tokens.iter().flatten() {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong("added_tokens.json"))?;
        out.push(Overlay { id, text: text.clone(), kind: TokenKind::UserDefined });
    }
    let decoder = side.tokenizer_config.as_ref().and_then(|config| config.get("added_tokens_decoder")).and_then(Value::as_object);
    for (id, token) in decoder.into_iter().flatten() {
        let content = token.get("content").and_then(Value::as_str);
        let (id, text) = id.parse().ok().zip(content).ok_or_else(|| wrong("tokenizer_config.json"))?;
        let special = token.get("special").and_then(Value::as_bool).unwrap_or(false) || looks_special(text);
        let kind = if special { TokenKind::Control } else { TokenKind::UserDefined };
        out.push(Overlay { id, text: text.to_owned(), kind });
    }
    Ok(out)
}

/// Takes scores and kinds from the pieces, for a tokenizer that was read from `tokenizer.json`.
pub(crate) fn add_scores(tokenizer: &mut Tokenizer, bytes: &[u8], side: &Side, limits: &Limits) -> Result<()> {
    let message = Message::parse(bytes, limits)?;
    let overlays = overlays(side)?;
    let vocabulary = &mut tokenizer.vocabulary;
    let overlaid: HashSet<u32> = overlays.iter().map(|overlay| overlay.id).collect();
    for (id, piece) in message.pieces.iter().enumerate().take(vocabulary.len()) {
        let id = id as u32;
        if overlaid.contains(&id) {
            continue;
        }
        let text = vocabulary.text(id).unwrap_or_default();
        if text != piece.text {
            return Err(Error::input(format!(
                "token {id} is {} in tokenizer.model and {} in tokenizer.json",
                shown(piece.text),
                shown(text)
            )));
        }
        vocabulary.set_score(id, piece.score);
        vocabulary.set_kind(id, piece.kind);
    }
    for id in message.pieces.len()..vocabulary.len() {
        let hole = vocabulary.kinds()[id] == TokenKind::Unused;
        vocabulary.set_score(id as u32, if hole { HOLE_SCORE } else { ADDED_SCORE });
    }
    for overlay in overlays {
        vocabulary.set_score(overlay.id, ADDED_SCORE);
        vocabulary.set_kind(overlay.id, overlay.kind);
    }
    Ok(())
}

/// The tokenizer of a folder that has nothing but the pieces.
pub(crate) fn from_pieces(bytes: &[u8], side: &Side, limits: &Limits) -> Result<Tokenizer> {
    let message = Message::parse(bytes, limits)?;
    let vocabulary = vocabulary(&message, overlays(side)?, side, limits)?;
    let model = match message.algorithm {
        Algorithm::Bpe => Model::ScoredBpe,
        Algorithm::Unigram => Model::Unigram,
    };
    let id = |id: i32| u32::try_from(id).ok().filter(|&id| (id as usize) < vocabulary.len());
    let fallback = if message.byte_fallback { engine::byte_tokens(&vocabulary) } else { None };
    let engine = match message.algorithm {
        Algorithm::Bpe => Engine::Scored(Scored { fallback, unknown: id(message.unk) }),
        Algorithm::Unigram => Engine::Unigram(Unigram::new(&vocabulary, id(message.unk), fallback, true)),
    };
    let mut normalizers = Vec::new();
    if !message.charsmap.is_empty() {
        normalizers.push(Normalizer::Charsmap(Charsmap::new(message.charsmap)?));
    }
    normalizers.push(Normalizer::SentencePieceSpaces(SentencePieceSpaces {
        prefix: message.add_dummy_prefix,
        suffix: message.whitespace_is_suffix,
        merge: message.remove_extra_whitespaces,
        escape: message.escape_whitespaces,
    }));
    let cut: Vec<AddedToken> = (0..vocabulary.len() as u32)
        .filter(|&id| matches!(vocabulary.kind(id), Some(TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown)))
        .map(|id| AddedToken {
            id,
            content: vocabulary.text(id).unwrap_or_default().to_owned(),
            special: vocabulary.kind(id) != Some(TokenKind::UserDefined),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
        })
        .collect();
    let raw = Leftmost::new(cut.iter().map(|token| (token, token.content.replace('▁', " "))));

    // What transformers does with a class that says nothing: a beginning, and no end.
    let flag = |key: &str| side.tokenizer_config.as_ref().and_then(|config| config.get(key)).and_then(Value::as_bool);
    let adds = |key: &str, default: bool, id: Option<u32>| id.filter(|_| flag(key).unwrap_or(default));
    let prefix: Vec<u32> = adds("add_bos_token", model == Model::ScoredBpe, id(message.bos)).into_iter().collect();
    let suffix: Vec<u32> = adds("add_eos_token", model == Model::Unigram, id(message.eos)).into_iter().collect();
    let settings = Settings {
        add_bos: Some(!prefix.is_empty()),
        add_eos: Some(!suffix.is_empty()),
        add_space_prefix: Some(message.add_dummy_prefix).filter(|prefix| !prefix || model == Model::Unigram),
        remove_extra_whitespaces: Some(message.remove_extra_whitespaces).filter(|_| model == Model::Unigram),
        charsmap: message.charsmap.to_vec(),
        ..Settings::default()
    };
    let specials = [
        (SpecialToken::Unk, id(message.unk)),
        (SpecialToken::Pad, id(message.pad)),
        (SpecialToken::Bos, id(message.bos)),
        (SpecialToken::Eos, id(message.eos)),
    ];
    let text = |from: &str, to: &str| Step::Replace { pattern: Pattern::Text(from.to_owned()), content: to.to_owned() };
    let start = usize::from(message.add_dummy_prefix);
    let decoder = Decoder::Steps(vec![text("▁", " "), Step::ByteFallback, Step::Fuse, Step::Strip { what: ' ', start, stop: 0 }]);
    let cut = Cut::Leftmost { raw, normalized: Leftmost::default() };
    let pipeline = Pipeline { cut, space_prefix: false, normalizers, splitters: Vec::new(), engine, prefix, suffix, decoder };
    let mut tokenizer = Tokenizer {
        model,
        vocabulary,
        merges: Merges::default(),
        specials: Vec::new(),
        settings,
        templates: Vec::new(),
        pipeline: Some(Arc::new(pipeline)),
    };
    // The side files have precedence; these fill in what they do not say.
    super::roles::add_roles(&mut tokenizer, side)?;
    for (role, id) in specials {
        if let Some(id) = id {
            tokenizer.set_special(role, id)?;
        }
    }
    Ok(tokenizer)
}

fn vocabulary(message: &Message<'_>, overlays: Vec<Overlay>, side: &Side, limits: &Limits) -> Result<Vocabulary> {
    let most = overlays.iter().map(|overlay| u64::from(overlay.id) + 1).max().unwrap_or(0).max(message.pieces.len() as u64);
    let size = vocabulary_size(side)?.unwrap_or(most);
    Limits::check(size, limits.array_elements, "tokens")?;
    Limits::check(size.saturating_sub(message.pieces.len() as u64), LARGEST_PADDING, "ids without a token")?;
    let mut over: Vec<Option<&Overlay>> = vec![None; size as usize];
    for overlay in &overlays {
        if let Some(place) = over.get_mut(overlay.id as usize) {
            *place = Some(overlay);
        }
    }
    let mut out = Vocabulary::with_capacity(size as usize, message.pieces.iter().map(|piece| piece.text.len()).sum());
    for (id, over) in over.into_iter().enumerate() {
        match (over, message.pieces.get(id)) {
            (Some(overlay), _) => out.push(&overlay.text, ADDED_SCORE, overlay.kind)?,
            (None, Some(piece)) => out.push(piece.text, piece.score, piece.kind)?,
            (None, None) => out.push(&format!("[PAD{id}]"), HOLE_SCORE, TokenKind::Unused)?,
        };
    }
    Ok(out)
}
