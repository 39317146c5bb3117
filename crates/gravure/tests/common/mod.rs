//! What tests of decoders share: tiny models in many encodings, and steps whose logits are kept.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};

use gravure::engine::{Engine, LoadOptions, load};
use gravure::mixtures::{self, MixtureRequest};
use gravure::{PlanSource, QuantizeRequest, Quiet, quantize};
use gravure_core::contracts::{Chunk, Decoder, Phase, SequenceId, Step, Wanted};
use gravure_testing::tiny_model::{self, Options, Size};

/// Writes a tiny model of `design`, in an encoding where one is named. Its path.
pub(crate) fn tiny(folder: &Path, design: &str, encoding: Option<&str>) -> PathBuf {
    let source = folder.join(design);
    // Rows of whole blocks for every encoding.
    tiny_model::write(design, &Options { size: Size::Wide, ..Options::default() }, &source).unwrap();
    let Some(encoding) = encoding else { return source };
    let target = folder.join(format!("{design}-{encoding}.gguf"));
    let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find(encoding).unwrap()));
    quantize(&QuantizeRequest::new(source, &target, plan), &Quiet).unwrap_or_else(|e| panic!("{design} in {encoding}: {e}"));
    target
}

/// Loads a model after `change` of the defaults.
pub(crate) fn engine(path: &Path, change: impl FnOnce(&mut LoadOptions)) -> Engine {
    let mut options = LoadOptions::new(path);
    change(&mut options);
    load(&options, &Quiet).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// Continues one sequence; the bits of the wanted logits, row by row.
pub(crate) fn advance(
    decoder: &dyn Decoder,
    sequence: SequenceId,
    tokens: &[u32],
    phase: Phase,
    wanted: Wanted,
) -> gravure::Result<Vec<Vec<u32>>> {
    let chunks = [Chunk { sequence, tokens, phase, wanted }];
    let mut rows = Vec::new();
    decoder.step(Step::new(&chunks), &mut |row| {
        rows.push(bits(row.values));
        Ok(())
    })?;
    Ok(rows)
}

/// Floats as their bits: what is compared is the same or not.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Positions that a decoder whose sequences are all closed has room for, in sequences of `length`: a
/// multiple of a page.
pub(crate) fn room(decoder: &dyn Decoder, length: usize) -> usize {
    let mut open = Vec::new();
    let mut total = 0;
    'full: loop {
        let sequence = decoder.open().unwrap();
        open.push(sequence);
        for _ in 0..length {
            if advance(decoder, sequence, &[1], Phase::Decode, Wanted::Nothing).is_err() {
                break 'full;
            }
            total += 1;
        }
    }
    open.into_iter().for_each(|s| decoder.close(s).unwrap());
    total
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    /// Tokens below `vocabulary`.
    pub(crate) fn tokens(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(vocabulary) as u32).collect()
    }
}
