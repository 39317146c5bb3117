//! From the parts of a `tokenizer.json` to a tokenizer.

use std::sync::Arc;

use gravure_base::{Error, Limits, Result};
use serde_json::Value;

use super::Side;
use super::components::{self, Template};
use super::fields::Fields;
use super::tokenizer_json::{Raw, RawVocabulary};
use crate::added::Leftmost;
use crate::decode::Decoder;
use crate::engine::{self, Bpe, Engine, Symbols, Unigram, Unmatched, WordPiece};
use crate::merges::{Merges, Repeated, UnknownParts};
use crate::normalize;
use crate::pipeline::{AddedToken, Cut, Normalizer, Pipeline, PrependScheme, Splitter};
use crate::tokenizer::{Model, Settings, Tokenizer};
use crate::vocabulary::{TokenKind, Vocabulary, shown};

/// Ids that a folder may leave without a token: real models pad a vocabulary to a multiple of some
/// hundreds; a hostile `vocab_size` asks for gigabytes.
pub(super) const LARGEST_PADDING: u64 = 1 << 16;

/// Understands the parts.
pub(crate) fn from_tokenizer_json(raw: Raw, side: &Side, limits: &Limits) -> Result<Tokenizer> {
    let added = added_tokens(&raw.added_tokens)?;
    let normalizers = components::normalizers(&raw.normalizer)?;
    let splitters = components::splitters(&raw.pre_tokenizer)?;
    let template = components::template(&raw.post_processor)?;
    let kind = model_kind(&raw)?;
    let byte_level = splitters.iter().any(|s| matches!(s, Splitter::ByteLevel { .. }));
    let model = match kind {
        "BPE" if byte_level => Model::ByteLevelBpe,
        "BPE" if raw.model.get("byte_fallback").and_then(Value::as_bool) == Some(true) => Model::ScoredBpe,
        "BPE" => {
            return Err(Error::unsupported("a BPE model that is neither byte-level nor has byte fallback is not known"));
        }
        "WordPiece" => Model::WordPiece,
        _ => Model::Unigram,
    };
    let size = vocabulary_size(side)?;
    let vocabulary = vocabulary(&raw.vocabulary, &added, model, size, limits)?;
    let merges = match kind {
        "BPE" => Merges::new(&vocabulary, raw.merges.iter(), UnknownParts::Refuse, Repeated::LastCounts)?,
        _ if raw.merges.is_empty() => Merges::default(),
        other => return Err(Error::input(format!("a {other} model has no merge rules, but the file has some"))),
    };
    let engine = engine(&raw, kind, model, &vocabulary, &merges)?;
    let mut settings = settings(&normalizers, &template, model);
    if model == Model::ScoredBpe {
        let prefixes = puts_space_first(&normalizers, &splitters);
        let stated = side.tokenizer_config.as_ref().is_some_and(|config| config.get("add_prefix_space").is_some_and(Value::is_boolean));
        settings.add_space_prefix = Some(prefixes).filter(|prefixes| !prefixes || stated);
    }
    for &id in template.prefix.iter().chain(&template.suffix) {
        if id as usize >= vocabulary.len() {
            return Err(Error::input(format!("the post-processor adds the token {id}, but there are only {} tokens", vocabulary.len())));
        }
    }
    let within = added.iter().filter(|token| (token.id as usize) < vocabulary.len());
    let cut = cut(within, &normalizers)?;
    let decoder = Decoder::Steps(components::decoders(&raw.decoder)?);
    let Template { prefix, suffix, .. } = template;
    let pipeline = Pipeline { cut, space_prefix: false, normalizers, splitters, engine, prefix, suffix, decoder };
    let pipeline = Some(Arc::new(pipeline));
    let mut tokenizer = Tokenizer { model, vocabulary, merges, specials: Vec::new(), settings, templates: Vec::new(), pipeline };
    if model == Model::ScoredBpe {
        scores_from_merges(&mut tokenizer);
    }
    Ok(tokenizer)
}

