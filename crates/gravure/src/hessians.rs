//! Second moments of the inputs of a model's matrices, measured when they are asked for.
//!
//! A matrix of `n` columns has `n x n` of them, so those of all layers of a large model fit in no memory:
//! layers are taken in blocks of at most [`LIMIT`] bytes, the text is run once for each block, and those of
//! the last two blocks are kept. Who asks layer by layer makes no block run twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use gravure_base::{Error, Result, ResultExt};
use gravure_core::values::Origin;
use gravure_core::{Graph, Hessian, Model, TensorId};
use gravure_eval::{Moments, Windows};

use crate::Observer;
use crate::engine::Engine;
use crate::evaluate::{first_token, text_tokens, tokenizer};

/// Bytes that the sums of one block take at most, unless one matrix alone takes more.
const LIMIT: u64 = 1 << 30;
/// Blocks that are kept.
const KEPT: usize = 2;

/// A text that a method is told the inputs of matrices by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibrationText {
    /// The text.
    pub data: PathBuf,
    /// Tokens in a window.
    pub context: usize,
    /// At most this many windows.
    pub windows: Option<usize>,
}

impl CalibrationText {
    /// 128 windows of 512 tokens.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), context: 512, windows: Some(128) }
    }
}

/// The linear maps of a graph, each with the first one that has the same input.
pub(crate) fn linear_maps(graph: &Graph) -> BTreeMap<TensorId, TensorId> {
    let weights: BTreeMap<_, _> = graph
        .origins
        .iter()
        .filter_map(|(edge, origin)| match origin {
            Origin::Weight(id) => Some((*edge, *id)),
            Origin::Input(_) => None,
        })
        .collect();
    let mut first_of_input = BTreeMap::new();
    let mut maps = BTreeMap::new();
    for node in graph.nodes.iter().filter(|n| n.op == gravure_ops::linear::ID) {
        let [input, weight, ..] = node.inputs[..] else { continue };
        if let Some(id) = weights.get(&weight) {
            maps.insert(*id, *first_of_input.entry(input).or_insert(*id));
        }
    }
    maps
}

type Block = Arc<BTreeMap<TensorId, Seen>>;

/// The second moments of one matrix.
#[derive(Debug, Clone)]
struct Seen {
    all: Arc<Hessian>,
    /// Those of the windows that rounding is tried on, and of the others, where windows are held out.
    apart: Option<[Arc<Hessian>; 2]>,
}

/// Of so many windows one is held out.
const HELD_OUT: usize = 4;

/// Measures second moments.
pub(crate) struct Hessians<'a> {
    engine: Arc<Engine>,
    observer: &'a dyn Observer,
    text: CalibrationText,
    tokens: Vec<u32>,
    /// Each map, the one that stands for it, and its block.
    maps: BTreeMap<TensorId, (TensorId, usize)>,
    kept: Mutex<Vec<(usize, Block)>>,
    holds_out: bool,
}

impl std::fmt::Debug for Hessians<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hessians").field("text", &self.text).finish_non_exhaustive()
    }
}

impl<'a> Hessians<'a> {
    /// Those of a loaded model on a text. Nothing runs yet.
    ///
    /// # Errors
    /// `Request` where the text is too short; `Unsupported` where the model has no tokenizer.
    pub(crate) fn new(engine: Arc<Engine>, text: &CalibrationText, observer: &'a dyn Observer) -> Result<Self> {
        let tokens = text_tokens(&engine.model, &text.data)?;
        let shared = engine.model.graph.as_ref().map(linear_maps).unwrap_or_default();
        let maps = in_blocks(&shared, &engine.model);
        let this = Self { engine, observer, text: text.clone(), tokens, maps, kept: Mutex::default(), holds_out: false };
        this.windows()?;
        Ok(this)
    }

    /// The same, for [`Hessians::apart`]: what the last windows of the text give is kept apart.
    pub(crate) fn holding_out(self) -> Self {
        Self { holds_out: true, ..self }
    }

    /// The model that is run, and the text.
    pub(crate) fn source(&self) -> (&Engine, &CalibrationText) {
        (&self.engine, &self.text)
    }

