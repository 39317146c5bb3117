//! What is in this model, and what would it weigh in each encoding?

use std::collections::BTreeMap;

use gravure_base::Result;
use gravure_core::{Metadata, Model, Note, Role, Value};
use serde::Serialize;

use crate::open::{OpenRequest, open};
use crate::{catalog, translate};

/// One tensor of a model.
#[derive(Debug, Clone, Serialize)]
pub struct TensorLine {
    /// Name in the source's spelling.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Encoding id.
    pub encoding: String,
    /// Encoded bytes.
    pub bytes: u64,
    /// What it is for, where that is known.
    pub role: Option<Role>,
    /// Layer, where it belongs to one.
    pub layer: Option<u32>,
}

/// Weights and bytes in one encoding.
#[derive(Debug, Clone, Serialize)]
pub struct EncodingShare {
    /// Encoding id.
    pub encoding: String,
    /// Tensors in it.
    pub tensors: usize,
    /// Weights in it.
    pub weights: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Size of the model if every matrix that can be were in one encoding.
#[derive(Debug, Clone, Serialize)]
pub struct WouldWeigh {
    /// Encoding id.
    pub encoding: String,
    /// Bits for each weight of the encoding itself.
    pub bits_per_weight: f64,
    /// Precision class: `ultra-low` (1-2 bits), `low` (3-4), `medium` (5-8), `high`.
    pub precision: &'static str,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Matrices whose rows do not fit its blocks and that were counted as they are.
    pub kept: usize,
}

/// What the tokenizer is like.
#[derive(Debug, Clone, Serialize)]
pub struct TokenizerSummary {
    /// Kind of model.
    pub model: String,
    /// Number of tokens.
    pub tokens: usize,
    /// Whether there is a chat template.
    pub chat_template: bool,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The path as given.
    pub path: String,
    /// Format id.
    pub format: String,
    /// Details of the format.
    pub format_detail: String,
    /// Architecture in the source's spelling.
    pub architecture: Option<String>,
    /// Whether this build has a file for the architecture.
    pub architecture_known: bool,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of all tensors as they are stored.
    pub tensor_bytes: u64,
    /// Bits for each weight.
    pub bits_per_weight: f64,
    /// Precision class of the whole.
    pub precision: &'static str,
    /// Share of each encoding.
    pub encodings: Vec<EncodingShare>,
    /// The tokenizer.
    pub tokenizer: Option<TokenizerSummary>,
    /// Hyperparameters by name.
    pub hyperparameters: BTreeMap<String, String>,
    /// Metadata, long arrays cut.
    pub metadata: Vec<(String, String)>,
    /// Every tensor.
    pub tensors: Vec<TensorLine>,
    /// What it would weigh in each encoding.
    pub would_weigh: Vec<WouldWeigh>,
    /// What was ignored or should be known.
    pub notes: Vec<Note>,
}

/// Reads everything but the weights and tells what is there.
///
/// # Errors
/// Whatever opening says.
pub fn inspect(request: &OpenRequest<'_>) -> Result<Inspection> {
    let model = open(request)?;
    let mut tensors = Vec::with_capacity(model.tensors.len());
    let mut shares: BTreeMap<String, EncodingShare> = BTreeMap::new();
    for tensor in &model.tensors {
        let (bytes, encoding) = (tensor.stored_bytes()?, tensor.stored_as());
        let share = shares.entry(encoding.clone()).or_insert_with(|| EncodingShare {
            encoding: encoding.clone(),
            tensors: 0,
            weights: 0,
            bytes: 0,
        });
        share.tensors += 1;
        share.weights += tensor.shape.elements();
        share.bytes += bytes;
        tensors.push(TensorLine {
            name: tensor.name.clone(),
            shape: tensor.shape.dimensions().to_vec(),
            encoding,
            bytes,
            role: tensor.id.map(|id| id.role),
            layer: tensor.id.and_then(|id| id.layer),
        });
    }
    let parameters = model.parameters();
    let tensor_bytes: u64 = tensors.iter().map(|t| t.bytes).sum();
    let bits = if parameters == 0 { 0.0 } else { tensor_bytes as f64 * 8.0 / parameters as f64 };
    let mut encodings: Vec<_> = shares.into_values().collect();
    encodings.sort_by_key(|s| std::cmp::Reverse(s.bytes));
    Ok(Inspection {
        path: request.path.display().to_string(),
        format: model.source.format.to_owned(),
        format_detail: model.source.detail.clone(),
        architecture: model.architecture_id.clone(),
        architecture_known: model.architecture.is_some(),
        parameters,
        tensor_bytes,
        bits_per_weight: bits,
        precision: precision_class(bits),
        encodings,
        tokenizer: model.tokenizer.as_ref().map(|t| TokenizerSummary {
            model: t.model().name().to_owned(),
            tokens: t.vocabulary().len(),
            chat_template: !t.chat_templates().is_empty(),
        }),
        hyperparameters: model.hyperparameters.iter().map(|(k, v)| (format!("{k:?}"), shown(v))).collect(),
        metadata: shown_metadata(&model.metadata),
        would_weigh: would_weigh(&model),
        tensors,
        notes: model.notes.clone(),
    })
}

/// The precision class of a number of bits for each weight.
fn precision_class(bits: f64) -> &'static str {
    match bits {
        b if b < 3.0 => "ultra-low (1-2 bits)",
        b if b < 5.0 => "low (3-4 bits)",
        b if b < 9.0 => "medium (5-8 bits)",
        _ => "high (16 bits and more)",
    }
}

