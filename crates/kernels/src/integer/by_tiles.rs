//! The results of some groups of rows for all rows of activations, by tiles.

use std::marker::PhantomData;

use gravure_simd::arch::Tiles;

use super::walk::{Columns, walk};
use super::{Layout, Product, Tile};
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
    #[inline(always)]
    fn run<X: Tiles>(self, tiles: &mut X) {
        let (p, tile) = (self.product, self.tile);
        // SAFETY: the promise of whoever made the product; no other value works on the tiles.
        unsafe {
            let mut work = Bytes { product: p, tile, tiles: Configured::new(tiles) };
            walk::<L, F, Y>(p.packed, p.range.clone(), p.results, tile, &mut work);
        }
    }
}

/// Columns by tiles of bytes.
struct Bytes<'a, X: Tiles, F: Form, Y: Layout<F>> {
    product: &'a Product<'a, F, Y>,
    tile: Tile,
    tiles: Configured<'a, X>,
}

impl<X: Tiles, F: Form, Y: Layout<F>> Columns for Bytes<'_, X, F, Y> {
    #[inline(always)]
    unsafe fn multiply<L: Lanes>(&mut self, wide: usize, at: usize, blocks: usize) {
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
                tiles::multiply::<L, X>(self.tiles.for_rows(rows, |rows| tiles::shapes(rows, geometry.steps)), operands);
            }
            first += rows;
        }
    }
}
