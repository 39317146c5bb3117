//! How fast products are on this machine: every encoding by every instruction set, in the shapes of
//! decode and of prefill, and which of them runs.

use std::time::Instant;

use gravure_base::{Error, ErrorKind, Result, ResultExt};
use gravure_core::contracts::{Activations, Phase};
use gravure_core::{Encoding, GroupedRows, Grouping};
use gravure_eval::bandwidth;
use gravure_kernels::{GroupedSource, Inputs, Matrix, MatrixSource, Pool, linear};
use gravure_simd::Isa;

use crate::quantize::threads;
use crate::{Observer, catalog};

/// Groups of integers that are timed.
const GROUPS: [Grouping; 3] = [Grouping { bits: 4, columns: 64 }, Grouping { bits: 3, columns: 64 }, Grouping { bits: 8, columns: 64 }];
/// What their rows are decoded to.
const FLOATS: &str = "f32";

/// What to time.
#[derive(Debug, Clone)]
pub struct KernelsRequest {
    /// Encoding ids; empty for all that weights come in, and for integers in groups.
    pub encodings: Vec<String>,
    /// Outputs of the matrix that one row of activations meets. It should be larger than the caches.
    pub rows: usize,
    /// Inputs of both matrices, a multiple of 256 for all encodings.
    pub columns: usize,
    /// Rows of activations of a prefill, which meet a matrix of an eighth of the outputs.
    pub prompt: usize,
    /// Worker threads; 0 for one for each core.
    pub threads: usize,
    /// Times that each is repeated; the best counts.
    pub repetitions: usize,
}

impl KernelsRequest {
    /// All encodings and the usual groups of integers, `[32768, 2048]`, 256 rows of activations, five times.
    pub fn new() -> Self {
        Self { encodings: Vec::new(), rows: 32_768, columns: 2048, prompt: 256, threads: 0, repetitions: 5 }
    }
}

impl Default for KernelsRequest {
    fn default() -> Self {
        Self::new()
    }
}

/// One encoding by one instruction set.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct KernelSpeed {
    /// The encoding, or the bits and the columns of groups of integers.
    pub encoding: String,
    /// The instruction set that was asked for.
    pub isa: &'static str,
    /// The kernel that it gave.
    pub kernel: String,
    /// Whether models run by it on this machine.
    pub chosen: bool,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Bytes of weights in a second that one row of activations meets.
    pub decode_bytes_per_second: f64,
    /// Share of the bandwidth of a plain read.
    pub decode_bandwidth_share: f64,
    /// Multiplications in a second of many rows of activations.
    pub prefill_products_per_second: f64,
}

/// What was timed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct KernelsReport {
    /// Threads that ran.
    pub threads: usize,
    /// Outputs of the matrix of decode.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Rows of activations of prefill.
    pub prompt: usize,
    /// Bytes in a second that these threads read from memory.
    pub read_bandwidth: f64,
    /// Encodings in the registry's order, the best instruction set first.
    pub kernels: Vec<KernelSpeed>,
}

/// Times the kernels.
///
/// # Errors
/// `Request` for an unknown encoding or empty shapes; `Unsupported` where a named encoding holds no
/// weights or its blocks do not fill the columns; `Limit` where memory does not suffice; `Interrupted`.
pub fn bench_kernels(request: &KernelsRequest, observer: &dyn Observer) -> Result<KernelsReport> {
    if [request.rows, request.columns, request.prompt, request.repetitions].contains(&0) {
        return Err(Error::request("there is nothing to time"));
    }
    let threads = threads(request.threads);
    let read_bandwidth = bandwidth::read_bandwidth(threads);
    let samples = samples(request)?;
    let pool = Pool::new(threads);
    let sets = Isa::available();
    let mut kernels = Vec::with_capacity(samples.len() * sets.len());
    observer.begin("bench", 0, (samples.len() * sets.len()) as u64);
    for sample in &samples {
        for isa in &sets {
            observer.go_on()?;
            let (large, small) = (matrix(&pool, sample, request.rows, request.columns, *isa)?, (request.rows / 8).max(1));
            let small = matrix(&pool, sample, small, request.columns, *isa)?;
            let decode = seconds(&pool, &large, 1, Phase::Decode, request.repetitions)?;
            let prefill = seconds(&pool, &small, request.prompt, Phase::Prefill, request.repetitions)?;
            let bytes_per_second = large.bytes() as f64 / decode;
            kernels.push(KernelSpeed {
                encoding: large.stored(),
                isa: isa.name(),
                kernel: large.kernel(),
                chosen: isa.name() == Isa::detect().name(),
                weight_bytes: large.bytes(),
                decode_bytes_per_second: bytes_per_second,
                decode_bandwidth_share: bytes_per_second / read_bandwidth,
                prefill_products_per_second: (small.rows() * request.columns * request.prompt) as f64 / prefill,
            });
            observer.advance(&large.stored(), 1);
        }
    }
    observer.end();
    Ok(KernelsReport { threads, rows: request.rows, columns: request.columns, prompt: request.prompt, read_bandwidth, kernels })
}

/// Bytes of the matrix that shares of the bandwidth are measured with: several times the caches, so that what is left
/// in them hardly counts.
const SHARE_BYTES: usize = 192 << 20;
/// Inputs of that matrix, and times that it and plain memory are read in turn.
const SHARE_COLUMNS: usize = 2048;
const SHARE_ROUNDS: usize = 5;