/// Sizes with every matrix in each encoding that weights can be written in. Matrices are tensors of
/// two and more dimensions that are not norms or routers; the rest is counted as it is.
fn would_weigh(model: &Model) -> Vec<WouldWeigh> {
    let neutral = translate::to_neutral(model, catalog(), gravure_formats::neutral_name);
    let model = neutral.as_ref().unwrap_or(model);
    let mut out = Vec::new();
    for encoding in catalog().encodings.iter().filter(|e| !e.is_integer() && e.can_encode()) {
        let (mut bytes, mut kept) = (0u64, 0);
        for tensor in &model.tensors {
            let as_is = tensor.bytes().unwrap_or(0);
            let matrix = tensor.shape.dimensions().len() >= 2 && !tensor.encoding.is_integer();
            let row = encoding.row_bytes(tensor.shape.row_length()).ok();
            bytes += match row {
                Some(row) if matrix => row * tensor.shape.rows(),
                _ => {
                    kept += usize::from(matrix);
                    as_is
                }
            };
        }
        out.push(WouldWeigh {
            encoding: encoding.id().to_owned(),
            bits_per_weight: encoding.bits_per_weight(),
            precision: precision_class(encoding.bits_per_weight()),
            bytes,
            kept,
        });
    }
    out.sort_by(|a, b| a.bits_per_weight.total_cmp(&b.bits_per_weight));
    out
}

fn shown_metadata(metadata: &Metadata) -> Vec<(String, String)> {
    metadata.iter().map(|(k, v)| (k.to_owned(), shown(v))).collect()
}

/// A value for people: long texts and arrays are cut.
pub(crate) fn shown(value: &Value) -> String {
    fn list<T: std::fmt::Display>(items: impl ExactSizeIterator<Item = T>) -> String {
        let count = items.len();
        let head: Vec<String> = items.take(6).map(|item| item.to_string()).collect();
        let more = if count > 6 { format!(", ... {count} in all") } else { String::new() };
        format!("[{}{more}]", head.join(", "))
    }
    match value {
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::String(v) if v.chars().count() > 120 => {
            format!("{}... ({} characters)", v.chars().take(100).collect::<String>(), v.chars().count())
        }
        Value::String(v) => v.clone(),
        Value::U8s(v) => list(v.iter()),
        Value::I8s(v) => list(v.iter()),
        Value::U16s(v) => list(v.iter()),
        Value::I16s(v) => list(v.iter()),
        Value::U32s(v) => list(v.iter()),
        Value::I32s(v) => list(v.iter()),
        Value::F32s(v) => list(v.iter()),
        Value::Bools(v) => list(v.iter()),
        Value::Strings(v) => list(v.iter()),
        Value::U64s(v) => list(v.iter()),
        Value::I64s(v) => list(v.iter()),
        Value::F64s(v) => list(v.iter()),
        Value::Arrays(v) => format!("[{} arrays]", v.len()),
    }
}
