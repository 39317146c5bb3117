//! Rounding one layer after the other, each for the inputs that the layers before it, already rounded, give.
//!
//! ```text
//! layer by layer: original ----inputs---+
//!                 copy, rounded so far --+-> E[x x^T], E[x d^T] -> weights that make up for d -> method -> copy
//! ```
//! The copy holds what is finished; in the end its tensors are the output's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gravure_base::{Error, MemoryReader, Result, ResultExt};
use gravure_core::values::StoredTensor;
use gravure_core::{Hessian, Inputs, Model, Needs, TensorId};
use gravure_eval::{Windows, pair};
use gravure_methods::Correction;

use crate::Observer;
use crate::engine::{Engine, LoadOptions, prepare};
use crate::evaluate::{first_token, text_tokens, tokenizer};
use crate::execute::{Job, check_finite};
use crate::hessians::{CalibrationText, Hessians, linear_maps};

/// Windows that the two models are run over for each layer. Twice as many gained nothing.
const WINDOWS: usize = 32;
/// Share of the correction that is made. All of it fits the windows better and every other text worse: on the
/// bundled model in Q2_K a divergence of 0.078 where half gives 0.069, and none 0.074.
const SHARE: f32 = 0.5;
/// Share of the original's second moments in those that a method is told.
const ORIGINALS: f32 = 0.7;
/// Rows that a worker rounds at a time: whole panels of a method.
const ROWS: u64 = 64;

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
        for index in indices {
            let job = &mut done[index];
            let name = job.source.name.clone();
            let pair = stands(job)
                .and_then(|id| seen.get(&id))
                .ok_or_else(|| Error::bug(format!("no input of layer {layer} was seen")).at_item(&*name))?;
            let correction = Correction::new(&pair.hessian, pair.lost.clone(), SHARE)?;
            let bytes = job.source.bytes()?;
            let own = job.source.id.map(|id| hessians.get(&id)).transpose()?.flatten();
            let mixed = own.map_or_else(|| Ok(pair.hessian.clone()), |own| mixed(&own, &pair.hessian))?;
            finish(&mut copy, job, Some(&mixed), Some(&correction), original.threads).at_item(|| name.clone())?;
            observer.advance(&name, bytes);
            observer.go_on()?;
        }
    }
    observer.end();
    Ok(done)
}

/// The moments that a method is told: few windows tell little of all pairs of columns, the original's many more.
fn mixed(original: &Hessian, copy: &Hessian) -> Result<Hessian> {
    let mix = |(a, b): (&f32, &f32)| ORIGINALS * a + (1.0 - ORIGINALS) * b;
    Hessian::new(copy.columns(), original.values().iter().zip(copy.values()).map(mix).collect())
}

/// Rounds one tensor, and puts the result into the copy and the job.
fn finish(copy: &mut Model, job: &mut Job, hessian: Option<&Hessian>, correction: Option<&Correction>, threads: usize) -> Result<()> {
    let Some(method) = job.method else { return Ok(()) };
    let (rows, columns) = (job.source.shape.rows(), job.source.shape.row_length());
    let importance = hessian.map(Hessian::diagonal).or_else(|| job.importance.clone());
    let rounder = method.prepare(job.target, columns as usize, Inputs { importance: importance.as_deref(), hessian })?;
    let row_bytes = job.target.row_bytes(columns)?;
    let total = usize::try_from(row_bytes.saturating_mul(rows)).map_err(|_| Error::limit("the tensor does not fit in memory"))?;
    let mut encoded = vec![0_u8; total];
    let chunks: Vec<Mutex<&mut [u8]>> = encoded.chunks_mut((ROWS * row_bytes) as usize).map(Mutex::new).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let (mut scratch, mut weights) = (Vec::new(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(out) = chunks.get(index) else { return Ok(()) };
            let from = index as u64 * ROWS;
            job.source.decode_rows(from..(from + ROWS).min(rows), &mut scratch, &mut weights)?;
            check_finite(&weights)?;
            if let Some(correction) = correction {
                correction.apply(&mut weights);
            }
            rounder.encode(&weights, &mut out.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(Error::bug("a worker panicked"))))
    })?;
    drop(chunks);
    let slot = copy.tensors.iter_mut().find(|t| t.name == job.source.name).ok_or_else(|| Error::bug("the tensor is gone"))?;
    slot.encoding = job.target;
    slot.data = Arc::new(StoredTensor::new(Arc::new(MemoryReader::new(encoded, "memory")), 0, row_bytes, rows)?);
    job.source = slot.clone();
    job.method = None;
    Ok(())
}
