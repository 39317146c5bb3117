//! What all trials of a search stand on: the original, what its matrices saw, and what each tensor costs. Found out
//! once, as an optimization does it, and kept in the same folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Error, Result, ResultExt};
use gravure_core::contracts::CacheType;
use gravure_core::values::Sensitivity;
use gravure_core::{Artifact, Encoding, Format, ImportanceMatrix, Model, Needs, Plan, Policy};
use gravure_eval::Windows;
use gravure_planner::mixtures::{MIXTURES, MixtureRequest};

use super::device::Device;
use super::gates::{self, AtWork};
use super::outcome::{self, OriginalFacts};
use super::search::Search;
use super::sensitivity::{self, Rounding};
use super::space::{self, Space};
use super::work::{self, Work};
use super::{Budget, Clock, OptimizeRequest, certify, format, importance, inputs_of, stand_in};
use crate::calibrate::Seen;
use crate::engine::{Engine, LoadOptions, load, prepare};
use crate::evaluate::{EvaluateRequest, Evaluation, evaluate_loaded, text_tokens};
use crate::hessians::Hessians;
use crate::open::{OpenRequest, open};
use crate::quantize::{float_view, quantize_with, use_method};
use crate::sizing::even_importance;
use crate::{Observer, catalog, certificate, translate};

/// Bits for each weight that a plan of a search has at most: beyond them nothing is left to lose.
const MOST_BITS: f64 = 9.0;

/// Who chooses the encodings of a trial.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Layout {
    /// The allocation by sensitivity.
    Allocated {
        /// Bits for each weight at most.
        bits: f64,
        /// Bits that tensors outside the layers keep at least, where the budget has as many.
        outer_floor: f64,
    },
    /// A fixed mixture.
    Mixture(String),
}

/// All that makes one trial different from another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setup {
    pub(crate) method: String,
    /// Passes before it, in their order.
    pub(crate) passes: Vec<String>,
    pub(crate) layout: Layout,
    pub(crate) cache: CacheType,
}

/// What is known of a model before a weight is read.
#[derive(Debug)]
pub(crate) struct Prospect {
    request: OptimizeRequest,
    format: &'static dyn Format,
    opened: Model,
    neutral: Model,
    base: Plan,
    device: Device,
    candidates: Vec<&'static dyn Encoding>,
}

impl Prospect {
    /// Opens the model, and finds out that the texts are long enough.
    ///
    /// # Errors
    /// As [`super::optimize`] before it reads weights.
    pub(crate) fn new(request: OptimizeRequest, observer: &dyn Observer) -> Result<Self> {
        let format = format::writable(request.format.as_deref().unwrap_or_default())?;
        let source = &request.source;
        let opened =
            open(&OpenRequest { path: &source.path, format: source.format.as_deref(), lenient: source.lenient, limits: source.limits })?;
        opened.notes.iter().for_each(|note| observer.note(&format!("{}: {}", note.subject, note.text)));
        let neutral = translate::to_neutral(&opened, catalog(), gravure_formats::neutral_name)?;
        let request = request.with_windows(sensitivity::is_large(&neutral));
        let base = format::converted(&neutral, format)?;
        let device = Device::new(&request, &neutral, format)?;
        let candidates = space::candidates(&request, format, &device)?;
        let texts = [(&request.calibration_data, request.calibration_windows), (&request.evaluation_data, request.evaluation_windows)];
        // One that comes with the program is not there before the first run.
        for (path, windows) in texts.into_iter().filter(|(path, _)| request.built_in.is_empty() || path.exists()) {
            Windows::new(&text_tokens(&opened, path)?, request.context, None, windows).in_file(path)?;
        }
        Ok(Self { request, format, opened, neutral, base, device, candidates })
    }

    fn space<'a>(&'a self, request: &'a OptimizeRequest) -> Result<Space<'a>> {
        Space::new(request, self.format, &self.neutral, &self.base, &self.candidates, certificate::room()?)
    }

    /// Positions that memory is counted for.
    pub(crate) fn positions(&self) -> u64 {
        self.device.positions
    }

