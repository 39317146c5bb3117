//! The metadata of an output, in the order in which llama.cpp's tools leave it.
//!
//! - From a GGUF, as `llama-quantize` does: the source's pairs in their order without `split.*`;
//!   then the quantization version and the file type, what the user set, and where the importance
//!   came from, each moved to the end.
//! - From anything else, as `convert_hf_to_gguf.py` does: architecture, type, the `general.*` keys,
//!   hyperparameters with the file type at its place among them, quantization version, tokenizer;
//!   then, where the tensors are quantized, as if `llama-quantize` had run on that file.
//!
//! Values of the source are borrowed: a vocabulary is not copied to be written.

use std::borrow::Cow;

use gravure_core::{Error, HyperKey, Metadata, Package, Result, Value};

use super::read::ARCHITECTURE_KEY;
use super::{adapter, general, hyper_keys, shards, tokenizer};

pub(crate) const TYPE_KEY: &str = "general.type";
const QUANTIZATION_VERSION_KEY: &str = "general.quantization_version";
/// Version of the block layouts, `GGML_QNT_VERSION`.
const QUANTIZATION_VERSION: u32 = 2;
const FILE_TYPE_KEY: &str = "general.file_type";
/// Hyperparameters with such a key stand with the tokenizer, behind the others.
const TOKENIZER_PREFIX: &str = "tokenizer.";
const IMPORTANCE_FILE_KEY: &str = "quantize.imatrix.file";
const IMPORTANCE_DATASET_KEY: &str = "quantize.imatrix.dataset";
const IMPORTANCE_ENTRIES_KEY: &str = "quantize.imatrix.entries_count";
const IMPORTANCE_CHUNKS_KEY: &str = "quantize.imatrix.chunks_count";

/// File types that the converter writes itself: F32, F16, BF16.
const CONVERTED_TYPES: &[u32] = &[0, 1, 32];

/// Which tool's result is matched in order and in the number of dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The converter's.
    Converted,
    /// The quantizer's.
    Quantized,
}

impl Manner {
    /// The manner of a package.
    pub(crate) fn of(package: &Package<'_>) -> Self {
        if package.model.adapter.is_some() {
            return Self::Converted;
        }
        let converted = package.model.source.format != "gguf" && package.file_type.is_none_or(|t| CONVERTED_TYPES.contains(&t));
        if converted { Self::Converted } else { Self::Quantized }
    }
}

/// Ordered pairs with unique keys, values borrowed where they can be.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, Value>)>);

impl<'a> Pairs<'a> {
    /// Removes the key where it is, and adds it at the end: what `gguf_set_val_*` does.
    pub(crate) fn set(&mut self, key: impl Into<Cow<'a, str>>, value: Value) {
        let key = key.into();
        self.remove(&key);
        self.0.push((key, Cow::Owned(value)));
    }

    fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }

    fn borrow_all(&mut self, metadata: &'a Metadata) {
        self.0.extend(metadata.iter().map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value))));
    }

    /// The value under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| &**v)
    }

    /// Pairs in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(k, v)| (&**k, &**v))
    }
}

/// All pairs of the first (or only) file, apart from those of a split.
pub(crate) fn assemble<'a>(package: &'a Package<'a>) -> Result<Pairs<'a>> {
    let model = package.model;
    let mut pairs = Pairs::default();
    if model.source.format == "gguf" {
        pairs.borrow_all(&model.metadata);
        for key in [shards::NUMBER_KEY, shards::COUNT_KEY, shards::TENSORS_KEY] {
            pairs.remove(key);
        }
    } else {
        convert(package, &mut pairs)?;
    }
    if Manner::of(package) == Manner::Quantized
        && let Some(file_type) = package.file_type
    {
        pairs.set(QUANTIZATION_VERSION_KEY, Value::U32(QUANTIZATION_VERSION));
        pairs.set(FILE_TYPE_KEY, Value::U32(file_type));
    }
    let layers = if package.pruned_layers > 0 { Some(layers_left(package, &pairs)?) } else { None };
    for (key, value) in package.overrides.iter() {
        pairs.set(key.to_owned(), value.clone());
    }
    set_importance(package, &mut pairs);
    if let Some((key, left)) = layers {
        pairs.set(key, left);
    }
    Ok(pairs)
}

