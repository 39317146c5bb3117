//! The smallest loss under a budget: calibrate, measure what each tensor costs, allocate, write, verify.
//!
//! ```text
//! calibration text -> importance ----------+
//! every tensor x candidate encoding -> error |-> divergence = constant x error -> allocation -> plan
//! one tensor coarse at a time -> constant --+                                        |
//! evaluation text (another one) -> measured divergence <- artifact <-----------------+
//! ```
//! Losses add up over tensors well enough to plan by; what counts is the divergence that is measured on
//! the whole artifact at the end, and a promise about it is checked and corrected there.

mod sensitivity;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gravure_base::{AtomicFile, Disk, Error, ErrorKind, Result, ResultExt, Storage};
use gravure_core::values::Sensitivity;
use gravure_core::{Artifact, Model, Plan, PlanEntry, Policy};
use gravure_eval::calibration::Watched;
use gravure_planner::budget::{Allocation, Choice, Item, allocate, allocate_for_loss};
use gravure_planner::uniform::Uniform;

use crate::calibrate::{CalibrateRequest, calibrate_loaded};
use crate::engine::{Engine, LoadOptions, load};
use crate::evaluate::{EvaluateRequest, Evaluation, evaluate_loaded};
use crate::quantize::{PlanSource, QuantizePlan, QuantizeRequest, plan_quantize, quantize};
use crate::{Observer, catalog, translate};

/// What must hold of the artifact.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Budget {
    /// Bytes of all files together, at most.
    pub max_size: Option<u64>,
    /// Bytes of all tensors together, at most.
    pub max_tensor_bytes: Option<u64>,
    /// Bits for each weight, at most.
    pub bits_per_weight: Option<f64>,
    /// Mean divergence from the original on the evaluation text, at most.
    pub max_kl_divergence: Option<f64>,
}

/// What to optimize, for what, and where to.
#[derive(Debug, Clone)]
pub struct OptimizeRequest {
    /// The original.
    pub source: LoadOptions,
    /// Folder for the artifact, the plan, the importance matrix and the report.
    pub output: PathBuf,
    /// What must hold.
    pub budget: Budget,
    /// Text that importance and sensitivity are measured on.
    pub calibration_data: PathBuf,
    /// Another text, that the result is measured on.
    pub evaluation_data: PathBuf,
    /// Tokens in a window.
    pub context: usize,
    /// At most this many windows of the calibration text for importance.
    pub calibration_windows: Option<usize>,
    /// At most this many windows for the sensitivity of each tensor.
    pub sensitivity_windows: usize,
    /// At most this many windows of the evaluation text.
    pub evaluation_windows: Option<usize>,
    /// Encodings to choose from; all that the format holds and that can be written where empty.
    pub candidates: Vec<String>,
    /// Where the output goes.
    pub storage: Arc<dyn Storage>,
}

impl OptimizeRequest {
    /// Windows of 512 tokens: 128 for importance, 4 for sensitivity, all for evaluation.
    pub fn new(source: LoadOptions, output: impl Into<PathBuf>, calibration: impl Into<PathBuf>, evaluation: impl Into<PathBuf>) -> Self {
        Self {
            source,
            output: output.into(),
            budget: Budget::default(),
            calibration_data: calibration.into(),
            evaluation_data: evaluation.into(),
            context: 512,
            calibration_windows: Some(128),
            sensitivity_windows: 4,
            evaluation_windows: None,
            candidates: Vec::new(),
            storage: Arc::new(Disk),
        }
    }
}

/// Seconds of one stage.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Stage {
    /// What was done.
    pub name: &'static str,
    /// How long.
    pub seconds: f64,
}

