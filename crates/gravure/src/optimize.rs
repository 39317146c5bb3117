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
mod drift;
mod elsewhere;
mod format;
mod gates;
pub(crate) mod ground;
mod outcome;
mod request;
mod search;
mod sensitivity;
mod space;
mod stand_in;
mod verdict;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gravure_base::{AtomicFile, Error, Result, ResultExt, Storage, remove_all};
use gravure_core::{Model, Needs, Plan, TensorId, WriteRequest};
use gravure_eval::calibration::{InputSums, Watched};
use gravure_eval::{Windows, memory};

use crate::calibrate::{CalibrateRequest, InputsByWeight, Seen, calibrate_loaded};
use crate::certificate::{self, Certificate};
use crate::engine::{Engine, LoadOptions, load, prepare};
use crate::evaluate::{Evaluation, evaluate_loaded, text_tokens};
use crate::hessians::Hessians;
use crate::open::{OpenRequest, open};
use crate::output::check_target;
use crate::quantize::quantize_with;
use crate::texts::BuiltInText;
use crate::{Observer, catalog, report, translate};
use device::Device;
pub use device::Predicted;
pub use drift::Drift;
use elsewhere::Runtimes;
pub use elsewhere::{RuntimeScores, Standing};
pub(crate) use gates::at_work;
pub use gates::{AtWork, Gate, Gates};
pub use outcome::{ChosenTensor, FixedMixture, FrontierPoint, Optimized, OriginalFacts, Stage};
pub(crate) use outcome::{environment, family};
pub use request::{Budget, Elsewhere, OptimizeRequest};
use search::{Found, Search};
use sensitivity::Rounding;
use space::Space;
pub use verdict::{Bound, Force, Unit, Verdict, failure};
pub(crate) use work::{Timed, Work};

/// Worst tokens that the report lists.
const WORST: usize = 10;
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
pub(crate) struct Clock {
    stages: Vec<Stage>,
    last: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { stages: Vec::new(), last: Instant::now() }
    }

    /// What took how long.
    pub(crate) fn into_stages(self) -> Vec<Stage> {
        self.stages
    }

    /// Ends a stage; one that comes again goes on.
    pub(crate) fn stage(&mut self, name: &'static str) {
        let seconds = self.last.elapsed().as_secs_f64();
        let peak_resident_bytes = memory::peak_resident_bytes();
        self.last = Instant::now();
        match self.stages.iter_mut().find(|s| s.name == name) {
            Some(stage) => {
                stage.seconds += seconds;
                stage.peak_resident_bytes = peak_resident_bytes;
            }
            None => self.stages.push(Stage { name, seconds, peak_resident_bytes }),
        }
    }
}

/// Finds the plan, writes the artifact, measures it. A limit on the measured figures that does not hold in
/// the end is among [`Optimized::promises`] and [`Optimized::gates`]; see [`failure`].
///
/// # Errors
/// Those of loading, calibration and quantization; `Request`, before anything is measured, for a budget
/// that cannot be met, with the nearest one that can; `Limit` where the time is over; `Interrupted`.
pub fn optimize(request: &OptimizeRequest, observer: &dyn Observer) -> Result<Optimized> {
    check(request)?;
    let timed = Timed::new(observer, request.time_limit);
    run(request, &timed).map_err(|error| timed.explain(error, &request.output))
}

