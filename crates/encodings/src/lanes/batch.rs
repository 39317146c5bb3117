//! The walk over a tensor's rows in batches of as many blocks as a vector has lanes.

use std::sync::OnceLock;

use gravure_core::{Encoding, Importance, Result};
use gravure_simd::{F32s, Isa, Kernel, MAX_LANES, Simd};

use crate::blocks::{check_encode, check_finite};

/// Blocks that are encoded together: at most as many as there are lanes, in order, across rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a, const N: usize> {
    /// The weights.
    pub(crate) blocks: &'a [[f32; N]],
    /// Importance of a row's columns, by blocks.
    importance: Option<&'a [[f32; N]]>,
    /// Number of the first block, counted from the first row.
    pub(crate) first: usize,
}

impl<'a, const N: usize> Batch<'a, N> {
    /// Whether there is importance.
    #[inline(always)]
    pub(crate) fn has_importance(&self) -> bool {
        self.importance.is_some()
    }

    /// Loads groups `start ..` of `G` weights, one for each lane, and their importance (ones where
    /// there is none). Lanes past the last group repeat it.
    #[inline(always)]
    pub(crate) fn groups<S: Simd, const G: usize>(&self, isa: S, start: usize) -> [F32s<S>; G] {
        let last = self.blocks.len() * (N / G) - 1;
        let mut at = [0; MAX_LANES];
        for (k, at) in at.iter_mut().enumerate() {
            *at = G * (start + k).min(last);
        }
        let mut x = [F32s::splat(isa, 0.0); G];
        F32s::columns(isa, self.blocks.as_flattened(), &at, &mut x);
        x
    }

    /// Importance of the groups that [`groups`](Self::groups) loads; ones where there is none.
    #[inline(always)]
    pub(crate) fn importance<S: Simd, const G: usize>(&self, isa: S, start: usize) -> [F32s<S>; G] {
        let mut w = [F32s::splat(isa, 1.0); G];
        if let Some(columns) = self.importance {
            let per_block = N / G;
            let last = self.blocks.len() * per_block - 1;
            let mut at = [0; MAX_LANES];
            for (k, at) in at.iter_mut().enumerate() {
                let group = (start + k).min(last);
                *at = N * ((self.first + group / per_block) % columns.len()) + G * (group % per_block);
            }
            F32s::columns(isa, columns.as_flattened(), &at, &mut w);
        }
        w
    }

    /// The sum of squares of each block, first weight to last; one for each lane.
    #[inline(always)]
    pub(crate) fn sums_of_squares<S: Simd>(&self, isa: S) -> F32s<S> {
        const STEP: usize = 16;
        let last = self.blocks.len() - 1;
        let mut sum = F32s::splat(isa, 0.0);
        for from in (0..N).step_by(STEP) {
            let mut at = [0; MAX_LANES];
            for (k, at) in at.iter_mut().enumerate() {
                *at = N * k.min(last) + from;
            }
            let mut x = [F32s::splat(isa, 0.0); STEP];
            F32s::columns(isa, self.blocks.as_flattened(), &at, &mut x);
            for v in x {
                sum = sum + v * v;
            }
        }
        sum
    }
}

/// Encodes the blocks of a batch.
pub(crate) trait BatchEncoder<const N: usize, const B: usize>: Copy {
    /// Writes a block for each of the batch. Bit `i` of the answer is set where block `i` is odd
    /// and has to be encoded by the scalar code.
    fn encode<S: Simd>(self, isa: S, batch: &Batch<'_, N>, out: &mut [[u8; B]]) -> u32;
}

/// Encodes whole rows by `encoder`, and by `scalar` what it declines.
pub(crate) fn encode_batches<const N: usize, const B: usize>(
    encoding: &dyn Encoding,
    source: &[f32],
    row_length: usize,
    importance: Importance<'_>,
    out: &mut [u8],
    encoder: impl BatchEncoder<N, B>,
    scalar: impl Fn(&[f32; N], Option<&[f32; N]>, &mut [u8; B]),
) -> Result<()> {
    check_encode(encoding, source, row_length, importance, out)?;
    let blocks = source.as_chunks::<N>().0;
    let columns = importance.map(|values| values.as_chunks::<N>().0);
    let bytes = out.as_chunks_mut::<B>().0;
    for row in source.chunks_exact(row_length) {
        check_finite(encoding, row)?;
    }
    encode_all(choice(), blocks, columns, bytes, encoder, |_, x, importance, y| scalar(x, importance, y));
    Ok(())
}

/// The instruction set that encoders use; none, and the scalar code alone, where the environment
/// variable `GRAVURE_ISA` says `scalar`.
pub(crate) fn choice() -> Option<Isa> {
    static CHOICE: OnceLock<Option<Isa>> = OnceLock::new();
    *CHOICE.get_or_init(|| match std::env::var("GRAVURE_ISA") {
        Ok(name) if name == "scalar" => None,
        _ => Some(Isa::detect()),
    })
}

/// Encodes blocks of checked weights; `columns` is a row's importance. `scalar` gets the number of
/// its block first.
pub(crate) fn encode_all<const N: usize, const B: usize>(
    isa: Option<Isa>,
    blocks: &[[f32; N]],
    columns: Option<&[[f32; N]]>,
    bytes: &mut [[u8; B]],
    encoder: impl BatchEncoder<N, B>,
    scalar: impl Fn(usize, &[f32; N], Option<&[f32; N]>, &mut [u8; B]),
) {
    let declined = match isa {
        Some(isa) => isa.vectorize(Walk { blocks, columns, bytes: &mut *bytes, encoder }),
        None => (0..blocks.len()).collect(),
    };
    for i in declined {
        scalar(i, &blocks[i], columns.map(|c| &c[i % c.len()]), &mut bytes[i]);
    }
}

/// All batches; the answer lists the blocks that were declined.
struct Walk<'a, const N: usize, const B: usize, E> {
    blocks: &'a [[f32; N]],
    columns: Option<&'a [[f32; N]]>,
    bytes: &'a mut [[u8; B]],
    encoder: E,
}

impl<const N: usize, const B: usize, E: BatchEncoder<N, B>> Kernel for Walk<'_, N, B, E> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn run<S: Simd>(self, isa: S) -> Vec<usize> {
        let mut declined = Vec::new();
        for (i, (blocks, bytes)) in self.blocks.chunks(S::LANES).zip(self.bytes.chunks_mut(S::LANES)).enumerate() {
            let first = i * S::LANES;
            let odd = self.encoder.encode(isa, &Batch { blocks, importance: self.columns, first }, bytes);
            // Lanes past the last block repeat it.
            if odd != 0 {
                declined.extend((0..blocks.len()).filter(|k| odd >> k & 1 == 1).map(|k| first + k));
            }
        }
        declined
    }
}
