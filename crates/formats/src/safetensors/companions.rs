//! The small files beside the weights: configuration, generation defaults, pooling, model card,
//! tokenizer. Shared by every format that uses Hugging Face's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Error, Limits, ReadAt, Result, Texts};
use gravure_core::{Metadata, Note, ReadRequest, Value};
use gravure_text::Tokenizer;
use serde_json::Value as Json;

use super::{card, json};

/// Bytes of a model card that are looked at; front matter lies at its start.
const CARD_BYTES: u64 = 256 << 10;

/// Files that a tokenizer may be made of.
pub(crate) const TOKENIZER_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "chat_template.jinja",
    "chat_template.json",
];

/// What lies beside the weights.
#[derive(Debug, Default)]
pub(crate) struct Companions {
    /// The folder.
    pub(crate) root: PathBuf,
    /// Files that were read, in order.
    pub(crate) files: Vec<PathBuf>,
    /// `config.json`, with a pooling module's configuration added.
    pub(crate) config: Option<Json>,
    /// Model card and generation defaults.
    pub(crate) metadata: Metadata,
    /// The tokenizer, where there is one that was understood.
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    /// What was passed over.
    pub(crate) notes: Vec<Note>,
}

impl Companions {
    /// Reads the files that are there.
    pub(crate) fn read(root: &Path, request: &ReadRequest<'_>) -> Result<Self> {
        let mut out = Self { root: root.to_owned(), ..Self::default() };
        out.read_config(request.limits)?;
        out.read_card()?;
        if let Some(name) = out.config.as_ref().and_then(|c| c.get("_name_or_path")).and_then(Json::as_str) {
            out.metadata.set("config._name_or_path", Value::String(name.to_owned()));
        }
        out.read_generation(request.limits)?;
        out.read_tokenizer(request)?;
        Ok(out)
    }

    /// Only what describes the folder in words: the model card, the configured name, generation defaults.
    pub(crate) fn describing(root: &Path, request: &ReadRequest<'_>) -> Result<Self> {
        let mut out = Self { root: root.to_owned(), ..Self::default() };
        out.read_card()?;
        if let Some(path) = out.existing("config.json") {
            let config = json::read_file(&path, request.limits)?;
            if let Some(name) = config.get("_name_or_path").and_then(Json::as_str) {
                out.metadata.set("config._name_or_path", Value::String(name.to_owned()));
            }
        }
        out.read_generation(request.limits)?;
        Ok(out)
    }

    fn existing(&mut self, name: &str) -> Option<PathBuf> {
        let path = self.root.join(name);
        path.is_file().then(|| {
            self.files.push(path.clone());
            path
        })
    }

    fn read_config(&mut self, limits: &Limits) -> Result<()> {
        let Some(path) = self.existing("config.json") else { return Ok(()) };
        let mut config = json::read_file(&path, limits)?;
        let Json::Object(map) = &mut config else {
            return Err(Error::input("is not a JSON object").in_file(path));
        };
        if map.contains_key(gravure_core::contracts::POOLING_KEY) {
            return Err(Error::input("this key is reserved").at_item(gravure_core::contracts::POOLING_KEY).in_file(path));
        }
        if !map.contains_key("quantization_config")
            && let Some(quantization) = self.read_quantization(limits)?
        {
            map.insert("quantization_config".to_owned(), quantization);
        }
        if let Some(pooling) = self.read_pooling(limits)? {
            map.insert(gravure_core::contracts::POOLING_KEY.to_owned(), pooling);
        }
        self.config = Some(config);
        Ok(())
    }

    /// What AutoGPTQ and AutoAWQ wrote beside `config.json` before it had a place for it.
    fn read_quantization(&mut self, limits: &Limits) -> Result<Option<Json>> {
        for (name, method) in [("quantize_config.json", "gptq"), ("quant_config.json", "awq")] {
            let Some(path) = self.existing(name) else { continue };
            let Json::Object(mut map) = json::read_file(&path, limits)? else {
                return Err(Error::input("is not a JSON object").in_file(path));
            };
            map.entry("quant_method").or_insert_with(|| method.into());
            return Ok(Some(Json::Object(map)));
        }
        Ok(None)
    }