fn run(request: &OptimizeRequest, observer: &dyn Observer) -> Result<Optimized> {
    let mut clock = Clock::new();
    let source = &request.source;
    let opened =
        open(&OpenRequest { path: &source.path, format: source.format.as_deref(), lenient: source.lenient, limits: source.limits })?;
    opened.notes.iter().for_each(|note| observer.note(&format!("{}: {}", note.subject, note.text)));
    let neutral = translate::to_neutral(&opened, catalog(), gravure_formats::neutral_name)?;
    let large = sensitivity::is_large(&neutral);
    let request = &request.with_windows(large);
    let (format, smallest) = format::choose(request, &neutral)?;
    let output = request.output.join(space::artifact(format));
    let base = format::converted(&neutral, format)?;
    let device = Device::new(request, &neutral, format)?;
    let candidates = space::candidates(request, format, &device)?;
    let space = Space::new(request, format, &neutral, &base, &candidates, certificate::room()?)?;
    if let Some(usable) = device.usable_bytes()
        && space.least()?.tensor_bytes.saturating_add(device.beside_weights()) > usable
    {
        observer.note("even the smallest encodings take more memory than the target leaves to a model");
    }
    let runtimes = Runtimes::new(request, format, &device, observer)?;
    BuiltInText::write_all(&request.built_in, &request.output, &request.storage)?;
    // A text that is too short is found out before weights are read.
    let texts = [(&request.calibration_data, request.calibration_windows), (&request.evaluation_data, request.evaluation_windows)];
    for (path, windows) in texts {
        Windows::new(&text_tokens(&opened, path)?, request.context, None, windows).in_file(path)?;
    }
    std::fs::create_dir_all(&request.output).map_err(|e| Error::io("make the folder", &request.output, e))?;
    // Nor is the original read for an artifact that would replace it, or that the disk has no room for.
    check_target(format, &opened, &WriteRequest::new(&output, Arc::clone(&request.storage)), &smallest.files)?;
    let (facts, naming) = (outcome::original(&opened)?, opened.naming);
    let (source_sha256, _) = certificate::tensors_digest(&opened, observer)?;
    let work = Work::new(&request.output, work::FOLDER, &inputs_of(request, &source_sha256)?, Arc::clone(&request.storage))?;
    let options = LoadOptions { positions: request.context, ..source.as_original() };
    // A large model itself is loaded when the artifact is held against it.
    let (copy, measured_on) = stand_in::measured_on(&opened, &neutral, &options)?;
    clock.stage("load");
    let seen = importance(request, &measured_on, &neutral, &work, observer)?;
    clock.stage("calibrate");
    let measured = OptimizeRequest { candidates: candidates.iter().map(|e| e.id().to_owned()).collect(), ..request.clone() };
    let hessians = match space.method.needs() {
        // Of large models three times the second moments would be too many.
        Needs::Hessian => {
            let hessians = Hessians::new(Arc::clone(&measured_on), &request.calibration_text(), observer)?;
            Some(if large { hessians } else { hessians.holding_out() })
        }
        Needs::Nothing => None,
    };
    let rounding = Rounding { inputs: &seen.inputs, hessians: hessians.as_ref(), method: space.method };
    let sensitivity = sensitivity::measure(&measured, [&neutral, &copy], &base, &measured_on, &rounding, &work, observer)?;
    clock.stage("sensitivity");
    let search = Search::new(&space, &device, &sensitivity)?;
    let matrix = Arc::new(space::named(seen.matrix, &request.calibration_data));
    let plan_path = request.output.join("plan.toml");
    // Without its certificate the artifact is not finished, and has not its name.
    let unsigned = work.folder().join(space::artifact(format));
    let mut aim = Aim::new(&request.budget);
    // A copy has served, but for second moments, which are measured when they are asked for.
    let mut original = (!large).then_some(measured_on);
    let (found, engine, evaluation, scores, original) = loop {
        let found = search.plan(aim.loss)?;
        write(&plan_path, Arc::clone(&request.storage), plan_text(&found.plan)?.as_bytes())?;
        quantize_with(&space.quantize(&found.plan, unsigned.clone(), Arc::clone(&matrix)), hessians.as_ref(), observer)?;
        clock.stage("quantize");
        let engine = load(&LoadOptions { positions: request.context, format: None, path: unsigned.clone(), ..source.clone() }, observer)?;
        let held_against = match original.take() {
            Some(engine) => engine,
            None => Arc::new(prepare(opened.clone(), &options)?),
        };
        let evaluation = evaluate_loaded(&request.evaluation(WORST), &engine, Some(&held_against), observer)?;
        clock.stage("evaluate");
        let scores = runtimes.measure(request, &unsigned, &held_against, &evaluation, observer)?;
        clock.stage("other runtimes");
        let elsewhere = runtimes.deciding(&scores).and_then(|row| row.evaluation.as_ref());
        if !aim.goes_on(std::iter::once(&evaluation).chain(elsewhere)) {
            break (found, engine, evaluation, scores, held_against);
        }
        original = Some(held_against);
    };
    let predicted = device.predict(&space.stored(&found.plan)?)?;
    let (mut baseline, mut at_work, mut drift) = (None, None, Vec::new());
    if request.gates != Gates::Off {
        let other = original.at_work(&LoadOptions { positions: request.context, ..source.clone() })?;
        let working = other.as_ref().unwrap_or(&original);
        baseline = Some(gates::at_work(working, device.positions, observer)?);
        at_work = Some(gates::at_work(&engine, device.positions, observer)?);
        clock.stage("time");
        drift = drift::measure(&space, [&original, working], &engine, work.folder(), observer)?;
        clock.stage("drift");
    }
    let certificate = certify(request, &seen.report, &engine, &evaluation, &facts, source_sha256, observer)?;
    let threads = engine.threads;
    drop(engine);
    let artifact = certificate::stamp(&unsigned, &output, &certificate, source.limits, Arc::clone(&request.storage))?;
    remove_all(request.storage.as_ref(), &unsigned).in_file(&unsigned)?;
    clock.stage("certify");
    let file_bytes = artifact.files.iter().map(|f| f.bytes).sum();
    let bytes_for = |agreement: f64| {
        let budget = Budget { min_top1_agreement: Some(agreement), ..Budget::default() };
        search.bytes_for(found.loss * Aim::new(&budget).room([&evaluation]) * MARGIN)
    };
    let judged = baseline.as_ref().zip(at_work.as_ref()).map(|(a, b)| gates::judge(&request.gates, a, b, &evaluation, &bytes_for));
    let mut done = Optimized {
        schema: outcome::SCHEMA,
        gravure: env!("CARGO_PKG_VERSION"),
        command: request.command.clone(),
        recipe: request.recipe.clone(),
        model: facts,
        budget: request.budget,
        promises: promises(&request.budget, &search, &found, (&evaluation, runtimes.deciding(&scores)), &predicted, file_bytes),
        gates: judged.unwrap_or_default(),
        file_bytes,
        plan: plan_path,
        importance: request.output.join(space::IMPORTANCE),
        predicted_kl_divergence: found.loss,
        predicted,
        baseline,
        at_work,
        drift,
        encodings: outcome::count(&found.plan),
        tensors: outcome::tensors(&space, &found.plan, &sensitivity)?,
        frontier: outcome::frontier(&search)?,
        mixtures: outcome::mixtures(naming, &space, &search, &matrix)?,
        evaluation,
        runtimes: scores,
        artifact,
        sensitivity,
        certificate,
        environment: outcome::environment(threads),
        stages: Vec::new(),
    };
    // The path in the evaluations is the finished artifact's.
    let elsewhere = done.runtimes.iter_mut().filter_map(|row| row.evaluation.as_mut());
    std::iter::once(&mut done.evaluation).chain(elsewhere).for_each(|e| e.model.clone_from(&output));
    clock.stage("report");
    done.stages = clock.stages;
    write_reports(request, &done)?;
    Ok(done)
}

