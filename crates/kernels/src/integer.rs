//! Products of rounded activations with encoded weights, in integers.
//!
//! Sixteen rows of a matrix are the lanes. Of one row of activations
//!
//! ```text
//! group:  sums of codes begin at -offset * sum of activations, then a dot product for every four columns
//!         as floats times the group's scale
//! block:  begins at minus the sum of minima times sums of activations; times the activations' scale, added to the result
//! ```
//! in the order of the columns. Few rows of activations read the codes out of the planes as they go; many
//! have them laid out in bytes first, for [`TILE_COLUMNS`] columns of 32 rows at a time. Both do the same
//! operations in the same order: a result does not depend on how many rows there are.

/// A loop over `0..$count`, at most 8, written out, so that its counter is a constant in each turn.
macro_rules! written_out {
    ($count:expr, $index:ident, $body:block) => {
        written_out!(@ $count, $index, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $count:expr, $index:ident, $body:block, $($value:literal)*) => {
        $(if $count > $value {
            let $index: usize = $value;
            $body
        })*
    };
}

mod affine;
mod by_bf16_tiles;
mod by_tiles;
mod codes;
mod layout;
mod multiply;
mod panel;
mod points;
mod tile;

use std::cell::RefCell;
use std::marker::PhantomData;

use gravure_base::{Error, Result};

use self::by_bf16_tiles::{ProductBf16, Rooms};
use self::by_tiles::ByTiles;
pub(crate) use self::codes::Codes;
pub(crate) use self::layout::Layout;
use self::multiply::Multiply;
use self::panel::Panel;
pub(crate) use self::points::Points;
use self::tile::Tile;
use crate::arena::Block;
use crate::bf16::Bf16Tiles;
use crate::dispatch::{Level, Work};
use crate::form::{Form, MOST_COLUMNS, Shape};
use crate::lanes::portable::Portable;
use crate::lanes::{Lanes, ROWS};
use crate::matrix::Room;
use crate::results::{Line, Results};
use crate::rounded::{DIRECT_WIDTH, Groups, Order, Rounded, TILE_WIDTH, width};
use crate::{Pool, SharedRows, tiles_bf16};

/// Columns that are laid out at a time: 32 rows of them fit in the first-level cache.
const TILE_COLUMNS: usize = 512;
/// Groups of rows in a tile.
const TILE_GROUPS: usize = 2;

/// A matrix of a form, laid out.
#[derive(Debug)]
pub(crate) struct Packed<F: Form, Y: Layout<F>> {
    rows: usize,
    columns: usize,
    /// Blocks of 16 rows, by groups of rows, then by columns.
    data: Block,
    layout: PhantomData<(F, Y)>,
}

thread_local! {
    /// Room for a tile and its results, kept from product to product.
    static ROOM: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    /// The same of products by tiles of bf16.
    static ROOMS: RefCell<Rooms> = const { RefCell::new(Rooms::EMPTY) };
}

/// The results of some groups of rows for all rows of activations.
struct Product<'a, F: Form, Y: Layout<F>> {
    packed: &'a Packed<F, Y>,
    rounded: &'a Rounded,
    groups: &'a Groups,
    /// Groups of 16 rows.
    range: std::ops::Range<usize>,
    level: Level,
    results: &'a Results<'a>,
    room: &'a mut Vec<Line>,
}

impl<F: Form, Y: Layout<F>> Product<'_, F, Y> {
    /// The panel that begins at row `first`.
    fn panel<const T: usize>(&self, first: usize) -> Panel<T> {
        let (columns, groups) = (self.packed.columns, self.packed.columns / F::GROUP);
        Panel {
            codes: self.rounded.codes.as_ptr().wrapping_add(first * columns / 4),
            scales: self.rounded.scales.as_ptr().wrapping_add(first * columns / self.rounded.block),
            starts: self.groups.starts.as_ptr().wrapping_add(first * groups),
            negated: self.groups.negated.as_ptr().wrapping_add(first * groups),
            words: self.groups.words.as_ptr().wrapping_add(first * groups / 2),
        }
    }

    #[inline(always)]
    unsafe fn direct<L: Lanes, const T: usize>(&self, group: usize, first: usize) {
        let blocks = self.packed.columns / F::COLUMNS;
        // SAFETY: the matrix and the rows have as many columns as they say.
        unsafe {
            let mut out = [[0.0; ROWS]; T];
            let (block, panel) = (self.packed.block(group), self.panel(first));
            Y::direct::<L, T>(block, blocks, panel, out.as_mut_ptr().cast());
            for t in 0..T {
                self.results.put::<L>(group, first + t, L::float_load(out[t].as_ptr()));
            }
        }
    }

    #[inline(always)]
    unsafe fn tiled<L: Lanes, const R: usize>(&self, group: usize, tile: Tile) {
        let (count, columns) = (self.results.out.rows(), self.packed.columns);
        // SAFETY: the tile has room for so many results.
        unsafe { tile.sums.write_bytes(0, count * R * ROWS) };
        let mut at = 0;
        while at < columns {
            let wide = TILE_COLUMNS.min(columns - at);
            let blocks = wide / F::COLUMNS;
            let mut block = [self.packed.block(group); R];
            for r in 0..R {
                block[r] = self.packed.block(group + r).wrapping_add(at / F::COLUMNS * Y::BYTES);
            }
            // SAFETY: the tile has room for its columns; rows and results are there.
            unsafe {
                Y::fill::<L, R>(tile, block, blocks);
                let mut first = 0;
                while first < count {
                    let sums = tile.sums.add(first * R * ROWS);
                    let together = width(Order::Many, first, count);
                    match together {
                        1 => self.some::<L, R, 1>(tile, blocks, first, at, sums),
                        2 => self.some::<L, R, 2>(tile, blocks, first, at, sums),
                        3 => self.some::<L, R, 3>(tile, blocks, first, at, sums),
                        4 => self.some::<L, R, 4>(tile, blocks, first, at, sums),
                        _ => self.some::<L, R, TILE_WIDTH>(tile, blocks, first, at, sums),
                    }
                    first += together;
                }
            }
            at += wide;
        }
        for index in 0..count {
            for r in 0..R {
                // SAFETY: this task owns the groups; there are as many sums.
                unsafe { self.results.put::<L>(group + r, index, L::float_load(tile.sums.add((index * R + r) * ROWS))) };
            }
        }
    }

    #[inline(always)]
    unsafe fn some<L: Lanes, const R: usize, const T: usize>(&self, tile: Tile, blocks: usize, first: usize, at: usize, sums: *mut f32) {
        let () = Shape::<F>::ALIKE;
        // SAFETY: the caller's promise.
        unsafe {
            let panel = self.panel(first).from::<F>(at);
            L::apart(Multiply::<F::Like, R, T> { tile, blocks, panel, sums, form: PhantomData });
        }
    }
}