    fn windows(&self) -> Result<Windows<'_>> {
        let first = first_token(tokenizer(&self.engine.model)?);
        Windows::new(&self.tokens, self.text.context, first, self.text.windows).in_file(&self.text.data)
    }

    /// Those of one matrix; `None` where it is no linear map of the model.
    ///
    /// # Errors
    /// Those of running the model; `Interrupted`.
    pub(crate) fn get(&self, id: &TensorId) -> Result<Option<Arc<Hessian>>> {
        Ok(self.seen(id)?.map(|seen| seen.all))
    }

    /// Those that a rounding may see which is judged by the second ones: of other windows, where some are held out.
    ///
    /// # Errors
    /// As [`Hessians::get`].
    pub(crate) fn apart(&self, id: &TensorId) -> Result<Option<[Arc<Hessian>; 2]>> {
        Ok(self.seen(id)?.map(|seen| seen.apart.unwrap_or_else(|| [Arc::clone(&seen.all), seen.all])))
    }

    fn seen(&self, id: &TensorId) -> Result<Option<Seen>> {
        let Some((stands, block)) = self.maps.get(id) else { return Ok(None) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept.iter().find(|(b, _)| b == block) {
            return Ok(found.get(stands).cloned());
        }
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        let found = self.measure(*block)?;
        kept.push((*block, Arc::clone(&found)));
        Ok(found.get(stands).cloned())
    }

    fn measure(&self, block: usize) -> Result<Block> {
        let windows = self.windows()?;
        let held_out = if self.holds_out { windows.count() / HELD_OUT } else { 0 };
        let (most, rest) = windows.split_at(windows.count() - held_out);
        let first = self.moments(block, &most)?;
        let mut second = if held_out == 0 { BTreeMap::new() } else { self.moments(block, &rest)? };
        let share = held_out as f32 / windows.count() as f32;
        let mut out = BTreeMap::new();
        for (id, first) in first {
            let Some(second) = second.remove(&id) else {
                out.insert(id, Seen { all: Arc::new(first), apart: None });
                continue;
            };
            let all = Arc::new(first.mixed(&second, share)?);
            out.insert(id, Seen { all, apart: Some([Arc::new(first), Arc::new(second)]) });
        }
        // What only the last windows reach has nobody else to be judged by.
        out.extend(second.into_iter().map(|(id, second)| (id, Seen { all: Arc::new(second), apart: None })));
        Ok(Arc::new(out))
    }

    fn moments(&self, block: usize, windows: &Windows<'_>) -> Result<BTreeMap<TensorId, Hessian>> {
        let shared = self.maps.iter().filter(|(_, (_, b))| *b == block).map(|(id, (stands, _))| (*id, *stands)).collect();
        let mut moments = Moments::new(shared, self.engine.threads);
        gravure_eval::calibrate(windows, self.engine.decoder()?, &mut moments, &mut |_| self.observer.go_on())?;
        moments.finish()
    }
}

/// Numbers the blocks: whole layers, in order, what lies outside the layers last.
fn in_blocks(shared: &BTreeMap<TensorId, TensorId>, model: &Model) -> BTreeMap<TensorId, (TensorId, usize)> {
    let columns = |id: &TensorId| model.tensors.iter().find(|t| t.id == Some(*id)).map_or(0, |t| t.shape.row_length());
    let mut layers: BTreeMap<u32, u64> = BTreeMap::new();
    for id in shared.iter().filter(|(id, stands)| id == stands).map(|(id, _)| id) {
        *layers.entry(id.layer.unwrap_or(u32::MAX)).or_default() += Moments::bytes(columns(id));
    }
    let (mut block, mut bytes) = (0, 0_u64);
    let mut block_of = BTreeMap::new();
    for (layer, more) in layers {
        if bytes > 0 && bytes.saturating_add(more) > LIMIT {
            block += 1;
            bytes = 0;
        }
        bytes = bytes.saturating_add(more);
        block_of.insert(layer, block);
    }
    let place = |stands: &TensorId| block_of.get(&stands.layer.unwrap_or(u32::MAX)).copied().unwrap_or(0);
    shared.iter().map(|(id, stands)| (*id, (*stands, place(stands)))).collect()
}

/// The error of asking for a method without what it needs.
pub(crate) fn text_missing() -> Error {
    Error::request("the method needs a text to see the inputs of the matrices on").help("give one with --calibration-data")
}

#[cfg(test)]
mod tests {
    use gravure_core::Limits;
    use gravure_testing::tiny_model::{self, Options};

    use super::*;
    use crate::Quiet;
    use crate::engine::{LoadOptions, load};

    #[test]
    fn windows_that_are_held_out_judge_and_are_part_of_all() {
        let folder = tempfile::tempdir().unwrap();
        tiny_model::write("llama", &Options::default(), folder.path()).unwrap();
        let path = folder.path().join("text.txt");
        std::fs::write(&path, (0..400).map(|i| format!("{} ", i * i)).collect::<String>()).unwrap();
        let options = LoadOptions { threads: 1, positions: 32, limits: Limits::default(), ..LoadOptions::new(folder.path()) };
        let engine = Arc::new(load(&options, &Quiet).unwrap());
        let text = CalibrationText { context: 16, windows: Some(9), ..CalibrationText::new(&path) };
        let whole = Hessians::new(Arc::clone(&engine), &text, &Quiet).unwrap();
        let parted = Hessians::new(engine, &text, &Quiet).unwrap().holding_out();
        let mut seen = 0;
        for id in whole.maps.keys() {
            let (all, again) = (whole.get(id).unwrap().unwrap(), parted.get(id).unwrap().unwrap());
            let [rounds, judges] = parted.apart(id).unwrap().unwrap();
            assert_ne!(rounds, judges);
            let most = all.values().iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            for (i, v) in all.values().iter().enumerate() {
                assert!((v - again.values()[i]).abs() <= 1e-5 * most);
                // Two of nine windows are held out.
                let mixed = (7.0 * rounds.values()[i] + 2.0 * judges.values()[i]) / 9.0;
                assert!((v - mixed).abs() <= 1e-5 * most);
            }
            let [same, itself] = whole.apart(id).unwrap().unwrap();
            assert!(same == itself && same == all);
            seen += 1;
        }
        assert!(seen > 0);
    }
}
