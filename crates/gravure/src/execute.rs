//! Decoding and encoding of row chunks on several threads, handed on in order.
//!
//! Bounded memory: a chunk holds about 128 Ki weights (half a MiB as `f32`, so that decoding and
//! encoding meet in the second-level cache), and no thread runs more than a fixed window of chunks
//! ahead of the writer. Bytes do not depend on the number of threads: rows are independent.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gravure_base::{Error, Result};
use gravure_core::{ChunkStream, Encoding, Inputs, Method, Needs, Rounder, Tensor};

use crate::Observer;
use crate::hessians::{Hessians, text_missing};

/// Weights in a chunk, unless one row is longer.
const CHUNK_WEIGHTS: u64 = 128 << 10;
/// What the program itself takes: code, thread stacks, tables, a tokenizer.
const PROGRAM_BYTES: u64 = 48 << 20;
/// Largest encoded chunk.
const CHUNK_BYTES: u64 = 8 << 20;
/// Longest row: a hundred times that of any real matrix. Rows are the smallest thing that is read, and
/// a file with a hole can claim one that fits in no memory.
pub(crate) const LONGEST_ROW: u64 = 64 << 20;

/// The work for one tensor of the output.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Where the weights come from, in the output's orientation.
    pub(crate) source: Tensor,
    /// Encoding in the output.
    pub(crate) target: &'static dyn Encoding,
    /// Who chooses the values; `None` to keep the source's bytes.
    pub(crate) method: Option<&'static dyn Method>,
    /// Importance by matrix of the tensor: one slice of the row length for each (expert), or none.
    pub(crate) importance: Option<Vec<f32>>,
}

impl Job {
    fn rows_per_chunk(&self) -> u64 {
        let row = self.source.shape.row_length().max(1);
        let row_bytes = self.target.row_bytes(row).unwrap_or(u64::MAX).max(1);
        let wanted = self.source.data.rows_at_once().unwrap_or_else(|| (CHUNK_WEIGHTS / row).max(1));
        wanted.min((CHUNK_BYTES / row_bytes).max(1)).max(1)
    }

    /// The matrix (expert) that `row` belongs to, and the first row behind it.
    fn matrix_at(&self, row: u64) -> (u64, u64) {
        let rows = self.source.shape.rows();
        let columns = self.source.shape.row_length().max(1);
        let matrices = self.importance.as_ref().map_or(1, |all| (all.len() as u64 / columns).max(1));
        let rows_each = (rows / matrices).max(1);
        let matrix = (row / rows_each).min(matrices - 1);
        (matrix, if matrix + 1 == matrices { rows } else { (matrix + 1) * rows_each })
    }

    /// Prepares the rounding of one matrix's rows.
    fn rounder(&self, method: &dyn Method, matrix: u64, hessians: Option<&Hessians<'_>>) -> Result<Arc<dyn Rounder>> {
        let columns = self.source.shape.row_length() as usize;
        let importance = self.importance.as_ref().map(|all| &all[matrix as usize * columns..][..columns]);
        let hessian = match method.needs() {
            Needs::Nothing => None,
            Needs::Hessian => {
                let hessians = hessians.ok_or_else(text_missing)?;
                let found = self.source.id.map(|id| hessians.get(&id)).transpose()?.flatten();
                Some(found.ok_or_else(|| {
                    Error::request(format!("no input of this tensor is known, which the method {} needs", method.id()))
                        .help("choose another method for it in the plan")
                })?)
            }
        };
        method.prepare(self.target, columns, Inputs { importance, hessian: hessian.as_deref() }).map(Arc::from)
    }

    /// Whether weights share a scale: one that is not a number then spoils its neighbours, or vanishes.
    fn packs(&self) -> bool {
        self.target.layout().block_elements > 1
    }

    fn encode(&self, rows: Range<u64>, buffers: &mut Buffers, rounders: &Rounders, hessians: Option<&Hessians<'_>>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let Some(method) = self.method else {
            self.source.data.read_rows(rows, &mut out)?;
            if self.packs() {
                self.target.validate(&out)?;
            }
            return Ok(out);
        };
        let columns = self.source.shape.row_length();
        let row_bytes = self.target.row_bytes(columns)? as usize;
        self.source.decode_rows(rows.clone(), &mut buffers.encoded, &mut buffers.weights)?;
        if self.packs() {
            check_finite(&buffers.weights)?;
        }
        out.resize((rows.end - rows.start) as usize * row_bytes, 0);
        let mut at = rows.start;
        while at < rows.end {
            let (matrix, matrix_end) = self.matrix_at(at);
            let end = matrix_end.min(rows.end);
            let rounder = rounders.get(matrix, || self.rounder(method, matrix, hessians))?;
            let span = (at - rows.start) as usize..(end - rows.start) as usize;
            let weights = &buffers.weights[span.start * columns as usize..span.end * columns as usize];
            rounder.encode(weights, &mut out[span.start * row_bytes..span.end * row_bytes])?;
            at = end;
        }
        rounders.done(rows.end - rows.start, self.source.shape.rows());
        Ok(out)
    }
}

/// Refuses weights that are not a number, or infinite: a damaged checkpoint would become a model that
/// talks nonsense. (Bits and not floats, because an integer maximum runs on vectors.)
pub(crate) fn check_finite(weights: &[f32]) -> Result<()> {
    const EXPONENT: u32 = 0x7f80_0000;
    if weights.iter().fold(0, |most, w| most.max(w.to_bits() & EXPONENT)) < EXPONENT {
        return Ok(());
    }
    let (at, weight) = weights.iter().enumerate().find(|(_, w)| !w.is_finite()).unwrap_or((0, &f32::NAN));
    Err(Error::input(format!("a weight is {weight} (the {at}th of its chunk), which no quantization can hold"))
        .help("the model is damaged: a deep scan lists the tensors concerned"))
}

