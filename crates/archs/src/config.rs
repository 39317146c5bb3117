//! A typed reader of `config.json` that remembers what was read.
//!
//! Whoever reads a configuration asks for each key by name and type; at the end, [`Config::finish`]
//! names every key that nobody asked for and that is not on the one list of keys that cannot change
//! the computation. A setting that a tool does not know may change what the model computes, so that
//! passing over it silently would give a wrong model without a word. `lenient` turns these errors
//! into a list.
//!
//! Keys of nested objects are named with their path: `rope_scaling.factor`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use gravure_base::{Error, Result};
use serde_json::{Map, Value};

/// Keys that cannot change what a model computes: training, provenance, generation defaults, the
/// tokenizer's ids, and what the reader of the files looks at itself. Names that begin with `_` and
/// names that end with `_version` are harmless too.
const HARMLESS: &[&str] = &[
    // What the file is and who wrote it.
    "architectures",
    "model_type",
    "name_or_path",
    "auto_map",
    "custom_pipelines",
    "tokenizer_class",
    "transformers.js_config",
    "finetuning_task",
    "task_specific_params",
    "license",
    "language",
    "problem_type",
    "id2label",
    "label2id",
    // How the weights are stored: the reader of the files looks at it.
    "dtype",
    "torch_dtype",
    "quantization",
    "quantization_config",
    "use_bfloat16",
    "torchscript",
    // Training.
    "initializer_range",
    "initializer_factor",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "hidden_dropout",
    "hidden_dropout_prob",
    "classifier_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
    "gradient_checkpointing",
    "pretraining_tp",
    "num_labels",
    // How a run is set up.
    "use_cache",
    "attn_implementation",
    "use_flash_attn",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "chunk_size_feed_forward",
    // Token ids.
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
    "cls_token_id",
    "unk_token_id",
    "mask_token_id",
    "decoder_start_token_id",
    // Generation defaults.
    "bad_words_ids",
    "begin_suppress_tokens",
    "cache_implementation",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

fn is_harmless(key: &str) -> bool {
    key.starts_with('_') || key.ends_with("_version") || HARMLESS.contains(&key)
}

/// A type that a value of the configuration can have.
pub(crate) trait FromConfig: Sized {
    /// What a value should have been, for messages.
    const WANTED: &'static str;
    fn from_config(value: &Value) -> Option<Self>;
}

impl FromConfig for u64 {
    const WANTED: &'static str = "a number of things";
    fn from_config(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl FromConfig for f64 {
    const WANTED: &'static str = "a number";
    fn from_config(value: &Value) -> Option<Self> {
        value.as_f64().filter(|v| v.is_finite())
    }
}

impl FromConfig for bool {
    const WANTED: &'static str = "true or false";
    fn from_config(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromConfig for String {
    const WANTED: &'static str = "text";
    fn from_config(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl<T: FromConfig> FromConfig for Vec<T> {
    const WANTED: &'static str = "a list";
    fn from_config(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::from_config).collect()
    }
}

/// What a reading has seen so far, shared with the readers of nested objects.
#[derive(Debug, Default)]
struct Seen {
    /// Full paths of keys that were asked for.
    read: BTreeSet<String>,
    /// Objects that were opened: their keys are checked too.
    opened: Vec<(String, Vec<String>)>,
    /// What a lenient reading passed over.
    ignored: Vec<String>,
}

/// A configuration, or an object inside one.
#[derive(Debug, Clone)]
pub(crate) struct Config<'a> {
    object: &'a Map<String, Value>,
    /// Path of this object with a dot behind it, empty at the root.
    path: String,
    lenient: bool,
    seen: Rc<RefCell<Seen>>,
}

const LENIENT: &str = "if it does not matter for this model, go on with --lenient";

impl<'a> Config<'a> {
    /// A reader of the root object.
    pub(crate) fn new(value: &'a Value, lenient: bool) -> Result<Self> {
        let object = value.as_object().ok_or_else(|| Error::input("the configuration is not an object"))?;
        Ok(Self::open(object, String::new(), lenient, Rc::default()))
    }

    fn open(object: &'a Map<String, Value>, path: String, lenient: bool, seen: Rc<RefCell<Seen>>) -> Self {
        seen.borrow_mut().opened.push((path.clone(), object.keys().cloned().collect()));
        Self { object, path, lenient, seen }
    }

    /// The value under `key`, where there is one; `null` is none.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a Value> {
        self.seen.borrow_mut().read.insert(format!("{}{key}", self.path));
        self.object.get(key).filter(|v| !v.is_null())
    }

    /// A value that may be absent or `null`.
    pub(crate) fn optional<T: FromConfig>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        match T::from_config(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::input(format!("is {}, and should be {}", shorten(value), T::WANTED)).at_item(self.name(key))),
        }
    }

    /// A value that must be there.
    pub(crate) fn required<T: FromConfig>(&self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| Error::input("the configuration does not say it").at_item(self.name(key)))
    }

    /// A value with the default that the architecture's authors gave it.
    pub(crate) fn or<T: FromConfig>(&self, key: &str, default: T) -> Result<T> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// The number that keeps a norm from dividing by zero.
    pub(crate) fn epsilon(&self, key: &str, default: f64) -> Result<f64> {
        let value = self.or(key, default)?;
        if (0.0..1.0).contains(&value) {
            return Ok(value);
        }
        Err(Error::input(format!("is {value}, and should be a small positive number")).at_item(self.name(key)))
    }

    /// A value whose absence means `default` and whose `null` means none.
    pub(crate) fn nullable<T: FromConfig>(&self, key: &str, default: T) -> Result<Option<T>> {
        match self.object.get(key) {
            None => Ok(Some(self.or(key, default)?)),
            Some(_) => self.optional(key),
        }
    }

    /// The nested object under `key`; an empty one counts as absent.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Config<'a>>> {
        match self.raw(key) {
            None => Ok(None),
            Some(Value::Object(object)) if object.is_empty() => Ok(None),
            Some(Value::Object(object)) => {
                Ok(Some(Self::open(object, format!("{}{key}.", self.path), self.lenient, Rc::clone(&self.seen))))
            }
            Some(other) => Err(Error::input(format!("is {}, and should be an object", shorten(other))).at_item(self.name(key))),
        }
    }

    /// A setting of which only `allowed` is understood; absent counts as allowed.
    pub(crate) fn only<T: FromConfig + PartialEq + std::fmt::Debug>(&self, key: &str, allowed: &[T]) -> Result<()> {
        match self.optional::<T>(key)? {
            Some(value) if !allowed.contains(&value) => self.unsupported(key, format!("{value:?} is not known here")),
            _ => Ok(()),
        }
    }

    /// Refuses the value of a key that was understood to be something that we cannot do, or records
    /// it where the reading is lenient.
    pub(crate) fn unsupported(&self, key: &str, why: impl Into<String>) -> Result<()> {
        let why = why.into();
        if !self.lenient {
            return Err(Error::unsupported(why).at_item(self.name(key)).help(LENIENT));
        }
        self.seen.borrow_mut().ignored.push(format!("{}: {why}", self.name(key)));
        Ok(())
    }

    /// The full name of a key.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// Names the keys that nobody read. Returns what was passed over.
    pub(crate) fn finish(&self) -> Result<Vec<String>> {
        let mut seen = self.seen.borrow_mut();
        let mut unread = Vec::new();
        for (path, keys) in &seen.opened {
            for key in keys {
                let name = format!("{path}{key}");
                if !seen.read.contains(&name) && !is_harmless(key) {
                    unread.push(name);
                }
            }
        }
        if unread.is_empty() {
            return Ok(seen.ignored.clone());
        }
        if !self.lenient {
            let message = match unread.len() {
                1 => "a key of the configuration is not known, and may change what the model computes",
                _ => "keys of the configuration are not known, and may change what the model computes",
            };
            return Err(Error::unsupported(message).at_item(unread.join(", ")).help(LENIENT));
        }
        seen.ignored.extend(unread.into_iter().map(|name| format!("{name}: not known, ignored")));
        Ok(seen.ignored.clone())
    }
}

