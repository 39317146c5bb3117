//! What each tensor costs in each encoding: `divergence = constant x error`.
//!
//! The error is that of the tensor's output on the calibration text, `trace(dW H dW^T)` with `H` the second
//! moments of the inputs where they are known, and their diagonal alone otherwise; the rounding is that of
//! the method which the plan will name. The constant is measured: the divergence of the model in which this tensor
//! alone is stored in one coarse encoding, by that encoding's error. Of models with many layers only some
//! tensors of each role are measured, and the logarithms of the others' constants lie on the line
//! between their neighbours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gravure_base::{Error, Result, ResultExt};
use gravure_core::contracts::{Activations, Levels};
use gravure_core::values::{CandidateError, Sensitivity, TensorSensitivity};
use gravure_core::{Encoding, Hessian, Method, Model, Needs, Plan, Rounder, Tensor, TensorId};
use gravure_eval::calibration::InputSums;
use gravure_eval::{QualityRequest, Windows, quality};

use super::OptimizeRequest;
use super::space::{choosable, method_for};
use super::stand_in::stand_in;
use super::work::Work;
use crate::engine::{Engine, LoadOptions, prepare};
use crate::evaluate::{first_token, subject, text_tokens, tokenizer};
use crate::hessians::Hessians;
use crate::rounded::put_rounded;
use crate::{Observer, catalog};

/// Weights of a tensor whose rounding errors are computed; of larger tensors evenly spaced rows.
const SAMPLED_WEIGHTS: u64 = 1 << 21;
/// The same of large models, which have many tensors.
const SAMPLED_OF_LARGE: u64 = 1 << 18;
/// The same times the columns, where errors take the products of all pairs of columns.
const SAMPLED_PRODUCTS: u64 = 1 << 29;
/// Rows on which a method is compared with rounding to nearest.
const COMPARED_ROWS: u64 = 64;
/// Layers whose tensors are measured.
const MEASURED_LAYERS: u32 = 8;
/// The same of large models.
const MEASURED_OF_LARGE: u32 = 4;
/// Bits for each weight of the coarse encoding: enough error to measure, little enough to be linear.
const COARSE_BITS: f64 = 2.625;
/// Models up to this many weights are measured with inputs of matrices in 32 bits.
const EXACT_PARAMETERS: u64 = 100_000_000;

/// Whether a model has so many weights that it is measured by samples, and through a smaller copy.
pub(super) fn is_large(model: &Model) -> bool {
    model.parameters() > EXACT_PARAMETERS
}

/// Windows of the calibration text that a tensor's sensitivity is measured on.
pub(super) fn sensitivity_windows(request: &OptimizeRequest, model: &Model) -> usize {
    request.sensitivity_windows.unwrap_or(if is_large(model) { 2 } else { 4 })
}

/// Mean squares of the inputs of each weight.
pub(crate) type Inputs = BTreeMap<TensorId, InputSums>;

/// What is known of the inputs, and how weights are rounded.
pub(super) struct Rounding<'a> {
    /// Mean squares of inputs.
    pub(super) inputs: &'a Inputs,
    /// Second moments, where the method needs them.
    pub(super) hessians: Option<&'a Hessians<'a>>,
    /// For tensors and encodings that allow it.
    pub(super) method: &'static dyn Method,
}

impl Rounding<'_> {
    /// Second moments that a rounding sees, and those that it is judged by.
    fn hessians(&self, tensor: &Tensor) -> Result<Option<[Arc<Hessian>; 2]>> {
        match (self.hessians, tensor.id) {
            (Some(hessians), Some(id)) => hessians.apart(&id),
            _ => Ok(None),
        }
    }

    /// The method for a tensor in an encoding.
    fn method(&self, tensor: &Tensor, encoding: &dyn Encoding) -> Result<&'static dyn Method> {
        let known = self.method.needs() == Needs::Nothing || self.hessians(tensor)?.is_some();
        if known { method_for(self.method, encoding) } else { catalog().method("rtn") }
    }

    fn rounder(&self, tensor: &Tensor, encoding: &'static dyn Encoding) -> Result<Box<dyn Rounder>> {
        let (importance, hessians) = (weights_of(tensor, self.inputs), self.hessians(tensor)?);
        let inputs = gravure_core::Inputs { importance: Some(&importance), hessian: hessians.as_ref().map(|[seen, _]| &**seen) };
        self.method(tensor, encoding)?.prepare(encoding, tensor.shape.row_length() as usize, inputs)
    }
}

