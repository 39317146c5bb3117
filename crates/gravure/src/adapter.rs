//! Low-rank adapters (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021): a file of its own that
//! says what is added to some weights of a base model.
//!
//! In the neutral naming, which a GGUF has, an adapter is
//! ```text
//! NAME.lora_a [rank, inputs], NAME.lora_b [outputs, rank]   for each weight NAME that is changed
//! ```
//! with the rows of `lora_b` in the order of the weight's. Of the token embedding `lora_a` is turned, [tokens, rank]: its
//! rows are looked up. From Hugging Face's naming, names and order of rows follow from the base model's architecture;
//! no weight of the base is read.

use std::path::Path;

use gravure_base::{Error, Limits, Result, ResultExt};
use gravure_core::contracts::Adapter;
use gravure_core::values::{AdapterFacts, Invocation};
use gravure_core::{HyperKey, Model, Naming, ReadRequest, Role, Tensor, Transform, Value};
use gravure_text::{Around, SpecialText};

use crate::open::{OpenRequest, open, recognise};
use crate::{catalog, dimensions, translate};

/// Endings of the names of a pair.
const HALVES: [&str; 2] = [".lora_a", ".lora_b"];

/// Reads an adapter for a model in its graph's orientation. What it adds is multiplied by `strength`.
///
/// # Errors
/// `Input` for a file that is no adapter, or one for another model; those of opening.
pub(crate) fn read(path: &Path, strength: f32, graph_model: &Model, limits: Limits) -> Result<Adapter> {
    let mut file = open(&OpenRequest { limits, ..OpenRequest::new(path) })?;
    if file.naming == Naming::HuggingFace && file.adapter.is_some() {
        file = to_neutral(&file, graph_model).in_file(path)?;
    }
    pairs(&file, strength, graph_model).in_file(path)
}

/// The model that an adapter changes, without its weights: the one at `named`, else the one that the adapter names, if
/// that is a path.
///
/// # Errors
/// `Request` where neither leads to one, `Unsupported` where its architecture has no file here; those of reading.
pub(crate) fn base_of(adapter: &Model, named: Option<&Path>, lenient: bool, limits: &Limits) -> Result<Model> {
    let stated = adapter.adapter.as_ref().and_then(|facts| facts.base.as_deref());
    let path = match (named, stated.map(Path::new)) {
        (Some(path), _) => path,
        (None, Some(path)) if path.exists() => path,
        (None, stated) => {
            let message = match stated {
                Some(stated) => format!("the adapter's base model `{}` is not on this disk", stated.display()),
                None => "the adapter does not say which model it changes".to_owned(),
            };
            return Err(Error::request(message)
                .in_file(&adapter.source.path)
                .help("name its folder with --base; config.json and the tokenizer in it are enough"));
        }
    };
    let request = ReadRequest { path, catalog: catalog(), limits, lenient, tokenizer_later: false };
    let base = recognise(path)?.read_configuration(&request).in_file(path)?;
    if base.adapter.is_some() {
        return Err(Error::request("the base is an adapter itself").in_file(path).help("name the model that it changes"));
    }
    Ok(base)
}

/// An adapter in Hugging Face's naming, in the neutral one; `base` is the model that it changes, with or without tensors.
///
/// # Errors
/// `Unsupported` for a module that the base's architecture does not have, `Input` for one of another size.
pub(crate) fn to_neutral(adapter: &Model, base: &Model) -> Result<Model> {
    let Some(architecture) = base.architecture else {
        let name = base.architecture_id.as_deref().unwrap_or("(none named)");
        return Err(Error::unsupported(format!("the architecture `{name}` of the base model is not known to this build"))
            .in_file(&base.source.path));
    };
    let mut facts = adapter.adapter.clone().ok_or_else(|| Error::bug("a model is taken for an adapter"))?;
    facts.invocation = invocation(facts.invocation, base)?;
    let map = architecture.tensor_map(&base.hyperparameters)?;
    let layers = base.hyperparameters.get(HyperKey::BlockCount).and_then(Value::as_u64);
    let mut out = adapter.clone();
    for tensor in &mut out.tensors {
        let half = HALVES.iter().find(|half| tensor.name.ends_with(**half));
        let weight = half.and_then(|half| tensor.name.strip_suffix(half)).unwrap_or(&tensor.name).to_owned();
        let place = || weight.clone();
        let Some((id, rule)) = map.identify(&weight) else {
            return Err(Error::unsupported(format!("the architecture {} has no such weight that could be adapted", architecture.id()))
                .at_item(weight)
                .help("the adapter is for another model, or this module has no counterpart in the output"));
        };
        if let (Some(layer), Some(layers)) = (id.layer, layers)
            && u64::from(layer) >= layers
        {
            return Err(Error::input(format!("the base model has {layers} layers only: the adapter is for another one")).at_item(weight));
        }
        if id.role == Role::Output && base.hyperparameters.flag(HyperKey::TiedEmbeddings) {
            return Err(Error::unsupported("the base model has no output matrix of its own that could be adapted: it is the embedding")
                .at_item(weight)
                .help("merge the adapter into its base model and convert that"));
        }
        let name = gravure_formats::neutral_name(&id).ok_or_else(|| Error::unsupported("has no neutral name").at_item(place()))?;
        *tensor = match half {
            None => translate::with_transform(tensor, name, id, rule.transform, catalog()).at_item(place)?,
            Some(half) => {
                let is_a = *half == HALVES[0];
                dimensions::check_half(tensor, is_a, id.role, base).at_item(place)?;
                // A pair is [outputs, inputs] whatever way around the base stores the weight itself.
                let transform = match (rule.transform, id.role) {
                    (rope @ Transform::InterleaveRope { .. }, _) if !is_a => rope,
                    (_, Role::TokenEmbedding) if is_a => Transform::Transpose,
                    _ => Transform::Identity,
                };
                let mut half = translate::with_transform(tensor, format!("{name}{half}"), id, transform, catalog()).at_item(place)?;
                half.id = None;
                half
            }
        };
    }
    out.adapter = Some(facts);
    out.naming = Naming::Neutral;
    out.architecture = Some(architecture);
    out.architecture_id = Some(architecture.id().to_owned());
    Ok(out)
}

