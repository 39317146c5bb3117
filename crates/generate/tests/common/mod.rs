//! A decoder that recomputes everything for every step by the scalar reference: slow, and right.
#![allow(unreachable_pub, reason = "shared by tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gravure_base::{Error, Limits, Result};
use gravure_core::contracts::{Decoder, LogitsRow, SequenceId, Step, Wanted, cancelled};
use gravure_core::{Graph, TensorId, Transform};
use gravure_ops::Array;
use gravure_testing::interpreter;
use gravure_testing::tiny_model::{self, Options};
use gravure_text::Tokenizer;

/// A tiny random model.
pub struct Reference {
    graph: Graph,
    weights: BTreeMap<TensorId, Array>,
    positions: usize,
    state: Mutex<(u64, BTreeMap<SequenceId, Vec<u32>>)>,
    /// Tokens that were computed.
    pub computed: AtomicUsize,
}

/// Makes a model of `layers` layers and its tokenizer.
pub fn tiny(layers: usize, positions: usize) -> (Reference, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny");
    tiny_model::write("llama", &Options { layers, ..Options::default() }, &path).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join("config.json")).unwrap()).unwrap();
    let architecture = gravure_archs::find("llama").unwrap();
    let parameters = architecture.configure(&config, false).unwrap();
    let map = architecture.tensor_map(&parameters).unwrap();
    let bytes = std::fs::read(path.join("model.safetensors")).unwrap();
    let mut weights = BTreeMap::new();
    for (name, view) in safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let Some((id, rule)) = map.identify(&name) else { continue };
        assert!(matches!(rule.transform, Transform::Identity | Transform::InterleaveRope { .. }));
        let values: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        weights.insert(id, Array::new(view.shape().to_vec(), values).unwrap());
    }
    weights.extend(map.generated.into_iter().map(|g| (g.id, Array::new([g.values.len()], g.values).unwrap())));
    let tokenizer = gravure_text::huggingface::read_folder(&path, &Limits::default()).unwrap().unwrap();
    let state = Mutex::new((0, BTreeMap::new()));
    let graph = architecture.graph(&parameters).unwrap();
    (Reference { graph, weights, positions, state, computed: AtomicUsize::new(0) }, tokenizer)
}

impl Reference {
    /// Sequences that are open.
    pub fn open_sequences(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }

    fn rows(&self, tokens: &[u32]) -> Result<Array> {
        let list = |values: Vec<f32>| Array::new([values.len()], values);
        let inputs = BTreeMap::from([
            ("tokens", list(tokens.iter().map(|t| *t as f32).collect())?),
            ("positions", list((0..tokens.len()).map(|p| p as f32).collect())?),
        ]);
        let mut weight =
            |id: &TensorId| self.weights.get(id).cloned().ok_or_else(|| Error::bug("no such weight").at_item(interpreter::describe(id)));
        let outputs = interpreter::run(&self.graph, &mut weight, &inputs)?;
        outputs.into_values().next().ok_or_else(|| Error::bug("no output"))
    }

    fn with<T>(&self, sequence: SequenceId, act: impl FnOnce(&mut Vec<u32>) -> T) -> Result<T> {
        let mut state = self.state.lock().unwrap();
        state.1.get_mut(&sequence).map(act).ok_or_else(|| Error::request("no such sequence"))
    }
}

impl Decoder for Reference {
    fn open(&self) -> Result<SequenceId> {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        let id = SequenceId(state.0);
        state.1.insert(id, Vec::new());
        Ok(id)
    }

    fn step(&self, step: Step<'_>, logits: &mut dyn FnMut(LogitsRow<'_>) -> Result<()>) -> Result<()> {
        let mut after = Vec::new();
        for (index, chunk) in step.chunks.iter().enumerate() {
            let before = self.tokens(chunk.sequence)?;
            let all: Vec<u32> = before.iter().chain(chunk.tokens).copied().collect();
            if chunk.tokens.is_empty() {
                return Err(Error::request("an empty chunk"));
            }
            if all.len() > self.positions {
                return Err(Error::limit("the context is full"));
            }
            if (step.cancelled)() {
                return Err(cancelled());
            }
            let from = match chunk.wanted {
                Wanted::Nothing => chunk.tokens.len(),
                Wanted::Last => chunk.tokens.len() - 1,
                Wanted::From(from) => from,
            };
            if from < chunk.tokens.len() {
                let rows = self.rows(&all)?;
                for (token, values) in rows.rows().skip(before.len()).enumerate().skip(from) {
                    logits(LogitsRow { chunk: index, token, values })?;
                }
            }
            self.computed.fetch_add(chunk.tokens.len(), Ordering::Relaxed);
            after.push((chunk.sequence, all));
        }
        self.state.lock().unwrap().1.extend(after);
        Ok(())
    }

    fn tokens(&self, sequence: SequenceId) -> Result<Vec<u32>> {
        self.with(sequence, |tokens| tokens.clone())
    }

    fn fork(&self, sequence: SequenceId, positions: usize) -> Result<SequenceId> {
        let mut tokens = self.tokens(sequence)?;
        tokens.truncate(positions);
        let id = self.open()?;
        self.with(id, |new| *new = tokens)?;
        Ok(id)
    }

    fn truncate(&self, sequence: SequenceId, positions: usize) -> Result<()> {
        self.with(sequence, |tokens| tokens.truncate(positions))
    }

    fn close(&self, sequence: SequenceId) -> Result<()> {
        let removed = self.state.lock().unwrap().1.remove(&sequence);
        removed.map(drop).ok_or_else(|| Error::request("no such sequence"))
    }

    fn save(&self, sequence: SequenceId, out: &mut dyn Write) -> Result<()> {
        let bytes: Vec<u8> = self.tokens(sequence)?.iter().flat_map(|t| t.to_le_bytes()).collect();
        out.write_all(&bytes).map_err(|e| Error::bug(e.to_string()))
    }

    fn restore(&self, input: &mut dyn Read) -> Result<SequenceId> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(|e| Error::bug(e.to_string()))?;
        let id = self.open()?;
        self.with(id, |tokens| *tokens = bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())?;
        Ok(id)
    }
}