/// Measures everything, for the request's candidates. `models` are the original and the one that tensors are exchanged
/// in, both in the neutral naming; `measured_on` is the latter, loaded.
pub(super) fn measure(
    request: &OptimizeRequest,
    models: [&Model; 2],
    base: &Plan,
    measured_on: &Engine,
    rounding: &Rounding<'_>,
    work: &Work,
    observer: &dyn Observer,
) -> Result<Sensitivity> {
    let [neutral, copy] = models;
    let candidates = request.candidates.iter().map(|id| catalog().encoding(id)).collect::<Result<Vec<_>>>()?;
    let tensors = choosable(neutral, base)?;
    observer.begin("errors", tensors.len(), tensors.iter().map(|t| t.bytes()).sum::<Result<u64>>()?);
    let sample = if is_large(neutral) { SAMPLED_OF_LARGE } else { SAMPLED_WEIGHTS };
    let errors = errors(&tensors, &candidates, rounding, sample, measured_on.threads, work, observer);
    observer.end();
    let errors = errors?;
    let (constants, floor) = constants(request, copy, measured_on, &tensors, &errors, rounding, work, observer)?;
    let entry = |((tensor, candidates), (constant, measured)): ((&&Tensor, Vec<CandidateError>), (f64, bool))| TensorSensitivity {
        tensor: tensor.name.clone(),
        constant,
        measured,
        candidates,
    };
    Ok(Sensitivity { tensors: tensors.iter().zip(errors).zip(constants).map(entry).collect(), floor })
}

/// The mean square of each input of a tensor, or ones where nobody has seen them.
fn weights_of(tensor: &Tensor, inputs: &Inputs) -> Vec<f32> {
    let columns = tensor.shape.row_length() as usize;
    match tensor.id.and_then(|id| inputs.get(&id)) {
        Some(sums) if sums.squares.len() == columns && sums.rows > 0 => {
            sums.squares.iter().map(|s| (s / sums.rows as f64) as f32).collect()
        }
        _ => vec![1.0; columns],
    }
}

/// Errors of all candidates of all tensors, on several threads.
fn errors(
    tensors: &[&Tensor],
    candidates: &[&'static dyn Encoding],
    rounding: &Rounding<'_>,
    sample: u64,
    threads: usize,
    work: &Work,
    observer: &dyn Observer,
) -> Result<Vec<Vec<CandidateError>>> {
    let method = std::iter::once(rounding.method.id());
    let depends: Vec<String> = method.chain(candidates.iter().map(|e| e.id())).map(str::to_owned).collect();
    let next = AtomicUsize::new(0);
    let told = std::sync::Mutex::new(());
    let mut found: Vec<(usize, Result<Vec<CandidateError>>)> = std::thread::scope(|scope| {
        let worker = || {
            let mut mine = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(tensor) = tensors.get(index) else { return mine };
                let measure = || tensor_errors(tensor, candidates, rounding, sample).at_item(|| tensor.name.clone());
                let errors =
                    observer.go_on().and_then(|()| work.once(&format!("errors of {}, judged apart", tensor.name), &depends, measure));
                mine.push((index, errors));
                let _one_at_a_time = told.lock();
                observer.advance(&tensor.name, tensor.bytes().unwrap_or(0));
            }
        };
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_default()).collect()
    });
    found.sort_by_key(|(index, _)| *index);
    if found.len() != tensors.len() {
        return Err(Error::bug("a worker was lost"));
    }
    found.into_iter().map(|(_, errors)| errors).collect()
}

