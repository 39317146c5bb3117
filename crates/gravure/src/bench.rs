//! How fast a model runs on this machine.

use std::path::PathBuf;
use std::time::Instant;

use gravure_base::{Error, Result};
use gravure_eval::{Speed, SpeedRequest, bandwidth, memory, speed};

use crate::Observer;
use crate::engine::{LoadOptions, load};

/// What to time.
#[derive(Debug, Clone)]
pub struct BenchRequest {
    /// The model.
    pub model: LoadOptions,
    /// Tokens of a prompt; 0 leaves prefill out.
    pub prompt: usize,
    /// Tokens that are decoded; 0 leaves decode out.
    pub generate: usize,
    /// Positions that are there before the first decoded token.
    pub depth: usize,
    /// Sequences at once.
    pub sequences: usize,
    /// Times that each is repeated.
    pub repetitions: usize,
}

impl BenchRequest {
    /// A prompt of 512, 128 decoded tokens, one sequence, five times.
    pub fn new(model: LoadOptions) -> Self {
        Self { model, prompt: 512, generate: 128, depth: 0, sequences: 1, repetitions: 5 }
    }
}

/// What was timed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BenchReport {
    /// The model's path.
    pub model: PathBuf,
    /// Threads that ran.
    pub threads: usize,
    /// Sequences at once.
    pub sequences: usize,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Kernels that ran.
    pub kernels: Vec<String>,
    /// Seconds from opening the file to being ready.
    pub load_seconds: f64,
    /// Prefill, decode, latencies.
    #[serde(flatten)]
    pub speed: Speed,
    /// Bytes in a second that these threads read from memory.
    pub read_bandwidth: f64,
    /// Share of it that decoding reaches: weights and keys and values of each token's step.
    pub bandwidth_share: Option<f64>,
    /// Most memory held, in bytes; `None` where the system does not say.
    pub peak_resident_bytes: Option<u64>,
}

/// Loads a model and times it.
///
/// # Errors
/// Those of loading; `Unsupported` where the model does not decode; `Request` where nothing is asked;
/// `Interrupted`.
pub fn bench(request: &BenchRequest, observer: &dyn Observer) -> Result<BenchReport> {
    let each = request.prompt.max(1).max(request.depth + request.generate);
    let positions = each.checked_mul(request.sequences).ok_or_else(|| Error::request("too many sequences"))?;
    let started = Instant::now();
    let engine = load(&LoadOptions { positions, ..request.model.clone() }, observer)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let facts = engine.loaded.facts();
    let timing = SpeedRequest {
        prompt: request.prompt,
        generate: request.generate,
        depth: request.depth,
        sequences: request.sequences,
        repetitions: request.repetitions,
        vocabulary: facts.width,
    };
    let total = request.repetitions as u64;
    observer.begin("bench", 0, total);
    let timed = speed(&timing, engine.decoder()?, &mut |_| {
        observer.advance("", 1);
        observer.go_on()
    });
    observer.end();
    let timed = timed?;
    // The peak is the model's own: the bandwidth probe comes after.
    let peak_resident_bytes = memory::peak_resident_bytes();
    let read_bandwidth = bandwidth::read_bandwidth(engine.threads);
    let middle = (request.depth + request.generate / 2) as u64 * request.sequences as u64;
    let step_bytes = facts.weight_bytes + facts.cache_bytes_per_position * middle;
    let bandwidth_share = timed.token_milliseconds.as_ref().map(|t| step_bytes as f64 / (t.median / 1e3) / read_bandwidth);
    Ok(BenchReport {
        model: engine.model.source.path.clone(),
        threads: engine.threads,
        sequences: request.sequences,
        weight_bytes: facts.weight_bytes,
        kernels: facts.kernels.clone(),
        load_seconds,
        speed: timed,
        read_bandwidth,
        bandwidth_share,
        peak_resident_bytes,
    })
}