/// The number of layers that pruning leaves of those that the source has, whatever the user says their number is.
fn layers_left(package: &Package<'_>, pairs: &Pairs<'_>) -> Result<(String, Value)> {
    let key = hyper_keys::key_of(HyperKey::BlockCount, architecture(package)?).unwrap_or_default();
    let layers = pairs.get(&key).and_then(Value::as_u64).ok_or_else(|| Error::input("the model does not say its layers").at_item(&*key))?;
    let left = layers.checked_sub(package.pruned_layers.into()).and_then(|n| u32::try_from(n).ok());
    Ok((key, Value::U32(left.ok_or_else(|| Error::input("more layers are left out than there are"))?)))
}

fn architecture<'a>(package: &'a Package<'_>) -> Result<&'a str> {
    let model = package.model;
    model
        .architecture
        .map(|a| a.id())
        .or(model.architecture_id.as_deref())
        .ok_or_else(|| Error::unsupported("the model does not say its architecture, which a GGUF must name"))
}

/// The converter's keys.
fn convert<'a>(package: &'a Package<'a>, pairs: &mut Pairs<'a>) -> Result<()> {
    let model = package.model;
    let architecture = architecture(package)?;
    pairs.set(ARCHITECTURE_KEY, Value::String(architecture.to_owned()));
    if let Some(facts) = &model.adapter {
        // No hyperparameters and no tokenizer: those of the base model count.
        adapter::kind_keys(facts).into_iter().for_each(|(key, value)| pairs.set(key, value));
        general::describe(model, &package.tensors).into_iter().for_each(|(key, value)| pairs.set(key, value));
        adapter::own_keys(facts).into_iter().for_each(|(key, value)| pairs.set(key, value));
        pairs.set(QUANTIZATION_VERSION_KEY, Value::U32(QUANTIZATION_VERSION));
        return Ok(());
    }
    pairs.set(TYPE_KEY, Value::String("model".to_owned()));
    for (key, value) in general::describe(model, &package.tensors) {
        pairs.set(key, value);
    }
    let mut keys = hyper_keys::write(&model.hyperparameters, architecture)?;
    let file_type = package.file_type.filter(|t| CONVERTED_TYPES.contains(t)).unwrap_or(0);
    for (key, value) in keys.extract_if(.., |(key, _)| !key.starts_with(TOKENIZER_PREFIX)) {
        let is_file_type = key == FILE_TYPE_KEY;
        pairs.set(key, if is_file_type { Value::U32(file_type) } else { value });
    }
    pairs.set(QUANTIZATION_VERSION_KEY, Value::U32(QUANTIZATION_VERSION));
    for (key, value) in keys {
        pairs.set(key, value);
    }
    if let Some(tokenizer) = &model.tokenizer {
        let mut keys = Metadata::new();
        tokenizer::write(tokenizer, &mut keys)?;
        for (key, value) in keys {
            pairs.set(key, value);
        }
    }
    Ok(())
}

/// Where the importance came from.
fn set_importance(package: &Package<'_>, pairs: &mut Pairs<'_>) {
    let Some(importance) = package.importance.filter(|i| !i.entries.is_empty()) else { return };
    pairs.set(IMPORTANCE_FILE_KEY, Value::String(importance.path.to_string_lossy().into_owned()));
    if let Some(dataset) = importance.datasets.first() {
        pairs.set(IMPORTANCE_DATASET_KEY, Value::String(dataset.clone()));
    }
    pairs.set(IMPORTANCE_ENTRIES_KEY, Value::U32(importance.entries.len().try_into().unwrap_or(u32::MAX)));
    if importance.chunk_count > 0 {
        pairs.set(IMPORTANCE_CHUNKS_KEY, Value::U32(importance.chunk_count.try_into().unwrap_or(u32::MAX)));
    }
}