/// The result with its evidence.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Optimized {
    /// What had to hold.
    pub budget: Budget,
    /// The files.
    pub artifact: Artifact,
    /// Bytes of all files together.
    pub file_bytes: u64,
    /// The plan's file.
    pub plan: PathBuf,
    /// The importance matrix's file.
    pub importance: PathBuf,
    /// Divergence that was predicted.
    pub predicted_kl_divergence: f64,
    /// What was measured on the evaluation text.
    pub evaluation: Evaluation,
    /// How many tensors have which encoding.
    pub encodings: Vec<(String, usize)>,
    /// What each tensor costs in each encoding.
    pub sensitivity: Sensitivity,
    /// What took how long.
    pub stages: Vec<Stage>,
}

/// Plans that are tried at most until a promise about divergence holds.
const ATTEMPTS: usize = 4;

/// Finds the plan, writes the artifact, measures it.
///
/// # Errors
/// Those of loading, calibration and quantization; `Request` for a budget that cannot be met, with the
/// nearest one that can; `Gate` where the measured divergence stays above the promise; `Interrupted`.
pub fn optimize(request: &OptimizeRequest, observer: &dyn Observer) -> Result<Optimized> {
    check(request)?;
    let mut stages = Vec::new();
    let mut clock = Instant::now();
    let mut stage = |name: &'static str| {
        stages.push(Stage { name, seconds: clock.elapsed().as_secs_f64() });
        clock = Instant::now();
    };
    std::fs::create_dir_all(&request.output).map_err(|e| Error::io("make the folder", &request.output, e))?;
    let original = load(&LoadOptions { positions: request.context, ..request.source.clone() }, observer)?;
    let neutral = translate::to_neutral(&original.model, catalog(), gravure_formats::neutral_name)?;
    stage("load");
    let importance = request.output.join("imatrix.gguf");
    let calibration = CalibrateRequest {
        context: request.context,
        windows: request.calibration_windows,
        watched: Watched::LayersAndOutput,
        storage: Arc::clone(&request.storage),
        ..CalibrateRequest::new(request.source.clone(), &request.calibration_data, &importance)
    };
    let seen = calibrate_loaded(&calibration, &original, observer)?;
    stage("calibrate");
    let base = Uniform::Auto.plan(&neutral, catalog(), None)?;
    let sensitivity = sensitivity::measure(request, &neutral, &base, &original, &seen.inputs, observer)?;
    stage("sensitivity");
    let items = items(&sensitivity);
    let search = Search { request, neutral: &neutral, base: &base, items: &items, importance: &importance };

    let mut correction = 1.0;
    for attempt in 0..ATTEMPTS {
        let (allocation, plan) = search.plan(correction)?;
        let plan_path = request.output.join("plan.toml");
        write_plan(&plan_path, Arc::clone(&request.storage), &plan)?;
        let outcome = quantize(&search.quantize(&plan), observer)?;
        stage("quantize");
        let first = outcome.artifact.files.first().map(|f| f.path.clone()).ok_or_else(|| Error::bug("no file was written"))?;
        let engine = load(&LoadOptions { positions: request.context, format: None, path: first, ..request.source.clone() }, observer)?;
        let evaluation = evaluate(request, &engine, &original, observer)?;
        stage("evaluate");
        let measured = evaluation.comparison.as_ref().map_or(f64::NAN, |c| c.kl_divergence.value);
        if let Some(most) = request.budget.max_kl_divergence
            && measured > most
        {
            // Losses did not quite add up: plan for less.
            correction *= (most / measured) * 0.98;
            if attempt + 1 == ATTEMPTS || request.budget.limits_bytes() {
                return Err(Error::new(ErrorKind::Gate, format!("the divergence is {measured:.6} and {most:.6} at most was asked for"))
                    .help("allow more bytes or more divergence"));
            }
            continue;
        }
        let file_bytes = outcome.artifact.files.iter().map(|f| f.bytes).sum();
        let done = Optimized {
            budget: request.budget,
            file_bytes,
            plan: plan_path,
            importance,
            predicted_kl_divergence: allocation.loss,
            evaluation,
            encodings: count(&plan),
            artifact: outcome.artifact,
            sensitivity,
            stages,
        };
        write_report(&request.output.join("report.json"), Arc::clone(&request.storage), &done)?;
        return Ok(done);
    }
    Err(Error::bug("no attempt ended"))
}

