//! Many sequences over one cache.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gravure_base::{Error, Result};
use gravure_core::contracts::{CacheType, Chunk, Decoder, LoadFacts, LogitsRow, Phase, SequenceId, Step, Wanted, check_chunks, not_open};
use gravure_kernels::{Cache, PAGE};

use super::batch::{Batch, Group};
use super::pages::{Pages, Sequence};
use super::program::{Index, Program};
use super::run::{Buffers, Machine, Watch};
use super::session;

/// Rows that go through the program together.
const BATCH_ROWS: usize = 512;
/// Rows that go through the last linear map together.
const HEAD_ROWS: usize = 32;
/// Most sequences.
const MOST_SEQUENCES: usize = 1 << 16;

/// Continues sequences. The receiver of logits must not call it.
#[derive(Debug)]
pub(crate) struct NativeDecoder {
    machine: Arc<Machine>,
    context: usize,
    vocabulary: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) cache: Cache,
    pub(crate) pages: Pages,
    pub(crate) sequences: BTreeMap<SequenceId, Sequence>,
    next: u64,
    buffers: Buffers,
    head: Buffers,
}

/// Positions of one sequence that run one after the other.
#[derive(Debug, Clone)]
struct Job {
    chunk: usize,
    sequence: SequenceId,
    positions: Range<usize>,
    /// Position of the chunk's first token.
    base: usize,
    phase: Phase,
    /// Position from which on logits are wanted.
    wanted: usize,
}

/// A wanted row of a batch.
#[derive(Debug, Clone, Copy)]
struct WantedRow {
    chunk: usize,
    token: usize,
    row: usize,
}

/// What a step that fails leaves of a sequence.
struct Before {
    id: SequenceId,
    length: usize,
    /// The sequence itself, where all of it may run anew.
    replaced: Option<Sequence>,
}

