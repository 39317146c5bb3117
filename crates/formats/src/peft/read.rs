//! The reader: which tensors are pairs, in the order in which llama.cpp's converter meets them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use gravure_base::{Error, ErrorKind, FileReader, ReadAt, Result};
use gravure_core::values::{AdapterFacts, Source};
use gravure_core::{Hyperparameters, Model, Naming, Note, ReadRequest, Tensor};

use serde_json::Value as Json;

use super::{Peft, config};
use crate::safetensors::Companions;

/// Files of the weights, the first that is there.
pub(super) const WEIGHTS: &[&str] = &["adapter_model.safetensors", "adapter_model.bin"];
/// What PEFT puts before the names of the base's modules.
const PREFIX: &str = "base_model.model.";

/// Reads everything but the weights.
pub(super) fn read(request: &ReadRequest<'_>) -> Result<Model> {
    let root = request.path;
    let missing = |name: &str| Error::new(ErrorKind::NotFound, format!("has no {name}")).in_file(root).help("is the download complete?");
    let path = root.join(config::FILE);
    if !path.is_file() {
        return Err(missing(config::FILE));
    }
    let config::Config { mut facts, rank_stabilized, mut notes } = config::read(&path, request.lenient, request.limits)?;
    let weights = WEIGHTS.iter().map(|name| root.join(name)).find(|path| path.is_file()).ok_or_else(|| missing(WEIGHTS[0]))?;
    let stored = stored_tensors(&weights, request, &mut notes)?;
    let tensors = sort(stored, &mut notes).map_err(|e| e.in_file(&weights))?;
    if rank_stabilized {
        facts.alpha = stabilized(&facts, &tensors).map_err(|e| e.in_file(&path))?;
    }
    let about = Companions::describing(root, request)?;
    notes.extend(about.notes);
    let mut files = vec![path, weights];
    files.extend(about.files);
    let pairs = tensors.iter().filter(|t| t.name.ends_with(".lora_a")).count();
    Ok(Model {
        source: Source {
            format: Peft::ID,
            detail: format!("PEFT adapter, {pairs} pairs"),
            path: root.to_owned(),
            files,
            file_tensors: Vec::new(),
        },
        architecture_id: None,
        architecture: None,
        naming: Naming::HuggingFace,
        hyperparameters: Hyperparameters::new(),
        metadata: about.metadata,
        tokenizer: None,
        graph: None,
        adapter: Some(facts),
        tensors,
        notes,
    })
}

/// The tensors of an adapter whose files are in memory.
pub(crate) fn read_parts(config: &Json, stored: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let config = config::parse(config, false)?;
    let tensors = sort(stored, &mut Vec::new())?;
    if config.rank_stabilized {
        stabilized(&config.facts, &tensors)?;
    }
    Ok(tensors)
}

fn stored_tensors(path: &Path, request: &ReadRequest<'_>, notes: &mut Vec<Note>) -> Result<Vec<Tensor>> {
    let source: Arc<dyn ReadAt> = Arc::new(FileReader::open(path)?);
    let pickled = path.extension().is_some_and(|extension| extension == "bin");
    let read = if pickled {
        crate::pytorch::read_source(&source, request, notes).map(|(tensors, _)| tensors)
    } else {
        crate::safetensors::tensors_of(&source, request.catalog, request.limits).map(|(tensors, _)| tensors)
    };
    read.map_err(|e| e.in_file(path))
}

/// What a name says of its tensor.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    A(String),
    B(String),
    /// A vector of the base that was changed, under its own name.
    Plain(&'a str),
    /// A weight of the base that was not.
    Base,
    Unknown,
}

fn named(name: &str) -> Named<'_> {
    let own = name.strip_prefix(PREFIX).unwrap_or(name);
    let ends = [(".lora_A.weight", true), (".lora_embedding_A", true), (".lora_B.weight", false), (".lora_embedding_B", false)];
    for (end, is_a) in ends {
        if let Some(module) = own.strip_suffix(end) {
            let weight = format!("{module}.weight");
            return if is_a { Named::A(weight) } else { Named::B(weight) };
        }
    }
    if own.contains(".base_layer.weight") {
        Named::Base
    } else if own.contains("_layernorm") || own.contains(".norm") {
        Named::Plain(own)
    } else {
        Named::Unknown
    }
}