/// Where a token is normalized before it is looked for, so is the text that it is looked for in.
fn cut<'a>(added: impl Iterator<Item = &'a AddedToken>, normalizers: &[Normalizer]) -> Result<Cut> {
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for token in added {
        if token.normalized && !normalizers.is_empty() {
            normalized.push((token, normalize::normalize(normalizers, &token.content)?.into_owned()));
        } else if token.normalized {
            normalized.push((token, token.content.clone()));
        } else {
            raw.push((token, token.content.clone()));
        }
    }
    Ok(Cut::Leftmost { raw: Leftmost::new(raw.into_iter()), normalized: Leftmost::new(normalized.into_iter()) })
}

/// The type of the model; old files do not name it.
fn model_kind(raw: &Raw) -> Result<&'static str> {
    match raw.model.get("type").map(|kind| kind.as_str().unwrap_or_default()) {
        Some("BPE") => Ok("BPE"),
        Some("WordPiece") => Ok("WordPiece"),
        Some("Unigram") => Ok("Unigram"),
        Some(other) => Err(components::unknown("model", other)),
        None if !raw.merges.is_empty() => Ok("BPE"),
        None if raw.model.contains_key("max_input_chars_per_word") => Ok("WordPiece"),
        None if raw.model.contains_key("unk_id") => Ok("Unigram"),
        None => Err(Error::input("the model has no \"type\"")),
    }
}

fn added_tokens(value: &Value) -> Result<Vec<AddedToken>> {
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(Error::input("\"added_tokens\" should be a list")),
    };
    let one = |value: &Value| -> Result<AddedToken> {
        let mut fields = Fields::new("an added token", value)?;
        let special = fields.flag_or("special", false)?;
        let token = AddedToken {
            id: fields.id("id")?,
            content: fields.text("content")?.to_owned(),
            special,
            single_word: fields.flag_or("single_word", false)?,
            lstrip: fields.flag_or("lstrip", false)?,
            rstrip: fields.flag_or("rstrip", false)?,
            normalized: fields.flag_or("normalized", !special)?,
        };
        fields.done()?;
        if token.content.is_empty() {
            return Err(Error::input(format!("the added token {} has no content", token.id)));
        }
        Ok(token)
    };
    list.iter().map(one).collect()
}

/// The size that `config.json` states.
pub(super) fn vocabulary_size(side: &Side) -> Result<Option<u64>> {
    let Some(config) = &side.config else { return Ok(None) };
    let nested = |key: &str| config.get("text_config").and_then(|inner| inner.get(key));
    let value = config.get("vocab_size").or_else(|| nested("vocab_size"));
    match value.filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| Error::input("\"vocab_size\" of config.json should be a number")),
    }
}

