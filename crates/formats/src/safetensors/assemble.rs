//! From tensors and a configuration to a model.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use gravure_base::{Error, ErrorKind, Result};
use gravure_core::values::Source;
use gravure_core::{
    Architecture, Catalog, HyperKey, Hyperparameters, Model, Naming, Note, ReadRequest, Role, Tensor, TensorId, TensorMap, Transform,
};
use serde_json::Value as Json;

use super::{Companions, quantized};

/// Rows of the output matrix are compared with the embedding's in pieces of this many bytes.
const COMPARE_BYTES: u64 = 1 << 20;

/// Everything that a model in Hugging Face's naming is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Id of the format that read the tensors.
    pub(crate) format: &'static str,
    /// Format details for people.
    pub(crate) detail: String,
    /// Files of the weights.
    pub(crate) files: Vec<PathBuf>,
    /// What lies beside them; `None` for a bare file.
    pub(crate) companions: Option<Companions>,
    /// Tensors in file order.
    pub(crate) tensors: Vec<Tensor>,
    /// What was passed over.
    pub(crate) notes: Vec<Note>,
}

/// Finds the architecture, gives every tensor its identity, and checks that none is missing.
pub(crate) fn assemble(parts: Parts, request: &ReadRequest<'_>) -> Result<Model> {
    let Parts { format, detail, mut files, companions, tensors, mut notes } = parts;
    let companions = companions.unwrap_or_default();
    files.splice(0..0, companions.files);
    notes.extend(companions.notes);
    let mut model = Model {
        source: Source { format, detail, path: request.path.to_owned(), files, file_tensors: Vec::new() },
        architecture_id: None,
        architecture: None,
        naming: Naming::HuggingFace,
        hyperparameters: Hyperparameters::new(),
        metadata: companions.metadata,
        tokenizer: companions.tokenizer,
        graph: None,
        adapter: None,
        tensors,
        notes,
    };
    let Some(mut config) = companions.config else { return Ok(model) };
    let in_config = |e: Error| e.in_file(companions.root.join("config.json"));
    let stored = std::mem::take(&mut model.tensors);
    let presented = quantized::present(&mut config, stored, request.catalog, request.lenient, &mut model.notes).map_err(in_config)?;
    model.tensors = presented.tensors;
    let (name, architecture) = find_architecture(&config, request.catalog).map_err(in_config)?;
    model.architecture_id = name;
    let Some(architecture) = architecture else {
        if let Some(name) = &model.architecture_id {
            let text = "no architecture file knows it: its tensors have no roles, and it can only be inspected".to_owned();
            model.notes.push(Note { subject: name.clone(), text });
        }
        return Ok(model);
    };
    model.architecture_id = Some(architecture.id().to_owned());
    model.architecture = Some(architecture);
    model.hyperparameters = architecture.configure(&config, request.lenient).map_err(in_config)?;
    let passed_over = model.hyperparameters.ignored().iter();
    model.notes.extend(passed_over.map(|text| Note { subject: "config.json".into(), text: text.clone() }));
    let map = architecture.tensor_map(&model.hyperparameters).map_err(in_config)?;
    identify(&mut model, &map, &presented.linear, request.lenient)?;
    untie(&mut model)?;
    check_complete(&mut model, &map, request.lenient)?;
    model.graph = Some(architecture.graph(&model.hyperparameters).map_err(in_config)?);
    Ok(model)
}

/// A model of a folder's configuration and tokenizer alone, its weights read or not there.
///
/// # Errors
/// `NotFound` for a folder without a configuration, `Unsupported` for one that no architecture's file understands.
pub(crate) fn configuration(format: &'static str, request: &ReadRequest<'_>) -> Result<Model> {
    if !request.path.join("config.json").is_file() {
        return Err(Error::new(ErrorKind::NotFound, "has no config.json").help("name a folder of a Hugging Face model"));
    }
    let mut companions = Companions::read(request.path, request)?;
    // How its weights are stored does not matter.
    if let Some(config) = &mut companions.config {
        quantized::forget(config);
    }
    let config = companions.config.take();
    let parts = Parts {
        format,
        detail: "configuration".into(),
        files: Vec::new(),
        companions: Some(companions),
        tensors: Vec::new(),
        notes: Vec::new(),
    };
    let mut model = assemble(parts, request)?;
    let Some(config) = config else { return Ok(model) };
    let (name, architecture) = find_architecture(&config, request.catalog)?;
    model.architecture_id = architecture.map(|a| a.id().to_owned()).or(name);
    model.architecture = architecture;
    if let Some(architecture) = architecture {
        model.hyperparameters = architecture.configure(&config, request.lenient)?;
    }
    Ok(model)
}