    /// The configuration of the pooling module that `modules.json` (sentence-transformers) names.
    fn read_pooling(&mut self, limits: &Limits) -> Result<Option<Json>> {
        let Some(path) = self.existing("modules.json") else { return Ok(None) };
        let modules = json::read_file(&path, limits)?;
        let text = |module: &Json, key: &str| module.get(key).and_then(Json::as_str).map(str::to_owned);
        let pooling = modules
            .as_array()
            .ok_or_else(|| Error::input("is not a JSON list").in_file(&path))?
            .iter()
            .find(|module| text(module, "type").is_some_and(|t| t.ends_with("Pooling")));
        let Some(module) = pooling else { return Ok(None) };
        let folder = text(module, "path").unwrap_or_default();
        let plain = !folder.is_empty() && !folder.starts_with('.') && !folder.contains(['/', '\\', ':', '\0']);
        if !plain {
            return Err(Error::input(format!("the pooling module leads to `{folder}`, which is not a plain folder name")).in_file(path));
        }
        let path = self.root.join(folder).join("config.json");
        let config = json::read_file(&path, limits)?;
        if !config.is_object() {
            return Err(Error::input("is not a JSON object").in_file(path));
        }
        self.files.push(path);
        Ok(Some(config))
    }

    fn read_card(&mut self) -> Result<()> {
        let Some(path) = self.existing("README.md") else { return Ok(()) };
        let file = gravure_base::FileReader::open(&path)?;
        let mut bytes = vec![0; file.len().min(CARD_BYTES) as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let card = card::parse(&String::from_utf8_lossy(&bytes));
        self.metadata = card.metadata;
        if !card.unread.is_empty() {
            self.notes
                .push(Note { subject: "README.md".into(), text: format!("front matter that was not read: {}", card.unread.join(", ")) });
        }
        Ok(())
    }

    /// Keys of `generation_config.json` under `generation.`; lists of numbers and strings are kept,
    /// nested objects are reported.
    fn read_generation(&mut self, limits: &Limits) -> Result<()> {
        let Some(path) = self.existing("generation_config.json") else { return Ok(()) };
        let config = json::read_file(&path, limits)?;
        let Json::Object(map) = config else {
            return Err(Error::input("is not a JSON object").in_file(path));
        };
        Limits::check(map.len() as u64, limits.metadata_entries.min(10_000), "keys").map_err(|e| e.in_file(&path))?;
        for (key, value) in &map {
            match to_value(value) {
                Some(value) => self.metadata.set(format!("generation.{key}"), value),
                None if value.is_null() => {}
                None => self.notes.push(Note { subject: format!("generation_config.json: {key}"), text: "its value was not read".into() }),
            }
        }
        Ok(())
    }

    fn read_tokenizer(&mut self, request: &ReadRequest<'_>) -> Result<()> {
        self.files.extend(TOKENIZER_FILES.iter().map(|name| self.root.join(name)).filter(|path| path.is_file()));
        match gravure_text::huggingface::read_folder(&self.root, request.limits) {
            Ok(tokenizer) => self.tokenizer = tokenizer.map(Arc::new),
            // Weights can be looked at without a tokenizer; a format that needs one refuses later.
            Err(error) if request.lenient && error.kind() == gravure_base::ErrorKind::Unsupported => {
                self.notes.push(Note { subject: "tokenizer".into(), text: format!("was not understood: {}", error.message()) });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A JSON scalar or a list of scalars of one kind.
fn to_value(json: &Json) -> Option<Value> {
    match json {
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::String(value) => Some(Value::String(value.clone())),
        Json::Number(number) => {
            number.as_i64().map(Value::I64).or_else(|| number.as_u64().map(Value::U64)).or_else(|| number.as_f64().map(Value::F64))
        }
        Json::Array(items) => {
            let strings: Option<Texts> = items.iter().map(Json::as_str).collect();
            let integers: Option<Vec<i64>> = items.iter().map(Json::as_i64).collect();
            let floats: Option<Vec<f64>> = items.iter().map(Json::as_f64).collect();
            integers.map(Value::I64s).or_else(|| floats.map(Value::F64s)).or_else(|| strings.map(Value::Strings))
        }
        Json::Null | Json::Object(_) => None,
    }
}