/// All that every measurement of a run depends on.
fn inputs_of(request: &OptimizeRequest, source: &str) -> Result<Vec<String>> {
    let options = &request.source;
    let vectors: Vec<_> = gravure_simd::Isa::available().iter().map(|isa| isa.name()).collect();
    Ok(vec![
        source.to_owned(),
        certificate::file_digest(&request.calibration_data)?,
        format!("{} {:?}", request.context, request.calibration_windows),
        format!("{:?} {:?}", options.cache, options.activations),
        vectors.join(" "),
    ])
}

/// Sums of one tensor's inputs as they are kept.
#[derive(serde::Serialize, serde::Deserialize)]
struct KeptSums {
    weight: String,
    squares: Vec<f64>,
    rows: u64,
}

/// Importance, from an earlier run where one left it.
fn importance(request: &OptimizeRequest, original: &Engine, neutral: &Model, work: &Work, observer: &dyn Observer) -> Result<Seen> {
    let calibration = CalibrateRequest {
        context: request.context,
        windows: request.calibration_windows,
        watched: Watched::LayersAndOutput,
        storage: Arc::clone(&request.storage),
        ..CalibrateRequest::new(request.source.clone(), &request.calibration_data, request.output.join(space::IMPORTANCE))
    };
    calibrate_loaded(
        &calibration,
        original,
        &|sums| {
            let mut fresh = None;
            let kept: Vec<KeptSums> = work.once("importance", &[], || {
                let sums = fresh.insert(sums()?);
                Ok(sums.iter().map(|(id, s)| KeptSums { weight: format!("{id:?}"), squares: s.squares.clone(), rows: s.rows }).collect())
            })?;
            let ids: BTreeMap<String, TensorId> = neutral.tensors.iter().filter_map(|t| t.id).map(|id| (format!("{id:?}"), id)).collect();
            let known = kept.into_iter().map(|k| Some((*ids.get(&k.weight)?, InputSums { squares: k.squares, rows: k.rows })));
            // A weight that only the graph knows has no name to be kept under.
            known.collect::<Option<InputsByWeight>>().map_or_else(|| fresh.map_or_else(sums, Ok), Ok)
        },
        observer,
    )
}

