//! The vocabulary in a GGUF's metadata: keys `tokenizer.ggml.*` and `tokenizer.chat_template*`.
//!
//! | key | type | what |
//! |---|---|---|
//! | `tokenizer.ggml.model` | string | `gpt2`, `llama`, `bert`, `t5`, `gemma4` |
//! | `tokenizer.ggml.pre` | string | name of the pre-tokenizer |
//! | `tokenizer.ggml.tokens` | strings | texts by id |
//! | `tokenizer.ggml.scores` | f32s | scores by id |
//! | `tokenizer.ggml.token_type` | i32s | kinds by id |
//! | `tokenizer.ggml.merges` | strings | two texts with a space between |
//! | `tokenizer.ggml.*_token_id` | u32 | roles |
//! | `tokenizer.ggml.add_*` | bool | what is put around a text |
//! | `tokenizer.chat_template[.name]` | string | Jinja templates |
//!
//! Written in the order and types of llama.cpp's `convert_hf_to_gguf.py`; the keys `add_bos_token`
//! and `add_eos_token` are always there, because a reader's default depends on the model.

use gravure_base::{Error, Limits, Result, ResultExt};
use gravure_core::{Metadata, Value};
use gravure_text::{ChatTemplate, Model, Settings, SpecialToken, TokenKind, Tokenizer, llama};

const PREFIX: &str = "tokenizer.ggml.";
const TEMPLATE: &str = "tokenizer.chat_template";
const TEMPLATE_NAMES: &str = "tokenizer.chat_templates";

const MODELS: [(&str, Model); 5] = [
    ("gpt2", Model::ByteLevelBpe),
    ("llama", Model::ScoredBpe),
    ("bert", Model::WordPiece),
    ("t5", Model::Unigram),
    ("gemma4", Model::CharacterBpe),
];

/// Roles and their keys; a role's first key is the one that is written.
const ROLES: [(SpecialToken, &str); 17] = [
    (SpecialToken::Bos, "bos_token_id"),
    (SpecialToken::Eos, "eos_token_id"),
    (SpecialToken::Unk, "unknown_token_id"),
    // Spelled so in the format.
    (SpecialToken::Sep, "seperator_token_id"),
    (SpecialToken::Pad, "padding_token_id"),
    (SpecialToken::Mask, "mask_token_id"),
    (SpecialToken::Eot, "eot_token_id"),
    (SpecialToken::Eom, "eom_token_id"),
    (SpecialToken::FimPrefix, "fim_pre_token_id"),
    (SpecialToken::FimSuffix, "fim_suf_token_id"),
    (SpecialToken::FimMiddle, "fim_mid_token_id"),
    (SpecialToken::FimPad, "fim_pad_token_id"),
    (SpecialToken::FimRepository, "fim_rep_token_id"),
    (SpecialToken::FimSeparator, "fim_sep_token_id"),
    (SpecialToken::FimPrefix, "prefix_token_id"),
    (SpecialToken::FimSuffix, "suffix_token_id"),
    (SpecialToken::FimMiddle, "middle_token_id"),
];

/// Reads the vocabulary; `None` where the file has none, or one of a kind that this build does not
/// know (the metadata itself is carried through all the same).
pub(crate) fn read(metadata: &Metadata, limits: &Limits) -> Result<Option<Tokenizer>> {
    let Some(model) = get(metadata, "model") else { return Ok(None) };
    let name = model.as_str().ok_or_else(|| wrong("model", "a string"))?;
    let Some(&(_, model)) = MODELS.iter().find(|(known, _)| *known == name) else { return Ok(None) };
    let Some(tokens) = strings(metadata, "tokens")? else { return Ok(None) };
    Limits::check(tokens.len() as u64, limits.array_elements, "tokens")?;

    let converted: Vec<f32>;
    let scores: &[f32] = match get(metadata, "scores") {
        None => &[],
        Some(Value::F32s(scores)) => scores,
        Some(Value::I32s(scores)) => {
            converted = scores.iter().map(|&score| score as f32).collect();
            &converted
        }
        Some(_) => return Err(wrong("scores", "an array of f32")),
    };
    let kinds: Vec<TokenKind> = match get(metadata, "token_type") {
        None => Vec::new(),
        Some(Value::I32s(kinds)) => kinds.iter().map(|&kind| TokenKind::from_number(kind.into())).collect(),
        Some(_) => return Err(wrong("token_type", "an array of i32")),
    };
    let mut specials = Vec::new();
    for (role, key) in ROLES {
        let Some(value) = get(metadata, key) else { continue };
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(key, "a token id"))?;
        // Readers pass over an id that is no token.
        if (id as usize) < tokens.len() {
            specials.push((role, id));
        }
    }
    let flag = |key: &str| match get(metadata, key) {
        None => Ok(None),
        Some(value) => value.as_bool().map(Some).ok_or_else(|| wrong(key, "a bool")),
    };
    let settings = Settings {
        pre: get(metadata, "pre").map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong("pre", "a string"))).transpose()?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_sep: flag("add_sep_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        remove_extra_whitespaces: flag("remove_extra_whitespaces")?,
        lowercase: flag("normalizer.lowercase")?,
        strip_accents: flag("normalizer.strip_accents")?,
        clean_spaces: None,
        charsmap: match get(metadata, "precompiled_charsmap") {
            None => Vec::new(),
            Some(Value::U8s(bytes)) => bytes.clone(),
            Some(Value::I8s(bytes)) => bytes.iter().map(|&b| b as u8).collect(),
            Some(_) => return Err(wrong("precompiled_charsmap", "an array of bytes")),
        },
    };
    let merges = strings(metadata, "merges")?.unwrap_or(&[]);
    let model_name = metadata.get("general.name").and_then(Value::as_str);
    let parts = llama::Parts { model, tokens, scores, kinds: &kinds, merges, specials, settings, templates: templates(metadata), model_name };
    llama::from_parts(parts).at_item(|| "tokenizer.ggml").map(Some)
}