    /// Bits for each weight of the smallest and of the largest plan that is worth trying, within `max_size`.
    ///
    /// # Errors
    /// `Request` where even the smallest breaks `max_size`.
    pub(crate) fn bits(&self) -> Result<(f64, f64)> {
        let space = self.space(&self.request)?;
        space.check_possible(&self.device)?;
        let weights = self.neutral.parameters().max(1) as f64;
        let least = space.least()?.tensor_bytes as f64 * 8.0 / weights;
        let ways = |ways: &[(&'static dyn Encoding, u64)]| {
            ways.iter().filter(|(e, _)| e.bits_per_weight() <= MOST_BITS).map(|(_, bytes)| *bytes).max()
        };
        let most: u64 = space.choices.iter().filter_map(|(_, w)| ways(w)).sum::<u64>() + space.fixed_bytes;
        let most = self.request.budget.max_size.map_or(most, |size| most.min(size));
        Ok((least, (most as f64 * 8.0 / weights).max(least)))
    }

    /// The fixed mixtures that suit the model and the target, no two alike, whose bits are within reach.
    ///
    /// # Errors
    /// Those of looking at the model.
    pub(crate) fn mixtures(&self) -> Result<BTreeMap<String, Plan>> {
        let view = float_view(self.opened.naming, &self.neutral)?;
        let (space, even) = (self.space(&self.request)?, even_importance(&self.neutral)?);
        let weights = self.neutral.parameters().max(1) as f64;
        let (_, most) = self.bits()?;
        let mut all: BTreeMap<String, Plan> = BTreeMap::new();
        for mixture in MIXTURES {
            let Ok(mut plan) = MixtureRequest::new(mixture).plan(&view, catalog(), Some(&even)) else { continue };
            let Ok(stored) = space.stored(&plan) else { continue };
            let bytes: u64 = stored.values().map(|(_, bytes)| bytes).sum();
            // Whatever is not up for choice may have an encoding that no target lists.
            let chosen = |name: &str| space.choices.iter().any(|(t, _)| t.name == name);
            let readable = stored.iter().all(|(name, (e, _))| !chosen(name) || self.device.reads(*e));
            let same = |p: &Plan| p.tensors.iter().zip(&plan.tensors).all(|(a, b)| a.encoding == b.encoding);
            if readable && bytes as f64 * 8.0 / weights <= most && !all.values().any(same) {
                plan.tensor_bytes = bytes;
                all.insert(mixture.id.to_owned(), plan);
            }
        }
        Ok(all)
    }

    /// The original's facts.
    ///
    /// # Errors
    /// Those of looking at its tensors.
    pub(crate) fn facts(&self) -> Result<OriginalFacts> {
        outcome::original(&self.opened)
    }

    /// Loads the original (or a copy of a large one, and the original behind it), measures what trials need of it, and
    /// hands it to `then`.
    ///
    /// # Errors
    /// Those of an optimization's first stages, and of `then`.
    pub(crate) fn survey<T>(
        &self,
        methods: &[String],
        clock: &mut Clock,
        observer: &dyn Observer,
        then: impl FnOnce(&Ground<'_>, &mut Clock) -> Result<T>,
    ) -> Result<T> {
        let request = &self.request;
        std::fs::create_dir_all(&request.output).map_err(|e| Error::io("make the folder", &request.output, e))?;
        let (source_sha256, _) = certificate::tensors_digest(&self.opened, observer)?;
        let inputs = inputs_of(request, &source_sha256)?;
        let work = Work::new(&request.output, work::FOLDER, &inputs, Arc::clone(&request.storage))?;
        let options = LoadOptions { positions: request.context, ..request.source.as_original() };
        let large = sensitivity::is_large(&self.neutral);
        let (copy, measured_on) = stand_in::measured_on(&self.opened, &self.neutral, &options)?;
        clock.stage("load");
        let mut seen = importance(request, &measured_on, &self.neutral, &work, observer)?;
        clock.stage("calibrate");
        let space = self.space(request)?;
        // Errors are those of the request's method for all trials: which encoding suits which tensor hardly depends on
        // how its values are chosen, and what a trial is worth is measured.
        let measured = OptimizeRequest { candidates: self.candidates.iter().map(|e| e.id().to_owned()).collect(), ..request.clone() };
        let rounding = Rounding { inputs: &seen.inputs, hessians: None, method: space.method };
        let sensitivity = sensitivity::measure(&measured, [&self.neutral, &copy], &self.base, &measured_on, &rounding, &work, observer)?;
        clock.stage("sensitivity");
        let matrix = std::mem::take(&mut seen.matrix);
        let matrix = Arc::new(space::named(matrix, &request.calibration_data));
        let text = request.calibration_text();
        let mut hessians = None;
        for method in methods {
            if catalog().method(method)?.needs() == Needs::Hessian && hessians.is_none() {
                hessians = Some(Hessians::new(Arc::clone(&measured_on), &text, observer)?);
            }
        }
        let original = if large { Arc::new(prepare(self.opened.clone(), &options)?) } else { measured_on };
        let facts = self.facts()?;
        let mixtures = self.mixtures()?;
        let ground =
            Ground { prospect: self, inputs, original, seen, matrix, sensitivity, hessians, space, source_sha256, facts, mixtures };
        then(&ground, clock)
    }
}

/// The ground itself.
pub(crate) struct Ground<'a> {
    prospect: &'a Prospect,
    /// All that every measurement depends on.
    pub(crate) inputs: Vec<String>,
    original: Arc<Engine>,
    seen: Seen,
    matrix: Arc<ImportanceMatrix>,
    sensitivity: Sensitivity,
    hessians: Option<Hessians<'a>>,
    space: Space<'a>,
    source_sha256: String,
    facts: OriginalFacts,
    mixtures: BTreeMap<String, Plan>,
}

impl Ground<'_> {
    /// The plan of a setup, and the exact bytes of its file.
    ///
    /// # Errors
    /// `Request` where there is none: a floor that the bits do not allow, a method that has nothing to do.
    pub(crate) fn plan(&self, setup: &Setup) -> Result<(Plan, u64)> {
        let prospect = self.prospect;
        let mut plan = match &setup.layout {
            Layout::Mixture(name) => {
                let found = self.mixtures.get(name).ok_or_else(|| Error::request(format!("the mixture {name} does not suit the model")))?;
                let mut plan = found.clone();
                use_method(&mut plan, &setup.method, &prospect.neutral)?;
                plan
            }
            Layout::Allocated { bits, outer_floor } => {
                let budget = Budget { bits_per_weight: Some(*bits), max_size: prospect.request.budget.max_size, ..Budget::default() };
                let request = OptimizeRequest { budget, method: Some(setup.method.clone()), ..prospect.request.clone() };
                let space = prospect.space(&request)?;
                // A floor above the budget would leave nothing to the layers.
                let sensitivity = self.above(outer_floor.min(*bits))?;
                Search::new(&space, &prospect.device, &sensitivity)?.plan(f64::INFINITY)?.plan
            }
        };
        plan.name = "searched".to_owned();
        plan.passes.clone_from(&setup.passes);
        let bytes = self.space.describe(&plan)?.output_bytes;
        Ok((plan, bytes))
    }