impl Budget {
    fn limits_bytes(&self) -> bool {
        self.max_size.is_some() || self.max_tensor_bytes.is_some() || self.bits_per_weight.is_some()
    }
}

fn check(request: &OptimizeRequest) -> Result<()> {
    let budget = &request.budget;
    if !budget.limits_bytes() && budget.max_kl_divergence.is_none() {
        return Err(Error::request("there is no budget").help("give a size, bits for each weight, or a divergence"));
    }
    let positive = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v > 0.0);
    if !positive(budget.bits_per_weight) || !positive(budget.max_kl_divergence) {
        return Err(Error::request("bits for each weight and divergence must be positive"));
    }
    let same = |a: &Path, b: &Path| std::fs::canonicalize(a).ok().zip(std::fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b);
    if same(&request.calibration_data, &request.evaluation_data) {
        return Err(Error::request("the calibration text and the evaluation text are the same")
            .in_file(&request.evaluation_data)
            .help("what is measured on the text that was planned on proves nothing: give another one"));
    }
    Ok(())
}

fn evaluate(request: &OptimizeRequest, engine: &Engine, original: &Engine, observer: &dyn Observer) -> Result<Evaluation> {
    let what = EvaluateRequest {
        context: request.context,
        windows: request.evaluation_windows,
        ..EvaluateRequest::new(request.source.clone(), &request.evaluation_data)
    };
    evaluate_loaded(&what, engine, Some(original), observer)
}

fn items(sensitivity: &Sensitivity) -> Vec<Item> {
    let choice = |constant: f64| {
        move |c: &gravure_core::values::CandidateError| Choice { encoding: c.encoding.clone(), bytes: c.bytes, loss: constant * c.error }
    };
    let item = |t: &gravure_core::values::TensorSensitivity| Item {
        tensor: t.tensor.clone(),
        choices: t.candidates.iter().map(choice(t.constant)).collect(),
    };
    sensitivity.tensors.iter().map(item).collect()
}

/// From a budget to a plan.
struct Search<'a> {
    request: &'a OptimizeRequest,
    neutral: &'a Model,
    base: &'a Plan,
    items: &'a [Item],
    importance: &'a Path,
}