fn tensor_errors(
    tensor: &Tensor,
    candidates: &[&'static dyn Encoding],
    rounding: &Rounding<'_>,
    sample: u64,
) -> Result<Vec<CandidateError>> {
    let (rows, columns) = (tensor.shape.rows(), tensor.shape.row_length());
    let hessians = rounding.hessians(tensor)?;
    let most = if hessians.is_some() { sample.min(SAMPLED_PRODUCTS / columns.max(1)) } else { sample };
    let sampled = (most / columns.max(1)).clamp(1, rows.max(1));
    let mut weights = Vec::new();
    let (mut scratch, mut row) = (Vec::new(), Vec::new());
    for sample in 0..sampled {
        let at = sample * rows / sampled;
        tensor.decode_rows(at..at + 1, &mut scratch, &mut row)?;
        weights.extend_from_slice(&row);
    }
    let importance = weights_of(tensor, rounding.inputs);
    let inputs = gravure_core::Inputs { importance: Some(&importance), hessian: hessians.as_ref().map(|[seen, _]| &**seen) };
    let errors_of = |method: &dyn Method, encoding: &'static dyn Encoding, weights: &[f32]| -> Result<Vec<f64>> {
        let count = weights.len() / columns.max(1) as usize;
        let mut encoded = vec![0_u8; encoding.row_bytes(columns)? as usize * count];
        method.prepare(encoding, columns as usize, inputs)?.encode(weights, &mut encoded)?;
        let mut changes = vec![0.0_f32; weights.len()];
        encoding.decode(&encoded, &mut changes)?;
        changes.iter_mut().zip(weights).for_each(|(d, w)| *d -= w);
        let by_diagonal = |change: &[f32]| change.iter().zip(&importance).map(|(d, h)| f64::from(*d).powi(2) * f64::from(*h)).sum();
        Ok(match &hessians {
            Some([_, judge]) => gravure_methods::output_errors(judge, &changes),
            None => changes.chunks_exact(columns as usize).map(by_diagonal).collect(),
        })
    };
    let nearest = catalog().method("rtn")?;
    // A slow method is tried on few rows: what it gains is much the same in all of them.
    let compared: Vec<usize> = (0..sampled.min(COMPARED_ROWS)).map(|k| (k * sampled / sampled.min(COMPARED_ROWS)) as usize).collect();
    let few: Vec<f32> = compared.iter().flat_map(|&row| &weights[row * columns as usize..][..columns as usize]).copied().collect();
    // Rows that are no whole blocks of an encoding cannot be stored in it.
    let mut able: Vec<_> = candidates.iter().enumerate().filter_map(|(i, e)| Some((i, *e, e.row_bytes(columns).ok()?))).collect();
    // Encodings whose groups are alike take the columns in the same order, and share what is made of it.
    able.sort_by_key(|(_, encoding, _)| encoding.grid().map(|g| (g.shape().group, matches!(g.shape().levels, Levels::Points { .. }))));
    let mut out = Vec::with_capacity(able.len());
    for (index, encoding, row_bytes) in able {
        let errors = errors_of(nearest, encoding, &weights)?;
        let (mean, variance) = moments(&errors);
        let mut relative = variance / (errors.len() as f64 * mean * mean) * (1.0 - errors.len() as f64 / rows as f64).max(0.0);
        let mut gain = 1.0;
        let method = rounding.method(tensor, encoding)?;
        if method.id() != nearest.id() && mean > 0.0 {
            let before: Vec<f64> = compared.iter().map(|&row| errors[row]).collect();
            let after = errors_of(method, encoding, &few)?;
            let sum = before.iter().sum::<f64>();
            if sum > 0.0 {
                gain = after.iter().sum::<f64>() / sum;
                let apart: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - gain * b).collect();
                let n = apart.len() as f64;
                relative += moments(&apart).1 / n / (sum / n * gain).powi(2).max(f64::MIN_POSITIVE) * (1.0 - n / rows as f64).max(0.0);
            }
        }
        let error = mean * gain * rows as f64;
        let error_stderr = if error > 0.0 { error * relative.sqrt() } else { 0.0 };
        out.push((index, CandidateError { encoding: encoding.id().to_owned(), bytes: row_bytes * rows, error, error_stderr }));
    }
    out.sort_by_key(|(index, _)| *index);
    Ok(out.into_iter().map(|(_, error)| error).collect())
}

/// Mean and variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0))
}

