//! Products of weights of bf16 with activations rounded to bf16, two columns at a time.
//!
//! Sixteen rows of a matrix are the lanes: two columns of them are multiplied with the same two of a row of activations
//! (`vdpbf16ps`), twice as many products in an instruction as of 32-bit floats. Each result is the sum of two, of the pairs of columns
//! with even and with odd numbers, whatever the number of rows of activations.
//!
//! Activations as they are, of models that others are held against, are multiplied in 32-bit floats: as many bits, in the order of
//! [`crate::floats`], from the same weights.
//!
//! Two columns of 16 rows are also a row of a tile (AMX): where there are tiles, prompts are multiplied by them.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use gravure_base::{Error, Result};
use gravure_core::Encoding;
use gravure_simd::arch::Tiles;

use crate::ahead::{ahead, ask};
use crate::arena::Block;
use crate::bf16::{Bf16Rows, Bf16Tiles};
use crate::dispatch::{Level, PairWork, TileWork, Work};
use crate::form::PIECE;
use crate::lanes::{Lanes, PairLanes, ROWS};
use crate::matrix::Room;
use crate::results::{Line, Results};
use crate::tiles_bf16::{self, DEPTH, MOST, Weights};
use crate::together::together;
use crate::{Pool, SharedRows};

/// Bytes of a number.
const NUMBER: usize = size_of::<u16>();
/// Sums of each result.
const SUMS: usize = 2;
/// Sums of each result of activations as they are.
const EXACT_SUMS: usize = 4;
/// Groups of rows that are computed together.
const GROUPS: usize = 2;