type Found = (Option<String>, Option<&'static dyn Architecture>);

/// By class name first, because one model type has several classes, then by model type.
fn find_architecture(config: &Json, catalog: &Catalog) -> Result<Found> {
    let model_type = match config.get("model_type") {
        None | Some(Json::Null) => None,
        Some(Json::String(name)) => Some(name.clone()),
        Some(_) => return Err(Error::input("is not a string").at_item("model_type")),
    };
    let classes: Vec<&str> = match config.get("architectures") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(items)) => items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| Error::input("is not a list of strings").at_item("architectures")))
            .collect::<Result<_>>()?,
        Some(_) => return Err(Error::input("is not a list of strings").at_item("architectures")),
    };
    let known = classes.iter().copied().chain(model_type.as_deref()).find_map(|name| catalog.architecture(name));
    let name = model_type.or_else(|| classes.first().map(|&class| class.to_owned()));
    Ok((name, known))
}

/// Gives each tensor its identity; drops those that carry nothing. Matrices that are in `linear` lie the way around of a
/// linear map: where the architecture stores its floats the other way, they are turned into that.
fn identify(model: &mut Model, map: &TensorMap, linear: &HashSet<String>, lenient: bool) -> Result<()> {
    let mut unknown = Vec::new();
    let mut seen: HashMap<TensorId, String> = HashMap::with_capacity(model.tensors.len());
    let mut kept = Vec::with_capacity(model.tensors.len());
    for mut tensor in std::mem::take(&mut model.tensors) {
        if let Some((id, rule)) = map.identify(&tensor.name) {
            if let Some(other) = seen.insert(id, tensor.name.clone()) {
                let message = format!("is the same weight as `{other}`, under a second name");
                return Err(Error::input(message).at_item(tensor.name).in_file(&model.source.path));
            }
            if rule.transform == Transform::Transpose && linear.contains(&tensor.name) {
                tensor = tensor.transposed().map_err(|e| e.at_item(&*tensor.name).in_file(&model.source.path))?;
            }
            tensor.id = Some(id);
        } else if map.is_ignored(&tensor.name) {
            continue;
        } else {
            unknown.push(tensor.name.clone());
        }
        kept.push(tensor);
    }
    model.tensors = kept;
    if unknown.is_empty() {
        return Ok(());
    }
    if !lenient {
        let architecture = model.architecture.map_or("?", |a| a.id());
        let message = format!("{} tensors have no place in the architecture {architecture}: {}", unknown.len(), list(&unknown));
        return Err(Error::unsupported(message)
            .at_item(unknown.swap_remove(0))
            .in_file(&model.source.path)
            .help("--lenient leaves them out and says so"));
    }
    model.tensors.retain(|t| t.id.is_some());
    let text = |_: &String| "has no place in the architecture and was left out".to_owned();
    model.notes.extend(unknown.iter().map(|name| Note { subject: name.clone(), text: text(name) }));
    Ok(())
}

fn list(names: &[String]) -> String {
    let mut text = names.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 5 {
        text.push_str(", ...");
    }
    text
}

