//! Groups of rows and columns of a matrix in the order in which tiles meet them.

use super::layout::Layout;
use super::tile::Tile;
use super::{Packed, TILE_COLUMNS, TILE_GROUPS};
use crate::form::Form;
use crate::lanes::{Lanes, ROWS};
use crate::results::Results;

/// What multiplies columns that are laid out with all rows of activations.
pub(super) trait Columns {
    /// Adds the products of `blocks` blocks from column `at` on to the tile's results; `wide` is the number of groups of rows, 1 or 2.
    ///
    /// # Safety
    /// The tile holds so many blocks of so many groups of rows, and has room for their results; see [`Lanes`].
    unsafe fn multiply<L: Lanes>(&mut self, wide: usize, at: usize, blocks: usize);
}

/// Lays out [`TILE_COLUMNS`] columns of [`TILE_GROUPS`] groups of rows at a time, and writes the results of each of these.
///
/// # Safety
/// The groups of rows are there and nobody else's; the tile has room for as many results as there are rows of activations; see
/// [`Lanes`].
#[inline(always)]
pub(super) unsafe fn walk<L: Lanes, F: Form, Y: Layout<F>>(
    packed: &Packed<F, Y>,
    range: std::ops::Range<usize>,
    results: &Results<'_>,
    tile: Tile,
    work: &mut impl Columns,
) {
    let (count, columns) = (results.out.rows(), packed.columns);
    let mut group = range.start;
    while group < range.end {
        let wide = (range.end - group).min(TILE_GROUPS);
        // SAFETY: the caller's promise; the tile has room for its columns.
        unsafe {
            tile.sums.write_bytes(0, count * wide * ROWS);
            let mut at = 0;
            while at < columns {
                let blocks = TILE_COLUMNS.min(columns - at) / F::COLUMNS;
                let block = |r: usize| packed.block(group + r).wrapping_add(at / F::COLUMNS * Y::BYTES);
                if wide == TILE_GROUPS {
                    Y::fill::<L, TILE_GROUPS>(tile, [block(0), block(1)], blocks);
                } else {
                    Y::fill::<L, 1>(tile, [block(0)], blocks);
                }
                work.multiply::<L>(wide, at, blocks);
                at += blocks * F::COLUMNS;
            }
            for index in 0..count {
                for r in 0..wide {
                    results.put::<L>(group + r, index, L::float_load(tile.sums.add((index * wide + r) * ROWS)));
                }
            }
        }
        group += wide;
    }
}