thread_local! {
    /// Sums of tiles, kept from product to product.
    static SUMS_OF_TILES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// A matrix of bf16: of each group of 16 rows pairs of columns.
#[derive(Debug)]
pub(crate) struct Pairs {
    rows: usize,
    columns: usize,
    /// Pairs of columns, with those of zeros that fill a tile.
    pairs: usize,
    data: Block,
}

impl Pairs {
    /// An empty matrix; `None` where the encoding is another, or rows are so short that those of zeros behind their columns would take
    /// more memory than they do.
    pub(crate) fn new(rows: usize, columns: usize, encoding: &dyn Encoding) -> Option<Result<Self>> {
        if encoding.id() != "bf16" || columns < DEPTH {
            return None;
        }
        let pairs = columns.div_ceil(DEPTH) * (DEPTH / 2);
        let total = rows.div_ceil(ROWS).checked_mul(pairs).and_then(|n| n.checked_mul(PIECE));
        let data = total.ok_or_else(|| Error::limit("the matrix does not fit in memory")).and_then(Block::zeroed);
        Some(data.map(|data| Self { rows, columns, pairs, data }))
    }

    /// Where its rows go.
    pub(crate) fn room(&mut self) -> Room<'_> {
        let (row_bytes, stride) = (self.columns * NUMBER, self.pairs * PIECE);
        let pack = move |encoded: &[u8], out: &mut [u8]| {
            for (out, group) in out.chunks_exact_mut(stride).zip(encoded.chunks(ROWS * row_bytes)) {
                for (lane, row) in group.chunks_exact(row_bytes).enumerate() {
                    let pairs = out[lane * 2 * NUMBER..].chunks_mut(PIECE);
                    for (to, from) in pairs.zip(row.chunks(2 * NUMBER)) {
                        to[..from.len()].copy_from_slice(from);
                    }
                }
            }
        };
        Room { groups: SharedRows::new(&mut self.data, stride), rows: ROWS, row_bytes, pack: Box::new(pack) }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// Decodes a row that is there.
    pub(crate) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let group = &self.data[row / ROWS * self.pairs * PIECE..][..self.pairs * PIECE];
        for (pair, out) in group.chunks_exact(PIECE).zip(out.chunks_mut(2)) {
            let numbers = pair[row % ROWS * 2 * NUMBER..].as_chunks::<NUMBER>().0;
            out.iter_mut().zip(numbers).for_each(|(out, bytes)| *out = half::bf16::from_le_bytes(*bytes).to_f32());
        }
    }

    /// Multiplies rounded activations; see [`crate::linear`].
    pub(crate) fn multiply(&self, pool: &Pool, level: Level, activations: &Bf16Rows, bias: Option<&[f32]>, out: &mut [f32]) {
        self.by_groups(pool, bias, out, &|range, results| {
            // SAFETY: the level was detected; rows of activations are as long as the matrix is wide, since `linear` has checked it;
            // tasks have disjoint groups of rows.
            unsafe { level.run(ByLanes(Product { pairs: self, activations, range, results })) };
        });
    }

    /// The same by tiles, which the level has.
    pub(crate) fn multiply_tiles(&self, pool: &Pool, level: Level, activations: &Bf16Tiles, bias: Option<&[f32]>, out: &mut [f32]) {
        let results = &Results { rows: self.rows, bias, out: SharedRows::new(out, self.rows) };
        tiles_bf16::by_tasks(pool, self.rows.div_ceil(ROWS), &|range| {
            let product = tiles_bf16::Product { activations, range, columns: 2 * self.pairs, results };
            // SAFETY: as above; zeros are behind the columns of the matrix and of the activations.
            SUMS_OF_TILES.with_borrow_mut(|sums| unsafe { level.run(ByLanes(ByTiles { pairs: self, product, level, sums })) });
        });
    }

    /// Multiplies activations as they are, with the bits of [`crate::floats`].
    pub(crate) fn multiply_exactly(&self, pool: &Pool, level: Level, values: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        self.by_groups(pool, bias, out, &|range, results| {
            // SAFETY: as above.
            unsafe { level.run(ByLanes(Exact { pairs: self, values, range, results })) };
        });
    }

    fn by_groups(&self, pool: &Pool, bias: Option<&[f32]>, out: &mut [f32], work: &(dyn Fn(Range<usize>, &Results<'_>) + Sync)) {
        let results = Results { rows: self.rows, bias, out: SharedRows::new(out, self.rows) };
        let groups = self.rows.div_ceil(ROWS);
        let each = groups.div_ceil(pool.threads() * 8).next_multiple_of(GROUPS);
        pool.run(groups.div_ceil(each), &|task| work(task * each..((task + 1) * each).min(groups), &results));
    }

    /// The first pair of a group of rows from a pair of columns on.
    #[inline(always)]
    fn at(&self, group: usize, pair: usize) -> *const u8 {
        self.data.as_ptr().wrapping_add((group * self.pairs + pair) * PIECE)
    }
}

/// The results of some groups of rows for all rows of activations.
struct Product<'a> {
    pairs: &'a Pairs,
    activations: &'a Bf16Rows,
    range: Range<usize>,
    results: &'a Results<'a>,
}

struct ByLanes<W>(W);

impl<W: PairWork> Work for ByLanes<W> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the promise of whoever made this value.
        unsafe { L::with_pairs(self.0) }
    }
}