/// Tokens in order of id; holes and what is missing up to `size` become `[PAD<id>]`.
fn vocabulary(raw: &RawVocabulary, added: &[AddedToken], model: Model, size: Option<u64>, limits: &Limits) -> Result<Vocabulary> {
    const HOLE: u32 = u32::MAX;
    let stated: Vec<&AddedToken> = match (model, size) {
        // Multimodal models list tokens of their images past the text model's embedding.
        (Model::ScoredBpe | Model::Unigram, Some(size)) => added.iter().filter(|token| u64::from(token.id) < size).collect(),
        _ => added.iter().collect(),
    };
    let count = (raw.len() + stated.len()) as u64;
    let largest = (0..raw.len()).filter_map(|at| raw.get(at)).map(|(_, id, _)| id).chain(stated.iter().map(|token| token.id)).max();
    let needed = largest.map_or(0, |id| u64::from(id) + 1);
    let total = size.unwrap_or(needed);
    if needed > total {
        return Err(Error::input(format!("the vocabulary has a token {}, but config.json says \"vocab_size\": {total}", needed - 1))
            .help("correct \"vocab_size\" in config.json, or remove the token"));
    }
    Limits::check(total, limits.array_elements, "tokens")?;
    Limits::check(total.saturating_sub(count), LARGEST_PADDING, "ids without a token")?;

    let mut places = vec![HOLE; total as usize];
    for at in 0..raw.len() {
        let Some((text, id, _)) = raw.get(at) else { continue };
        if places[id as usize] != HOLE {
            return Err(Error::input(format!("two tokens have the id {id}; one is {}", shown(text))));
        }
        places[id as usize] = at as u32;
    }
    let mut overlay: Vec<Option<&AddedToken>> = Vec::new();
    for token in &stated {
        let at = token.id as usize;
        if overlay.len() <= at {
            overlay.resize(at + 1, None);
        }
        if let Some(other) = overlay[at] {
            return Err(Error::input(format!(
                "the added tokens {} and {} have the same id {at}",
                shown(&other.content),
                shown(&token.content)
            )));
        }
        overlay[at] = Some(token);
    }

    let mut out = Vocabulary::with_capacity(total as usize, raw.bytes() + 16 * stated.len());
    for (id, &place) in places.iter().enumerate() {
        let own = if place == HOLE { None } else { raw.get(place as usize) };
        let kind =
            |text: &str| if model == Model::ScoredBpe && Tokenizer::byte_of(text).is_some() { TokenKind::Byte } else { TokenKind::Normal };
        match (own, overlay.get(id).copied().flatten()) {
            (Some((text, ..)), Some(token)) if text != token.content => {
                return Err(Error::input(format!(
                    "token {id} is {} in the vocabulary and {} among the added tokens",
                    shown(text),
                    shown(&token.content)
                )));
            }
            (own, Some(token)) => {
                let kind = if token.special || looks_special(&token.content) { TokenKind::Control } else { TokenKind::UserDefined };
                out.push(&token.content, own.map_or(0.0, |(_, _, score)| score as f32), kind)?;
            }
            (Some((text, _, score)), None) => {
                out.push(text, score as f32, kind(text))?;
            }
            (None, None) => {
                out.push(&format!("[PAD{id}]"), 0.0, TokenKind::Unused)?;
            }
        }
    }
    Ok(out)
}

/// Some tokenizers forget to call a control token special.
pub(super) fn looks_special(text: &str) -> bool {
    let within = |start: &str, end: &str| text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end);
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]") || within("<|", "|>") || within("<｜", "｜>") || within("<unused", ">")
}

fn engine(raw: &Raw, kind: &str, model: Model, vocabulary: &Vocabulary, merges: &Merges) -> Result<Engine> {
    let what = format!("the model {kind}");
    let mut fields = Fields::of_map(&what, &raw.model);
    fields.ignore("type");
    let named = |text: Option<&Value>| -> Result<Option<u32>> {
        let Some(text) = text else { return Ok(None) };
        let text = text.as_str().ok_or_else(|| Error::input("\"unk_token\" should be a text"))?;
        vocabulary.find(text).map(Some).ok_or_else(|| Error::input(format!("the unknown token {} is not in the vocabulary", shown(text))))
    };
    let engine = match kind {
        "BPE" => {
            for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
                if fields.get(key).is_some_and(|value| value.as_str() != Some("")) {
                    return Err(Error::unsupported(format!("a BPE model with a {key:?} is not known")));
                }
            }
            if fields.get("dropout").is_some_and(|value| value.as_f64() != Some(0.0)) {
                return Err(Error::unsupported("a BPE model with dropout gives other tokens each time"));
            }
            let wants_bytes = fields.flag_or("byte_fallback", false)?;
            Engine::Bpe(Bpe {
                symbols: if model == Model::ByteLevelBpe { Bpe::bytes(vocabulary, merges) } else { Symbols::Chars },
                ignore_merges: fields.flag_or("ignore_merges", false)?,
                whole_line_feeds: false,
                unknown: named(fields.get("unk_token"))?,
                fuse_unknown: fields.flag_or("fuse_unk", false)?,
                fallback: if wants_bytes { engine::byte_tokens(vocabulary) } else { None },
                unmatched: Unmatched::Dropped,
            })
        }
        "WordPiece" => {
            let longest = fields.get("max_input_chars_per_word").map_or(Some(100), Value::as_u64);
            Engine::WordPiece(WordPiece {
                unknown: named(Some(fields.need("unk_token")?))?,
                first: String::new(),
                rest: fields.get("continuing_subword_prefix").map_or(Some("##"), Value::as_str).unwrap_or_default().to_owned(),
                longest_word: longest
                    .and_then(|n| usize::try_from(n).ok())
                    .ok_or_else(|| fields.wrong("max_input_chars_per_word", "a number"))?,
                longest_token: vocabulary.texts().map(str::len).max().unwrap_or(0),
            })
        }
        _ => {
            let unknown = match fields.get("unk_id") {
                None => None,
                Some(_) => Some(fields.id("unk_id")?),
            };
            if unknown.is_some_and(|id| id as usize >= vocabulary.len()) {
                return Err(Error::input("\"unk_id\" is no token"));
            }
            let fallback = if fields.flag_or("byte_fallback", false)? { engine::byte_tokens(vocabulary) } else { None };
            Engine::Unigram(Unigram::new(vocabulary, unknown, fallback, false))
        }
    };
    fields.done()?;
    Ok(engine)
}