/// Writes the vocabulary at the end of the metadata, in the view that a GGUF can hold.
pub(crate) fn write(tokenizer: &Tokenizer, metadata: &mut Metadata) -> Result<()> {
    let tokenizer = llama::from_source(tokenizer)?;
    let settings = tokenizer.settings();
    let vocabulary = tokenizer.vocabulary();
    let mut set = |key: &str, value: Value| metadata.set(format!("{PREFIX}{key}"), value);
    let flag = |value: Option<bool>| value.map(Value::Bool);

    let model = MODELS.iter().find(|(_, model)| *model == tokenizer.model()).map_or("", |(name, _)| name);
    set("model", Value::String(model.to_owned()));
    if let Some(pre) = &settings.pre {
        set("pre", Value::String(pre.clone()));
    }
    set("tokens", Value::Strings(vocabulary.texts().map(str::to_owned).collect()));
    if matches!(tokenizer.model(), Model::ScoredBpe | Model::Unigram | Model::CharacterBpe) {
        set("scores", Value::F32s(vocabulary.scores().to_vec()));
    }
    set("token_type", Value::I32s(vocabulary.kinds().iter().map(|&kind| kind as i32).collect()));
    if !tokenizer.merges().is_empty() {
        // A space inside a text would read as the one between two texts.
        let spelled = |text: &str| text.replace(' ', "\u{120}");
        set(
            "merges",
            Value::Strings(tokenizer.merge_texts().map(|(left, right)| format!("{} {}", spelled(left), spelled(right))).collect()),
        );
    }
    for &(role, id) in tokenizer.specials() {
        if let Some((_, key)) = ROLES.iter().find(|(known, _)| *known == role) {
            set(key, Value::U32(id));
        }
    }
    set("add_bos_token", Value::Bool(settings.add_bos.unwrap_or(false)));
    set("add_eos_token", Value::Bool(settings.add_eos.unwrap_or(false)));
    for (key, value) in [("add_sep_token", settings.add_sep), ("add_space_prefix", settings.add_space_prefix)] {
        if let Some(value) = flag(value) {
            set(key, value);
        }
    }
    if let Some(value) = flag(settings.remove_extra_whitespaces) {
        set("remove_extra_whitespaces", value);
    }
    if !settings.charsmap.is_empty() {
        set("precompiled_charsmap", Value::U8s(settings.charsmap.clone()));
    }
    let normalizer = [("normalizer.lowercase", settings.lowercase), ("normalizer.strip_accents", settings.strip_accents)];
    let named: Vec<&str> = tokenizer.chat_templates().iter().filter_map(|template| template.name.as_deref()).collect();
    if !named.is_empty() {
        metadata.set(TEMPLATE_NAMES, Value::Strings(named.iter().map(|&name| name.to_owned()).collect()));
    }
    for ChatTemplate { name, source } in tokenizer.chat_templates() {
        let key = name.as_ref().map_or_else(|| TEMPLATE.to_owned(), |name| format!("{TEMPLATE}.{name}"));
        metadata.set(key, Value::String(source.clone()));
    }
    for (key, value) in normalizer {
        if let Some(value) = flag(value) {
            metadata.set(format!("{PREFIX}{key}"), value);
        }
    }
    Ok(())
}

fn templates(metadata: &Metadata) -> Vec<ChatTemplate> {
    let mut out = Vec::new();
    for (key, value) in metadata.iter() {
        let Some(rest) = key.strip_prefix(TEMPLATE) else { continue };
        let name = match rest.strip_prefix('.') {
            Some(name) => Some(name.to_owned()),
            None if rest.is_empty() => None,
            None => continue,
        };
        if let Some(source) = value.as_str() {
            out.push(ChatTemplate { name, source: source.to_owned() });
        }
    }
    out.sort_by_key(|template| template.name.is_some());
    out
}

fn get<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a Value> {
    metadata.get(&format!("{PREFIX}{key}"))
}

fn strings<'a>(metadata: &'a Metadata, key: &str) -> Result<Option<&'a [String]>> {
    match get(metadata, key) {
        None => Ok(None),
        Some(Value::Strings(list)) => Ok(Some(list)),
        Some(_) => Err(wrong(key, "an array of strings")),
    }
}

fn wrong(key: &str, expected: &str) -> Error {
    Error::input(format!("this should be {expected}")).at_item(format!("{PREFIX}{key}"))
}