impl Product<'_> {
    /// `G` groups of rows by `T` rows of activations.
    #[inline(always)]
    unsafe fn some<L: PairLanes, const G: usize, const T: usize>(&self, group: usize, first: usize) {
        let mut weights = [self.pairs.at(group, 0); G];
        for g in 0..G {
            weights[g] = self.pairs.at(group + g, 0);
        }
        let mut values = [self.activations.at(first, 0).cast::<i32>(); T];
        for t in 0..T {
            values[t] = self.activations.at(first + t, 0).cast();
        }
        // SAFETY: groups of rows and rows of activations have so many pairs, of which there is a whole number of tiles.
        unsafe {
            let mut sums = [[[L::float_zero(); SUMS]; T]; G];
            let ahead = ahead();
            let mut pair = 0;
            while pair < self.pairs.pairs {
                for s in 0..SUMS {
                    let mut w = [L::zero(); G];
                    for g in 0..G {
                        ask::<L>(ahead, weights[g].add((pair + s) * PIECE), PIECE);
                        w[g] = L::load(weights[g].add((pair + s) * PIECE));
                    }
                    for t in 0..T {
                        let x = L::every(values[t].add(pair + s));
                        for g in 0..G {
                            sums[g][t][s] = L::dot_pairs(sums[g][t][s], w[g], x);
                        }
                    }
                }
                pair += SUMS;
            }
            for g in 0..G {
                for t in 0..T {
                    self.results.put::<L>(group + g, first + t, L::add(sums[g][t][0], sums[g][t][1]));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn groups<L: PairLanes, const G: usize>(&self, group: usize) {
        // SAFETY: the caller's promise.
        unsafe { together!(self.results.out.rows(), first, T, self.some::<L, G, T>(group, first)) };
    }
}

impl PairWork for Product<'_> {
    #[inline(always)]
    unsafe fn run<L: PairLanes>(self) {
        let mut group = self.range.start;
        while group < self.range.end {
            // SAFETY: the promise of whoever made this value.
            unsafe {
                if self.range.end - group >= GROUPS {
                    self.groups::<L, GROUPS>(group);
                    group += GROUPS;
                } else {
                    self.groups::<L, 1>(group);
                    group += 1;
                }
            }
        }
    }
}

/// The same, of activations as they are.
struct Exact<'a> {
    pairs: &'a Pairs,
    values: &'a [f32],
    range: Range<usize>,
    results: &'a Results<'a>,
}

impl Exact<'_> {
    /// 16 rows by `T` rows of activations.
    #[inline(always)]
    unsafe fn some<L: PairLanes, const T: usize>(&self, group: usize, first: usize) {
        let (columns, weights) = (self.pairs.columns, self.pairs.at(group, 0));
        let values = self.values.as_ptr().wrapping_add(first * columns);
        // SAFETY: the group of rows and each row of activations have so many columns.
        unsafe {
            let mut sums = [[L::float_zero(); EXACT_SUMS]; T];
            let whole = columns / EXACT_SUMS * EXACT_SUMS;
            let mut column = 0;
            while column < whole {
                for s in 0..EXACT_SUMS / 2 {
                    let two = L::load(weights.add((column / 2 + s) * PIECE));
                    let (lower, upper) = (L::lower(two), L::upper(two));
                    for t in 0..T {
                        let x = values.add(t * columns + column + 2 * s);
                        sums[t][2 * s] = L::fma(lower, L::float_every(x), sums[t][2 * s]);
                        sums[t][2 * s + 1] = L::fma(upper, L::float_every(x.add(1)), sums[t][2 * s + 1]);
                    }
                }
                column += EXACT_SUMS;
            }
            for s in 0..columns - whole {
                let two = L::load(weights.add((whole + s) / 2 * PIECE));
                let w = if s % 2 == 0 { L::lower(two) } else { L::upper(two) };
                for t in 0..T {
                    sums[t][s] = L::fma(w, L::float_every(values.add(t * columns + whole + s)), sums[t][s]);
                }
            }
            for t in 0..T {
                let total = L::add(L::add(sums[t][0], sums[t][1]), L::add(sums[t][2], sums[t][3]));
                self.results.put::<L>(group, first + t, total);
            }
        }
    }
}

impl PairWork for Exact<'_> {
    #[inline(always)]
    unsafe fn run<L: PairLanes>(self) {
        for group in self.range.clone() {
            // SAFETY: the promise of whoever made this value.
            unsafe { together!(self.results.out.rows(), first, T, self.some::<L, T>(group, first)) };
        }
    }
}

/// The same by tiles.
struct ByTiles<'a> {
    pairs: &'a Pairs,
    product: tiles_bf16::Product<'a>,
    level: Level,
    sums: &'a mut Vec<Line>,
}

impl PairWork for ByTiles<'_> {
    #[inline(always)]
    unsafe fn run<L: PairLanes>(self) {
        self.level.with_tiles(Tiled { pairs: self.pairs, product: self.product, sums: self.sums, lanes: PhantomData::<L> });
    }
}

struct Tiled<'a, L> {
    pairs: &'a Pairs,
    product: tiles_bf16::Product<'a>,
    sums: &'a mut Vec<Line>,
    lanes: PhantomData<L>,
}

