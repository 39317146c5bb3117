//! The smallest loss under a budget: calibrate, measure what each tensor costs, allocate, write, verify.
//!
//! ```text
//! shapes, candidates, device -> is the budget possible at all? ---------------------------+
//! calibration text -> importance ----------+                                              |
//! every tensor x candidate encoding -> error |-> divergence = constant x error -> allocation -> plan
//! one tensor coarse at a time -> constant --+                                        |
//! evaluation text (another one) -> measured divergence <- artifact <-----------------+
//! ```
//! Losses add up over tensors well enough to plan by; what counts is the divergence that is measured on
//! the whole artifact at the end, and a promise about it is checked and corrected there.

mod device;
mod request;
mod search;
mod sensitivity;
mod space;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gravure_base::{AtomicFile, Error, Result, ResultExt, Storage};
use gravure_core::values::Sensitivity;
use gravure_core::{Artifact, Metadata, Plan, Policy};
use gravure_eval::Windows;
use gravure_eval::calibration::Watched;
use gravure_planner::uniform::Uniform;

use crate::calibrate::{CalibrateRequest, calibrate_loaded};
use crate::engine::{Engine, LoadOptions, load, prepare};
use crate::evaluate::{EvaluateRequest, Evaluation, evaluate_loaded, text_tokens};
use crate::open::{OpenRequest, open};
use crate::output::target_format;
use crate::quantize::quantize;
use crate::{Observer, catalog, translate};
use device::Device;
pub use device::Predicted;
pub use request::{Budget, OptimizeRequest};
use search::{Found, Search};
use space::Space;
pub use verdict::{Bound, Force, Unit, Verdict, failure};

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
    /// What of it holds.
    pub promises: Vec<Verdict>,
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
    /// What the artifact is predicted to need where it is to run.
    pub predicted: Predicted,
    /// What was measured on the evaluation text.
    pub evaluation: Evaluation,
    /// How many tensors have which encoding.
    pub encodings: Vec<(String, usize)>,
    /// What each tensor costs in each encoding.
    pub sensitivity: Sensitivity,
    /// What took how long.
    pub stages: Vec<Stage>,
}

/// Plans that are tried at most until a promise about quality holds.
const ATTEMPTS: usize = 4;
/// Disagreement over the most likely token for each square root of a nat of divergence: 0.5 to 0.6 on
/// llama.cpp's published scores of Llama 3 8B from Q2_K to Q8_0. Where the first plan begins, no more.
const DISAGREEMENT: f64 = 0.55;
/// Share of an allowed loss that is aimed for, so that the measured one does not lie above it.
const MARGIN: f64 = 0.96;
/// Times that a loss may be below the allowed one before a smaller plan is tried.
const LOOSE: f64 = 1.5;

/// Seconds of the stages.
struct Clock {
    stages: Vec<Stage>,
    last: Instant,
}

impl Clock {
    fn new() -> Self {
        Self { stages: Vec::new(), last: Instant::now() }
    }

    fn stage(&mut self, name: &'static str) {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        match self.stages.iter_mut().find(|s| s.name == name) {
            Some(stage) => stage.seconds += seconds,
            None => self.stages.push(Stage { name, seconds }),
        }
    }
}