impl<F: Form, Y: Layout<F>> Work for Product<'_, F, Y> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let count = self.results.out.rows();
        // SAFETY: the promise of whoever made this value.
        unsafe {
            if self.rounded.order == Order::Few {
                for group in self.range.clone() {
                    let mut first = 0;
                    while first < count {
                        let together = width(Order::Few, first, count);
                        match together {
                            1 => self.direct::<L, 1>(group, first),
                            2 => self.direct::<L, 2>(group, first),
                            3 => self.direct::<L, 3>(group, first),
                            _ => self.direct::<L, DIRECT_WIDTH>(group, first),
                        }
                        first += together;
                    }
                }
                return;
            }
            let tile = Tile::new::<F>(self.room, count);
            if L::TILES && self.rounded.order == Order::Rows {
                self.level.with_tiles(ByTiles::<L, F, Y> { product: &self, tile, lanes: PhantomData });
                return;
            }
            let mut group = self.range.start;
            while group < self.range.end {
                if self.range.end - group >= TILE_GROUPS {
                    self.tiled::<L, TILE_GROUPS>(group, tile);
                    group += TILE_GROUPS;
                } else {
                    self.tiled::<L, 1>(group, tile);
                    group += 1;
                }
            }
        }
    }
}

/// A matrix that can be multiplied with, whatever its form.
pub(crate) trait Integer: Send + Sync + std::fmt::Debug {
    /// What it is called, for people.
    fn name(&self) -> &'static str;
    /// Where its rows go.
    fn room(&mut self) -> Room<'_>;
    /// Bytes in memory.
    fn bytes(&self) -> u64;
    /// Columns of the blocks in which activations are rounded.
    fn block(&self) -> usize;
    /// Rows of activations from which on it lays weights out in bytes.
    fn laid_out_from(&self) -> usize;
    /// What of the activations' groups the kernel reads: columns of a group, offset, whether minima.
    fn groups(&self) -> (usize, i32, bool);
    /// Multiplies; see [`crate::linear`].
    fn multiply(&self, pool: &Pool, level: Level, rounded: &Rounded, groups: &Groups, bias: Option<&[f32]>, out: &mut [f32]);
    /// Multiplies rows of bf16, by tiles that the level has, with weights that are rounded to bf16; see [`crate::linear`].
    fn multiply_bf16(&self, pool: &Pool, level: Level, activations: &Bf16Tiles, bias: Option<&[f32]>, out: &mut [f32]);
    /// Decodes a row that is there; `out` is a row long.
    fn decode_row(&self, row: usize, out: &mut [f32]);
}

impl<F: Form, Y: Layout<F>> Packed<F, Y> {
    /// An empty matrix with room for all rows, or `None` where its rows are no whole blocks.
    pub(crate) fn new(rows: usize, columns: usize) -> Option<Result<Self>> {
        // Blocks of 32 are always read together with whole tiles' ends: any multiple will do.
        if !columns.is_multiple_of(F::COLUMNS) || rows == 0 || columns == 0 {
            return None;
        }
        let total = rows.div_ceil(ROWS).checked_mul(columns / F::COLUMNS).and_then(|n| n.checked_mul(Y::BYTES));
        let data = total.ok_or_else(|| Error::limit("the matrix does not fit in memory")).and_then(Block::zeroed);
        Some(data.map(|data| Self { rows, columns, data, layout: PhantomData }))
    }

