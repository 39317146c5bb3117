//! What a model is called, how large it is, who made it: the `general.*` keys of a converted model.
//!
//! The rules are those of gguf-py's `metadata.py`, in its order: what the model card says comes
//! first, then what the configuration's `_name_or_path` says, then the name of the folder; the size
//! is counted where none of them gives it. A reader of folders leaves the card's front matter in the
//! model's metadata as it is, `generation_config.json` under `generation.`, and the configuration's
//! own name under `config._name_or_path`.

use gravure_core::{Metadata, Model, PackageTensor, Value};

use super::model_id::{ModelId, Weights, title};

/// Where the reader of a folder leaves the name that the configuration gives.
const CONFIGURED_NAME: &str = "config._name_or_path";
/// What stands before the keys of `generation_config.json`.
const GENERATION: &str = "generation.";

/// Keys of recommended sampling: ours, those of the source in order of preference, whether integer.
const SAMPLING: &[(&str, &[&str], Sampling)] = &[
    ("sequence", &["sequence"], Sampling::Text),
    ("top_k", &["top_k"], Sampling::Integer),
    ("top_p", &["top_p"], Sampling::Real),
    ("min_p", &["min_p"], Sampling::Real),
    ("xtc_probability", &["xtc_probability"], Sampling::Real),
    ("xtc_threshold", &["xtc_threshold"], Sampling::Real),
    ("temp", &["temperature"], Sampling::Real),
    ("penalty_last_n", &["penalty_last_n"], Sampling::Integer),
    ("penalty_repeat", &["penalty_repeat", "repetition_penalty"], Sampling::Real),
    ("mirostat", &["mirostat"], Sampling::Integer),
    ("mirostat_tau", &["mirostat_tau"], Sampling::Real),
    ("mirostat_eta", &["mirostat_eta"], Sampling::Real),
];

#[derive(Debug, Clone, Copy)]
enum Sampling {
    Text,
    Integer,
    Real,
}

/// Keys that are said once, after `general.`, and the card's keys for them in order of preference.
const SAID: &[(&str, &[&str])] = &[
    ("author", &["author", "model_author", "model_creator"]),
    ("version", &["version", "model_version"]),
    ("organization", &["organization", "model_organization"]),
    ("finetune", &["finetune", "model_finetune"]),
    ("basename", &["basename", "model_basename", "model_type"]),
    ("description", &["description", "model_description"]),
    ("size_label", &["size_label", "model_size_label"]),
    ("license", &["license"]),
    ("license.name", &["license_name"]),
    ("license.link", &["license_link"]),
    ("source.url", &["url", "model_url"]),
    ("source.doi", &["doi", "model_doi"]),
    ("source.uuid", &["uuid", "model_uuid"]),
    ("source.repo_url", &["repo_url", "model_repo_url"]),
];

/// The keys in order.
pub(crate) fn describe(model: &Model, tensors: &[PackageTensor]) -> Vec<(String, Value)> {
    let card = &model.metadata;
    let size = Size::of(tensors);
    let weights = if model.adapter.is_some() { Weights::Adapted(size.total) } else { Weights::Model(size.total) };
    let folder = folder_name(model);
    let ids = [card.get(CONFIGURED_NAME).and_then(Value::as_str).filter(|n| n.matches('/').count() <= 1), Some(folder.as_str())]
        .map(|id| id.map(|id| ModelId::parse(id, weights)).unwrap_or_default());
    let from_ids = |part: fn(&ModelId) -> &Option<String>| ids.iter().find_map(|id| part(id).clone());

    let mut out = sampling(card);
    let named = first_text(card, &["name", "model_name"]);
    let name = named.or_else(|| from_ids(|id| &id.name).map(|name| title(&name))).unwrap_or(folder);
    push_text(&mut out, "name", Some(name));
    for (key, sources) in SAID {
        let said = first_text(card, sources);
        let text = match *key {
            "version" => said.or_else(|| from_ids(|id| &id.version)),
            "organization" => said.or_else(|| from_ids(|id| &id.organization).map(|o| title(&o))),
            "finetune" => said.or_else(|| from_ids(|id| &id.finetune)),
            "basename" => said.or_else(|| from_ids(|id| &id.basename)),
            "size_label" => said.or_else(|| from_ids(|id| &id.size_label)).or_else(|| size.label().filter(|_| model.adapter.is_none())),
            _ => said,
        };
        push_text(&mut out, key, text);
    }
    push_relatives(&mut out, card, "base_model", &["base_model", "base_models", "base_model_sources"], weights);
    push_relatives(&mut out, card, "dataset", &["datasets", "dataset", "dataset_sources"], weights);
    push_list(&mut out, "tags", card, &["tags", "pipeline_tag"]);
    push_list(&mut out, "languages", card, &["languages", "language"]);
    out
}

