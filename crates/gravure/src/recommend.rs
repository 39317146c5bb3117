//! Which runtime, format and precision for this model on that device? Answered from the model's shapes and the
//! device's data sheet, without reading a weight.
//!
//! For every runtime of the target, in the target's order, every precision is sized (exactly, where this
//! program lays out the format's files) and put under the roofline. A runtime's choice is the first rung of its
//! ladder, best quality first, that meets every limit, runs on fast kernels, and is so much faster than 16 bits
//! as the user wants; the recommendation is the choice of the first runtime that has one. Nothing here knows an
//! encoding, a format or a device by name: all of these are data of the target's files.

pub(crate) mod candidates;

use std::path::{Path, PathBuf};

use gravure_base::{Limits, Result};
use gravure_core::contracts::CacheType;
use gravure_core::values::{Deployment, ModelKind, Target};
use gravure_planner::roofline::Workload;
use serde::Serialize;

use crate::open::OpenRequest;
use crate::sizing::Sizing;
pub use candidates::{Candidate, Fallback};
use candidates::{Catalogue, Place};

/// Positions that are planned for where nobody says how many.
pub(crate) const POSITIONS: u64 = 4096;
/// Share of the weights read for a token that has to be on fast kernels.
const MOSTLY: f64 = 0.95;

/// What is asked.
#[derive(Debug, Clone)]
pub struct RecommendRequest {
    /// The model.
    pub model: PathBuf,
    /// Format of the model, where the user names it.
    pub format: Option<String>,
    /// The device.
    pub target: Target,
    /// Positions that a text may have; `None` for the model's own, at most 4096.
    pub context: Option<u64>,
    /// How keys and values are kept.
    pub cache: CacheType,
    /// Largest size of the file, in bytes.
    pub max_size: Option<u64>,
    /// Largest memory of weights, cache and runtime, in bytes; at most what the target has.
    pub max_memory: Option<u64>,
    /// Tokens in a second that decoding (encoding, where the model does not decode) must reach.
    pub min_tokens_per_second: Option<f64>,
    /// How many times faster than 16-bit weights it should be; 1 where quality alone counts.
    pub min_speedup: f64,
    /// Threads that size the plans.
    pub threads: usize,
    /// Whether unknown keys and tensors are notes instead of errors.
    pub lenient: bool,
    /// Bounds for what the source may ask.
    pub limits: Limits,
}

impl RecommendRequest {
    /// Without limits of one's own, and twice as fast as 16 bits: the field's usual gate.
    pub fn new(model: impl Into<PathBuf>, target: Target) -> Self {
        Self {
            model: model.into(),
            format: None,
            target,
            context: None,
            cache: CacheType::default(),
            max_size: None,
            max_memory: None,
            min_tokens_per_second: None,
            min_speedup: 2.0,
            threads: 0,
            lenient: false,
            limits: Limits::default(),
        }
    }
}

/// One runtime with the best that it can do.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// Runtime id.
    pub runtime: String,
    /// Its name for people.
    pub name: String,
    /// Its backend.
    pub backend: String,
    /// Unit of the target.
    pub unit: String,
    /// Format id.
    pub format: String,
    /// The precision, sized and predicted.
    pub candidate: Candidate,
    /// Whether this program writes it.
    pub writable: bool,
    /// How to make it with other tools, where this program does not.
    pub converter: Option<String>,
    /// Why this one.
    pub reasons: Vec<String>,
    /// What runs elsewhere or slowly.
    pub fallbacks: Vec<Fallback>,
}