impl NativeDecoder {
    pub(crate) fn new(machine: Arc<Machine>, facts: &LoadFacts, kind: CacheType) -> Result<Self> {
        let pages = facts.positions.div_ceil(PAGE);
        if u32::try_from(pages).is_err() {
            return Err(Error::limit(format!("{} positions are too many", facts.positions)));
        }
        let cache = Cache::new(kind, &machine.kept(), pages)?;
        let state = State {
            cache,
            pages: Pages::new(pages),
            sequences: BTreeMap::new(),
            next: 0,
            buffers: Buffers::default(),
            head: Buffers::default(),
        };
        let vocabulary = machine.rows_of(Index::Tokens).unwrap_or(usize::MAX);
        Ok(Self { machine, context: facts.context, vocabulary, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a sequence of `length` rotates as long ones do.
    fn is_long(&self, length: usize) -> bool {
        self.machine.fused().long_beyond.is_some_and(|limit| length > limit)
    }

    /// What a sequence is before a step.
    fn before(&self, state: &mut State, chunk: &Chunk<'_>) -> Result<Before> {
        let State { sequences, pages, .. } = state;
        let sequence = sequences.get(&chunk.sequence).ok_or_else(|| not_open(chunk.sequence))?;
        let length = sequence.tokens.len();
        let replaced = (self.is_long(length + chunk.tokens.len()) != sequence.long).then(|| pages.fork(sequence, length));
        Ok(Before { id: chunk.sequence, length, replaced })
    }

    /// Gives each chunk's sequence its new tokens and their pages, and lists what is to run.
    fn begin(&self, state: &mut State, chunks: &[Chunk<'_>]) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        let State { sequences, pages, cache, .. } = state;
        for (i, chunk) in chunks.iter().enumerate() {
            let sequence = sequences.get_mut(&chunk.sequence).ok_or_else(|| not_open(chunk.sequence))?;
            let base = sequence.tokens.len();
            let end = base + chunk.tokens.len();
            let job = |positions, wanted, phase| Job { chunk: i, sequence: chunk.sequence, positions, base, phase, wanted };
            let long = self.is_long(end);
            if long != sequence.long {
                // Its keys are rotated for another length: all of it runs anew, in pages of its own.
                let tokens = std::mem::take(&mut sequence.tokens);
                pages.truncate(sequence, 0);
                sequence.long = long;
                pages.grow(sequence, end, cache)?;
                sequence.tokens = tokens;
                if base > 0 {
                    let phase = if chunk.phase == Phase::Scoring { Phase::Scoring } else { Phase::Prefill };
                    jobs.push(job(0..base, usize::MAX, phase));
                }
            } else {
                pages.grow(sequence, end, cache)?;
            }
            sequence.tokens.extend_from_slice(chunk.tokens);
            let wanted = match chunk.wanted {
                Wanted::Nothing => usize::MAX,
                Wanted::Last => end - 1,
                Wanted::From(index) => base.saturating_add(index),
            };
            jobs.push(job(base..end, wanted, chunk.phase));
        }
        Ok(jobs)
    }

    /// Runs the jobs in batches.
    fn work(
        &self,
        state: &mut State,
        jobs: Vec<Job>,
        step: &mut Watch<'_, '_>,
        logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut batch = Vec::new();
        let mut room = BATCH_ROWS;
        for mut job in jobs {
            while !job.positions.is_empty() {
                let split = job.positions.start + room.min(job.positions.len());
                batch.push(Job { positions: job.positions.start..split, ..job.clone() });
                room -= split - job.positions.start;
                job.positions.start = split;
                if room == 0 {
                    self.batch(state, std::mem::take(&mut batch), step, logits)?;
                    room = BATCH_ROWS;
                }
            }
        }
        self.batch(state, batch, step, logits)
    }

    fn batch(
        &self,
        state: &mut State,
        mut jobs: Vec<Job>,
        watch: &mut Watch<'_, '_>,
        logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>,
    ) -> Result<()> {
        // Rows of one phase stand together.
        jobs.sort_by_key(|j| j.phase);
        let mut batch = Batch::default();
        let mut wanted = Vec::new();
        for job in &jobs {
            let sequence = state.sequences.get(&job.sequence).ok_or_else(|| not_open(job.sequence))?;
            let (first_row, positions) = (batch.rows(), job.positions.clone());
            let tokens = sequence.tokens.get(positions.clone()).ok_or_else(|| Error::bug("tokens that are not there"))?;
            batch.push(tokens, None, positions.start, job.phase, sequence.long);
            let pages = sequence.pages.iter().take(positions.end.div_ceil(PAGE)).copied().collect();
            batch.groups.push(Group { pages, first_row, rows: positions.len(), position: positions.start, end: positions.end });
            let from = job.wanted.clamp(positions.start, positions.end);
            wanted.extend((from..positions.end).map(|p| WantedRow {
                chunk: job.chunk,
                token: p - job.base,
                row: first_row + p - positions.start,
            }));
        }
        let machine = &*self.machine;
        let program = if watch.taps.is_some() { machine.whole()? } else { machine.fused() };
        let (body, tail) = program.nodes.split_at(program.tail_at);
        let (tail, head) = tail.split_at(program.head_at - program.tail_at);
        let State { buffers, head: head_buffers, cache, .. } = state;
        machine.prepare(program, buffers);
        machine.run(program, body, &batch, buffers, cache, watch)?;
        // Who looks at inputs of weights sees all rows.
        if watch.taps.is_none() {
            let mut rows: Vec<usize> = wanted.iter().map(|w| w.row).collect();
            rows.sort_unstable();
            program.tail_inputs.iter().for_each(|place| buffers.compact(*place, &rows));
            buffers.forget_rows(program.rotations.len());
            batch = batch.select(&rows);
            for w in &mut wanted {
                w.row = rows.binary_search(&w.row).unwrap_or(w.row);
            }
        }
        let batch = batch.for_few();
        machine.run(program, tail, &batch, buffers, cache, watch)?;
        wanted.sort_by_key(|w| (w.chunk, w.token));
        let mut rest = wanted.as_slice();
        while let Some(first) = rest.first() {
            let phase = batch.phase(first.row);
            let count = rest.iter().take(HEAD_ROWS).take_while(|w| batch.phase(w.row) == phase).count();
            let (block, after) = rest.split_at(count);
            rest = after;
            let rows: Vec<usize> = block.iter().map(|w| w.row).collect();
            machine.prepare(program, head_buffers);
            program.head_inputs.iter().for_each(|place| head_buffers.copy_rows(buffers, *place, &rows));
            machine.run(program, head, &batch.select(&rows), head_buffers, cache, watch)?;
            emit(program, head_buffers, block, logits)?;
        }
        Ok(())
    }
}

/// Hands out the logits of a block.
fn emit(program: &Program, buffers: &Buffers, block: &[WantedRow], logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>) -> Result<()> {
    let output = program.output.ok_or_else(|| Error::bug("a program without an output"))?;
    let values = buffers.rows(output, block.len());
    block
        .iter()
        .zip(values.chunks_exact(output.width))
        .try_for_each(|(w, values)| logits(LogitsRow { chunk: w.chunk, token: w.token, values }))
}

impl State {
    /// Puts a new sequence in.
    pub(crate) fn insert(&mut self, sequence: Sequence) -> SequenceId {
        let id = SequenceId(self.next);
        self.next += 1;
        self.sequences.insert(id, sequence);
        id
    }

    pub(crate) fn check_room(&self) -> Result<()> {
        if self.sequences.len() >= MOST_SEQUENCES {
            return Err(Error::limit(format!("{MOST_SEQUENCES} sequences are open")).help("close some"));
        }
        Ok(())
    }

    fn sequence(&self, id: SequenceId) -> Result<&Sequence> {
        self.sequences.get(&id).ok_or_else(|| not_open(id))
    }
}

impl Decoder for NativeDecoder {
    fn open(&self) -> Result<SequenceId> {
        let mut state = self.state();
        state.check_room()?;
        Ok(state.insert(Sequence::default()))
    }

    fn step(&self, step: Step<'_>, logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>) -> Result<()> {
        let mut guard = self.state();
        let state = &mut *guard;
        check_chunks(step.chunks, self.vocabulary, self.context, |id| state.sequence(id).map(|s| s.tokens.len()))?;
        let before: Vec<Before> = step.chunks.iter().map(|c| self.before(state, c)).collect::<Result<_>>()?;
        let mut watch = Watch { taps: step.taps, cancelled: step.cancelled };
        let result = self.begin(state, step.chunks).and_then(|jobs| self.work(state, jobs, &mut watch, logits));
        let State { sequences, pages, .. } = state;
        for Before { id, length, replaced } in before {
            let Some(sequence) = sequences.get_mut(&id) else { continue };
            match (replaced, result.is_ok()) {
                (None, true) => {}
                (None, false) => pages.truncate(sequence, length),
                (Some(mut old), true) => pages.truncate(&mut old, 0),
                (Some(old), false) => {
                    pages.truncate(sequence, 0);
                    *sequence = old;
                }
            }
        }
        result
    }

    fn tokens(&self, sequence: SequenceId) -> Result<Vec<u32>> {
        self.state().sequence(sequence).map(|s| s.tokens.clone())
    }

    fn fork(&self, sequence: SequenceId, positions: usize) -> Result<SequenceId> {
        let mut state = self.state();
        state.check_room()?;
        let State { sequences, pages, .. } = &mut *state;
        let parent = sequences.get(&sequence).ok_or_else(|| not_open(sequence))?;
        check_length(parent, positions)?;
        let child = pages.fork(parent, positions);
        Ok(state.insert(child))
    }

    fn truncate(&self, sequence: SequenceId, positions: usize) -> Result<()> {
        let mut state = self.state();
        let State { sequences, pages, .. } = &mut *state;
        let sequence = sequences.get_mut(&sequence).ok_or_else(|| not_open(sequence))?;
        check_length(sequence, positions)?;
        pages.truncate(sequence, positions);
        Ok(())
    }

    fn close(&self, sequence: SequenceId) -> Result<()> {
        let mut state = self.state();
        let mut closed = state.sequences.remove(&sequence).ok_or_else(|| not_open(sequence))?;
        state.pages.truncate(&mut closed, 0);
        Ok(())
    }

    fn save(&self, sequence: SequenceId, out: &mut dyn Write) -> Result<()> {
        let state = self.state();
        session::save(&self.machine, &state.cache, state.sequence(sequence)?, out)
    }

    fn restore(&self, input: &mut dyn Read) -> Result<SequenceId> {
        let mut state = self.state();
        state.check_room()?;
        let State { cache, pages, .. } = &mut *state;
        let limits = session::Bounds { context: self.context, vocabulary: self.vocabulary };
        let sequence = session::restore(&self.machine, &limits, cache, pages, input)?;
        Ok(state.insert(sequence))
    }
}

fn check_length(sequence: &Sequence, positions: usize) -> Result<()> {
    match sequence.tokens.len() {
        length if positions > length => Err(Error::request(format!("{positions} positions of a sequence of {length}"))),
        _ => Ok(()),
    }
}
