//! Products of many rows by tiles of bf16 (AMX): 32 rows of activations by 32 rows of weights at a time.
//!
//! Two columns of 16 rows of weights are a row of a tile, and 32 columns of 16 rows of activations are one
//! ([`Bf16Tiles`]). Sums are floats, of 32 columns at a time. A task has several pairs of groups of rows: the activations of
//! [`CHUNK`] columns come from the second-level cache for all but the first of these, whose own columns lie in the first-level cache
//! while all rows of activations pass by.

use std::ops::Range;

use gravure_simd::arch::{TILES, TileShape, Tiles};

use crate::Pool;
use crate::bf16::Bf16Tiles;
use crate::form::PIECE;
use crate::lanes::{PairLanes, ROWS};
use crate::results::{Line, Results};
use crate::tiles::{Configured, TILE_HEIGHT};

/// Columns of a row of a tile of activations.
pub(crate) const DEPTH: usize = 32;
/// Columns that meet all rows of activations before the next do: 32 rows of weights and as many of activations fit in the first-level
/// cache together.
pub(crate) const CHUNK: usize = 256;
/// Most groups of 16 rows of weights that are multiplied at once.
pub(crate) const MOST: usize = 2;
/// Most groups of a task.
const TASK: usize = 16;
/// Bytes of a tile.
const TILE: usize = TILE_HEIGHT * PIECE;

/// Weights as tiles.
pub(crate) trait Weights {
    /// The first tiles of `wide` groups of rows of `columns` columns from column `at` on, a multiple of [`CHUNK`]; those of the next
    /// [`DEPTH`] columns are each a tile further.
    ///
    /// # Safety
    /// Groups and columns are there; see [`crate::lanes::Lanes`].
    unsafe fn tiles<L: PairLanes>(&mut self, group: usize, wide: usize, at: usize, columns: usize) -> [*const u8; MOST];
}

/// Shares `all` groups of rows out in tasks, some for each thread.
pub(crate) fn by_tasks(pool: &Pool, all: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
    let each = all.div_ceil(pool.threads() * 3).next_multiple_of(MOST).min(TASK);
    pool.run(all.div_ceil(each), &|task| work(task * each..((task + 1) * each).min(all)));
}

/// Groups of rows of weights that are multiplied with all rows of activations.
#[derive(Debug)]
pub(crate) struct Product<'a> {
    pub(crate) activations: &'a Bf16Tiles,
    /// Groups of 16 rows.
    pub(crate) range: Range<usize>,
    pub(crate) columns: usize,
    pub(crate) results: &'a Results<'a>,
}

impl Product<'_> {
    /// Multiplies and writes the results; `room` is for sums.
    ///
    /// # Safety
    /// Groups of rows are there and nobody else's, activations have as many columns; no other value works on the tiles; see
    /// [`crate::lanes::Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn multiply<L: PairLanes, X: Tiles>(&self, tiles: &mut X, room: &mut Vec<Line>, weights: &mut impl Weights) {
        let count = self.results.out.rows();
        // Sums of a pair of groups: by panel of 16 rows of activations, group, row.
        let each = count.next_multiple_of(TILE_HEIGHT) * MOST;
        let total = self.range.len().div_ceil(MOST) * each;
        if room.len() < total {
            room.resize(total, Line::ZERO);
        }
        let sums = room.as_mut_ptr();
        // SAFETY: the caller's promise; there is room for the sums of all pairs.
        unsafe {
            let mut tiles = Configured::new(tiles);
            let mut at = 0;
            while at < self.columns {
                let columns = CHUNK.min(self.columns - at);
                for (index, group) in self.range.clone().step_by(MOST).enumerate() {
                    let wide = MOST.min(self.range.end - group);
                    let weights = weights.tiles::<L>(group, wide, at, columns);
                    let mut first = 0;
                    while first < count {
                        let rows = (count - first).min(2 * TILE_HEIGHT);
                        let operands = Operands {
                            wide,
                            depth: columns.div_ceil(DEPTH),
                            rows,
                            activations: [0, TILE_HEIGHT].map(|lower| self.activations.at(first + lower, at)),
                            weights,
                            begins: at == 0,
                            sums: sums.wrapping_add(index * each + first * MOST).cast(),
                        };
                        multiply(tiles.for_rows(rows, shapes), operands);
                        first += rows;
                    }
                }
                at += columns;
            }
            drop(tiles);
            for row in 0..count {
                for (index, group) in self.range.clone().step_by(MOST).enumerate() {
                    for r in 0..MOST.min(self.range.end - group) {
                        let at = index * each + (row / TILE_HEIGHT * MOST + r) * TILE_HEIGHT + row % TILE_HEIGHT;
                        self.results.put::<L>(group + r, row, L::float_load(sums.wrapping_add(at).cast()));
                    }
                }
            }
        }
    }
}