/// One runtime of the target, with everything that was weighed.
#[derive(Debug, Clone, Serialize)]
pub struct Considered {
    /// Runtime id.
    pub runtime: String,
    /// Its backend.
    pub backend: String,
    /// Unit of the target.
    pub unit: String,
    /// Format id.
    pub format: String,
    /// Speed with 16-bit weights, tokens in a second of what counts.
    pub tokens_per_second_in_16_bits: f64,
    /// Every precision, best quality first; those that are not on the ladder after it.
    pub candidates: Vec<Candidate>,
    /// Why it has no choice, where it has none.
    pub refused: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Recommendation {
    /// The model's path.
    pub model: PathBuf,
    /// Architecture in the source's spelling.
    pub architecture: Option<String>,
    /// What kind of model it is.
    pub kind: ModelKind,
    /// Number of weights.
    pub parameters: u64,
    /// Target id.
    pub target: String,
    /// Its name for people.
    pub device: String,
    /// Positions that were planned for.
    pub context: u64,
    /// Bytes of keys and values at that context.
    pub cache_bytes: u64,
    /// Bytes that weights, cache and runtime may have.
    pub memory_limit: u64,
    /// The recommendation; `None` where nothing fits.
    pub choice: Option<Choice>,
    /// Where this program does not write the recommendation: the best that it does.
    pub meanwhile: Option<Choice>,
    /// The choices of the other runtimes, in the target's order.
    pub runners_up: Vec<Choice>,
    /// Where nothing fits: what comes nearest, and by how much it misses.
    pub nearest: Option<Candidate>,
    /// Every runtime.
    pub considered: Vec<Considered>,
    /// What should be known.
    pub notes: Vec<String>,
}

/// Weighs every runtime and precision of a target for a model.
///
/// # Errors
/// Those of opening the model; `Bug` where a built-in file is broken.
pub fn recommend(request: &RecommendRequest) -> Result<Recommendation> {
    let open = OpenRequest { path: &request.model, format: request.format.as_deref(), lenient: request.lenient, limits: request.limits };
    let sizing = Sizing::new(&open)?;
    let workload = Workload::of(&sizing.neutral);
    let context = request.context.unwrap_or_else(|| workload.context.unwrap_or(POSITIONS).min(POSITIONS)).max(1);
    let kind = if workload.decodes { ModelKind::Text } else { ModelKind::Embedding };
    let cache_bytes = (workload.cache_numbers as f64 * cache_number(request.cache) * context as f64) as u64;
    let usable = request.target.memory.usable_bytes.value as u64;
    let memory_limit = request.max_memory.map_or(usable, |most| most.min(usable));
    let mut notes = notes(request, &sizing, &workload, context);
    let runtime_bytes = candidates::runtime_bytes(&sizing.neutral, &request.target)?;
    let place = Place { request, workload: &workload, kind, context, cache_bytes, runtime_bytes: &runtime_bytes, memory_limit };
    let catalogue = Catalogue::new(&sizing, request)?;
    let (mut considered, mut choices) = (Vec::new(), Vec::new());
    for deployment in &request.target.runtimes {
        let (one, choice) = consider(&place, &catalogue, deployment)?;
        considered.push(one);
        choices.extend(choice);
    }
    notes.extend(catalogue.notes());
    let nearest = if choices.is_empty() { nearest(&considered) } else { None };
    let mut rest = choices.into_iter();
    let choice = rest.next();
    let runners_up: Vec<Choice> = rest.collect();
    let needs_other = choice.as_ref().is_some_and(|c| !c.writable);
    let meanwhile = if needs_other { runners_up.iter().find(|c| c.writable).cloned() } else { None };
    Ok(Recommendation {
        model: request.model.clone(),
        architecture: sizing.source.architecture_id.clone(),
        kind,
        parameters: workload.parameters(),
        target: request.target.id.clone(),
        device: request.target.name.clone(),
        context,
        cache_bytes,
        memory_limit,
        choice,
        meanwhile,
        runners_up,
        nearest,
        considered,
        notes,
    })
}

/// Bytes of one number in the cache.
pub(crate) fn cache_number(cache: CacheType) -> f64 {
    match cache {
        CacheType::F32 => 4.0,
        CacheType::F16 => 2.0,
        CacheType::Q8 => 34.0 / 32.0,
    }
}

fn notes(request: &RecommendRequest, sizing: &Sizing, workload: &Workload, context: u64) -> Vec<String> {
    let mut notes: Vec<String> = sizing.source.notes.iter().map(|n| format!("{}: {}", n.subject, n.text)).collect();
    if !workload.is_complete() {
        notes.push("the model's sizes are not known to this build: the cache of keys and values and attention are left out".into());
    }
    if let Some(own) = workload.context.filter(|own| context > *own) {
        notes.push(format!("the model was made for {own} positions, {context} are asked for"));
    }
    if request.target.memory.usable_bytes.estimated {
        notes.push("how much memory the device leaves to a model is an estimate".into());
    }
    notes
}

/// One runtime of the target: all its candidates, and the one it would choose.
fn consider(place: &Place<'_>, catalogue: &Catalogue<'_>, deployment: &Deployment) -> Result<(Considered, Option<Choice>)> {
    let profile = gravure_targets::runtime(&deployment.runtime)?;
    let site = place.site(deployment, profile)?;
    let candidates = catalogue.candidates(&site)?;
    let base = site.speed_in_16_bits();
    let mut one = Considered {
        runtime: profile.id.clone(),
        backend: deployment.backend.clone(),
        unit: deployment.unit.clone(),
        format: profile.format.clone(),
        tokens_per_second_in_16_bits: base,
        candidates,
        refused: None,
    };
    if !profile.kinds.contains(&place.kind) {
        one.refused = Some(format!("{} does not serve models of this kind", profile.name));
        return Ok((one, None));
    }
    if let Some(gap) = profile.registered.as_deref().map(|id| catalogue.gap(id)).transpose()?.flatten() {
        one.refused = Some(gap);
        return Ok((one, None));
    }
    let rungs: Vec<&Candidate> = one.candidates.iter().filter(|c| c.rung.is_some()).collect();
    let fits: Vec<&Candidate> = rungs.iter().copied().filter(|c| c.misses.is_empty()).collect();
    let fast = |c: &&Candidate| c.accelerated_share.is_none_or(|share| share >= MOSTLY);
    let quick = |c: &&Candidate| c.speedup >= place.request.min_speedup;
    let mut reasons = vec![deployment.reason.clone()];
    let pick = fits.iter().copied().find(|c| fast(c) && quick(c));
    let pick = pick.or_else(|| {
        let most_speed = fits.iter().copied().filter(fast).max_by(|a, b| a.speedup.total_cmp(&b.speedup))?;
        reasons.push(format!(
            "no precision that fits and has fast kernels is {:.1} times as fast as 16 bits: this one is the fastest",
            place.request.min_speedup
        ));
        Some(most_speed)
    });
    let pick = pick.or_else(|| {
        let first = fits.iter().copied().find(quick).or(fits.first().copied())?;
        reasons.push("nothing that fits runs on fast kernels".into());
        Some(first)
    });
    let Some(pick) = pick else {
        let smallest = rungs.iter().min_by_key(|c| c.memory_bytes);
        one.refused = Some(smallest.map_or_else(
            || "no precision of this runtime suits the model".into(),
            |c| format!("even {}: {}", c.precision, c.misses.join("; ")),
        ));
        return Ok((one, None));
    };
    let above = rungs.iter().take_while(|c| c.precision != pick.precision);
    let passed: Vec<String> = above
        .map(|c| {
            let why = if let Some(miss) = c.misses.first() {
                miss.clone()
            } else if !fast(c) {
                "off the fast kernels".into()
            } else {
                format!("{:.2} times as fast as 16 bits", c.speedup)
            };
            format!("{} ({why})", c.precision)
        })
        .collect();
    if pick.speedup >= place.request.min_speedup {
        reasons.push(format!(
            "{} is the best quality that fits and is at least {:.1} times as fast as 16 bits: {:.2} times",
            pick.precision, place.request.min_speedup, pick.speedup
        ));
    }
    if !passed.is_empty() {
        reasons.push(format!("passed over: {}", passed.join(", ")));
    }
    if pick.needs_importance {
        reasons.push("it needs an importance matrix: gravure calibrate".into());
    }
    let writable = pick.exact;
    let choice = Choice {
        runtime: profile.id.clone(),
        name: profile.name.clone(),
        backend: deployment.backend.clone(),
        unit: deployment.unit.clone(),
        format: profile.format.clone(),
        fallbacks: site.fallbacks(pick, &catalogue.operations()),
        candidate: pick.clone(),
        writable,
        converter: (!writable).then(|| profile.converter.clone()),
        reasons,
    };
    Ok((one, Some(choice)))
}

/// Of everything that does not fit, what needs the least memory.
fn nearest(considered: &[Considered]) -> Option<Candidate> {
    let all = considered.iter().flat_map(|c| &c.candidates).filter(|c| c.rung.is_some());
    all.min_by(|a, b| a.misses.len().cmp(&b.misses.len()).then(a.memory_bytes.cmp(&b.memory_bytes))).cloned()
}

/// The command with which this program makes a choice of `model`; `None` where it does not.
pub fn command(choice: &Choice, model: &Path) -> Option<String> {
    if !choice.writable {
        return None;
    }
    let format = crate::catalog().format(&choice.format).ok()?;
    let stem = model.file_stem().map_or_else(|| "model".into(), |s| s.to_string_lossy().into_owned());
    let output = format
        .extension()
        .map_or_else(|| format!("{stem}-{}", choice.candidate.precision), |e| format!("{stem}-{}.{e}", choice.candidate.precision));
    Some(format!("gravure quantize {} --type {} -o {output}", model.display(), choice.candidate.precision))
}