    /// The sensitivities without encodings of fewer bits for tensors outside the layers.
    fn above(&self, floor: f64) -> Result<Sensitivity> {
        let mut above = self.sensitivity.clone();
        for entry in &mut above.tensors {
            let inside = self.prospect.neutral.tensor(&entry.tensor).and_then(|t| t.id).is_some_and(|id| id.layer.is_some());
            if inside {
                continue;
            }
            let mut kept = Vec::new();
            for candidate in &entry.candidates {
                if catalog().encoding(&candidate.encoding)?.bits_per_weight() >= floor {
                    kept.push(candidate.clone());
                }
            }
            if kept.is_empty() {
                return Err(Error::request(format!("no encoding has {floor} bits for each weight")).at_item(&*entry.tensor));
            }
            entry.candidates = kept;
        }
        Ok(above)
    }

    /// Writes the artifact of a plan.
    ///
    /// # Errors
    /// Those of quantization.
    pub(crate) fn write(&self, plan: &Plan, to: PathBuf, observer: &dyn Observer) -> Result<()> {
        quantize_with(&self.space.quantize(plan, to, Arc::clone(&self.matrix)), self.hessians.as_ref(), observer).map(|_| ())
    }

    /// Loads an artifact.
    ///
    /// # Errors
    /// Those of loading.
    pub(crate) fn load(&self, path: &Path, cache: CacheType, observer: &dyn Observer) -> Result<Engine> {
        let request = &self.prospect.request;
        let options = LoadOptions { positions: request.context, format: None, path: path.to_path_buf(), cache, ..request.source.clone() };
        load(&options, observer)
    }

    /// Holds an artifact against the original on some windows of the evaluation text, or on all that the request has.
    ///
    /// # Errors
    /// Those of evaluation.
    pub(crate) fn evaluate(&self, engine: &Engine, windows: Option<usize>, observer: &dyn Observer) -> Result<Evaluation> {
        let request = &self.prospect.request;
        let what = EvaluateRequest {
            context: request.context,
            windows: windows.or(request.evaluation_windows),
            worst: 0,
            ..EvaluateRequest::new(request.source.clone(), &request.evaluation_data)
        };
        evaluate_loaded(&what, engine, Some(&self.original), observer)
    }

    /// Bytes of an artifact's weights, and of keys and values at the positions that are planned for.
    pub(crate) fn memory_bytes(&self, engine: &Engine) -> u64 {
        let facts = engine.loaded.facts();
        facts.weight_bytes.saturating_add(facts.cache_bytes_per_position.saturating_mul(self.prospect.device.positions))
    }

    /// Times a loaded artifact.
    ///
    /// # Errors
    /// Those of running it.
    pub(crate) fn at_work(&self, engine: &Engine, observer: &dyn Observer) -> Result<AtWork> {
        gates::at_work(engine, self.prospect.device.positions, observer)
    }

    /// Copies an artifact to its place with the certificate of an evaluation.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub(crate) fn certified(
        &self,
        from: &Path,
        to: &Path,
        engine: &Engine,
        scores: &Evaluation,
        observer: &dyn Observer,
    ) -> Result<Artifact> {
        let request = &self.prospect.request;
        let certificate = certify(request, &self.seen.report, engine, scores, &self.facts, self.source_sha256.clone(), observer)?;
        certificate::stamp(from, to, &certificate, request.source.limits, Arc::clone(&request.storage))
    }
}
