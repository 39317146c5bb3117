//! What the matrices of a model see while it runs over a text: sums of squares of their inputs.

use std::collections::BTreeMap;

use gravure_core::contracts::{Chunk, Decoder, Phase, Step, Tap, Taps, Wanted};
use gravure_core::{Error, Result, TensorId};

use crate::opened::Opened;
use crate::windows::Windows;

/// Sums of squares of one matrix's inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSums {
    /// One sum for each input column.
    pub squares: Vec<f64>,
    /// Rows that were summed.
    pub rows: u64,
}

/// Which matrices are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Those of the layers: what `llama-imatrix` watches.
    Layers,
    /// Those and the output matrix.
    LayersAndOutput,
}

/// Sums up inputs of linear maps.
#[derive(Debug)]
pub struct Collector {
    watched: Watched,
    sums: BTreeMap<TensorId, InputSums>,
}

impl Collector {
    /// Nothing seen yet.
    pub fn new(watched: Watched) -> Self {
        Self { watched, sums: BTreeMap::new() }
    }

    /// What was seen, by weight.
    pub fn sums(&self) -> &BTreeMap<TensorId, InputSums> {
        &self.sums
    }

    /// The same, to keep.
    pub fn into_sums(self) -> BTreeMap<TensorId, InputSums> {
        self.sums
    }
}

impl Taps for Collector {
    fn wants(&self, _node: &str, weight: Option<TensorId>) -> bool {
        weight.is_some_and(|id| id.layer.is_some() || self.watched == Watched::LayersAndOutput)
    }

    fn see(&mut self, tap: &Tap<'_>) -> Result<()> {
        let Some(id) = tap.weight else { return Ok(()) };
        let sums = self.sums.entry(id).or_insert_with(|| InputSums { squares: vec![0.0; tap.width], rows: 0 });
        if sums.squares.len() != tap.width || tap.width == 0 {
            return Err(Error::bug(format!("rows of {} and of {}", sums.squares.len(), tap.width)).at_item(tap.node));
        }
        for row in tap.values.chunks_exact(tap.width) {
            for (sum, value) in sums.squares.iter_mut().zip(row) {
                *sum += f64::from(*value) * f64::from(*value);
            }
            sums.rows += 1;
        }
        if sums.squares.iter().any(|s| !s.is_finite()) {
            return Err(Error::input("the inputs of this node are no numbers").at_item(tap.node));
        }
        Ok(())
    }
}

/// Runs all windows and adds what the matrices see to `collector`. `progress` is told the windows done,
/// and stops the work by an error.
///
/// # Errors
/// Those of the decoder; `Input` where inputs are no numbers.
pub fn calibrate(
    windows: &Windows<'_>,
    decoder: &dyn Decoder,
    collector: &mut dyn Taps,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<()> {
    for index in 0..windows.count() {
        let tokens = windows.window(index);
        let sequence = Opened::new(decoder)?;
        // The logits of the last position keep the last layer whole.
        let chunks = [Chunk { sequence: sequence.id(), tokens: &tokens, phase: Phase::Scoring, wanted: Wanted::From(0) }];
        let step = Step { chunks: &chunks, taps: Some(&mut *collector), cancelled: &|| false };
        decoder.step(step, &mut |_| Ok(()))?;
        progress(index + 1)?;
    }
    Ok(())
}
