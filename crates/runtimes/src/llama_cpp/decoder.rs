//! Many sequences in the child: who has which tokens is known here, keys and values lie there.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gravure_base::{Error, Result};
use gravure_core::contracts::{Decoder, LoadFacts, LogitsRow, SequenceId, Step, Wanted, cancelled, check_chunks, not_open};

use super::NAME;
use crate::worker::Worker;

/// Sequences that the child keeps at most.
pub(super) const MOST_SEQUENCES: usize = 64;
/// Tokens of one request at most.
pub(super) const MOST_TOKENS: usize = 512;
/// Logits of one answer at most, but for a single row.
const MOST_LOGITS: usize = 8 << 20;

/// Continues sequences. The receiver of logits must not call it.
#[derive(Debug)]
pub(super) struct LlamaDecoder {
    context: usize,
    vocabulary: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    worker: Worker,
    sequences: BTreeMap<SequenceId, Kept>,
    next: u64,
}

/// One sequence.
#[derive(Debug)]
struct Kept {
    /// Its number in the child.
    slot: u32,
    tokens: Vec<u32>,
}

/// Tokens that go to the child together.
#[derive(Debug, Default)]
struct Request {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    /// Indices of tokens whose logits are wanted, and which chunk's token each is.
    rows: Vec<u32>,
    origins: Vec<(usize, usize)>,
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        let counts = [self.tokens.len() as u32, self.rows.len() as u32];
        let all = counts.iter().chain(&self.tokens).chain(&self.positions).chain(&self.slots).chain(&self.rows);
        all.for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out
    }
}

/// A request of one byte and some numbers.
fn numbers(kind: u8, values: &[u32]) -> Vec<u8> {
    std::iter::once(kind).chain(values.iter().flat_map(|n| n.to_le_bytes())).collect()
}

impl State {
    fn kept(&self, id: SequenceId) -> Result<&Kept> {
        self.sequences.get(&id).ok_or_else(|| not_open(id))
    }

    /// The child forgets all but the first positions of one of its sequences.
    fn cut(&mut self, slot: u32, positions: usize) -> Result<()> {
        self.worker.ask(&numbers(b'k', &[slot, positions as u32]), 0).map(|_| ())
    }

    fn insert(&mut self, tokens: Vec<u32>, slot: u32) -> SequenceId {
        let id = SequenceId(self.next);
        self.next += 1;
        self.sequences.insert(id, Kept { slot, tokens });
        id
    }

    /// A number that no sequence has.
    fn free_slot(&self) -> Result<u32> {
        let free = (0..MOST_SEQUENCES as u32).find(|slot| self.sequences.values().all(|s| s.slot != *slot));
        free.ok_or_else(|| Error::limit(format!("{MOST_SEQUENCES} sequences are open")).help("close some"))
    }
}