/// What the artifact will say of itself.
fn certify(
    request: &OptimizeRequest,
    calibrated: &crate::Calibrated,
    engine: &Engine,
    evaluation: &Evaluation,
    facts: &OriginalFacts,
    source_sha256: String,
    observer: &dyn Observer,
) -> Result<Certificate> {
    let (tensors_sha256, tensor_bytes) = certificate::tensors_digest(&engine.model, observer)?;
    Ok(Certificate {
        version: certificate::VERSION,
        gravure: env!("CARGO_PKG_VERSION").to_owned(),
        source: certificate::short_name(&request.source.path),
        source_sha256,
        parameters: facts.parameters,
        tensors_sha256,
        tensor_bytes,
        plan_sha256: certificate::plan_digest(engine.model.tensors.iter().map(|t| (t.name.as_str(), t.encoding.id()))),
        calibration: certificate::certified_text(&request.calibration_data, calibrated.windows, calibrated.context)?,
        evaluation: certificate::certified_text(&request.evaluation_data, evaluation.windows, evaluation.context)?,
        scores: certificate::scores(evaluation, engine.runtime)?,
    })
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

    /// Times that the loss could be larger and every promise still hold in each of these; below 1 where one does not.
    fn room<'a>(&self, evaluations: impl IntoIterator<Item = &'a Evaluation>) -> f64 {
        evaluations.into_iter().map(|e| self.room_of(e)).fold(f64::INFINITY, f64::min)
    }

    fn room_of(&self, evaluation: &Evaluation) -> f64 {
        let Some(c) = &evaluation.comparison else { return 1.0 };
        let by_divergence = self.divergence.map(|most| most / c.kl_divergence.value.max(f64::MIN_POSITIVE));
        // Agreement falls with the square root of divergence.
        let by_agreement = self.disagreement.map(|most| (most / (1.0 - c.top1_agreement.value).max(f64::MIN_POSITIVE)).powi(2));
        [by_divergence, by_agreement].into_iter().flatten().fold(f64::INFINITY, f64::min)
    }

    /// Whether another plan is to be tried, at the loss that is then set.
    fn goes_on<'a>(&mut self, evaluations: impl IntoIterator<Item = &'a Evaluation>) -> bool {
        self.attempts += 1;
        if self.bounded {
            return false;
        }
        let room = self.room(evaluations);
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

/// Every limit of the budget with its outcome, those of quality in the target's own runtime, too, where it is at hand.
fn promises(
    budget: &Budget,
    search: &Search<'_>,
    found: &Found,
    (evaluation, elsewhere): (&Evaluation, Option<&RuntimeScores>),
    predicted: &Predicted,
    file_bytes: u64,
) -> Vec<Verdict> {
    use Bound::{AtLeast, AtMost};
    let mut all = Vec::new();
    let mut hold = |subject: &str, bound, limit: Option<f64>, value: Option<f64>, unit, remedy: &dyn Fn() -> Option<String>| {
        all.extend(limit.map(|limit| Verdict::new(subject, bound, limit, value, unit, Force::Binding).or(remedy)));
    };
    let bytes = |b: Option<u64>| b.map(|b| b as f64);
    let none = || None;
    hold("file", AtMost, bytes(budget.max_size), Some(file_bytes as f64), Unit::Bytes, &none);
    hold("tensors", AtMost, bytes(budget.max_tensor_bytes), Some(evaluation.tensor_bytes as f64), Unit::Bytes, &none);
    hold("bits for each weight", AtMost, budget.bits_per_weight, Some(evaluation.bits_per_weight), Unit::BitsPerWeight, &none);
    hold("memory", AtMost, bytes(budget.max_memory), Some(predicted.memory_bytes as f64), Unit::Bytes, &none);
    hold("decoding", AtLeast, budget.min_tokens_per_second, predicted.tokens_per_second, Unit::TokensPerSecond, &none);
    let aim = Aim::new(budget);
    let measured = elsewhere.and_then(|row| row.evaluation.as_ref());
    let larger = || {
        let bytes = search.bytes_for(found.loss * aim.room(std::iter::once(evaluation).chain(measured)) * MARGIN)?;
        let plus = bytes.saturating_sub(found.plan.tensor_bytes);
        Some(format!("{bytes} bytes of tensors, {plus} more, are predicted to meet it"))
    };
    let there = elsewhere.map_or_else(String::new, |row| format!(" in {}", row.name));
    for (evaluation, place) in [(Some(evaluation), ""), (measured, &there)] {
        let Some(comparison) = evaluation.and_then(|e| e.comparison.as_ref()) else { continue };
        let (divergence, agreement) = (comparison.kl_divergence.value, comparison.top1_agreement.value);
        hold(&format!("KL divergence{place}"), AtMost, budget.max_kl_divergence, Some(divergence), Unit::Nats, &larger);
        hold(&format!("top-1 agreement{place}"), AtLeast, budget.min_top1_agreement, Some(agreement), Unit::Share, &larger);
    }
    // Who has the device's runtime is not handed what it refuses.
    if let Some(row) = elsewhere.filter(|row| row.standing == Standing::Failed) {
        let remedy = || row.note.clone();
        hold(&format!("windows run{there}"), AtLeast, Some(evaluation.windows as f64), Some(0.0), Unit::Windows, &remedy);
    }
    all
}

fn check(request: &OptimizeRequest) -> Result<()> {
    request.budget.check()?;
    request.gates.check()?;
    if request.budget.min_tokens_per_second.is_some() && request.target.is_none() {
        return Err(Error::request("a speed is asked for, but not where").help("name the target: an id of `gravure targets`, or `host`"));
    }
    two_texts(&request.calibration_data, &request.evaluation_data)
}

/// Refuses a proof on the text that was planned on.
///
/// # Errors
/// `Request` where both are one file.
pub(crate) fn two_texts(calibration: &Path, evaluation: &Path) -> Result<()> {
    let same = |a: &Path, b: &Path| std::fs::canonicalize(a).ok().zip(std::fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b);
    if same(calibration, evaluation) {
        return Err(Error::request("the calibration text and the evaluation text are the same")
            .in_file(evaluation)
            .help("what is measured on the text that was planned on proves nothing: give another one"));
    }
    Ok(())
}

pub(crate) fn plan_text(plan: &Plan) -> Result<String> {
    toml::to_string(plan).map_err(|e| Error::bug(format!("the plan cannot be written: {e}")))
}

/// The same evidence three times: for programs, for a browser, and beside the artifact.
fn write_reports(request: &OptimizeRequest, done: &Optimized) -> Result<()> {
    let json = serde_json::to_string_pretty(done).map_err(|e| Error::bug(format!("the report cannot be written: {e}")))?;
    for (name, text) in [("report.json", json), ("report.html", report::page(done)), ("MODEL_CARD.md", report::card(done))] {
        write(&request.output.join(name), Arc::clone(&request.storage), text.as_bytes())?;
    }
    Ok(())
}

pub(crate) fn write(path: &Path, storage: Arc<dyn Storage>, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(storage, path)?;
    file.write_all(bytes).and_then(|()| file.commit()).in_file(path)
}