/// The encoding of a tensor that its constant is measured with.
fn coarse(errors: &[CandidateError]) -> Result<(&'static dyn Encoding, f64)> {
    let mut best: Option<(f64, &'static dyn Encoding, f64)> = None;
    for candidate in errors {
        let encoding = catalog().encoding(&candidate.encoding)?;
        let distance = (encoding.bits_per_weight() - COARSE_BITS).abs();
        if best.as_ref().is_none_or(|(d, _, _)| distance < *d) {
            best = Some((distance, encoding, candidate.error));
        }
    }
    best.map(|(_, encoding, error)| (encoding, error)).ok_or_else(|| Error::request("no encoding can hold this tensor"))
}

/// Divergence for each unit of error of every tensor, and whether it was measured; and that of rounded inputs alone.
#[allow(clippy::too_many_arguments)]
fn constants(
    request: &OptimizeRequest,
    copy: &Model,
    measured_on: &Engine,
    tensors: &[&Tensor],
    errors: &[Vec<CandidateError>],
    rounding: &Rounding<'_>,
    work: &Work,
    observer: &dyn Observer,
) -> Result<(Vec<(f64, bool)>, f64)> {
    let at_work = request.source.as_original().activations;
    let activations = if is_large(copy) { at_work } else { Activations::F32 };
    let options = LoadOptions { positions: request.context, activations, ..request.source.clone() };
    let own;
    let reference = if activations == at_work {
        measured_on
    } else {
        own = prepare(copy.clone(), &options)?;
        &own
    };
    let tokens = text_tokens(&reference.model, &request.calibration_data)?;
    let first = first_token(tokenizer(&reference.model)?);
    // Those of the end: second moments that roundings are judged by come from there.
    let windows = Windows::new(&tokens, request.context, first, request.calibration_windows)?;
    let (_, windows) = windows.split_at(windows.count().saturating_sub(sensitivity_windows(request, copy)));
    let what = QualityRequest { windows, threads: reference.threads, worst: 0 };
    let layers = if is_large(copy) { MEASURED_OF_LARGE } else { MEASURED_LAYERS };
    let chosen: Vec<usize> = (0..tensors.len()).filter(|&i| is_measured(tensors[i], tensors, layers)).collect();
    observer.begin("sensitivity", chosen.len(), chosen.iter().map(|&i| tensors[i].bytes()).sum::<Result<u64>>()?);
    let mut measured: BTreeMap<usize, f64> = BTreeMap::new();
    for index in chosen {
        let tensor = tensors[index];
        let (encoding, error) = coarse(&errors[index]).at_item(|| tensor.name.clone())?;
        let depends = [encoding.id().to_owned(), sensitivity_windows(request, copy).to_string(), rounding.method.id().to_owned()];
        let divergence = work.once(&format!("divergence by {}, judged apart", tensor.name), &depends, || {
            let variant = prepare(with_one(copy, tensor, encoding, rounding, reference.threads)?, &options)?;
            let result = quality(&what, &subject(&variant)?, Some(&subject(reference)?), &mut |_, _| observer.go_on())?;
            let divergence = result.comparison.map_or(f64::NAN, |c| c.kl_divergence.value);
            if !divergence.is_finite() {
                return Err(Error::input("the divergence of this tensor's rounding is no number").at_item(&*tensor.name));
            }
            Ok(divergence)
        })?;
        observer.advance(&tensor.name, tensor.bytes()?);
        observer.go_on()?;
        measured.insert(index, if error > 0.0 { divergence / error } else { 0.0 });
    }
    observer.end();
    // Large models are measured with inputs as they are at work: it is in their constants.
    let floor = if activations == at_work {
        0.0
    } else {
        work.once("divergence by rounded inputs", &[sensitivity_windows(request, copy).to_string()], || {
            let packed = prepare(stand_in(copy)?, &LoadOptions { positions: request.context, ..request.source.clone() })?;
            let result = quality(&what, &subject(&packed)?, Some(&subject(reference)?), &mut |_, _| observer.go_on())?;
            Ok(result.comparison.map_or(0.0, |c| c.kl_divergence.value))
        })?
    };
    let constant = |i| measured.get(&i).map_or_else(|| (interpolated(i, tensors, &measured), false), |c| (*c, true));
    Ok(((0..tensors.len()).map(constant).collect(), floor))
}

/// Tensors outside the layers are all measured, of the layers evenly spaced ones, the first and the last
/// among them.
fn is_measured(tensor: &Tensor, all: &[&Tensor], layers: u32) -> bool {
    let Some(layer) = tensor.id.and_then(|id| id.layer) else { return true };
    let last = all.iter().filter_map(|t| t.id.and_then(|id| id.layer)).max().unwrap_or(0);
    if last < layers {
        return true;
    }
    let steps = layers - 1;
    (0..=steps).any(|s| (u64::from(s) * u64::from(last) / u64::from(steps)) as u32 == layer)
}

/// Between the nearest measured tensors of the same role, over depth, in logarithms.
fn interpolated(index: usize, tensors: &[&Tensor], measured: &BTreeMap<usize, f64>) -> f64 {
    let place = |i: usize| tensors[i].id.map(|id| (id.role, id.layer.unwrap_or(0)));
    let Some((role, layer)) = place(index) else { return 0.0 };
    let mut same: Vec<(u32, f64)> = measured
        .iter()
        .filter_map(|(&i, &c)| place(i).filter(|(r, _)| *r == role).map(|(_, l)| (l, c.max(f64::MIN_POSITIVE).ln())))
        .collect();
    same.sort_by_key(|(l, _)| *l);
    let below = same.iter().rev().find(|(l, _)| *l <= layer);
    let above = same.iter().find(|(l, _)| *l >= layer);
    match (below, above) {
        (Some(&(a, x)), Some(&(b, y))) if b > a => (x + (y - x) * f64::from(layer - a) / f64::from(b - a)).exp(),
        (Some(&(_, x)), _) | (None, Some(&(_, x))) => x.exp(),
        (None, None) => 0.0,
    }
}

/// The model with one tensor in another encoding.
fn with_one(model: &Model, tensor: &Tensor, encoding: &'static dyn Encoding, rounding: &Rounding<'_>, threads: usize) -> Result<Model> {
    let rounder = rounding.rounder(tensor, encoding)?;
    let mut changed = model.clone();
    put_rounded(&mut changed, tensor, encoding, &*rounder, None, threads)?;
    Ok(changed)
}