/// Tiles 0 to 3 hold sums, those of the upper rows of activations in 0 and 1, those of the lower ones in 2 and 3; 4 and 5 hold
/// activations, 6 and 7 weights.
fn shapes(rows: usize) -> [TileShape; TILES] {
    let tile = |rows: usize| TileShape { rows: rows as u8, bytes: if rows > 0 { PIECE as u8 } else { 0 } };
    let (upper, lower) = (tile(rows.min(TILE_HEIGHT)), tile(rows.saturating_sub(TILE_HEIGHT)));
    let weights = tile(ROWS);
    [upper, upper, lower, lower, upper, lower, weights, weights]
}

/// Some columns of 16 or 32 rows of weights, and of at most 32 rows of activations.
#[derive(Debug, Clone, Copy)]
struct Operands {
    /// Groups of 16 rows of weights, 1 or 2.
    wide: usize,
    /// Tiles of columns.
    depth: usize,
    /// Rows of activations.
    rows: usize,
    /// Tiles of 16 rows of them, and of the next 16.
    activations: [*const u8; 2],
    /// Tiles of each group of rows.
    weights: [*const u8; MOST],
    /// Whether there are no results yet.
    begins: bool,
    /// Tiles of results so far: by panel of activations, group.
    sums: *mut u8,
}

/// What a tile of sums begins with.
#[inline(always)]
unsafe fn begin<X: Tiles, const SUM: usize>(tiles: &mut X, o: &Operands) {
    // SAFETY: the caller's promise.
    unsafe {
        if o.begins {
            tiles.zero::<SUM>();
        } else {
            tiles.load::<SUM>(o.sums.wrapping_add(SUM * TILE), PIECE);
        }
    }
}

/// Adds the products of all columns to the results.
///
/// # Safety
/// All parts are there; the tiles are configured by [`shapes`] for so many rows.
#[inline(always)]
unsafe fn multiply<X: Tiles>(tiles: &mut X, o: Operands) {
    let both = o.wide == MOST;
    let lower = o.rows > TILE_HEIGHT;
    let sums = |index: usize| o.sums.wrapping_add(index * TILE);
    // SAFETY: the caller's promise.
    unsafe {
        begin::<X, 0>(tiles, &o);
        if both {
            begin::<X, 1>(tiles, &o);
        }
        if lower {
            begin::<X, 2>(tiles, &o);
            if both {
                begin::<X, 3>(tiles, &o);
            }
        }
        if both && lower {
            for deep in 0..o.depth {
                tiles.load::<4>(o.activations[0].wrapping_add(deep * TILE), PIECE);
                tiles.load::<6>(o.weights[0].wrapping_add(deep * TILE), PIECE);
                tiles.dot_bf16::<0, 4, 6>();
                tiles.load::<5>(o.activations[1].wrapping_add(deep * TILE), PIECE);
                tiles.dot_bf16::<2, 5, 6>();
                tiles.load::<7>(o.weights[1].wrapping_add(deep * TILE), PIECE);
                tiles.dot_bf16::<3, 5, 7>();
                tiles.dot_bf16::<1, 4, 7>();
            }
        } else {
            for deep in 0..o.depth {
                tiles.load::<6>(o.weights[0].wrapping_add(deep * TILE), PIECE);
                tiles.load::<4>(o.activations[0].wrapping_add(deep * TILE), PIECE);
                tiles.dot_bf16::<0, 4, 6>();
                if both {
                    tiles.load::<7>(o.weights[1].wrapping_add(deep * TILE), PIECE);
                    tiles.dot_bf16::<1, 4, 7>();
                }
                if lower {
                    tiles.load::<5>(o.activations[1].wrapping_add(deep * TILE), PIECE);
                    tiles.dot_bf16::<2, 5, 6>();
                }
            }
        }
        tiles.store::<0>(sums(0), PIECE);
        if both {
            tiles.store::<1>(sums(1), PIECE);
        }
        if lower {
            tiles.store::<2>(sums(2), PIECE);
            if both {
                tiles.store::<3>(sums(3), PIECE);
            }
        }
    }
}