    /// Shares groups of rows out in tasks of whole tiles, some for each thread, so that a thread that is late holds up little: a tile a
    /// task, or, for `few` rows of activations, four tasks a thread.
    fn by_groups(&self, pool: &Pool, few: bool, work: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
        let all = self.rows.div_ceil(ROWS);
        let each = if few { all.div_ceil(pool.threads() * 4) } else { TILE_GROUPS };
        let each = each.next_multiple_of(TILE_GROUPS);
        pool.run(all.div_ceil(each), &|task| work(task * each..((task + 1) * each).min(all)));
    }

    /// The first block of a group of rows.
    #[inline(always)]
    fn block(&self, group: usize) -> *const u8 {
        self.data.as_ptr().wrapping_add(group * (self.columns / F::COLUMNS) * Y::BYTES)
    }
}

impl<F: Form, Y: Layout<F>> Integer for Packed<F, Y> {
    fn name(&self) -> &'static str {
        Y::NAME
    }

    fn room(&mut self) -> Room<'_> {
        let blocks = self.columns / F::COLUMNS;
        let (row_bytes, stride) = (blocks * F::ENCODED, blocks * Y::BYTES);
        let pack = move |encoded: &[u8], out: &mut [u8]| {
            let mut parts: [Y::Parts; ROWS] = std::array::from_fn(|_| Y::Parts::default());
            for (rows, out) in encoded.chunks(ROWS * row_bytes).zip(out.chunks_exact_mut(stride)) {
                // Rows that are not there are zeros.
                if rows.len() < ROWS * row_bytes {
                    parts = std::array::from_fn(|_| Y::Parts::default());
                }
                for (index, out) in out.chunks_exact_mut(Y::BYTES).enumerate() {
                    for (row, parts) in rows.chunks_exact(row_bytes).zip(&mut parts) {
                        Y::split(&row[index * F::ENCODED..][..F::ENCODED], parts);
                    }
                    Y::pack(&parts, out);
                }
            }
        };
        Room { groups: SharedRows::new(&mut self.data, stride), rows: ROWS, row_bytes, pack: Box::new(pack) }
    }

    fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    fn block(&self) -> usize {
        F::COLUMNS
    }

    fn laid_out_from(&self) -> usize {
        Y::LAID_OUT_FROM
    }

    fn groups(&self) -> (usize, i32, bool) {
        (F::GROUP, F::OFFSET, F::MINIMA)
    }

    fn multiply(&self, pool: &Pool, level: Level, rounded: &Rounded, groups: &Groups, bias: Option<&[f32]>, out: &mut [f32]) {
        let results = Results { rows: self.rows, bias, out: SharedRows::new(out, self.rows) };
        let results = &results;
        self.by_groups(pool, rounded.order == Order::Few, &|range| {
            // SAFETY: the level was detected; the rows are as long as the matrix is wide, since `linear` has
            // checked it; tasks have disjoint groups of rows.
            ROOM.with_borrow_mut(|room| unsafe { level.run(Product { packed: self, rounded, groups, range, level, results, room }) });
        });
    }

    fn multiply_bf16(&self, pool: &Pool, level: Level, activations: &Bf16Tiles, bias: Option<&[f32]>, out: &mut [f32]) {
        let results = Results { rows: self.rows, bias, out: SharedRows::new(out, self.rows) };
        let results = &results;
        let (columns, all) = (self.columns, self.rows.div_ceil(ROWS));
        tiles_bf16::by_tasks(pool, all, &|range| {
            let product = tiles_bf16::Product { activations, range, columns, results };
            // SAFETY: as above.
            ROOMS.with_borrow_mut(|rooms| unsafe { level.run(ProductBf16 { packed: self, product, level, rooms }) });
        });
    }

    fn decode_row(&self, row: usize, out: &mut [f32]) {
        let lane = row % ROWS;
        let mut codes = [0; MOST_COLUMNS];
        for (index, out) in out.chunks_exact_mut(F::COLUMNS).enumerate() {
            let block = self.block(row / ROWS).wrapping_add(index * Y::BYTES);
            // SAFETY: the block is within the matrix; arrays need no instruction set.
            unsafe {
                let d = Shape::<F>::d::<Portable>(block);
                let m = if F::MINIMA { Shape::<F>::m::<Portable>(block) } else { d };
                for (group, out) in out.chunks_exact_mut(F::GROUP).enumerate() {
                    let scale = Shape::<F>::scales::<Portable>(block, d, group)[lane];
                    let minimum = match (F::MINIMA, Shape::<F>::LEAST) {
                        (false, _) => 0.0,
                        (true, 0) => m[lane],
                        (true, _) => m[lane] * f32::from(Shape::<F>::least::<Portable>(block, group / 4)[4 * lane + group % 4]),
                    };
                    let codes = &mut codes[..F::GROUP];
                    Y::row(block, lane, group, codes);
                    for (out, code) in out.iter_mut().zip(codes) {
                        *out = scale * (i32::from(*code) - F::OFFSET) as f32 - minimum;
                    }
                }
            }
        }
    }
}