impl<L: PairLanes> TileWork for Tiled<'_, L> {
    #[inline(always)]
    fn run<X: Tiles>(self, tiles: &mut X) {
        // SAFETY: the promise of whoever made the product; no other value works on the tiles.
        unsafe { self.product.multiply::<L, X>(tiles, self.sums, &mut &*self.pairs) };
    }
}

impl Weights for &Pairs {
    #[inline(always)]
    unsafe fn tiles<L: PairLanes>(&mut self, group: usize, wide: usize, at: usize, _columns: usize) -> [*const u8; MOST] {
        [0, wide - 1].map(|r| self.at(group + r, at / 2))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gravure_core::contracts::{Activations, Phase};
    use gravure_encodings::ENCODINGS;
    use gravure_simd::Isa;
    use half::bf16;

    use crate::dispatch::{Abilities, Level};
    use crate::{Inputs, Matrix, MatrixSource, Pool, linear};

    /// Numbers of any size that a model may have, some of them zero or with a sign that zero has.
    fn numbers(count: usize, state: &mut u64) -> Vec<f32> {
        let mut next = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match *state >> 60 {
                0 => -0.0,
                1 => (*state >> 40) as f32 * 1e-12,
                2 => (*state >> 40) as f32,
                _ => (*state >> 40) as f32 / 8_388_608.0 - 1.0,
            }
        };
        (0..count).map(|_| next()).collect()
    }