/// What the rows of one tensor share while they are encoded.
#[derive(Default)]
struct Rounders(Mutex<Prepared>);

#[derive(Default)]
struct Prepared {
    by_matrix: BTreeMap<u64, Arc<dyn Rounder>>,
    rows_done: u64,
}

impl Rounders {
    fn get(&self, matrix: u64, make: impl FnOnce() -> Result<Arc<dyn Rounder>>) -> Result<Arc<dyn Rounder>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rounder) = state.by_matrix.get(&matrix) {
            return Ok(Arc::clone(rounder));
        }
        let rounder = make()?;
        state.by_matrix.insert(matrix, Arc::clone(&rounder));
        Ok(rounder)
    }

    /// Forgets everything once all rows are done.
    fn done(&self, rows: u64, all: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.rows_done += rows;
        if state.rows_done >= all {
            *state = Prepared::default();
        }
    }
}

#[derive(Default)]
struct Buffers {
    encoded: Vec<u8>,
    weights: Vec<f32>,
}

/// One unit of work: some rows of one tensor.
#[derive(Debug, Clone)]
struct Chunk {
    job: usize,
    rows: Range<u64>,
}

/// Streams the encoded bytes of `jobs`.
pub(crate) struct Executor<'a> {
    pub(crate) jobs: &'a [Job],
    pub(crate) threads: usize,
    pub(crate) observer: &'a dyn Observer,
    /// Second moments, for methods that need them.
    pub(crate) hessians: Option<&'a Hessians<'a>>,
}

struct Shared {
    finished: Mutex<State>,
    changed: Condvar,
    next: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    ready: BTreeMap<usize, Result<Vec<u8>>>,
    /// Chunks handed to the sink so far.
    taken: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases the workers however the writer leaves.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        let _state = self.0.lock();
        self.0.changed.notify_all();
    }
}

impl ChunkStream for Executor<'_> {
    fn stream(&self, first: usize, sink: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let chunks = self.chunks(first);
        let threads = self.threads.clamp(1, chunks.len().max(1));
        let window = window(threads);
        let rounders: Vec<Rounders> = self.jobs.iter().map(|_| Rounders::default()).collect();
        let shared =
            Shared { finished: Mutex::default(), changed: Condvar::new(), next: AtomicUsize::new(0), stop: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            let _stop = StopOnDrop(&shared);
            for _ in 0..threads {
                scope.spawn(|| self.work(&chunks, &shared, window, &rounders));
            }
            for (index, chunk) in chunks.iter().enumerate() {
                let bytes = take(&shared, index)?;
                let job = &self.jobs[chunk.job];
                let bytes = bytes.map_err(|e| e.at_item(&*job.source.name))?;
                sink(chunk.job, &bytes)?;
                let row_bytes = job.source.encoding.row_bytes(job.source.shape.row_length()).unwrap_or(0);
                self.observer.advance(&job.source.name, row_bytes * (chunk.rows.end - chunk.rows.start));
                self.observer.go_on()?;
            }
            Ok(())
        })
    }
}

/// Chunks that workers may run ahead of the writer.
fn window(threads: usize) -> usize {
    threads * 3 + 1
}

impl Executor<'_> {
    /// Upper estimate of the resident memory of a run in bytes, headers and program included.
    pub(crate) fn peak_memory(&self) -> u64 {
        let largest = |size: &dyn Fn(&Job) -> u64| self.jobs.iter().map(size).max().unwrap_or(0);
        let row = |job: &Job| job.source.shape.row_length();
        let encoded = largest(&|j| j.rows_per_chunk() * j.target.row_bytes(row(j)).unwrap_or(0));
        let read = largest(&|j| j.rows_per_chunk() * j.source.encoding.row_bytes(row(j)).unwrap_or(0));
        let weights = largest(&|j| j.rows_per_chunk() * row(j) * 4);
        let threads = self.threads as u64;
        PROGRAM_BYTES + threads * (2 * read + weights) + (window(self.threads) as u64 + threads) * encoded
    }

    fn chunks(&self, first: usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for (job, work) in self.jobs.iter().enumerate().skip(first) {
            let (rows, step) = (work.source.shape.rows(), work.rows_per_chunk());
            let mut at = 0;
            while at < rows {
                let end = (at + step).min(rows);
                chunks.push(Chunk { job, rows: at..end });
                at = end;
            }
        }
        chunks
    }

    fn work(&self, chunks: &[Chunk], shared: &Shared, window: usize, rounders: &[Rounders]) {
        let mut buffers = Buffers::default();
        loop {
            let index = shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(index) else { return };
            let mut state = shared.lock();
            while index >= state.taken + window && !shared.stop.load(Ordering::Relaxed) {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let job = &self.jobs[chunk.job];
            // A panic in a worker is a bug of ours; it must end the run with a message, not hang the writer.
            let encode = || job.encode(chunk.rows.clone(), &mut buffers, &rounders[chunk.job], self.hessians);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(encode))
                .unwrap_or_else(|_| Err(Error::bug(format!("encoding to {} panicked", job.target.id()))));
            shared.lock().ready.insert(index, result);
            shared.changed.notify_all();
        }
    }
}

fn take(shared: &Shared, index: usize) -> Result<Result<Vec<u8>>> {
    let mut state = shared.lock();
    loop {
        if let Some(result) = state.ready.remove(&index) {
            state.taken = index + 1;
            shared.changed.notify_all();
            return Ok(result);
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}