/// Finds the plan, writes the artifact, measures it. A promise about the measured quality that does not
/// hold in the end is among [`Optimized::promises`]; see [`failure`].
///
/// # Errors
/// Those of loading, calibration and quantization; `Request`, before anything is measured, for a budget
/// that cannot be met, with the nearest one that can; `Interrupted`.
pub fn optimize(request: &OptimizeRequest, observer: &dyn Observer) -> Result<Optimized> {
    check(request)?;
    let mut clock = Clock::new();
    let source = &request.source;
    let output = request.output.join("model.gguf");
    let format = target_format(&output, None)?;
    let opened =
        open(&OpenRequest { path: &source.path, format: source.format.as_deref(), lenient: source.lenient, limits: source.limits })?;
    opened.notes.iter().for_each(|note| observer.note(&format!("{}: {}", note.subject, note.text)));
    let neutral = translate::to_neutral(&opened, catalog(), gravure_formats::neutral_name)?;
    let base = Uniform::Auto.plan(&neutral, catalog(), None)?;
    let device = Device::new(request, &neutral, format)?;
    let candidates = space::candidates(request, format, &device)?;
    let space = Space::new(request, &neutral, &base, &candidates, Metadata::new())?;
    space.check_possible(&device)?;
    if let Some(usable) = device.usable_bytes()
        && space.least()?.tensor_bytes.saturating_add(device.beside_weights()) > usable
    {
        observer.note("even the smallest encodings take more memory than the target leaves to a model");
    }
    // A text that is too short is found out before weights are read.
    let texts = [(&request.calibration_data, request.calibration_windows), (&request.evaluation_data, request.evaluation_windows)];
    for (path, windows) in texts {
        Windows::new(&text_tokens(&opened, path)?, request.context, None, windows).in_file(path)?;
    }
    std::fs::create_dir_all(&request.output).map_err(|e| Error::io("make the folder", &request.output, e))?;
    let original = prepare(opened, &LoadOptions { positions: request.context, ..source.clone() })?;
    clock.stage("load");
    let importance = request.output.join(space::IMPORTANCE);
    let calibration = CalibrateRequest {
        context: request.context,
        windows: request.calibration_windows,
        watched: Watched::LayersAndOutput,
        storage: Arc::clone(&request.storage),
        ..CalibrateRequest::new(source.clone(), &request.calibration_data, &importance)
    };
    let seen = calibrate_loaded(&calibration, &original, observer)?;
    clock.stage("calibrate");
    let measured = OptimizeRequest { candidates: candidates.iter().map(|e| e.id().to_owned()).collect(), ..request.clone() };
    let sensitivity = sensitivity::measure(&measured, &neutral, &base, &original, &seen.inputs, observer)?;
    clock.stage("sensitivity");
    let search = Search::new(&space, &device, &sensitivity)?;
    let matrix = Arc::new(space::named(seen.matrix, &request.calibration_data));
    let plan_path = request.output.join("plan.toml");
    let mut aim = Aim::new(&request.budget);
    let (found, artifact, evaluation) = loop {
        let found = search.plan(aim.loss)?;
        write_plan(&plan_path, Arc::clone(&request.storage), &found.plan)?;
        let outcome = quantize(&space.quantize(&found.plan, output.clone(), Arc::clone(&matrix)), observer)?;
        clock.stage("quantize");
        let first = outcome.artifact.files.first().map(|f| f.path.clone()).ok_or_else(|| Error::bug("no file was written"))?;
        let engine = load(&LoadOptions { positions: request.context, format: None, path: first, ..source.clone() }, observer)?;
        let evaluation = evaluate(request, &engine, &original, observer)?;
        clock.stage("evaluate");
        if !aim.goes_on(&evaluation) {
            break (found, outcome.artifact, evaluation);
        }
    };
    let file_bytes = artifact.files.iter().map(|f| f.bytes).sum();
    let predicted = device.predict(&space.stored(&found.plan)?)?;
    let done = Optimized {
        budget: request.budget,
        promises: promises(&request.budget, &search, &found, &evaluation, &predicted, file_bytes),
        file_bytes,
        plan: plan_path,
        importance,
        predicted_kl_divergence: found.loss,
        predicted,
        evaluation,
        encodings: count(&found.plan),
        artifact,
        sensitivity,
        stages: clock.stages,
    };
    write_report(&request.output.join("report.json"), Arc::clone(&request.storage), &done)?;
    Ok(done)
}

/// The loss that is planned for, where the quality is promised and nothing else bounds the plan: losses do
/// not quite add up, so what is measured corrects it.
struct Aim {
    loss: f64,
    divergence: Option<f64>,
    disagreement: Option<f64>,
    /// Whether bytes or seconds decide, so that nothing is gained by another aim.
    bounded: bool,
    attempts: usize,
    passed: Option<f64>,
    failed: bool,
}

