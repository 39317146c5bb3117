//! The inputs of linear maps in a model beside those in a changed copy of it, over the same text: what the
//! copy's maps see, and by how much they would have to make up for what was lost before them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use gravure_core::contracts::{Chunk, Decoder, Phase, Step, Tap, Taps, Wanted};
use gravure_core::{Error, ErrorKind, Hessian, Result, TensorId};

use crate::moments::Sums;
use crate::opened::Opened;
use crate::windows::Windows;

/// Inputs of one map in both models.
#[derive(Debug)]
pub struct Pair {
    /// Mean of `x x^T`, with `x` the copy's inputs.
    pub hessian: Hessian,
    /// Mean of `x d^T`, row by row, with `d` the original's inputs less the copy's.
    pub lost: Vec<f32>,
}

/// Runs all windows through both and pairs the inputs of `maps`. Each model runs no further than it must.
/// `progress` is told the windows done, and stops the work by an error.
///
/// # Errors
/// Those of the decoders; `Input` where inputs are no numbers.
pub fn pair(
    windows: &Windows<'_>,
    original: &dyn Decoder,
    copy: &dyn Decoder,
    maps: &BTreeSet<TensorId>,
    threads: usize,
    progress: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<BTreeMap<TensorId, Pair>> {
    let mut sums: BTreeMap<TensorId, Both> = BTreeMap::new();
    for index in 0..windows.count() {
        let tokens = windows.window(index);
        let theirs = inputs(original, &tokens, maps)?;
        let ours = inputs(copy, &tokens, maps)?;
        for (id, seen) in &ours {
            let wanted = theirs.get(id).filter(|t| t.values.len() == seen.values.len() && seen.width > 0);
            let wanted = wanted.ok_or_else(|| Error::bug("two models of one shape saw inputs of two shapes"))?;
            let lost: Vec<f32> = wanted.values.iter().zip(&seen.values).map(|(a, b)| a - b).collect();
            let both = sums.entry(*id).or_insert_with(|| Both { own: Sums::new(seen.width), lost: Sums::whole(seen.width) });
            both.own.add(&seen.values, threads);
            both.lost.add_products(&seen.values, &lost, threads);
        }
        progress(index + 1)?;
    }
    let pair = |(id, both): (TensorId, Both)| Ok((id, Pair { hessian: both.own.mean()?, lost: both.lost.mean_products()? }));
    sums.into_iter().map(pair).collect()
}

struct Both {
    own: Sums,
    lost: Sums,
}

/// The inputs of one map.
#[derive(Default)]
struct Seen {
    width: usize,
    values: Vec<f32>,
}

/// Keeps the inputs of some maps, and tells when all of them have been seen.
struct Keep<'a> {
    maps: &'a BTreeSet<TensorId>,
    rows: usize,
    seen: BTreeMap<TensorId, Seen>,
    complete: &'a AtomicBool,
}

impl Taps for Keep<'_> {
    fn wants(&self, _node: &str, weight: Option<TensorId>) -> bool {
        weight.is_some_and(|id| self.maps.contains(&id))
    }

    fn see(&mut self, tap: &Tap<'_>) -> Result<()> {
        let Some(id) = tap.weight.filter(|id| self.maps.contains(id)) else { return Ok(()) };
        let seen = self.seen.entry(id).or_default();
        seen.width = tap.width;
        seen.values.extend_from_slice(tap.values);
        let whole = |s: &Seen| s.values.len() >= self.rows * s.width;
        if self.seen.len() == self.maps.len() && self.seen.values().all(whole) {
            self.complete.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn inputs(decoder: &dyn Decoder, tokens: &[u32], maps: &BTreeSet<TensorId>) -> Result<BTreeMap<TensorId, Seen>> {
    let complete = AtomicBool::new(false);
    let mut keep = Keep { maps, rows: tokens.len(), seen: BTreeMap::new(), complete: &complete };
    let sequence = Opened::new(decoder)?;
    let chunks = [Chunk { sequence: sequence.id(), tokens, phase: Phase::Scoring, wanted: Wanted::From(0) }];
    let step = Step { chunks: &chunks, taps: Some(&mut keep), cancelled: &|| complete.load(Ordering::Relaxed) };
    match decoder.step(step, &mut |_| Ok(())) {
        Err(error) if error.kind() == ErrorKind::Interrupted && complete.load(Ordering::Relaxed) => {}
        other => other?,
    }
    if keep.seen.len() != maps.len() {
        return Err(Error::bug("a linear map was not run"));
    }
    Ok(keep.seen)
}
