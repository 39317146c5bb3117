//! What a written folder consists of: the copied files, the shards, their headers, the exact sizes.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use gravure_base::Limits;
use gravure_core::{Error, Naming, Package, PackageTensor, Result, Value, WriteRequest};
use serde_json::{Map, Value as Json, json};

use super::companions::TOKENIZER_FILES;
use super::{dtype, json};

/// Files that go along unchanged, besides those of the tokenizer.
const OTHER_FILES: &[&str] = &[
    "generation_config.json",
    "preprocessor_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "README.md",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
    "NOTICE.txt",
];

/// Key of a header's metadata that says whose tensors they are; transformers refuses a file without it.
const FRAMEWORK_KEY: &str = "format";

/// Keys of `config.json` that describe how the source was quantized; the output is not.
const QUANTIZATION_KEYS: &[&str] = &["quantization_config", "quantization", "compression_config"];

/// A file of the output.
#[derive(Debug)]
pub(super) enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A copy of this file, of this length.
    Copy(PathBuf, u64),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Copy(_, length) => *length,
        }
    }
}

/// One safetensors file of the output.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) name: String,
    /// Length prefix and JSON.
    pub(super) header: Vec<u8>,
    /// Tensors of the package in the order of their bytes.
    pub(super) order: Vec<usize>,
    /// Bytes of the tensors.
    pub(super) data_bytes: u64,
}

/// The whole output.
#[derive(Debug)]
pub(super) struct Outline {
    /// Everything but the shards: relative name and content.
    pub(super) files: Vec<(String, Content)>,
    pub(super) shards: Vec<Shard>,
    /// Bytes of each tensor of the package.
    pub(super) sizes: Vec<u64>,
}

/// Whether the target is one bare file instead of a folder.
pub(super) fn is_bare(target: &Path) -> bool {
    target.extension().is_some_and(|e| e == "safetensors")
}

/// Whether an entry of an existing folder is one that this writer makes, so that the folder may be
/// replaced.
pub(super) fn is_ours(name: &str) -> bool {
    let weights = name.strip_prefix("model").is_some_and(|rest| {
        rest == ".safetensors" || rest == ".safetensors.index.json" || rest.strip_suffix(".safetensors").is_some_and(is_shard_number)
    });
    weights || name == "config.json" || name == "1_Pooling" || TOKENIZER_FILES.contains(&name) || OTHER_FILES.contains(&name)
}

/// `-00001-of-00002`.
fn is_shard_number(text: &str) -> bool {
    let number = |n: &str| n.len() >= 5 && n.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('-').and_then(|t| t.split_once("-of-")).is_some_and(|(a, b)| number(a) && number(b))
}

