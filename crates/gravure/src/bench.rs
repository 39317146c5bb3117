//! How fast a model runs on this machine, and how that changes with threads, context and sequences.

use std::path::PathBuf;
use std::time::Instant;

use gravure_base::{Error, Result};
use gravure_eval::{Speed, SpeedRequest, bandwidth, memory, speed};

use crate::Observer;
use crate::engine::{LoadOptions, load};

/// Positions that a sequence's share of the cache is rounded up to: a cache is divided into pages, and
/// none is larger than this.
const ROUND: usize = 256;

/// What to time: every combination of `threads`, `sequences` and `depths`.
#[derive(Debug, Clone)]
pub struct BenchRequest {
    /// The model.
    pub model: LoadOptions,
    /// Tokens of a prompt; 0 leaves prefill out.
    pub prompt: usize,
    /// Tokens that are decoded; 0 leaves decode out.
    pub generate: usize,
    /// Positions that are there before what is timed.
    pub depths: Vec<usize>,
    /// Sequences at once.
    pub sequences: Vec<usize>,
    /// Worker threads; empty for those of `model`.
    pub threads: Vec<usize>,
    /// Times that each is repeated.
    pub repetitions: usize,
}

impl BenchRequest {
    /// A prompt of 512, 128 decoded tokens, one sequence without anything before, five times.
    pub fn new(model: LoadOptions) -> Self {
        Self { model, prompt: 512, generate: 128, depths: vec![0], sequences: vec![1], threads: Vec::new(), repetitions: 5 }
    }
}

/// What one combination gave.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BenchPoint {
    /// Threads that ran.
    pub threads: usize,
    /// Sequences at once.
    pub sequences: usize,
    /// Positions that were there before what is timed.
    pub depth: usize,
    /// Prefill, decode, latencies.
    #[serde(flatten)]
    pub speed: Speed,
    /// Bytes in a second that these threads read from memory.
    pub read_bandwidth: f64,
    /// Share of it that decoding reaches: weights and keys and values of each token's step.
    pub bandwidth_share: Option<f64>,
}

/// What was timed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BenchReport {
    /// The model's path.
    pub model: PathBuf,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Kernels that ran.
    pub kernels: Vec<String>,
    /// Seconds from opening the file to being ready.
    pub load_seconds: f64,
    /// Most memory held by the process that holds the weights, in bytes; `None` where the system does not say.
    pub peak_resident_bytes: Option<u64>,
    /// The first combination.
    #[serde(flatten)]
    pub first: BenchPoint,
    /// All combinations, where there are several: threads slowest, then sequences, then depths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scaling: Vec<BenchPoint>,
}

impl BenchRequest {
    /// Positions that `sequences` take after `depth`.
    fn positions(&self, depth: usize, sequences: usize) -> Option<usize> {
        let each = depth.checked_add(self.prompt.max(self.generate).max(1))?.checked_next_multiple_of(ROUND)?;
        each.checked_mul(sequences)
    }

    /// Combinations of sequences and depths.
    fn shapes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.sequences.iter().flat_map(|sequences| self.depths.iter().map(|depth| (*sequences, *depth)))
    }
}

/// Loads a model, once for each number of threads, and times it.
///
/// # Errors
/// Those of loading; `Unsupported` where the model does not decode; `Request` where nothing is asked;
/// `Limit` where a depth leaves the model's context; `Interrupted`.
pub fn bench(request: &BenchRequest, observer: &dyn Observer) -> Result<BenchReport> {
    let most = request.shapes().map(|(sequences, depth)| request.positions(depth, sequences)).max();
    let positions = most.ok_or_else(|| Error::request("there is nothing to time"))?.ok_or_else(|| Error::request("too many sequences"))?;
    let counts = if request.threads.is_empty() { vec![request.model.threads] } else { request.threads.clone() };
    let mut points = Vec::new();
    let mut about = None;
    let steps = counts.len() * request.shapes().count() * request.repetitions;
    observer.begin("bench", 0, steps as u64);
    let mut peak_resident_bytes = None;
    for threads in counts {
        let started = Instant::now();
        let engine = load(&LoadOptions { positions, threads, ..request.model.clone() }, observer)?;
        let load_seconds = started.elapsed().as_secs_f64();
        let facts = engine.loaded.facts();
        for (sequences, depth) in request.shapes() {
            let timing = SpeedRequest {
                prompt: request.prompt,
                generate: request.generate,
                depth,
                sequences,
                repetitions: request.repetitions,
                vocabulary: facts.width,
            };
            let timed = speed(&timing, engine.decoder()?, &mut |repetition| {
                observer.advance("", u64::from(repetition > 0));
                observer.go_on()
            })?;
            let middle = (depth + request.generate / 2) as u64 * sequences as u64;
            let step_bytes = facts.weight_bytes + facts.cache_bytes_per_position * middle;
            let point = BenchPoint { threads: engine.threads, sequences, depth, speed: timed, read_bandwidth: 0.0, bandwidth_share: None };
            points.push((point, step_bytes));
        }
        // The peak is the model's own: the bandwidth probe comes after.
        let holder = engine.loaded.process();
        peak_resident_bytes = peak_resident_bytes.max(holder.map_or_else(memory::peak_resident_bytes, memory::peak_resident_bytes_of));
        about.get_or_insert_with(|| (engine.model.source.path.clone(), facts.weight_bytes, facts.kernels.clone(), load_seconds));
    }
    observer.end();
    let mut measured: Option<(usize, f64)> = None;
    let scaling: Vec<BenchPoint> = points
        .into_iter()
        .map(|(mut point, step_bytes)| {
            let (_, bandwidth) = match measured {
                Some(known) if known.0 == point.threads => known,
                _ => *measured.insert((point.threads, bandwidth::read_bandwidth(point.threads))),
            };
            point.read_bandwidth = bandwidth;
            let each = point.speed.token_milliseconds.as_ref();
            point.bandwidth_share = each.map(|t| step_bytes as f64 / (t.median / 1e3) / bandwidth);
            point
        })
        .collect();
    let nothing = || Error::request("there is nothing to time");
    let (model, weight_bytes, kernels, load_seconds) = about.ok_or_else(nothing)?;
    let first = scaling.first().cloned().ok_or_else(nothing)?;
    let scaling = if scaling.len() > 1 { scaling } else { Vec::new() };
    Ok(BenchReport { model, weight_bytes, kernels, load_seconds, peak_resident_bytes, first, scaling })
}