impl Aim {
    fn new(budget: &Budget) -> Self {
        let disagreement = budget.min_top1_agreement.map(|share| 1.0 - share);
        let guess = disagreement.map(|d| (d / DISAGREEMENT).powi(2));
        let loss = [budget.max_kl_divergence, guess].into_iter().flatten().fold(f64::INFINITY, f64::min);
        let bounded = budget.limits_resources();
        Self { loss, divergence: budget.max_kl_divergence, disagreement, bounded, attempts: 0, passed: None, failed: false }
    }

    /// Times that the loss could be larger and every promise still hold; below 1 where one does not.
    fn room(&self, evaluation: &Evaluation) -> f64 {
        let Some(c) = &evaluation.comparison else { return 1.0 };
        let by_divergence = self.divergence.map(|most| most / c.kl_divergence.value.max(f64::MIN_POSITIVE));
        // Agreement falls with the square root of divergence.
        let by_agreement = self.disagreement.map(|most| (most / (1.0 - c.top1_agreement.value).max(f64::MIN_POSITIVE)).powi(2));
        [by_divergence, by_agreement].into_iter().flatten().fold(f64::INFINITY, f64::min)
    }

    /// Whether another plan is to be tried, at the loss that is then set.
    fn goes_on(&mut self, evaluation: &Evaluation) -> bool {
        self.attempts += 1;
        if self.bounded {
            return false;
        }
        let room = self.room(evaluation);
        let last = self.attempts == ATTEMPTS;
        if room >= 1.0 {
            self.passed = Some(self.loss);
            // One attempt is kept to come back to this plan.
            if self.failed || room < LOOSE || self.attempts + 2 > ATTEMPTS {
                return false;
            }
            self.loss *= room * MARGIN;
            return true;
        }
        self.failed = true;
        if last {
            return false;
        }
        self.loss = self.passed.unwrap_or(self.loss * room * MARGIN);
        true
    }
}

/// Every limit of the budget with its outcome.
fn promises(
    budget: &Budget,
    search: &Search<'_>,
    found: &Found,
    evaluation: &Evaluation,
    predicted: &Predicted,
    file_bytes: u64,
) -> Vec<Verdict> {
    use Bound::{AtLeast, AtMost};
    let mut all = Vec::new();
    let mut hold = |subject, bound, limit: Option<f64>, value: Option<f64>, unit, remedy: &dyn Fn() -> Option<String>| {
        all.extend(limit.map(|limit| Verdict::new(subject, bound, limit, value, unit, Force::Binding).or(remedy)));
    };
    let bytes = |b: Option<u64>| b.map(|b| b as f64);
    let none = || None;
    hold("file", AtMost, bytes(budget.max_size), Some(file_bytes as f64), Unit::Bytes, &none);
    hold("tensors", AtMost, bytes(budget.max_tensor_bytes), Some(evaluation.tensor_bytes as f64), Unit::Bytes, &none);
    hold("bits for each weight", AtMost, budget.bits_per_weight, Some(evaluation.bits_per_weight), Unit::BitsPerWeight, &none);
    hold("memory", AtMost, bytes(budget.max_memory), Some(predicted.memory_bytes as f64), Unit::Bytes, &none);
    hold("decoding", AtLeast, budget.min_tokens_per_second, predicted.tokens_per_second, Unit::TokensPerSecond, &none);
    let comparison = evaluation.comparison.as_ref();
    let aim = Aim::new(budget);
    let larger = || {
        let bytes = search.bytes_for(found.loss * aim.room(evaluation) * MARGIN)?;
        let plus = bytes.saturating_sub(found.plan.tensor_bytes);
        Some(format!("{bytes} bytes of tensors, {plus} more, are predicted to meet it"))
    };
    let divergence = comparison.map(|c| c.kl_divergence.value);
    hold("KL divergence", AtMost, budget.max_kl_divergence, divergence, Unit::Nats, &larger);
    let agreement = comparison.map(|c| c.top1_agreement.value);
    hold("top-1 agreement", AtLeast, budget.min_top1_agreement, agreement, Unit::Share, &larger);
    all
}

fn check(request: &OptimizeRequest) -> Result<()> {
    request.budget.check()?;
    if request.budget.min_tokens_per_second.is_some() && request.target.is_none() {
        return Err(Error::request("a speed is asked for, but not where").help("name the target: an id of `gravure targets`, or `host`"));
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