/// Plain vectors first, then the pairs in the order in which they begin.
fn sort(stored: Vec<Tensor>, notes: &mut Vec<Note>) -> Result<Vec<Tensor>> {
    let mut plain = Vec::new();
    let mut pairs: Vec<(String, [Option<Tensor>; 2])> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut passed_over = 0;
    for mut tensor in stored {
        let (weight, half) = match named(&tensor.name) {
            Named::A(weight) => (weight, 0),
            Named::B(weight) => (weight, 1),
            Named::Plain(name) => {
                tensor.name = name.to_owned();
                plain.push(tensor);
                continue;
            }
            Named::Base => {
                passed_over += 1;
                continue;
            }
            Named::Unknown => return Err(unknown(&tensor.name)),
        };
        let place = *places.entry(weight.clone()).or_insert_with(|| {
            pairs.push((weight.clone(), [None, None]));
            pairs.len() - 1
        });
        let stored = tensor.name.clone();
        tensor.name = format!("{weight}.lora_{}", ["a", "b"][half]);
        if pairs[place].1[half].replace(tensor).is_some() {
            return Err(Error::input("is there twice").at_item(stored));
        }
    }
    if pairs.is_empty() {
        return Err(Error::input("has no pair of low-rank matrices"));
    }
    if passed_over > 0 {
        notes.push(Note { subject: "weights".into(), text: format!("{passed_over} unchanged weights of the base were left out") });
    }
    let mut out = plain;
    for (weight, halves) in pairs {
        match halves {
            [Some(a), Some(b)] => {
                check(&a, &b)?;
                out.extend([a, b]);
            }
            _ => return Err(Error::input("has one half of its pair alone").at_item(weight)),
        }
    }
    Ok(out)
}

fn unknown(name: &str) -> Error {
    let error = Error::unsupported("is neither half of a low-rank pair nor a normalization gain").at_item(name);
    if name.contains("lora_magnitude_vector") {
        return error.help("this is DoRA's magnitude: merge the adapter into its base model and convert that");
    }
    if [".embed_tokens.weight", ".lm_head.weight", ".wte.weight"].iter().any(|end| name.ends_with(end)) {
        return error.help("the whole matrix was trained, perhaps for new tokens: merge the adapter into its base model and convert that");
    }
    error.help("merge the adapter into its base model and convert that")
}

fn check(a: &Tensor, b: &Tensor) -> Result<()> {
    match (a.shape.dimensions(), b.shape.dimensions()) {
        ([rank, _], [_, same]) if rank == same && *rank > 0 => Ok(()),
        _ => Err(Error::input(format!("the halves {} and {} of a pair do not fit", a.shape, b.shape)).at_item(&*a.name)),
    }
}

/// The α that gives α / rank the value that the configuration means by α / √rank.
fn stabilized(facts: &AdapterFacts, tensors: &[Tensor]) -> Result<f32> {
    let mut ranks = tensors.iter().filter(|t| t.name.ends_with(".lora_a")).map(|t| t.shape.dimensions()[0]);
    let rank = ranks.next().unwrap_or(1);
    if ranks.any(|other| other != rank) {
        return Err(Error::unsupported("the factor goes by the root of the rank, and the pairs have several").at_item("use_rslora"));
    }
    Ok((f64::from(facts.alpha) * (rank as f64).sqrt()) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_tensor_is() {
        let weight = |name: &str| format!("{name}.weight");
        let cases = [
            ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", Named::A(weight("model.layers.0.self_attn.q_proj"))),
            ("base_model.model.lm_head.lora_B.weight", Named::B(weight("lm_head"))),
            ("base_model.model.model.embed_tokens.lora_embedding_A", Named::A(weight("model.embed_tokens"))),
            ("base_model.model.model.embed_tokens.lora_embedding_B", Named::B(weight("model.embed_tokens"))),
            ("base_model.model.model.layers.3.input_layernorm.weight", Named::Plain("model.layers.3.input_layernorm.weight")),
            ("base_model.model.model.norm.weight", Named::Plain("model.norm.weight")),
            ("base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight", Named::Base),
            ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", Named::Unknown),
            ("base_model.model.model.embed_tokens.weight", Named::Unknown),
        ];
        for (name, expected) in cases {
            assert_eq!(named(name), expected, "{name}");
        }
    }
}
