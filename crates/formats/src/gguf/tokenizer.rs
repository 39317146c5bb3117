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

use gravure_base::{Error, Limits, Result, ResultExt, Texts};
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
    let none = Texts::default();
    let merges = strings(metadata, "merges")?.unwrap_or(&none);
    let model_name = metadata.get("general.name").and_then(Value::as_str);
    let parts =
        llama::Parts { model, tokens, scores, kinds: &kinds, merges, specials, settings, templates: templates(metadata), model_name };
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
    set("tokens", Value::Strings(vocabulary.texts().collect()));
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
        metadata.set(TEMPLATE_NAMES, Value::Strings(named.iter().collect()));
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

fn strings<'a>(metadata: &'a Metadata, key: &str) -> Result<Option<&'a Texts>> {
    match get(metadata, key) {
        None => Ok(None),
        Some(Value::Strings(list)) => Ok(Some(list)),
        Some(_) => Err(wrong(key, "an array of strings")),
    }
}

fn wrong(key: &str, expected: &str) -> Error {
    Error::input(format!("this should be {expected}")).at_item(format!("{PREFIX}{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gravure_base::Sha256;
    use gravure_testing::tiny_model::{self, Options};
    use gravure_text::{huggingface, prove};
    use serde_json::{Value as Json, json};

    fn digest(parts: impl Iterator<Item = Vec<u8>>) -> String {
        let mut sha = Sha256::new();
        parts.for_each(|part| sha.update(&part));
        sha.finish()
    }

    /// A pair as the fixtures have it: long lists by their digest.
    fn entry(key: &str, value: &Value) -> Json {
        let list =
            |of: &str, count: usize, sha256: String| json!({"key": key, "type": "array", "of": of, "count": count, "sha256": sha256});
        match value {
            Value::U32(v) => json!({"key": key, "type": "uint32", "value": v}),
            Value::Bool(v) => json!({"key": key, "type": "bool", "value": v}),
            Value::String(v) => json!({"key": key, "type": "string", "value": v}),
            Value::Strings(v) => {
                let parts = v.iter().map(|text| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat());
                list("string", v.len(), digest(parts))
            }
            Value::I32s(v) => list("int32", v.len(), digest(v.iter().map(|x| x.to_le_bytes().to_vec()))),
            Value::F32s(v) => list("float32", v.len(), digest(v.iter().map(|x| x.to_le_bytes().to_vec()))),
            other => panic!("{key}: {other:?}"),
        }
    }

    /// Keys that the reference converter does not always write.
    const OURS: [&str; 3] = ["tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token", "tokenizer.ggml.unknown_token_id"];

    #[test]
    fn pairs_are_those_of_the_reference_converter() {
        let folder = gravure_testing::workspace_root().join("tests/fixtures/conversion");
        let mut wrong = Vec::new();
        let mut compared = 0;
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let fixture: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let expected = fixture["f32"]["metadata"].as_array().unwrap();
            let expected: Vec<&Json> = expected.iter().filter(|e| e["key"].as_str().unwrap().starts_with(PREFIX)).collect();
            let temporary = tempfile::tempdir().unwrap();
            let model = temporary.path().join("tiny");
            tiny_model::write(fixture["design"].as_str().unwrap(), &Options::from_json(&fixture["options"]).unwrap(), &model).unwrap();
            let source = huggingface::read_folder(&model, &Limits::default()).unwrap().unwrap();
            let mut metadata = Metadata::new();
            write(&source, &mut metadata).unwrap();
            let found: Vec<Json> = metadata.iter().map(|(key, value)| entry(key, value)).collect();
            let listed = |key: &Json| expected.iter().any(|e| &e["key"] == key);
            let found: Vec<&Json> = found.iter().filter(|e| listed(&e["key"]) || !OURS.contains(&e["key"].as_str().unwrap())).collect();
            // The number of token types is a hyperparameter, written elsewhere.
            let expected: Vec<&Json> = expected.into_iter().filter(|e| e["key"] != "tokenizer.ggml.token_type_count").collect();
            if found != expected {
                let difference = found.iter().zip(&expected).find(|(a, b)| a != b);
                wrong.push(format!("{name}: {} found, {} expected, first difference {difference:?}", found.len(), expected.len()));
            }
            let back = read(&metadata, &Limits::default()).unwrap().unwrap();
            match prove(&source, &back) {
                Ok(proof) => assert!(proof.texts > 5000, "{name}: {proof:?}"),
                Err(e) => wrong.push(format!("{name}: {e}")),
            }
            compared += 1;
        }
        assert!(compared >= 15);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