/// What the steps amount to in the terms of a file that can only hold flags.
fn settings(normalizers: &[Normalizer], template: &Template, model: Model) -> Settings {
    let mut out =
        Settings { add_bos: Some(!template.prefix.is_empty()), add_eos: Some(!template.suffix.is_empty()), ..Settings::default() };
    if template.roberta {
        out.add_sep = Some(true);
    } else if !template.between.is_empty() && model == Model::WordPiece {
        out.add_sep = Some(template.suffix.is_empty());
    }
    for normalizer in normalizers {
        match normalizer {
            Normalizer::Lowercase => out.lowercase = Some(true),
            Normalizer::StripAccents => out.strip_accents = Some(true),
            Normalizer::Bert(bert) => {
                out.lowercase = Some(bert.lowercase);
                if bert.strip_accents != bert.lowercase {
                    out.strip_accents = Some(bert.strip_accents);
                }
            }
            Normalizer::Charsmap(map) => out.charsmap = map.bytes(),
            _ => {}
        }
    }
    out
}

/// Whether the mark of a space is put before a text.
fn puts_space_first(normalizers: &[Normalizer], splitters: &[Splitter]) -> bool {
    normalizers.iter().any(|n| matches!(n, Normalizer::Prepend(text) if text == "▁" || text == " "))
        || splitters.iter().any(|s| matches!(s, Splitter::Metaspace { scheme, .. } if *scheme != PrependScheme::Never))
}

/// SentencePiece's scores from the order of the merge rules, for a source that has lost them.
///
/// The rules were once derived from scores: every way of making a token from two others, best
/// token first. So a token's score is the negated place of its first rule among the tokens; tokens
/// that no rule makes come last.
fn scores_from_merges(tokenizer: &mut Tokenizer) {
    let order: Vec<u32> = tokenizer.merges.iter().map(|(_, _, merged)| merged).collect();
    let mut ranked = vec![false; tokenizer.vocabulary.len()];
    let mut next = 0u32;
    for id in order {
        if let Some(seen) = ranked.get_mut(id as usize).filter(|seen| !**seen) {
            *seen = true;
            tokenizer.vocabulary.set_score(id, 0.0 - next as f32);
            next += 1;
        }
    }
    for (id, ranked) in ranked.iter().enumerate() {
        if !ranked {
            let kind = tokenizer.vocabulary.kind(id as u32);
            let score = match kind {
                Some(TokenKind::Normal) => 0.0 - next as f32 - id as f32,
                Some(TokenKind::Unused) => -10000.0,
                Some(TokenKind::Control | TokenKind::UserDefined) => -1000.0,
                _ => 0.0,
            };
            tokenizer.vocabulary.set_score(id as u32, score);
        }
    }
}
