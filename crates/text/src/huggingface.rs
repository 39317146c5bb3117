//! Reads the tokenizer of a Hugging Face folder.
//!
//! | file | what is taken |
//! |---|---|
//! | `tokenizer.json` | vocabulary, merge rules, every step of the pipeline |
//! | `tokenizer.model` | SentencePiece's pieces, scores and kinds (the pipeline too, where it is alone) |
//! | `vocab.json`, `merges.txt` | a GPT-2 tokenizer without `tokenizer.json` |
//! | `vocab.txt` | a BERT tokenizer without `tokenizer.json` |
//! | `tokenizer_config.json` | roles of tokens, chat template, added tokens |
//! | `special_tokens_map.json`, `added_tokens.json` | the same, in older folders |
//! | `chat_template.jinja`, `chat_template.json`, `additional_chat_templates/` | chat templates |
//! | `config.json` | size of the vocabulary, ids of special tokens |
//!
//! Reference: <https://huggingface.co/docs/tokenizers> and transformers'
//! `tokenization_utils_base.py`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use gravure_base::{Error, Limits, Result, ResultExt};
use serde_json::{Map, Value};

use crate::tokenizer::{Model, Tokenizer};
use gravure_base::json;

mod build;
mod components;
mod fields;
mod old_files;
mod roles;
mod sentencepiece;
mod tokenizer_json;

/// The JSON files around the vocabulary.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) tokenizer_config: Option<Map<String, Value>>,
    pub(crate) special_tokens_map: Option<Map<String, Value>>,
    pub(crate) added_tokens: Option<Map<String, Value>>,
    pub(crate) config: Option<Map<String, Value>>,
}

/// The tokenizer of a folder; `None` where the folder has none.
///
/// # Errors
/// `Input` for files that contradict themselves or each other, `Unsupported` for a component that
/// this build does not know (the message names it), `Limit` for files past `limits`.
pub fn read_folder(folder: &Path, limits: &Limits) -> Result<Option<Tokenizer>> {
    let side = Side {
        tokenizer_config: read_object(folder, "tokenizer_config.json", limits)?,
        special_tokens_map: read_object(folder, "special_tokens_map.json", limits)?,
        added_tokens: read_object(folder, "added_tokens.json", limits)?,
        config: read_object(folder, "config.json", limits)?,
    };
    let model_path = folder.join("tokenizer.model");
    let mut tokenizer = if let Some(bytes) = read_file(folder, "tokenizer.json", limits)? {
        let path = folder.join("tokenizer.json");
        let raw = tokenizer_json::parse(&bytes, limits).in_file(&path)?;
        drop(bytes);
        let mut tokenizer = build::from_tokenizer_json(raw, &side, limits).in_file(&path)?;
        // Its merge rules are enough to tokenize; a file of scores wants the scores themselves.
        if tokenizer.model() == Model::ScoredBpe
            && let Some(bytes) = read_file(folder, "tokenizer.model", limits)?
        {
            sentencepiece::add_scores(&mut tokenizer, &bytes, &side, limits).in_file(&model_path)?;
        }
        tokenizer
    } else if let Some(bytes) = read_file(folder, "tokenizer.model", limits)? {
        sentencepiece::from_pieces(&bytes, &side, limits).in_file(&model_path)?
    } else if let Some(vocabulary) = read_file(folder, "vocab.json", limits)? {
        let path = folder.join("vocab.json");
        let merges = read_file(folder, "merges.txt", limits)?
            .ok_or_else(|| Error::input("there is no merges.txt beside vocab.json").in_file(&path))?;
        let raw = old_files::from_merges(&vocabulary, &merges, &side, limits).in_file(&path)?;
        build::from_tokenizer_json(raw, &side, limits).in_file(&path)?
    } else if let Some(lines) = read_file(folder, "vocab.txt", limits)? {
        let path = folder.join("vocab.txt");
        let raw = old_files::from_lines(&lines, &side, limits).in_file(&path)?;
        build::from_tokenizer_json(raw, &side, limits).in_file(&path)?
    } else {
        return Ok(None);
    };
    roles::add_roles(&mut tokenizer, &side).in_file(folder)?;
    tokenizer.templates = roles::chat_templates(folder, &side, limits)?;
    Ok(Some(tokenizer))
}

/// A tokenizer from the bytes of a `tokenizer.json` alone.
///
/// # Errors
/// As [`read_folder`].
pub fn from_json(bytes: &[u8], limits: &Limits) -> Result<Tokenizer> {
    Limits::check(bytes.len() as u64, limits.header_bytes, "bytes of the file")?;
    let side = Side::default();
    let mut tokenizer = build::from_tokenizer_json(tokenizer_json::parse(bytes, limits)?, &side, limits)?;
    roles::add_roles(&mut tokenizer, &side)?;
    Ok(tokenizer)
}

/// A tokenizer from the bytes of a `tokenizer.model` alone.
///
/// # Errors
/// As [`read_folder`].
pub fn from_sentencepiece(bytes: &[u8], limits: &Limits) -> Result<Tokenizer> {
    Limits::check(bytes.len() as u64, limits.header_bytes, "bytes of the file")?;
    sentencepiece::from_pieces(bytes, &Side::default(), limits)
}

/// The bytes of a file in a folder; `None` where it is not there.
fn read_file(folder: &Path, name: &str, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    let metadata = file.metadata().map_err(|e| Error::io("inspect", &path, e))?;
    if !metadata.is_file() {
        return Err(Error::input("this is not a regular file").in_file(&path));
    }
    Limits::check(metadata.len(), limits.header_bytes, "bytes of the file").in_file(&path)?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(limits.header_bytes).read_to_end(&mut bytes).map_err(|e| Error::io("read", &path, e))?;
    Ok(Some(bytes))
}

/// A JSON object in a folder; `None` where the file is not there.
fn read_object(folder: &Path, name: &str, limits: &Limits) -> Result<Option<Map<String, Value>>> {
    let Some(bytes) = read_file(folder, name, limits)? else { return Ok(None) };
    match json::parse(&bytes, limits).in_file(folder.join(name))? {
        Value::Object(map) => Ok(Some(map)),
        _ => Err(Error::input("this should be a JSON object").in_file(folder.join(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SpecialToken, llama};

    fn bundled_model() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/gravure-tiny")
    }

    #[test]
    fn reads_the_bundled_model() {
        let tokenizer = read_folder(&bundled_model(), &Limits::default()).unwrap().unwrap();
        assert_eq!(tokenizer.model(), Model::ByteLevelBpe);
        assert_eq!(tokenizer.vocabulary().len(), 4096);
        assert_eq!(tokenizer.merges().len(), 3838);
        assert_eq!(tokenizer.specials(), [(SpecialToken::Bos, 0), (SpecialToken::Eos, 1)]);
        assert_eq!((tokenizer.settings().add_bos, tokenizer.settings().add_eos), (Some(false), Some(false)));
        let written = llama::from_source(&tokenizer).unwrap();
        assert_eq!(written.settings().pre.as_deref(), Some("llama-bpe"));
        assert!(tokenizer.heap_bytes() < 300 * 4096);
    }

    #[test]
    fn a_folder_without_a_tokenizer_has_none() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert!(read_folder(&folder, &Limits::default()).unwrap().is_none());
    }
}