fn folder_name(model: &Model) -> String {
    let path = &model.source.path;
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    let whole = folder.canonicalize().ok();
    whole.as_deref().unwrap_or(folder).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A scalar as text; a list joined by commas.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Strings(list) => Some(list.iter().collect::<Vec<_>>().join(",")),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::F32(_) | Value::F64(_) => value.as_f64().map(|v| v.to_string()),
        _ => value.as_u64().map(|v| v.to_string()),
    }
}

fn first_text(card: &Metadata, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| card.get(key).and_then(text_of))
}

fn strings_of(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Strings(list) => list.iter().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn push_text(out: &mut Vec<(String, Value)>, key: &str, text: Option<String>) {
    if let Some(text) = text.filter(|t| !t.is_empty()) {
        out.push((format!("general.{key}"), Value::String(text)));
    }
}

fn push_list(out: &mut Vec<(String, Value)>, key: &str, card: &Metadata, sources: &[&str]) {
    let list: Vec<String> = sources.iter().filter_map(|s| card.get(s)).flat_map(strings_of).collect();
    if !list.is_empty() {
        out.push((format!("general.{key}"), Value::Strings(list.into())));
    }
}

/// Models or data sets that this one was made from.
fn push_relatives(out: &mut Vec<(String, Value)>, card: &Metadata, kind: &str, sources: &[&str], weights: Weights) {
    let Some(value) = sources.iter().find_map(|s| card.get(s)) else { return };
    let ids = strings_of(value);
    out.push((format!("general.{kind}.count"), Value::U32(ids.len().try_into().unwrap_or(u32::MAX))));
    for (index, id) in ids.iter().enumerate() {
        let is_address = ["http://", "https://", "ssh://"].iter().any(|scheme| id.starts_with(scheme));
        let hub_id = if is_address { hub_id(id) } else { Some(id.as_str()) };
        let parsed = hub_id.map(|id| ModelId::parse(id, weights)).unwrap_or_default();
        let address = match (&parsed.organization, &parsed.name) {
            _ if is_address => Some(id.clone()),
            (Some(organization), Some(name)) => Some(format!("https://huggingface.co/{organization}/{name}")),
            _ => None,
        };
        push_text(out, &format!("{kind}.{index}.name"), parsed.name.as_deref().map(title));
        push_text(out, &format!("{kind}.{index}.version"), parsed.version);
        push_text(out, &format!("{kind}.{index}.organization"), parsed.organization.as_deref().map(title));
        push_text(out, &format!("{kind}.{index}.repo_url"), address);
    }
}

/// `organization/name` of an address at the hub.
fn hub_id(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?.strip_prefix("huggingface.co/")?;
    let (organization, name) = rest.split_once('/')?;
    (!organization.is_empty() && !name.is_empty() && !name.contains('/')).then_some(rest)
}

fn sampling(card: &Metadata) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    for (key, sources, kind) in SAMPLING {
        let Some(value) = sources.iter().find_map(|s| card.get(&format!("{GENERATION}{s}"))) else { continue };
        let value = match kind {
            Sampling::Text => value.as_str().filter(|t| !t.is_empty()).map(|t| Value::String(t.to_owned())),
            Sampling::Integer => value.as_f64().map(|v| Value::I32(v as i32)),
            Sampling::Real => value.as_f64().map(|v| Value::F32(v as f32)),
        };
        out.extend(value.map(|value| (format!("general.sampling.{key}"), value)));
    }
    out
}

/// Numbers of weights.
#[derive(Debug, Default)]
struct Size {
    total: u64,
    /// Outside the experts.
    shared: u64,
    /// Of one expert in all layers.
    expert: u64,
    /// Mean number of experts.
    experts: u64,
}

