//! Rounding one layer after the other, each for the inputs that the layers before it, already rounded, give.
//!
//! ```text
//! layer by layer: original ----inputs---+
//!                 copy, rounded so far --+-> E[x x^T], E[x d^T] -> weights that make up for d -> method -> copy
//! ```
//! The copy holds what is finished; in the end its tensors are the output's.

use std::collections::{BTreeMap, BTreeSet};

use gravure_base::{Error, Result, ResultExt};
use gravure_core::{Hessian, Inputs, Model, Needs, TensorId};
use gravure_eval::{Pair, Windows, pair};
use gravure_methods::Correction;

use crate::Observer;
use crate::engine::{Engine, LoadOptions, prepare};
use crate::evaluate::{first_token, text_tokens, tokenizer};
use crate::execute::Job;
use crate::hessians::{CalibrationText, Hessians, linear_maps};
use crate::rounded::put_rounded;

/// Windows that the two models are run over for each layer. Twice as many gained nothing.
const WINDOWS: usize = 32;
/// Share of the correction that is made. All of it fits the windows better and every other text worse: on the
/// bundled model in Q2_K a divergence of 0.078 where half gives 0.069, and none 0.074.
const SHARE: f32 = 0.5;
/// Share of the original's second moments in those that a method is told: few windows tell little of all pairs of
/// columns, the original's many more.
const ORIGINALS: f32 = 0.7;

/// Rounds the linear maps of a model's layers in turn, and the matrices of no layer first: the embedding is what
/// all layers see. Jobs that were done have their result as source, and nothing left to do.
///
/// # Errors
/// Those of running the models and of the methods; `Interrupted`.
pub(crate) fn round_in_turn(
    jobs: &[Job],
    model: &Model,
    original: &Engine,
    hessians: &Hessians<'_>,
    text: &CalibrationText,
    options: &LoadOptions,
    observer: &dyn Observer,
) -> Result<Vec<Job>> {
    let maps = original.model.graph.as_ref().map(linear_maps).unwrap_or_default();
    let tokens = text_tokens(&original.model, &text.data)?;
    let first = first_token(tokenizer(&original.model)?);
    let windows = Windows::new(&tokens, text.context, first, Some(text.windows.map_or(WINDOWS, |w| w.min(WINDOWS)))).in_file(&text.data)?;
    let mut copy = model.clone();
    let mut done: Vec<Job> = jobs.to_vec();
    let mut layers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate().filter(|(_, j)| j.method.is_some() && j.source.shape.dimensions().len() == 2) {
        let Some(id) = job.source.id else { continue };
        match id.layer {
            Some(layer) if maps.contains_key(&id) => layers.entry(layer).or_default().push(index),
            Some(_) => {}
            None => {
                let hessian = match job.method.map(|m| m.needs()) {
                    Some(Needs::Hessian) => hessians.get(&id)?,
                    _ => None,
                };
                finish(&mut copy, &mut done[index], hessian.as_deref(), None, original.threads)?;
            }
        }
    }
    let total = layers.values().flatten().map(|&i| jobs[i].source.bytes()).sum::<Result<u64>>()?;
    observer.begin("round in turn", layers.values().map(Vec::len).sum(), total);
    for (layer, indices) in layers {
        let stands = |job: &Job| job.source.id.and_then(|id| maps.get(&id)).copied();
        let wanted: BTreeSet<TensorId> = indices.iter().filter_map(|&i| stands(&jobs[i])).collect();
        let engine = prepare(copy.clone(), options)?;
        let seen = pair(&windows, original.decoder()?, engine.decoder()?, &wanted, original.threads, &mut |_| observer.go_on())?;
        drop(engine);
        // Maps with the same input share what is made of it.
        let told = |(id, pair): (TensorId, Pair)| {
            let moments = hessians.get(&id)?.map_or_else(|| Ok(pair.hessian.clone()), |own| own.mixed(&pair.hessian, 1.0 - ORIGINALS))?;
            Ok((id, (moments, Correction::new(&pair.hessian, pair.lost, SHARE)?)))
        };
        let told = seen.into_iter().map(told).collect::<Result<BTreeMap<_, _>>>()?;
        for index in indices {
            let job = &mut done[index];
            let name = job.source.name.clone();
            let (moments, correction) = stands(job)
                .and_then(|id| told.get(&id))
                .ok_or_else(|| Error::bug(format!("no input of layer {layer} was seen")).at_item(&*name))?;
            let bytes = job.source.bytes()?;
            finish(&mut copy, job, Some(moments), Some(correction), original.threads).at_item(|| name.clone())?;
            observer.advance(&name, bytes);
            observer.go_on()?;
        }
    }
    observer.end();
    Ok(done)
}

/// Rounds one tensor, and puts the result into the copy and the job.
fn finish(copy: &mut Model, job: &mut Job, hessian: Option<&Hessian>, correction: Option<&Correction>, threads: usize) -> Result<()> {
    let Some(method) = job.method else { return Ok(()) };
    let importance = hessian.map(Hessian::diagonal).or_else(|| job.importance.clone());
    let inputs = Inputs { importance: importance.as_deref(), hessian };
    let rounder = method.prepare(job.target, job.source.shape.row_length() as usize, inputs)?;
    put_rounded(copy, &job.source, job.target, &*rounder, correction, threads)?;
    let done = copy.tensor(&job.source.name).ok_or_else(|| Error::bug("the tensor is gone"))?;
    job.source = done.clone();
    job.method = None;
    Ok(())
}