/// The tokens of a text that turns an adapter on. Trainers write the text with its first token, and let the adapter work
/// after that one: it is left out, as the reference converter does.
fn invocation(stated: Invocation, base: &Model) -> Result<Invocation> {
    let Invocation::Text(text) = stated else { return Ok(stated) };
    let Some(tokenizer) = &base.tokenizer else {
        return Err(Error::request("the text that turns the adapter on needs the base model's tokenizer, which is not there")
            .at_item("invocation_string")
            .in_file(&base.source.path)
            .help("name a base folder with its tokenizer files"));
    };
    let tokens = tokenizer.encode_with(&text, Around::Specials, SpecialText::Token)?;
    Ok(match tokens.get(1..) {
        Some([]) | None => Invocation::Always,
        Some(tokens) => Invocation::Tokens(tokens.to_vec()),
    })
}

fn pairs(file: &Model, strength: f32, graph_model: &Model) -> Result<Adapter> {
    let Some(AdapterFacts { kind, alpha, invocation, .. }) = &file.adapter else {
        return Err(Error::input("is a model and no adapter").help("`gravure convert` makes one of an adapter's folder"));
    };
    if kind != "lora" {
        return Err(Error::unsupported(format!("an adapter of type {kind:?} is not known")));
    }
    if *invocation != Invocation::Always {
        return Err(Error::unsupported("an adapter that works after certain tokens only cannot be run yet"));
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
        let Some(name) = a.name.strip_suffix(HALVES[0]) else {
            match a.name.strip_suffix(HALVES[1]) {
                Some(name) if file.tensor(&format!("{name}{}", HALVES[0])).is_some() => continue,
                Some(_) => return Err(Error::input("this half of a pair is alone").at_item(&*a.name)),
                None => return Err(Error::unsupported("only pairs of low rank are known").at_item(&*a.name)),
            }
        };
        let b = file.tensor(&format!("{name}{}", HALVES[1]));
        let b = b.ok_or_else(|| Error::input("this half of a pair is alone").at_item(&*a.name))?;
        let weight = graph_model.tensor(name).and_then(|tensor| tensor.id);
        let weight = weight.ok_or_else(|| Error::input("an adapter changes a weight that the model does not have").at_item(name))?;
        if weight.role == Role::TokenEmbedding {
            return Err(Error::unsupported("an adapter of the token embedding cannot be run yet").at_item(name));
        }
        let own_rank = ranks(a, b)?;
        if *rank.get_or_insert(own_rank) != own_rank {
            return Err(Error::unsupported("pairs of several ranks are not known").at_item(&*a.name));
        }
        // The rows of `b` are those of the weight, so they are in the weight's order.
        let b = translate::weight_to_graph(b, weight, graph_model, catalog()).at_item(|| b.name.clone())?;
        pairs.push((weight, a.clone(), b));
    }
    let Some(rank) = rank.filter(|rank| *rank > 0) else { return Err(Error::input("an adapter without pairs")) };
    let scale = if *alpha == 0.0 { 1.0 } else { f64::from(*alpha) / rank as f64 };
    Ok(Adapter { pairs, scale: (scale * f64::from(strength)) as f32 })
}

fn ranks(a: &Tensor, b: &Tensor) -> Result<u64> {
    match (a.shape.dimensions(), b.shape.dimensions()) {
        ([rank, _], [_, same]) if rank == same => Ok(*rank),
        _ => Err(Error::input(format!("the halves {} and {} of a pair do not fit", a.shape, b.shape)).at_item(&*a.name)),
    }
}
