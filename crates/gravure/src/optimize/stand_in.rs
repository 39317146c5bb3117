//! A large model measured through a smaller copy of itself.
//!
//! What matrices see, and what a coarse tensor costs, is much the same in a model whose weights have eight bits: it
//! takes half of the original's memory and runs three times as fast, on integers. Rows are encoded as they are read.
//! The artifact is made of the original, and held against the original.

use std::ops::Range;
use std::sync::Arc;

use gravure_base::{Error, Result};
use gravure_core::{Encoding, Inputs, Model, Rounder, Tensor, TensorData};

use super::sensitivity::is_large;
use crate::catalog;
use crate::engine::{Engine, LoadOptions, prepare};

/// Bits for each weight of the copy: encodings with fewer cost more than they save, those with more are floats.
const BITS: f64 = 8.5;

/// Rows that are encoded when they are read.
struct EncodedRows {
    inner: Tensor,
    encoding: &'static dyn Encoding,
    rounder: Box<dyn Rounder>,
}

impl std::fmt::Debug for EncodedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.inner.name, self.encoding.id())
    }
}

impl TensorData for EncodedRows {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let count = usize::try_from(rows.end.saturating_sub(rows.start)).map_err(|_| Error::limit("too many rows at once"))?;
        let (mut scratch, mut weights) = (Vec::new(), Vec::new());
        self.inner.decode_rows(rows, &mut scratch, &mut weights)?;
        out.clear();
        out.resize(self.encoding.row_bytes(self.inner.shape.row_length())? as usize * count, 0);
        self.rounder.encode(&weights, out)
    }

    fn rows_at_once(&self) -> Option<u64> {
        self.inner.data.rows_at_once()
    }
}

/// What a model's tensors are exchanged in, in the neutral naming, and that model loaded: the original, or the copy of a
/// large one.
///
/// # Errors
/// Those of loading.
pub(super) fn measured_on(opened: &Model, neutral: &Model, options: &LoadOptions) -> Result<(Model, Arc<Engine>)> {
    let large = is_large(neutral);
    let copy = if large { stand_in(neutral)? } else { neutral.clone() };
    let engine = prepare(if large { copy.clone() } else { opened.clone() }, options)?;
    Ok((copy, Arc::new(engine)))
}

/// The model with every matrix of more than eight bits in eight.
///
/// # Errors
/// Those of the registry.
pub(super) fn stand_in(model: &Model) -> Result<Model> {
    let distance = |e: &&'static dyn Encoding| (e.bits_per_weight() - BITS).abs();
    let usable = catalog().encodings.iter().copied().filter(|e| e.can_encode() && !e.is_integer() && e.layout().block_elements > 1);
    let encoding = usable.min_by(|a, b| distance(a).total_cmp(&distance(b))).ok_or_else(|| Error::bug("no encoding packs weights"))?;
    let nearest = catalog().method("rtn")?;
    let mut copy = model.clone();
    for tensor in &mut copy.tensors {
        let row = tensor.shape.row_length();
        let wide = tensor.shape.dimensions().len() == 2 && tensor.encoding.bits_per_weight() > BITS && !tensor.encoding.is_integer();
        if !wide || encoding.row_bytes(row).is_err() || tensor.id.is_none_or(|id| id.keeps_full_precision(2)) {
            continue;
        }
        let rounder = nearest.prepare(encoding, row as usize, Inputs::default())?;
        tensor.data = Arc::new(EncodedRows { inner: tensor.clone(), encoding, rounder });
        tensor.encoding = encoding;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use gravure_core::Limits;
    use gravure_testing::tiny_model::{self, Options, Size};

    use super::*;
    use crate::open::{OpenRequest, open};
    use crate::translate;

    #[test]
    fn matrices_get_eight_bits_and_vectors_stay() {
        let folder = tempfile::tempdir().unwrap();
        tiny_model::write("llama", &Options { size: Size::Wide, ..Options::default() }, folder.path()).unwrap();
        let opened = open(&OpenRequest { path: folder.path(), format: None, lenient: false, limits: Limits::default() }).unwrap();
        let model = translate::to_neutral(&opened, catalog(), gravure_formats::neutral_name).unwrap();
        let copy = stand_in(&model).unwrap();
        let (mut scratch, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for (tensor, original) in copy.tensors.iter().zip(&model.tensors) {
            let matrix = original.shape.dimensions().len() == 2;
            assert_eq!(tensor.encoding.bits_per_weight() == BITS, matrix, "{}", tensor.name);
            let rows = tensor.shape.rows();
            let part = rows / 3..rows;
            original.decode_rows(part.clone(), &mut scratch, &mut before).unwrap();
            tensor.decode_rows(part, &mut scratch, &mut after).unwrap();
            let largest = before.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() <= largest / 127.0), "{}", tensor.name);
        }
    }
}