/// A value for a message, cut where it is long.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 {
        return text;
    }
    let start: String = text.chars().take(37).collect();
    format!("{start}...")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unread_keys_are_named_and_harmless_ones_are_not() {
        let value = json!({"a": 1, "_b": 2, "transformers_version": "5", "zz": {}, "inner": {"c": 1, "d": 2}});
        let config = Config::new(&value, false).unwrap();
        assert_eq!(config.required::<u64>("a").unwrap(), 1);
        let inner = config.object("inner").unwrap().unwrap();
        assert_eq!(inner.required::<u64>("d").unwrap(), 2);
        let error = config.finish().unwrap_err();
        assert_eq!(error.item(), Some("zz, inner.c"));
        assert!(error.help_text().unwrap().contains("--lenient"));

        let config = Config::new(&value, true).unwrap();
        assert_eq!(config.finish().unwrap().len(), 3);
    }

    #[test]
    fn types_are_checked() {
        let value = json!({"n": -1, "x": "text", "list": [1, "2"], "null": null, "o": 3});
        let config = Config::new(&value, false).unwrap();
        assert_eq!(config.required::<u64>("n").unwrap_err().item(), Some("n"));
        assert!(config.required::<f64>("x").is_err());
        assert!(config.required::<Vec<u64>>("list").is_err());
        assert_eq!(config.optional::<u64>("null").unwrap(), None);
        assert!(config.required::<u64>("null").is_err());
        assert!(config.object("o").is_err());
        assert!(Config::new(&json!([]), false).is_err());
    }

    #[test]
    fn unknown_values_are_refused_or_recorded() {
        let value = json!({"act": "relu"});
        let config = Config::new(&value, false).unwrap();
        assert!(config.only("act", &["silu".to_owned()]).is_err());
        let config = Config::new(&value, true).unwrap();
        config.only("act", &["silu".to_owned()]).unwrap();
        assert_eq!(config.finish().unwrap(), ["act: \"relu\" is not known here"]);
    }
}