impl LlamaDecoder {
    pub(super) fn new(worker: Worker, facts: &LoadFacts) -> Self {
        let state = Mutex::new(State { worker, sequences: BTreeMap::new(), next: 0 });
        Self { context: facts.context, vocabulary: facts.width, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a request and hands out its rows.
    fn send(&self, state: &mut State, request: &mut Request, logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>) -> Result<()> {
        if request.tokens.is_empty() {
            return Ok(());
        }
        let width = self.vocabulary * 4;
        let answer = state.worker.ask(&request.bytes(), request.rows.len() * width)?;
        let mut values = Vec::with_capacity(self.vocabulary);
        for ((chunk, token), row) in request.origins.iter().zip(answer.chunks_exact(width)) {
            values.clear();
            values.extend(row.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
            logits(LogitsRow { chunk: *chunk, token: *token, values: &values })?;
        }
        *request = Request::default();
        Ok(())
    }

    fn run(&self, state: &mut State, step: &Step<'_>, logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>) -> Result<()> {
        let most_rows = (MOST_LOGITS / self.vocabulary).max(1);
        let mut request = Request::default();
        for (index, chunk) in step.chunks.iter().enumerate() {
            let kept = state.kept(chunk.sequence)?;
            let (slot, start) = (kept.slot, kept.tokens.len());
            let first = match chunk.wanted {
                Wanted::Nothing => usize::MAX,
                Wanted::Last => chunk.tokens.len() - 1,
                Wanted::From(first) => first,
            };
            for (at, token) in chunk.tokens.iter().enumerate() {
                if request.tokens.len() == MOST_TOKENS || request.rows.len() == most_rows {
                    self.send(state, &mut request, logits)?;
                    if (step.cancelled)() {
                        return Err(cancelled());
                    }
                }
                if at >= first {
                    request.rows.push(request.tokens.len() as u32);
                    request.origins.push((index, at));
                }
                request.tokens.push(*token);
                request.positions.push((start + at) as u32);
                request.slots.push(slot);
            }
        }
        self.send(state, &mut request, logits)
    }
}

impl Decoder for LlamaDecoder {
    fn open(&self) -> Result<SequenceId> {
        let mut state = self.state();
        let slot = state.free_slot()?;
        Ok(state.insert(Vec::new(), slot))
    }

    fn step(&self, step: Step<'_>, logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>) -> Result<()> {
        if step.taps.is_some() {
            return Err(Error::unsupported(format!("{NAME} shows no intermediate values")).help("measure with the native runtime"));
        }
        let mut guard = self.state();
        let state = &mut *guard;
        check_chunks(step.chunks, self.vocabulary, self.context, |id| state.kept(id).map(|s| s.tokens.len()))?;
        if (step.cancelled)() {
            return Err(cancelled());
        }
        let result = self.run(state, &step, logits);
        for chunk in step.chunks {
            let Some(kept) = state.sequences.get_mut(&chunk.sequence) else { continue };
            match result {
                Ok(()) => kept.tokens.extend_from_slice(chunk.tokens),
                // A child that has ended has nothing to forget.
                Err(_) => {
                    let (slot, length) = (kept.slot, kept.tokens.len());
                    let _ = state.cut(slot, length);
                }
            }
        }
        result
    }

    fn tokens(&self, sequence: SequenceId) -> Result<Vec<u32>> {
        self.state().kept(sequence).map(|s| s.tokens.clone())
    }

    fn fork(&self, sequence: SequenceId, positions: usize) -> Result<SequenceId> {
        let mut state = self.state();
        let kept = state.kept(sequence)?;
        let source = kept.slot;
        let tokens = kept.tokens.get(..positions);
        let tokens = tokens.ok_or_else(|| Error::request(format!("the sequence has {} positions, not {positions}", kept.tokens.len())))?;
        let (tokens, slot) = (tokens.to_vec(), state.free_slot()?);
        state.worker.ask(&numbers(b'c', &[source, slot, positions as u32]), 0)?;
        Ok(state.insert(tokens, slot))
    }

    fn truncate(&self, sequence: SequenceId, positions: usize) -> Result<()> {
        let mut state = self.state();
        let (slot, length) = state.kept(sequence).map(|s| (s.slot, s.tokens.len()))?;
        if positions > length {
            return Err(Error::request(format!("the sequence has {length} positions, not {positions}")));
        }
        state.cut(slot, positions)?;
        if let Some(kept) = state.sequences.get_mut(&sequence) {
            kept.tokens.truncate(positions);
        }
        Ok(())
    }

    fn close(&self, sequence: SequenceId) -> Result<()> {
        let mut state = self.state();
        let kept = state.sequences.remove(&sequence).ok_or_else(|| not_open(sequence))?;
        state.cut(kept.slot, 0)
    }

    fn save(&self, _sequence: SequenceId, _out: &mut dyn Write) -> Result<()> {
        Err(unsaved())
    }

    fn restore(&self, _input: &mut dyn Read) -> Result<SequenceId> {
        Err(unsaved())
    }
}

fn unsaved() -> Error {
    Error::unsupported(format!("sessions of {NAME} are not saved")).help("use the native runtime")
}
