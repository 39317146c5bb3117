//! Rows of activations as bf16.

use std::cell::RefCell;

use crate::dispatch::{Level, Work};
use crate::lanes::Lanes;
use crate::results::Line;
use crate::tiles::TILE_HEIGHT;
use crate::tiles_bf16::{CHUNK, DEPTH};
use crate::{Pool, SharedRows};

/// Rows of bf16; behind each are zeros up to a whole number of [`DEPTH`] columns.
#[derive(Debug)]
pub(crate) struct Bf16Rows {
    values: Vec<u16>,
    /// Numbers from one row to the next.
    stride: usize,
}

impl Bf16Rows {
    /// The nearest of each value, ties to even.
    pub(crate) fn new(pool: &Pool, level: Level, values: &[f32], columns: usize) -> Self {
        let stride = columns.next_multiple_of(DEPTH);
        let mut out = vec![0; values.len().checked_div(columns).unwrap_or(0) * stride];
        let rows = SharedRows::new(&mut out, stride);
        pool.run(rows.rows(), &|row| {
            let values = &values[row * columns..][..columns];
            // SAFETY: the level was detected; each task writes its own row.
            unsafe { level.run(Round { values, out: rows.part(row, 0..columns) }) };
        });
        Self { values: out, stride }
    }

    /// Column `column` of row `row`.
    pub(crate) fn at(&self, row: usize, column: usize) -> *const u16 {
        self.values.as_ptr().wrapping_add(row * self.stride + column)
    }
}

/// Rows of bf16 as tiles: of [`CHUNK`] columns panels of 16 rows, of each the tiles of [`DEPTH`] columns, then of the next columns. What
/// is multiplied together so lies in one piece, whose lines do not fight for the same places of a cache. Columns that are not there
/// are zeros; rows that are not there are anything.
#[derive(Debug)]
pub(crate) struct Bf16Tiles {
    lines: Vec<Line>,
    /// Panels of 16 rows.
    panels: usize,
}

/// Lines of the tiles of a panel in a chunk.
const PART: usize = CHUNK / DEPTH * TILE_HEIGHT;

impl Bf16Tiles {
    /// The nearest of each value, ties to even.
    pub(crate) fn new(pool: &Pool, level: Level, values: &[f32], columns: usize) -> Self {
        let panels = values.len().checked_div(columns).unwrap_or(0).div_ceil(TILE_HEIGHT);
        let chunks = columns.div_ceil(CHUNK);
        let mut lines = SPARE.take();
        let total = panels * chunks * PART;
        if lines.len() < total {
            lines.resize(total, Line::ZERO);
        }
        let parts = SharedRows::new(lines.get_mut(..total).unwrap_or_default(), PART);
        pool.run(panels, &|panel| {
            let values = values.chunks(TILE_HEIGHT * columns).nth(panel).unwrap_or(&[]);
            for chunk in 0..chunks {
                // SAFETY: the level was detected; each task writes its own panel.
                unsafe { level.run(RoundPart { values, columns, chunk, out: parts.part(chunk * panels + panel, 0..PART) }) };
            }
        });
        Self { lines, panels }
    }

    /// The tile of rows from `row` on, a multiple of its height, and columns from `column` on, a multiple of its depth.
    pub(crate) fn at(&self, row: usize, column: usize) -> *const u8 {
        let line = ((column / CHUNK) * self.panels + row / TILE_HEIGHT) * PART + column % CHUNK / DEPTH * TILE_HEIGHT;
        self.lines.as_ptr().wrapping_add(line).cast()
    }
}

impl Drop for Bf16Tiles {
    fn drop(&mut self) {
        SPARE.set(std::mem::take(&mut self.lines));
    }
}

thread_local! {
    /// What the last tiles lay in: memory that is new has to be cleared, page by page.
    static SPARE: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

struct Round<'a> {
    values: &'a [f32],
    out: &'a mut [u16],
}

impl Work for Round<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (out, value) in self.out.iter_mut().zip(self.values) {
            *out = nearest(*value) as u16;
        }
    }
}

/// Some columns of at most 16 rows.
struct RoundPart<'a> {
    values: &'a [f32],
    columns: usize,
    chunk: usize,
    /// By tile, row: [`DEPTH`] columns.
    out: &'a mut [Line],
}

impl Work for RoundPart<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let range = self.chunk * CHUNK..((self.chunk + 1) * CHUNK).min(self.columns);
        for (row, values) in self.values.chunks_exact(self.columns).enumerate() {
            for (out, values) in self.out.chunks_exact_mut(TILE_HEIGHT).zip(values[range.clone()].chunks(DEPTH)) {
                let out = out[row].0.as_chunks_mut::<2>().0;
                if values.len() < DEPTH {
                    out.fill([0; 2]);
                }
                for (out, value) in out.iter_mut().zip(values) {
                    *out = (nearest(*value) as u16).to_le_bytes();
                }
            }
        }
    }
}

/// The bits of the nearest bf16, ties to even; of what is no number, of something that is none.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if value.is_nan() { bits >> 16 | 0x40 } else { rounded }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::nearest;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        for value in
            [0.0, -0.0, 1.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -3.7e-5, 6.1e4, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, 1e-40]
        {
            assert_eq!(nearest(value), u32::from(bf16::from_f32(value).to_bits()), "{value}");
        }
        for bits in [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff] {
            assert!(bf16::from_bits(nearest(f32::from_bits(bits)) as u16).is_nan(), "{bits:x}");
        }
    }
}