    /// On arrays, on lanes that multiply pairs, and on tiles, whole groups of rows and pairs and others: products are those of
    /// activations in bf16, summed in 64 bits; a row has the same bits by itself and among others, and on one thread; prefill and
    /// decode have the same where there are no tiles.
    #[test]
    fn products_are_those_of_activations_in_bf16() {
        let (pool, one) = (Pool::new(2), Pool::new(1));
        let lanes = Level::of(Isa::named("portable").unwrap());
        let sets = Isa::available().into_iter().map(Level::of).filter(|level| level.abilities().pairs);
        let sets: Vec<Level> = sets.chain([lanes, Level::software_tiles(false)]).collect();
        let encoding = *ENCODINGS.iter().find(|e| e.id() == "bf16").unwrap();
        let mut state = 5_u64;
        for (rows, columns, count) in [(1, 33, 1), (16, 32, 2), (52, 96, 37), (49, 1057, 13), (130, 640, 71)] {
            let (weights, values) = (numbers(rows * columns, &mut state), numbers(count * columns, &mut state));
            let bias = numbers(rows, &mut state);
            let mut bytes = vec![0; 2 * rows * columns];
            encoding.encode(&weights, columns, None, &mut bytes).unwrap();
            let mut decoded = vec![0.0; rows * columns];
            encoding.decode(&bytes, &mut decoded).unwrap();
            let read = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
                out.clear();
                out.extend_from_slice(&bytes[range.start as usize * columns * 2..range.end as usize * columns * 2]);
                Ok(())
            };
            let source = || MatrixSource { name: "m", encoding, rows, columns, rows_at_once: None, read: &read, grouped: None };
            for level in &sets {
                let abilities = Abilities { points: false, pairs: true };
                let matrix = Arc::new(Matrix::laid_out(&pool, source(), *level, abilities, Activations::Fast).unwrap());
                let kernel = matrix.kernel();
                assert!(kernel.starts_with("bf16"), "{kernel}");
                let product = |pool: &Pool, values: &[f32], phase: Phase| {
                    let mut out = vec![f32::NAN; values.len() / columns * rows];
                    linear(pool, &matrix, &mut Inputs::new(values, columns), phase, Some(&bias), &mut out).unwrap();
                    out
                };
                for phase in [Phase::Prefill, Phase::Decode] {
                    let out = product(&pool, &values, phase);
                    assert_eq!(product(&one, &values, phase), out, "{kernel} on one thread");
                    for (i, (out, values)) in out.chunks_exact(rows).zip(values.chunks_exact(columns)).enumerate() {
                        assert_eq!(product(&pool, values, phase), out, "{kernel} {phase:?} row {i} by itself");
                        for (j, out) in out.iter().enumerate() {
                            let short = |value: &f32| f64::from(bf16::from_f32(*value).to_f32());
                            let terms = || values.iter().zip(&decoded[j * columns..]).map(|(x, w)| short(x) * f64::from(*w));
                            let (exact, size) = (terms().sum::<f64>() + f64::from(bias[j]), terms().map(f64::abs).sum::<f64>());
                            let error = (f64::from(*out) - exact).abs();
                            assert!(
                                error <= 1e-6 * (size + f64::from(bias[j].abs())),
                                "{kernel} {phase:?} at {i}, {j}: {out}, not {exact}"
                            );
                        }
                    }
                }
                // As they are: the bits of floats, from the same weights.
                let plain = Abilities { points: false, pairs: false };
                let floats = Matrix::laid_out(&pool, source(), *level, plain, Activations::Fast).unwrap();
                let shared = Arc::clone(&matrix).sharing(Activations::Original).unwrap();
                for exact in [&shared, &Arc::new(Matrix::laid_out(&pool, source(), *level, abilities, Activations::F32).unwrap())] {
                    assert_eq!(exact.kernel(), floats.kernel());
                    let product = |matrix: &Matrix| {
                        let mut out = vec![f32::NAN; count * rows];
                        linear(&pool, matrix, &mut Inputs::new(&values, columns), Phase::Prefill, Some(&bias), &mut out).unwrap();
                        out
                    };
                    assert_eq!(product(exact), product(&floats), "{} [{rows}, {columns}] x {count}", exact.kernel());
                    assert_eq!(product(&exact.sharing(Activations::Fast).unwrap()), product(&matrix), "{kernel} again");
                }
                if !level.has_bf16_tiles() {
                    assert_eq!(product(&pool, &values, Phase::Prefill), product(&pool, &values, Phase::Decode), "{kernel}");
                }
                let mut row = vec![f32::NAN; columns];
                for j in 0..rows {
                    matrix.decode_row(j, &mut row).unwrap();
                    assert_eq!(row, decoded[j * columns..][..columns], "{kernel} row {j}");
                }
            }
        }
    }

    /// What is no number, or infinite, in weights or activations makes results that are none; other rows do not notice.
    #[test]
    fn infinities_and_what_is_no_number_stay_in_their_rows() {
        let pool = Pool::new(2);
        let (columns, rows) = (64, 3);
        let mut weights = vec![1.0_f32; rows * columns];
        weights[columns + 5] = 3e38;
        let encoding = *ENCODINGS.iter().find(|e| e.id() == "bf16").unwrap();
        let mut bytes = vec![0; 2 * rows * columns];
        encoding.encode(&weights, columns, None, &mut bytes).unwrap();
        let read = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
            out.clear();
            out.extend_from_slice(&bytes[range.start as usize * columns * 2..range.end as usize * columns * 2]);
            Ok(())
        };
        let lanes = Level::of(Isa::named("portable").unwrap());
        let sets = Isa::available().into_iter().map(Level::of).filter(|level| level.abilities().pairs);
        for level in sets.chain([lanes, Level::software_tiles(false)]) {
            let source = MatrixSource { name: "m", encoding, rows, columns, rows_at_once: None, read: &read, grouped: None };
            let abilities = Abilities { points: false, pairs: true };
            let matrix = Matrix::laid_out(&pool, source, level, abilities, Activations::Fast).unwrap();
            let mut values = vec![1.0_f32; 4 * columns];
            values[columns + 7] = f32::NAN;
            values[2 * columns + 7] = f32::NEG_INFINITY;
            values[3 * columns + 7] = 1e-42;
            for phase in [Phase::Prefill, Phase::Decode] {
                let mut out = vec![0.0; 4 * rows];
                linear(&pool, &matrix, &mut Inputs::new(&values, columns), phase, None, &mut out).unwrap();
                assert_eq!((out[0], out[2], out[9], out[11]), (64.0, 64.0, 63.0, 63.0), "{}", matrix.kernel());
                assert!(out[3..6].iter().all(|value| value.is_nan()), "{}", matrix.kernel());
                assert_eq!(&out[6..9], [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY], "{}", matrix.kernel());
            }
        }
    }
}