impl Size {
    fn of(tensors: &[PackageTensor]) -> Self {
        let mut out = Self::default();
        let (mut expert_sum, mut expert_tensors) = (0u64, 0u64);
        // Columns of the first half of an adapter's pair; the matrix that the pair changes is counted.
        let mut columns = None;
        for tensor in tensors {
            if tensor.name.ends_with(".lora_a") {
                columns = Some(tensor.shape.row_length());
                continue;
            }
            let changed = columns.take_if(|_| tensor.name.ends_with(".lora_b")).map(|columns| tensor.shape.rows().saturating_mul(columns));
            let size = changed.unwrap_or(tensor.shape.elements());
            let dimensions = tensor.shape.dimensions();
            // Experts are stacked along the third dimension from the end, or the second of a bias.
            let stacked = tensor.name.contains("_exps.") && dimensions.len() >= 3;
            let from_end = if tensor.name.contains(".bias") { 2 } else { 3 };
            match dimensions.len().checked_sub(from_end).and_then(|at| dimensions.get(at)).filter(|_| stacked) {
                Some(&count) if count > 0 => {
                    out.expert = out.expert.saturating_add(size / count);
                    expert_sum = expert_sum.saturating_add(count);
                    expert_tensors += 1;
                }
                _ => out.shared = out.shared.saturating_add(size),
            }
            out.total = out.total.saturating_add(size);
        }
        out.experts = expert_sum.checked_div(expert_tensors).unwrap_or(0);
        out
    }

    /// `7.3M`, `8x7B`; none where there are no weights.
    fn label(&self) -> Option<String> {
        match (self.total, self.experts) {
            (0, _) => None,
            (_, 0) => Some(rounded(self.total)),
            (_, experts) => Some(format!("{experts}x{}", rounded(self.shared.saturating_add(self.expert)))),
        }
    }
}

/// A number of weights with at least two digits and its unit.
fn rounded(count: u64) -> String {
    let count = count as f64;
    let (scaled, unit) = if count > 1e12 {
        (count * 1e-12, 'T')
    } else if count > 1e9 {
        (count * 1e-9, 'B')
    } else if count > 1e6 {
        (count * 1e-6, 'M')
    } else {
        (count * 1e-3, 'K')
    };
    let whole = scaled.round_ties_even().to_string();
    let digits = 2usize.saturating_sub(whole.trim_start_matches('0').len());
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_the_reference_does() {
        // Expected values were made by gguf-py's `model_weight_count_rounded_notation`.
        let cases = [
            (7_345_408, "7.3M"),
            (260_032, "260K"),
            (1_235_814_432, "1.2B"),
            (9_999_999_999, "10B"),
            (950, "1.0K"),
            (9_500, "10K"),
            (99_950_000, "100M"),
            (1_000_000, "1000K"),
            (2_500_000, "2.5M"),
            (46_702_792_704, "47B"),
        ];
        for (count, expected) in cases {
            assert_eq!(rounded(count), expected, "{count}");
        }
    }

    #[test]
    fn relatives_are_taken_apart() {
        let mut card = Metadata::new();
        card.set("base_model", Value::Strings(["org-x/Base-7B-v2", "https://huggingface.co/a/b", "plain"].into_iter().collect()));
        card.set("datasets", Value::String("https://example.org/d".into()));
        card.set("pipeline_tag", Value::String("text-generation".into()));
        card.set("tags", Value::Strings(["t"].into_iter().collect()));
        card.set("generation.temperature", Value::F64(0.6));
        card.set("generation.top_k", Value::I64(20));
        let mut out = sampling(&card);
        push_relatives(&mut out, &card, "base_model", &["base_model"], Weights::Model(0));
        push_relatives(&mut out, &card, "dataset", &["datasets"], Weights::Model(0));
        push_list(&mut out, "tags", &card, &["tags", "pipeline_tag"]);
        let text: Vec<String> = out.iter().map(|(k, v)| format!("{k} = {v:?}")).collect();
        let expected = [
            "general.sampling.top_k = I32(20)",
            "general.sampling.temp = F32(0.6)",
            "general.base_model.count = U32(3)",
            "general.base_model.0.name = String(\"Base 7B v2\")",
            "general.base_model.0.version = String(\"v2\")",
            "general.base_model.0.organization = String(\"Org X\")",
            "general.base_model.0.repo_url = String(\"https://huggingface.co/org-x/Base-7B-v2\")",
            "general.base_model.1.name = String(\"B\")",
            "general.base_model.1.organization = String(\"A\")",
            "general.base_model.1.repo_url = String(\"https://huggingface.co/a/b\")",
            "general.base_model.2.name = String(\"Plain\")",
            "general.dataset.count = U32(1)",
            "general.dataset.0.repo_url = String(\"https://example.org/d\")",
            "general.tags = Strings([\"t\", \"text-generation\"])",
        ];
        assert_eq!(text, expected);
    }
}
