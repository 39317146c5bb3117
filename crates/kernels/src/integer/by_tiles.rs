//! The results of some groups of rows for all rows of activations, by tiles of bytes.

use std::marker::PhantomData;

use gravure_simd::arch::Tiles;

use super::{Layout, Product, TILE_COLUMNS, TILE_GROUPS, Tile};
use crate::dispatch::TileWork;
use crate::form::{Form, Shape};
use crate::lanes::{Lanes, ROWS};
use crate::rounded::{Order, width};
use crate::tiles::{self, Configured, Geometry, Operands};

/// The results of a product by tiles.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no other processor has tiles"))]
pub(super) struct ByTiles<'a, L, F: Form, Y: Layout<F>> {
    pub(super) product: &'a Product<'a, F, Y>,
    pub(super) tile: Tile,
    pub(super) lanes: PhantomData<L>,
}

impl<L: Lanes, F: Form, Y: Layout<F>> TileWork for ByTiles<'_, L, F, Y> {
    /// Lays out [`TILE_COLUMNS`] columns of [`TILE_GROUPS`] groups of rows at a time, and writes the results of each of these.
    #[inline(always)]
    fn run<X: Tiles>(self, tiles: &mut X) {
        let (p, tile) = (self.product, self.tile);
        let (count, columns) = (p.results.out.rows(), p.packed.columns);
        let mut group = p.range.start;
        // SAFETY: the promise of whoever made the product; no other value works on the tiles; the tile has room for its columns.
        unsafe {
            let mut tiles = Configured::new(tiles);
            while group < p.range.end {
                let wide = (p.range.end - group).min(TILE_GROUPS);
                tile.sums.write_bytes(0, count * wide * ROWS);
                let mut at = 0;
                while at < columns {
                    let blocks = TILE_COLUMNS.min(columns - at) / F::COLUMNS;
                    let block = |r: usize| p.packed.block(group + r).wrapping_add(at / F::COLUMNS * Y::BYTES);
                    if wide == TILE_GROUPS {
                        Y::fill::<L, TILE_GROUPS>(tile, [block(0), block(1)], blocks);
                    } else {
                        Y::fill::<L, 1>(tile, [block(0)], blocks);
                    }
                    self.columns(&mut tiles, wide, at, blocks);
                    at += blocks * F::COLUMNS;
                }
                for index in 0..count {
                    for r in 0..wide {
                        p.results.put::<L>(group + r, index, L::float_load(tile.sums.add((index * wide + r) * ROWS)));
                    }
                }
                group += wide;
            }
        }
    }
}

impl<L: Lanes, F: Form, Y: Layout<F>> ByTiles<'_, L, F, Y> {
    /// Adds the products of `blocks` blocks of `wide` groups of rows from column `at` on to the tile's results.
    ///
    /// # Safety
    /// The tile holds so many blocks of so many groups of rows, and has room for their results; see [`Lanes`].
    #[inline(always)]
    unsafe fn columns<X: Tiles>(&self, tiles: &mut Configured<'_, X>, wide: usize, at: usize, blocks: usize) {
        let (p, tile, count) = (self.product, self.tile, self.product.results.out.rows());
        let geometry = Geometry {
            groups: Shape::<F>::GROUPS,
            steps: Shape::<F>::STEPS,
            offset: F::OFFSET != 0,
            minima: F::MINIMA,
            least: Shape::<F>::LEAST,
        };
        let mut first = 0;
        while first < count {
            let rows = width(Order::Rows, first, count);
            // Scales and sums take turns: those of the columns from `at` on.
            let panel = p.panel::<1>(first);
            // SAFETY: the caller's promise; tiles are configured for the rows of each panel.
            unsafe {
                let operands = Operands {
                    geometry,
                    wide,
                    blocks,
                    codes: tile.codes.cast_const(),
                    scales: tile.scales.cast_const(),
                    minima: tile.minima.cast_const(),
                    least: tile.least.cast_const(),
                    rows,
                    activations: panel.codes.cast::<u8>().wrapping_add(at),
                    stride: p.packed.columns,
                    factors: panel.scales.wrapping_add(at / F::COLUMNS * rows),
                    starts: panel.starts.wrapping_add(at / F::GROUP * rows),
                    negated: panel.negated.wrapping_add(at / F::GROUP * rows),
                    words: panel.words.wrapping_add(at / F::GROUP / 2 * rows),
                    sums: tile.sums.add(first * wide * ROWS),
                };
                tiles::multiply::<L, X>(tiles.for_rows(rows, |rows| tiles::shapes(rows, geometry.steps)), operands);
            }
            first += rows;
        }
    }
}