impl Search<'_> {
    /// The plan that the budget allows; `correction` scales the divergence that is planned for.
    fn plan(&self, correction: f64) -> Result<(Allocation, Plan)> {
        let budget = &self.request.budget;
        let fixed = self.fixed_bytes()?;
        let weights = self.neutral.parameters() as f64;
        let by_bits = budget.bits_per_weight.map(|b| (weights * b / 8.0) as u64);
        let tensor_bytes = [budget.max_tensor_bytes, by_bits, budget.max_size].into_iter().flatten().min();
        let Some(mut limit) = tensor_bytes else {
            let most = budget.max_kl_divergence.unwrap_or_default() * correction;
            let allocation = allocate_for_loss(self.items, most)?;
            let plan = self.apply(&allocation)?;
            return Ok((allocation, plan));
        };
        // A header has the same length whatever the encodings: its share is known after one plan, and only
        // the padding of tensors moves.
        let mut best = None;
        for _ in 0..6 {
            let free = limit.checked_sub(fixed).ok_or_else(|| {
                Error::request(format!("the budget of {limit} bytes cannot be met"))
                    .help(format!("tensors that stay exact take {fixed} bytes"))
            })?;
            let allocation = allocate(self.items, free).map_err(|e| self.in_terms_of_files(e, fixed))?;
            let plan = self.apply(&allocation)?;
            let Some(most) = budget.max_size else { return Ok((allocation, plan)) };
            let described = self.describe(&plan)?;
            let other = described.output_bytes.saturating_sub(fixed + allocation.bytes);
            if described.output_bytes <= most {
                let slack = most - described.output_bytes;
                best = Some((allocation, plan));
                let room = most.saturating_sub(other).min(tensor_bytes.unwrap_or(u64::MAX));
                if slack < 256 || room <= limit {
                    break;
                }
                limit = room;
            } else {
                limit = most.saturating_sub(other).min(limit - 1);
            }
        }
        best.ok_or_else(|| Error::request("the size cannot be met").help("allow some kilobytes more"))
    }

    fn in_terms_of_files(&self, error: Error, fixed: u64) -> Error {
        let least: u64 = self.items.iter().map(|i| i.choices.iter().map(|c| c.bytes).min().unwrap_or(0)).sum();
        if error.kind() != ErrorKind::Request {
            return error;
        }
        Error::request("the budget cannot be met").help(format!(
            "with the smallest encodings the tensors of this model take {} bytes, {:.3} bits for each weight",
            least + fixed,
            (least + fixed) as f64 * 8.0 / self.neutral.parameters().max(1) as f64
        ))
    }

    /// Bytes of the tensors that are not up for choice.
    fn fixed_bytes(&self) -> Result<u64> {
        let mut total = 0;
        for entry in self.base.tensors.iter().filter(|e| self.items.iter().all(|i| i.tensor != e.tensor)) {
            let tensor = self.neutral.tensor(&entry.tensor).ok_or_else(|| Error::bug("a planned tensor is gone"))?;
            total += catalog().encoding(&entry.encoding)?.row_bytes(tensor.shape.row_length())? * tensor.shape.rows();
        }
        Ok(total)
    }

    fn apply(&self, allocation: &Allocation) -> Result<Plan> {
        let mut plan = Plan { name: "optimized".to_owned(), file_type: None, ..self.base.clone() };
        for (item, &pick) in self.items.iter().zip(&allocation.picks) {
            let choice = &item.choices[pick];
            let entry = plan.tensors.iter_mut().find(|e| e.tensor == item.tensor);
            let entry: &mut PlanEntry = entry.ok_or_else(|| Error::bug("an allocated tensor is not planned").at_item(&*item.tensor))?;
            let tensor = self.neutral.tensor(&item.tensor).ok_or_else(|| Error::bug("a planned tensor is gone"))?;
            entry.encoding.clone_from(&choice.encoding);
            entry.method = if tensor.encoding.id() == choice.encoding { "copy" } else { "rtn" }.to_owned();
            entry.reason = format!("predicted to cost {:.2e} nats of divergence", choice.loss);
        }
        Ok(plan)
    }

    fn quantize(&self, plan: &Plan) -> QuantizeRequest {
        let source = &self.request.source;
        let mut request = QuantizeRequest::new(&source.path, self.request.output.join("model.gguf"), PlanSource::Given(plan.clone()));
        request.importance = Some(self.importance.to_path_buf());
        request.threads = source.threads;
        request.source_format.clone_from(&source.format);
        request.lenient = source.lenient;
        request.limits = source.limits;
        request.storage = Arc::clone(&self.request.storage);
        request
    }

    fn describe(&self, plan: &Plan) -> Result<QuantizePlan> {
        plan_quantize(&self.quantize(plan))
    }
}

fn count(plan: &Plan) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for entry in &plan.tensors {
        match counts.iter_mut().find(|(e, _)| *e == entry.encoding) {
            Some((_, n)) => *n += 1,
            None => counts.push((entry.encoding.clone(), 1)),
        }
    }
    counts
}

fn write_plan(path: &Path, storage: Arc<dyn Storage>, plan: &Plan) -> Result<()> {
    let text = toml::to_string(plan).map_err(|e| Error::bug(format!("the plan cannot be written: {e}")))?;
    write(path, storage, text.as_bytes())
}

fn write_report(path: &Path, storage: Arc<dyn Storage>, report: &Optimized) -> Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(|e| Error::bug(format!("the report cannot be written: {e}")))?;
    write(path, storage, text.as_bytes())
}

fn write(path: &Path, storage: Arc<dyn Storage>, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(storage, path)?;
    file.write_all(bytes).and_then(|()| file.commit()).in_file(path)
}