/// Share of the bandwidth of a plain read that decoding reaches in each encoding, at most all of it. Both are timed in
/// turn, as machines that are shared by many read at another speed every few seconds; the median counts.
///
/// # Errors
/// As [`bench_kernels`]; encodings that hold no weights are left out.
pub(crate) fn decode_shares(encodings: &[&'static dyn Encoding], threads: usize) -> Result<Vec<(&'static str, f64)>> {
    let Some(probe) = bandwidth::Probe::new(SHARE_BYTES, threads) else { return Ok(Vec::new()) };
    let pool = Pool::new(threads);
    let mut out = Vec::new();
    for encoding in encodings {
        let Ok(sample) = sample(*encoding, SHARE_COLUMNS) else { continue };
        let rows = SHARE_BYTES / sample.row.len().max(1);
        let matrix = matrix(&pool, &sample, rows, SHARE_COLUMNS, Isa::detect())?;
        let mut shares = (0..SHARE_ROUNDS)
            .map(|_| Ok(matrix.bytes() as f64 / seconds(&pool, &matrix, 1, Phase::Decode, 1)? / probe.round()))
            .collect::<Result<Vec<_>>>()?;
        shares.sort_by(f64::total_cmp);
        out.extend(shares.get(SHARE_ROUNDS / 2).map(|share| (encoding.id(), share.min(1.0))));
    }
    Ok(out)
}

/// A row that a matrix is made of.
struct Sample {
    encoding: &'static dyn Encoding,
    row: Vec<u8>,
    /// Whether its weights are integers in groups.
    grouping: Option<Grouping>,
}

/// A row of weights as a trained matrix has them: small, without a pattern, not all alike.
fn sample(encoding: &'static dyn Encoding, columns: usize) -> Result<Sample> {
    let weights: Vec<f32> = (0..columns).map(|i| ((i * 7919 % 1013) as f32 / 506.0 - 1.0) * 0.05).collect();
    let bytes = encoding.row_bytes(columns as u64)?;
    let mut row = vec![0; usize::try_from(bytes).map_err(|_| Error::limit("a row does not fit in memory"))?];
    // Some do not encode without importance.
    let plain = encoding.encode(&weights, columns, None, &mut row);
    plain.or_else(|_| encoding.encode(&weights, columns, Some(&vec![1.0; columns]), &mut row))?;
    Ok(Sample { encoding, row, grouping: None })
}

/// A row of each encoding that is to be timed.
fn samples(request: &KernelsRequest) -> Result<Vec<Sample>> {
    let catalog = catalog();
    let asked = request.encodings.iter().map(|id| catalog.encoding(id)).collect::<Result<Vec<_>>>()?;
    let named = !asked.is_empty();
    let all = if named { asked } else { catalog.encodings.to_vec() };
    let mut out = Vec::new();
    for encoding in all {
        match sample(encoding, request.columns) {
            Ok(sample) => out.push(sample),
            // Integers hold no such weights: among all encodings they are left out.
            Err(error) if named => return Err(Error::new(ErrorKind::Unsupported, error.message().to_owned()).at_item(encoding.id())),
            Err(_) => {}
        }
    }
    // What quantized checkpoints usually are made of.
    let groups = GROUPS.iter().filter(|g| !named && (request.columns as u64).is_multiple_of(g.columns));
    let encoding = catalog.encoding(FLOATS)?;
    out.extend(groups.map(|grouping| Sample { encoding, row: Vec::new(), grouping: Some(*grouping) }));
    Ok(out)
}

/// A matrix whose rows are all the same.
fn matrix(pool: &Pool, sample: &Sample, rows: usize, columns: usize, isa: Isa) -> Result<Matrix> {
    let Sample { encoding, row, grouping } = sample;
    let read_grouped = |range: std::ops::Range<u64>, out: &mut GroupedRows| {
        let (rows, grouping) = ((range.end - range.start) as usize, grouping.unwrap_or(GROUPS[0]));
        let groups = columns.div_ceil(grouping.columns as usize) * rows;
        out.codes = (0..rows * columns).map(|i| (i * 7919 % (1 << grouping.bits)) as u8).collect();
        (out.scales, out.minima) = (vec![0.01; groups], vec![0.05; groups]);
        Ok(())
    };
    let read = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
        out.clear();
        range.for_each(|_| out.extend_from_slice(row));
        Ok(())
    };
    let grouped = grouping.map(|grouping| GroupedSource { grouping, order: None, read: &read_grouped });
    let source = MatrixSource { name: encoding.id(), encoding: *encoding, rows, columns, rows_at_once: None, read: &read, grouped };
    Matrix::load(pool, source, isa, Activations::Fast).at_item(|| encoding.id().to_owned())
}

/// The least seconds that `inputs` rows of activations take.
fn seconds(pool: &Pool, matrix: &Matrix, inputs: usize, phase: Phase, repetitions: usize) -> Result<f64> {
    let x: Vec<f32> = (0..inputs * matrix.columns()).map(|i| (i * 7907 % 1009) as f32 / 504.0 - 1.0).collect();
    let mut out = vec![0.0; inputs * matrix.rows()];
    let mut least = f64::INFINITY;
    // The first run meets cold caches and sleeping threads.
    for repetition in 0..=repetitions {
        let start = Instant::now();
        linear(pool, matrix, &mut Inputs::new(&x, matrix.columns()), phase, None, &mut out)?;
        std::hint::black_box(&out);
        if repetition > 0 {
            least = least.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(least.max(f64::MIN_POSITIVE))
}
