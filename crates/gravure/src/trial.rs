//! Several ways to quantize one model, side by side: what each weighs, what it loses, how fast it runs.

use std::path::PathBuf;

use gravure_base::Result;
use gravure_eval::{SpeedRequest, speed};

use crate::Observer;
use crate::engine::{Engine, LoadOptions, load};
use crate::evaluate::{EvaluateRequest, Evaluation, evaluate_loaded};
use crate::quantize::{QuantizeRequest, quantize};

/// One way to quantize.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name in the table.
    pub name: String,
    /// The quantization, its output among it.
    pub quantize: QuantizeRequest,
}

/// What to try.
#[derive(Debug, Clone)]
pub struct TrialRequest {
    /// The original; candidates are made from it and compared with it.
    pub source: LoadOptions,
    /// The ways.
    pub candidates: Vec<Candidate>,
    /// The text.
    pub data: PathBuf,
    /// Tokens in a window.
    pub context: usize,
    /// At most this many windows.
    pub windows: Option<usize>,
    /// Tokens of the prompt that is timed.
    pub prompt: usize,
    /// Tokens that are decoded and timed.
    pub generate: usize,
}

/// One candidate's figures.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trial {
    /// Its name.
    pub name: String,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// What it loses.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Median tokens in a second of prefill.
    pub prefill_tokens_per_second: f64,
    /// Median tokens in a second of decode.
    pub decode_tokens_per_second: f64,
}

/// The original's figures and those of every candidate, in order.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trials {
    /// The original, evaluated alone.
    pub original: Trial,
    /// The candidates.
    pub candidates: Vec<Trial>,
}

/// Times a repetition is timed.
const REPETITIONS: usize = 3;

/// Makes, evaluates and times every candidate.
///
/// # Errors
/// Those of quantization and of evaluation; `Interrupted`.
pub fn try_all(request: &TrialRequest, observer: &dyn Observer) -> Result<Trials> {
    let positions = request.context.max(request.prompt).max(request.generate);
    let options = |path: Option<&PathBuf>| LoadOptions {
        positions,
        path: path.unwrap_or(&request.source.path).clone(),
        format: if path.is_some() { None } else { request.source.format.clone() },
        ..request.source.clone()
    };
    let original = load(&options(None).as_original(), observer)?;
    // It is timed as it would run.
    let speed = timed(request, original.at_work(&options(None))?.as_ref().unwrap_or(&original))?;
    let bytes = original.model.source.files.iter().filter_map(|f| std::fs::metadata(f).ok()).map(|m| m.len()).sum();
    let original_trial = measure(request, "original", bytes, &original, None, speed, observer)?;
    let mut candidates = Vec::with_capacity(request.candidates.len());
    for candidate in &request.candidates {
        observer.go_on()?;
        let outcome = quantize(&candidate.quantize, observer)?;
        let bytes = outcome.artifact.files.iter().map(|f| f.bytes).sum();
        let first = outcome.artifact.files.first().map(|f| &f.path);
        let engine = load(&options(first), observer)?;
        let speed = timed(request, &engine)?;
        candidates.push(measure(request, &candidate.name, bytes, &engine, Some(&original), speed, observer)?);
    }
    Ok(Trials { original: original_trial, candidates })
}

/// Median tokens in a second.
struct Speed {
    prefill: f64,
    decode: f64,
}

fn timed(request: &TrialRequest, engine: &Engine) -> Result<Speed> {
    let timing = SpeedRequest {
        prompt: request.prompt,
        generate: request.generate,
        depth: 0,
        sequences: 1,
        repetitions: REPETITIONS,
        vocabulary: engine.loaded.facts().width,
    };
    let timed = speed(&timing, engine.decoder()?, &mut |_| Ok(()))?;
    let median = |phase: Option<gravure_eval::speed::PhaseSpeed>| phase.map_or(0.0, |p| p.tokens_per_second.median);
    Ok(Speed { prefill: median(timed.prefill), decode: median(timed.decode) })
}

fn measure(
    request: &TrialRequest,
    name: &str,
    file_bytes: u64,
    engine: &Engine,
    original: Option<&Engine>,
    speed: Speed,
    observer: &dyn Observer,
) -> Result<Trial> {
    let what = EvaluateRequest {
        context: request.context,
        windows: request.windows,
        ..EvaluateRequest::new(request.source.clone(), &request.data)
    };
    let evaluation = evaluate_loaded(&what, engine, original, observer)?;
    Ok(Trial {
        name: name.to_owned(),
        file_bytes,
        evaluation,
        prefill_tokens_per_second: speed.prefill,
        decode_tokens_per_second: speed.decode,
    })
}