/// Where the configuration ties the output to the embedding and both are stored, equal copies are
/// one weight, and unequal ones mean that the configuration is wrong: as transformers loads it.
fn untie(model: &mut Model) -> Result<()> {
    if !model.hyperparameters.flag(HyperKey::TiedEmbeddings) {
        return Ok(());
    }
    let position = |role| {
        let weight = gravure_core::Part::Weight;
        model.tensors.iter().position(|t| t.id.is_some_and(|id| id.role == role && id.part == weight))
    };
    let (Some(output), Some(embedding)) = (position(Role::Output), position(Role::TokenEmbedding)) else { return Ok(()) };
    let name = model.tensors[output].name.clone();
    if equal(&model.tensors[output], &model.tensors[embedding])? {
        model.tensors.remove(output);
        model.notes.push(Note { subject: name, text: "is a second copy of the embedding and was left out".into() });
    } else {
        model.hyperparameters.set(HyperKey::TiedEmbeddings, gravure_core::Value::Bool(false));
        let text = "the configuration ties it to the embedding, but its values differ: both are kept".into();
        model.notes.push(Note { subject: name, text });
    }
    Ok(())
}

/// Whether two tensors hold the same bytes.
fn equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.shape != b.shape || a.encoding.id() != b.encoding.id() {
        return Ok(false);
    }
    if Arc::ptr_eq(&a.data, &b.data) {
        return Ok(true);
    }
    let row_bytes = a.encoding.row_bytes(a.shape.row_length())?.max(1);
    let step = (COMPARE_BYTES / row_bytes).max(1);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut row = 0;
    while row < a.shape.rows() {
        let end = row.saturating_add(step).min(a.shape.rows());
        a.data.read_rows(row..end, &mut left)?;
        b.data.read_rows(row..end, &mut right)?;
        if left != right {
            return Ok(false);
        }
        row = end;
    }
    Ok(true)
}

/// Checks that every rule that is not optional has its tensor, in every layer and for every expert.
fn check_complete(model: &mut Model, map: &TensorMap, lenient: bool) -> Result<()> {
    let present: HashSet<TensorId> = model.tensors.iter().filter_map(|t| t.id).collect();
    let count = |key| model.hyperparameters.get(key).and_then(gravure_core::Value::as_u64);
    let (layers, experts) = (count(HyperKey::BlockCount).unwrap_or(0), count(HyperKey::ExpertCount).unwrap_or(0));
    let beyond = |found: Option<u32>, limit: u64| found.is_some_and(|n| u64::from(n) >= limit);
    if let Some(tensor) =
        model.tensors.iter().find(|t| t.id.is_some_and(|id| beyond(id.layer, layers) || beyond(id.expert, experts.max(1)) && experts > 0))
    {
        let message = format!("lies beyond the {layers} layers (or {experts} experts) of the configuration");
        return Err(Error::input(message).at_item(&*tensor.name).in_file(&model.source.path));
    }
    let mut missing = Vec::new();
    'rules: for rule in map.rules.iter().filter(|r| !r.optional) {
        let all_layers = if rule.name.contains("{layer}") { layers } else { 1 };
        let all_experts = if rule.name.contains("{expert}") { experts } else { 1 };
        // The loops end soon whatever the configuration claims: each turn finds a tensor or a gap.
        for layer in 0..all_layers {
            for expert in 0..all_experts {
                let number = |on: bool, n: u64| on.then_some(u32::try_from(n).unwrap_or(u32::MAX));
                let id = TensorId {
                    role: rule.role,
                    layer: number(rule.name.contains("{layer}"), layer),
                    expert: number(rule.name.contains("{expert}"), expert),
                    part: rule.part,
                };
                if present.contains(&id) {
                    continue;
                }
                missing.push(rule.name.replace("{layer}", &layer.to_string()).replace("{expert}", &expert.to_string()));
                if missing.len() > 5 {
                    break 'rules;
                }
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !lenient {
        let message = format!("the model is incomplete: it has no {}", list(&missing));
        return Err(Error::input(message)
            .at_item(missing.swap_remove(0))
            .in_file(&model.source.path)
            .help("is the download complete, and does config.json belong to it?"));
    }
    if layers > model.tensors.len() as u64 {
        return Err(Error::input(format!("the configuration claims {layers} layers; the files hold {} tensors", model.tensors.len()))
            .in_file(&model.source.path));
    }
    model.notes.push(Note { subject: list(&missing), text: "is missing".into() });
    Ok(())
}
