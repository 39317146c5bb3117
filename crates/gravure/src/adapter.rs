//! Low-rank adapters (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021) as llama.cpp
//! writes them into a file of its own.
//!
//! ```text
//! general.type = "adapter", adapter.type = "lora", adapter.lora.alpha = alpha
//! NAME.lora_a [rank, inputs], NAME.lora_b [outputs, rank]   for each weight NAME that is changed
//! ```

use std::path::Path;

use gravure_base::{Error, Limits, Result, ResultExt};
use gravure_core::contracts::Adapter;
use gravure_core::{Model, Tensor, Value};

use crate::open::{OpenRequest, open};
use crate::{catalog, translate};

/// Reads an adapter for a model in its graph's orientation. What it adds is multiplied by `strength`.
///
/// # Errors
/// `Input` for a file that is no adapter, or one for another model; those of opening.
pub(crate) fn read(path: &Path, strength: f32, graph_model: &Model, limits: Limits) -> Result<Adapter> {
    let file = open(&OpenRequest { limits, ..OpenRequest::new(path) })?;
    pairs(&file, strength, graph_model).in_file(path)
}

fn pairs(file: &Model, strength: f32, graph_model: &Model) -> Result<Adapter> {
    let text = |key: &str| file.metadata.get(key).and_then(Value::as_str);
    if text("general.type") != Some("adapter") {
        return Err(Error::input("is a model and no adapter").help("llama.cpp's convert_lora_to_gguf.py makes an adapter's file"));
    }
    if let Some(kind) = text("adapter.type").filter(|kind| *kind != "lora") {
        return Err(Error::unsupported(format!("an adapter of type {kind:?} is not known")).at_item("adapter.type"));
    }
    let own = graph_model.architecture.map(|a| a.id());
    if let (Some(own), Some(stated)) = (own, file.architecture_id.as_deref())
        && own != stated
    {
        return Err(Error::input(format!("is an adapter for a model of architecture `{stated}`, not `{own}`")));
    }
    let mut pairs = Vec::new();
    let mut rank = None;
    for a in &file.tensors {
        let Some(name) = a.name.strip_suffix(".lora_a") else {
            match a.name.strip_suffix(".lora_b") {
                Some(name) if file.tensor(&format!("{name}.lora_a")).is_some() => continue,
                Some(_) => return Err(Error::input("this half of a pair is alone").at_item(&*a.name)),
                None => return Err(Error::unsupported("only pairs of low rank are known").at_item(&*a.name)),
            }
        };
        let b = file.tensor(&format!("{name}.lora_b")).ok_or_else(|| Error::input("this half of a pair is alone").at_item(&*a.name))?;
        let weight = graph_model.tensor(name).and_then(|tensor| tensor.id);
        let weight = weight.ok_or_else(|| Error::input("an adapter changes a weight that the model does not have").at_item(name))?;
        let own_rank = ranks(a, b)?;
        if *rank.get_or_insert(own_rank) != own_rank {
            return Err(Error::unsupported("pairs of several ranks are not known").at_item(&*a.name));
        }
        // The rows of `b` are those of the weight, so they are in the weight's order.
        let b = translate::weight_to_graph(b, weight, graph_model, catalog()).at_item(|| b.name.clone())?;
        pairs.push((weight, a.clone(), b));
    }
    let Some(rank) = rank.filter(|rank| *rank > 0) else { return Err(Error::input("an adapter without pairs")) };
    let alpha = file.metadata.get("adapter.lora.alpha").and_then(Value::as_f64).unwrap_or(0.0);
    let scale = if alpha == 0.0 { 1.0 } else { alpha / rank as f64 };
    Ok(Adapter { pairs, scale: (scale * f64::from(strength)) as f32 })
}

fn ranks(a: &Tensor, b: &Tensor) -> Result<u64> {
    match (a.shape.dimensions(), b.shape.dimensions()) {
        ([rank, _], [_, same]) if rank == same => Ok(*rank),
        _ => Err(Error::input(format!("the halves {} and {} of a pair do not fit", a.shape, b.shape)).at_item(&*a.name)),
    }
}
