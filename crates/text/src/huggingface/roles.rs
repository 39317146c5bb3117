//! Which token has which role, and the chat templates.

use std::path::Path;

use gravure_base::{Error, Limits, Result, ResultExt};
use serde_json::{Map, Value};

use super::{Side, read_file, read_object};
use crate::tokenizer::{ChatTemplate, SpecialToken, Tokenizer};

const ROLES: [(SpecialToken, &str); 7] = [
    (SpecialToken::Bos, "bos"),
    (SpecialToken::Eos, "eos"),
    (SpecialToken::Unk, "unk"),
    (SpecialToken::Sep, "sep"),
    (SpecialToken::Pad, "pad"),
    (SpecialToken::Cls, "cls"),
    (SpecialToken::Mask, "mask"),
];

/// Adds the roles that the side files state, in the order of precedence: `tokenizer_config.json`,
/// the post-processor, `config.json`, `special_tokens_map.json`.
pub(crate) fn add_roles(tokenizer: &mut Tokenizer, side: &Side) -> Result<()> {
    let prefix = tokenizer.pipeline.as_ref().and_then(|p| p.prefix.first().copied());
    let suffix = tokenizer.pipeline.as_ref().and_then(|p| p.suffix.last().copied());
    if let Some(config) = &side.tokenizer_config {
        tokenizer.settings.clean_spaces = config.get("clean_up_tokenization_spaces").and_then(Value::as_bool);
        add_named(tokenizer, config, prefix, suffix)?;
    }
    // What is added must be a role, or a reader would add its own default.
    for (role, id) in [(SpecialToken::Bos, prefix), (SpecialToken::Eos, suffix)] {
        if let Some(id) = id.filter(|_| side.tokenizer_config.is_none()) {
            tokenizer.set_special(role, id)?;
        }
    }
    if let Some(config) = &side.config {
        for (role, name) in ROLES {
            let key = format!("{name}_token_id");
            let id = config.get(&key).filter(|v| !v.is_null()).or_else(|| config.get("text_config").and_then(|inner| inner.get(&key)));
            // A list of ends of turns, or the -1 of a model without the role, is no single token.
            let Some(id) = id.and_then(Value::as_u64) else { continue };
            let id = u32::try_from(id).map_err(|_| Error::input(format!("{key:?} of config.json is {id}")))?;
            // Some configs keep the ids of a larger vocabulary that they were made from.
            if (id as usize) < tokenizer.vocabulary.len() {
                tokenizer.set_special(role, id)?;
            }
        }
    }
    if let Some(map) = &side.special_tokens_map {
        add_named(tokenizer, map, prefix, suffix)?;
    }
    let unknown = tokenizer.pipeline.as_ref().and_then(|p| p.engine.unknown());
    for (role, id) in [(SpecialToken::Bos, prefix), (SpecialToken::Eos, suffix), (SpecialToken::Unk, unknown)] {
        if let Some(id) = id {
            tokenizer.set_special(role, id)?;
        }
    }
    Ok(())
}

/// Roles by text: `"bos_token": "<s>"` or `"bos_token": {"content": "<s>", ...}`.
fn add_named(tokenizer: &mut Tokenizer, map: &Map<String, Value>, prefix: Option<u32>, suffix: Option<u32>) -> Result<()> {
    let content = |name: &str| -> Option<&str> {
        let value = map.get(&format!("{name}_token"))?;
        value.as_str().or_else(|| value.get("content").and_then(Value::as_str)).filter(|text| !text.is_empty())
    };
    for (role, name) in ROLES {
        // BERT-like tokenizers call their first token a class and their last a separator.
        let text = content(name).or_else(|| match role {
            SpecialToken::Bos => content("cls"),
            SpecialToken::Eos => content("sep"),
            _ => None,
        });
        let mut id = text.and_then(|text| tokenizer.vocabulary.find(text));
        // The token that is really put after a text is the end of the sequence, whatever it is called.
        match (role, suffix) {
            (SpecialToken::Eos, Some(last)) => id = Some(last),
            (SpecialToken::Bos, _) if id.is_none() => id = prefix,
            _ => {}
        }
        if let Some(id) = id {
            tokenizer.set_special(role, id)?;
        }
    }
    Ok(())
}

/// The chat templates of a folder, the default one first.
pub(crate) fn chat_templates(folder: &Path, side: &Side, limits: &Limits) -> Result<Vec<ChatTemplate>> {
    let stated = side.tokenizer_config.as_ref().and_then(|config| config.get("chat_template")).filter(|value| !value.is_null());
    if let Some(value) = stated {
        return named_templates(value).in_file(folder.join("tokenizer_config.json"));
    }
    if let Some(bytes) = read_file(folder, "chat_template.jinja", limits)? {
        let mut out = vec![ChatTemplate { name: None, source: utf8(bytes).in_file(folder.join("chat_template.jinja"))? }];
        out.extend(additional_templates(folder, limits)?);
        return Ok(out);
    }
    match read_object(folder, "chat_template.json", limits)?.as_ref().and_then(|map| map.get("chat_template")) {
        Some(value) => named_templates(value).in_file(folder.join("chat_template.json")),
        None => Ok(Vec::new()),
    }
}

/// A text, or a list of `{"name": ..., "template": ...}`.
fn named_templates(value: &Value) -> Result<Vec<ChatTemplate>> {
    let wrong = || Error::input("\"chat_template\" should be a text or a list of named templates");
    match value {
        Value::String(source) => Ok(vec![ChatTemplate { name: None, source: source.clone() }]),
        Value::Array(list) => {
            let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
            let mut out = Vec::with_capacity(list.len());
            for value in list {
                let (name, source) = text(value, "name").zip(text(value, "template")).ok_or_else(wrong)?;
                out.push(ChatTemplate { name: Some(name).filter(|name| name != "default"), source });
            }
            out.sort_by_key(|template| template.name.is_some());
            Ok(out)
        }
        _ => Err(wrong()),
    }
}

fn additional_templates(folder: &Path, limits: &Limits) -> Result<Vec<ChatTemplate>> {
    let inner = folder.join("additional_chat_templates");
    let entries = match std::fs::read_dir(&inner) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", &inner, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", &inner, e))?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".jinja")) {
            Limits::check(names.len() as u64, limits.files, "chat templates").in_file(&inner)?;
            names.push(name.to_owned());
        }
    }
    names.sort();
    let one = |name: String| -> Result<Option<ChatTemplate>> {
        let bytes = read_file(&inner, &format!("{name}.jinja"), limits)?;
        bytes.map(|bytes| Ok(ChatTemplate { name: Some(name), source: utf8(bytes).in_file(&inner)? })).transpose()
    };
    names.into_iter().filter_map(|name| one(name).transpose()).collect()
}

fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| Error::input("the chat template is not UTF-8").caused_by(e))
}
