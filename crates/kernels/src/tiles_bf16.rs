//! Products of many rows of bf16 by tiles (AMX): 32 rows of activations by 32 rows of weights at a time.
//!
//! Two columns of 16 rows of weights are a row of a tile. Sums are floats, of 32 columns at a time.
//!
//! Never run on a processor that has the instructions yet: what stands in for them are tiles in memory.

use gravure_simd::arch::{TILES, TileShape, Tiles};

use crate::form::PIECE;
use crate::tiles::TILE_HEIGHT;

/// Columns of a row of a tile of activations.
pub(crate) const DEPTH: usize = 32;
/// Most groups of 16 rows of weights.
const MOST: usize = 2;

/// Tiles 0 to 3 hold sums, those of the upper rows of activations in 0 and 1, those of the lower ones in 2 and 3; 4 and 5 hold
/// activations, 6 and 7 weights.
pub(crate) fn shapes(rows: usize) -> [TileShape; TILES] {
    let tile = |rows: usize| TileShape { rows: rows as u8, bytes: if rows > 0 { PIECE as u8 } else { 0 } };
    let (upper, lower) = (tile(rows.min(TILE_HEIGHT)), tile(rows.saturating_sub(TILE_HEIGHT)));
    let weights = tile(DEPTH / 2);
    [upper, upper, lower, lower, upper, lower, weights, weights]
}

/// Some columns of 16 or 32 rows of weights, and of at most 32 rows of activations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    /// Groups of 16 rows of weights, 1 or 2.
    pub(crate) wide: usize,
    /// Tiles of columns.
    pub(crate) depth: usize,
    /// Rows of activations.
    pub(crate) rows: usize,
    pub(crate) activations: *const u8,
    /// Bytes from one row of them to the next.
    pub(crate) stride: usize,
    /// Of each group of rows: by pair of columns, pieces.
    pub(crate) weights: [*const u8; MOST],
    /// Bytes from one pair of columns of them to the next.
    pub(crate) pair_stride: usize,
    /// By row, group of rows of weights: 16 results so far.
    pub(crate) sums: *mut u8,
}

/// Adds the products of all columns to the results.
///
/// # Safety
/// All parts are there; the tiles are configured by [`shapes`] for so many rows.
#[inline(always)]
pub(crate) unsafe fn multiply<X: Tiles>(tiles: &mut X, o: Operands) {
    let both = o.wide == MOST;
    let lower = o.rows > TILE_HEIGHT;
    let stride = o.wide * PIECE;
    let below = o.sums.wrapping_add(TILE_HEIGHT * stride);
    // SAFETY: the caller's promise.
    unsafe {
        tiles.load::<0>(o.sums, stride);
        if both {
            tiles.load::<1>(o.sums.wrapping_add(PIECE), stride);
        }
        if lower {
            tiles.load::<2>(below, stride);
            if both {
                tiles.load::<3>(below.wrapping_add(PIECE), stride);
            }
        }
        for deep in 0..o.depth {
            let activations = o.activations.wrapping_add(deep * DEPTH * size_of::<u16>());
            let weights = |r: usize| o.weights[r].wrapping_add(deep * DEPTH / 2 * o.pair_stride);
            tiles.load::<4>(activations, o.stride);
            tiles.load::<6>(weights(0), o.pair_stride);
            tiles.dot_bf16::<0, 4, 6>();
            if both {
                tiles.load::<7>(weights(1), o.pair_stride);
                tiles.dot_bf16::<1, 4, 7>();
            }
            if lower {
                tiles.load::<5>(activations.wrapping_add(TILE_HEIGHT * o.stride), o.stride);
                tiles.dot_bf16::<2, 5, 6>();
                if both {
                    tiles.dot_bf16::<3, 5, 7>();
                }
            }
        }
        tiles.store::<0>(o.sums, stride);
        if both {
            tiles.store::<1>(o.sums.wrapping_add(PIECE), stride);
        }
        if lower {
            tiles.store::<2>(below, stride);
            if both {
                tiles.store::<3>(below.wrapping_add(PIECE), stride);
            }
        }
    }
}