impl Outline {
    pub(super) fn new(package: &Package<'_>, request: &WriteRequest) -> Result<Self> {
        check_tensors(package)?;
        let sizes: Vec<u64> = package.tensors.iter().map(PackageTensor::bytes).collect::<Result<_>>()?;
        let total = sizes.iter().try_fold(0u64, |sum, &n| sum.checked_add(n));
        let total = total.filter(|&n| n <= i64::MAX as u64).ok_or_else(|| Error::input("the tensors together are impossibly large"))?;
        let ranges = request.divide(&sizes);
        let bare = is_bare(&request.path);
        if bare && ranges.len() > 1 {
            return Err(Error::request(format!("{} files are needed, but the output is one file", ranges.len()))
                .in_file(&request.path)
                .help("name a folder, or leave the size unlimited"));
        }
        let count = ranges.len();
        let shards = ranges
            .into_iter()
            .enumerate()
            .map(|(index, range)| {
                let name = match (bare, count) {
                    (true, _) => request.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
                    (false, 1) => "model.safetensors".to_owned(),
                    (false, _) => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
                };
                shard(name, range, package, if index == 0 { metadata(package)? } else { Map::new() }, &sizes)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut files = Vec::new();
        if !bare {
            files = companions(package)?;
            if count > 1 {
                files.push(("model.safetensors.index.json".to_owned(), Content::Bytes(index(package, &shards, total)?)));
            }
        }
        Ok(Self { files, shards, sizes })
    }

    /// Names and exact sizes.
    pub(super) fn layout(&self) -> Vec<(String, u64)> {
        let files = self.files.iter().map(|(name, content)| (name.clone(), content.len()));
        files.chain(self.shards.iter().map(|s| (s.name.clone(), s.header.len() as u64 + s.data_bytes))).collect()
    }
}

fn check_tensors(package: &Package<'_>) -> Result<()> {
    if package.naming != Naming::HuggingFace {
        return Err(Error::unsupported("the tensors do not have Hugging Face's names"));
    }
    let mut names = HashSet::with_capacity(package.tensors.len());
    for tensor in &package.tensors {
        let at = |error: Error| Err(error.at_item(&*tensor.name));
        if tensor.name.is_empty() || tensor.name == "__metadata__" {
            return at(Error::unsupported("safetensors cannot hold a tensor of this name"));
        }
        if !names.insert(&tensor.name) {
            return at(Error::input("two tensors of the output have the same name"));
        }
        if dtype::tag(tensor.encoding).is_none() {
            let message = format!("safetensors has no element type for {}", tensor.encoding.id());
            return at(Error::unsupported(message).help("choose f32, f16 or bf16"));
        }
    }
    Ok(())
}

/// Bytes of an element of a tensor: every encoding that has a tag has blocks of one element.
fn element_bytes(tensor: &PackageTensor) -> u64 {
    tensor.encoding.layout().block_bytes as u64
}

/// What the user set, as the first shard's header holds it: texts by their keys.
fn metadata(package: &Package<'_>) -> Result<Map<String, Json>> {
    let mut texts = Map::new();
    for (key, value) in package.overrides.iter() {
        let text = match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::F32(_) | Value::F64(_) => value.as_f64().map(|number| number.to_string()),
            Value::I8(_) | Value::I16(_) | Value::I32(_) | Value::I64(_) => value.as_f64().map(|number| format!("{number:.0}")),
            _ => value.as_u64().map(|number| number.to_string()),
        };
        let Some(text) = text.filter(|_| key != FRAMEWORK_KEY) else {
            return Err(Error::request("safetensors' metadata cannot hold this").at_item(key).help("texts and numbers go there"));
        };
        texts.insert(key.to_owned(), Json::String(text));
    }
    Ok(texts)
}

fn shard(name: String, range: Range<usize>, package: &Package<'_>, mut metadata: Map<String, Json>, sizes: &[u64]) -> Result<Shard> {
    let tensors = &package.tensors;
    let mut order: Vec<usize> = range.collect();
    // Readers view the bytes as numbers in place, so each tensor must start at a multiple of its
    // element. In the package's order that nearly always holds; otherwise wide elements go first.
    let mut at = 0;
    let aligned = order.iter().all(|&i| {
        let fits = at % element_bytes(&tensors[i]) == 0;
        at += sizes[i];
        fits
    });
    if !aligned {
        order.sort_by_key(|&i| std::cmp::Reverse(element_bytes(&tensors[i])));
    }
    let mut header = Map::new();
    metadata.insert(FRAMEWORK_KEY.to_owned(), "pt".into());
    header.insert("__metadata__".to_owned(), Json::Object(metadata));
    let mut at = 0;
    for &i in &order {
        let tensor = &tensors[i];
        let tag = dtype::tag(tensor.encoding).ok_or_else(|| Error::bug("a tensor without an element type"))?;
        header.insert(tensor.name.clone(), json!({"dtype": tag, "shape": tensor.shape.dimensions(), "data_offsets": [at, at + sizes[i]]}));
        at += sizes[i];
    }
    let mut text = serde_json::to_vec(&Json::Object(header)).map_err(|e| Error::bug(format!("the header: {e}")))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let header = [&(text.len() as u64).to_le_bytes()[..], &text].concat();
    Ok(Shard { name, header, order, data_bytes: at })
}

fn index(package: &Package<'_>, shards: &[Shard], total: u64) -> Result<Vec<u8>> {
    let mut map = BTreeMap::new();
    for shard in shards {
        map.extend(shard.order.iter().map(|&i| (package.tensors[i].name.clone(), shard.name.clone())));
    }
    pretty(&json!({"metadata": {"total_size": total}, "weight_map": map}))
}

fn pretty(value: &Json) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::bug(format!("JSON: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The source's files beside the weights, `config.json` adjusted.
fn companions(package: &Package<'_>) -> Result<Vec<(String, Content)>> {
    let source = &package.model.source;
    let root = &source.path;
    let config = root.join("config.json");
    if !config.is_file() {
        if package.model.architecture_id.is_some() {
            let message = format!("config.json cannot be rebuilt from a source in the format {} yet", source.format);
            return Err(Error::unsupported(message)
                .in_file(root)
                .help("convert from the Hugging Face folder, or name a .safetensors file"));
        }
        return Ok(Vec::new());
    }
    if package.pruned_layers > 0 {
        return Err(Error::unsupported(
            "a pruned model cannot be written as a Hugging Face folder yet: its config.json would claim the layers that are gone",
        ));
    }
    let mut out = vec![("config.json".to_owned(), Content::Bytes(adjusted_config(&config, package)?))];
    let mut names: Vec<String> = TOKENIZER_FILES.iter().chain(OTHER_FILES).map(|&n| n.to_owned()).collect();
    // The pooling module's configuration, in a folder of its own.
    let pooling = source.files.iter().filter_map(|f| f.strip_prefix(root).ok()?.to_str()).find(|n| *n == "1_Pooling/config.json");
    names.extend(pooling.map(str::to_owned));
    for name in names {
        let path = root.join(&name);
        if path.is_file() {
            let length = std::fs::metadata(&path).map_err(|e| Error::io("inspect the file", &path, e))?.len();
            out.push((name, Content::Copy(path, length)));
        }
    }
    Ok(out)
}

/// The configuration with the element type of the output, and without the source's quantization.
fn adjusted_config(path: &Path, package: &Package<'_>) -> Result<Vec<u8>> {
    let mut config = json::read_file(path, &Limits::default())?;
    let Json::Object(map) = &mut config else {
        return Err(Error::input("is not a JSON object").in_file(path));
    };
    for key in QUANTIZATION_KEYS {
        map.shift_remove(*key);
    }
    if let Some(name) = main_type(&package.tensors)? {
        // transformers 4 writes `torch_dtype`, transformers 5 `dtype`, and each reads both.
        let key = if map.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        map.insert(key.to_owned(), Json::String(name.to_owned()));
    }
    pretty(&config)
}

/// The floating-point type that most bytes have.
fn main_type(tensors: &[PackageTensor]) -> Result<Option<&'static str>> {
    let mut bytes: BTreeMap<&'static str, u64> = BTreeMap::new();
    for tensor in tensors {
        if let Some(name) = dtype::torch_name(tensor.encoding) {
            *bytes.entry(name).or_default() += tensor.bytes()?;
        }
    }
    Ok(bytes.into_iter().max_by_key(|(_, n)| *n).map(|(name, _)| name))
}
