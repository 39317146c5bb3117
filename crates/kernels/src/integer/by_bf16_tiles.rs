//! Prompts by tiles of bf16 (AMX): weights are decoded once for all rows of activations, and no scale stops a product.
//!
//! Of 512 columns of 32 rows of weights the codes are laid out in bytes, as for all products of many rows, times their scales, and
//! rounded to bf16: two columns of 16 rows are a row of a tile. Sums are floats, of 32 columns at a time.
//!
//! Activations are rounded to 8 bits of a fraction instead of 127 steps of a block's largest. Whoever wants this asks for it by
//! name (`amx-bf16`): it has run on tiles in memory, and on no processor yet.

use std::cell::RefCell;
use std::marker::PhantomData;

use gravure_simd::arch::Tiles;

use super::layout::Layout;
use super::tile::Tile;
use super::walk::{Columns, walk};
use super::{Packed, TILE_COLUMNS, TILE_GROUPS};
use crate::bf16::{Bf16Rows, nearest};
use crate::dispatch::{Level, TileWork, Work};
use crate::form::{Form, PIECE, Shape};
use crate::lanes::{Lanes, ROWS};
use crate::results::{Line, Results};
use crate::tiles::{Configured, TILE_HEIGHT};
use crate::tiles_bf16::{DEPTH, Operands, multiply, shapes};

thread_local! {
    /// Weights in bf16, kept from product to product.
    static WEIGHTS: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// The results of some groups of rows for all rows of activations.
pub(super) struct ProductBf16<'a, F: Form, Y: Layout<F>> {
    pub(super) packed: &'a Packed<F, Y>,
    pub(super) activations: &'a Bf16Rows,
    /// Groups of 16 rows.
    pub(super) range: std::ops::Range<usize>,
    pub(super) level: Level,
    pub(super) results: &'a Results<'a>,
    pub(super) room: &'a mut Vec<Line>,
}

impl<F: Form, Y: Layout<F>> Work for ProductBf16<'_, F, Y> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        if L::TILES {
            WEIGHTS.with_borrow_mut(|weights| {
                weights.resize(TILE_COLUMNS * TILE_GROUPS * ROWS * size_of::<u16>() / size_of::<Line>(), Line::ZERO);
                let tile = Tile::new::<F>(self.room, self.results.out.rows());
                let weights = weights.as_mut_ptr().cast();
                self.level.with_tiles(ByTiles::<L, F, Y> { product: &self, tile, weights, lanes: PhantomData });
            });
        }
    }
}

struct ByTiles<'a, L, F: Form, Y: Layout<F>> {
    product: &'a ProductBf16<'a, F, Y>,
    tile: Tile,
    /// Pairs of columns: by pair, group of rows, row.
    weights: *mut u32,
    lanes: PhantomData<L>,
}

impl<L: Lanes, F: Form, Y: Layout<F>> TileWork for ByTiles<'_, L, F, Y> {
    #[inline(always)]
    fn run<X: Tiles>(self, tiles: &mut X) {
        let Self { product: p, tile, weights, .. } = self;
        // SAFETY: the promise of whoever made the product; no other value works on the tiles.
        unsafe {
            let mut work = Halves { product: p, tile, weights, tiles: Configured::new(tiles) };
            walk::<L, F, Y>(p.packed, p.range.clone(), p.results, tile, &mut work);
        }
    }
}

/// Columns by tiles of bf16.
struct Halves<'a, X: Tiles, F: Form, Y: Layout<F>> {
    product: &'a ProductBf16<'a, F, Y>,
    tile: Tile,
    weights: *mut u32,
    tiles: Configured<'a, X>,
}

impl<X: Tiles, F: Form, Y: Layout<F>> Columns for Halves<'_, X, F, Y> {
    #[inline(always)]
    unsafe fn multiply<L: Lanes>(&mut self, wide: usize, at: usize, blocks: usize) {
        let (count, activations) = (self.product.results.out.rows(), self.product.activations);
        // SAFETY: the caller's promise; the weights have room for so many columns; tiles are configured for the rows of each panel.
        unsafe {
            decode::<L, F>(self.tile, wide, blocks, self.weights);
            let mut first = 0;
            while first < count {
                let rows = (count - first).min(2 * TILE_HEIGHT);
                let operands = Operands {
                    wide,
                    depth: blocks * F::COLUMNS / DEPTH,
                    rows,
                    activations: activations.at(first, at).cast(),
                    stride: activations.stride * size_of::<u16>(),
                    weights: [0, PIECE].map(|r| self.weights.cast_const().cast::<u8>().wrapping_add(r)),
                    pair_stride: wide * PIECE,
                    sums: self.tile.sums.add(first * wide * ROWS).cast(),
                };
                multiply(self.tiles.for_rows(rows, shapes), operands);
                first += rows;
            }
        }
    }
}

/// Weights of columns that are laid out, as pairs of bf16.
///
/// # Safety
/// The tile holds so many blocks of `wide` groups of rows, and `out` has room; see [`Lanes`].
#[inline(always)]
unsafe fn decode<L: Lanes, F: Form>(tile: Tile, wide: usize, blocks: usize, out: *mut u32) {
    /// Byte `k` of a lane is its product with the bytes of entry `k`.
    static PLACES: [i32; 4] = [1, 1 << 8, 1 << 16, 1 << 24];
    let (groups, steps, least) = (Shape::<F>::GROUPS, Shape::<F>::STEPS, Shape::<F>::LEAST);
    // SAFETY: the caller's promise.
    unsafe {
        let byte = |four: L::Int, k: usize| L::float(L::dot(L::zero(), four, L::every(&PLACES[k])));
        let (offset, minus) = (L::float_every(&-(F::OFFSET as f32)), L::float_every(&-1.0));
        for place in 0..blocks * groups {
            for r in 0..wide {
                let scale = L::float_load(tile.scales.cast_const().add((place * wide + r) * ROWS));
                let mut minimum = L::float_zero();
                if F::MINIMA {
                    let block = place / groups;
                    minimum = L::mul(minus, L::float_load(tile.minima.cast_const().add((block * wide + r) * ROWS)));
                    if groups > 1 {
                        let four = L::load(tile.least.cast_const().add(((block * least + place % groups / 4) * wide + r) * PIECE));
                        minimum = L::mul(minimum, byte(four, place % 4));
                    }
                }
                for step in 0..steps {
                    let four = L::load(tile.codes.cast_const().add(((place * steps + step) * wide + r) * PIECE));
                    let mut columns = [[0.0; ROWS]; 4];
                    for (k, column) in columns.iter_mut().enumerate() {
                        let product = L::mul(scale, L::add(byte(four, k), offset));
                        L::float_store(if F::MINIMA { L::add(product, minimum) } else { product }, column.as_mut_ptr());
                    }
                    for (half, two) in columns.chunks_exact(2).enumerate() {
                        let out = out.add(((2 * (place * steps + step) + half) * wide + r) * ROWS);
                        for lane in 0..ROWS {
                            out.add(lane).write(nearest(two[0][lane]) | nearest(two[1][lane]) << 16);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gravure_core::contracts::{Activations, Phase};
    use gravure_encodings::ENCODINGS;
    use gravure_simd::Isa;
    use half::bf16;

    use crate::dispatch::Level;
    use crate::{Inputs, Matrix, MatrixSource, Pool, linear};

    /// Every encoding: products of prompts are those of weights and activations in bf16, summed in 64 bits; a row has the same
    /// bits by itself and among others, and on one thread; decode is what it is without bf16.
    #[test]
    fn prompts_are_multiplied_in_bf16() {
        let (pool, one) = (Pool::new(2), Pool::new(1));
        let lanes = Isa::named("portable").unwrap();
        let mut state = 7_u64;
        let mut numbers = |count: usize| -> Vec<f32> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / 8_388_608.0 - 1.0
            };
            (0..count).map(|_| next()).collect()
        };
        for encoding in ENCODINGS.iter().filter(|e| e.layout().block_elements > 1 && e.can_encode()) {
            for (rows, columns, count) in [(16, 256, 3), (52, 768, 37)] {
                let weights = numbers(rows * columns);
                let mut bytes = vec![0; encoding.row_bytes(columns as u64).unwrap() as usize * rows];
                encoding.encode(&weights, columns, Some(&vec![1.0; columns]), &mut bytes).unwrap();
                let row_bytes = bytes.len() / rows;
                let read = |range: std::ops::Range<u64>, out: &mut Vec<u8>| {
                    out.clear();
                    out.extend_from_slice(&bytes[range.start as usize * row_bytes..range.end as usize * row_bytes]);
                    Ok(())
                };
                let source = MatrixSource { name: "m", encoding: *encoding, rows, columns, rows_at_once: None, read: &read, grouped: None };
                let mut matrix = Matrix::load(&pool, source, lanes, Activations::Fast).unwrap();
                let values = numbers(count * columns);
                let product = |matrix: &Matrix, pool: &Pool, values: &[f32], phase: Phase| {
                    let mut out = vec![f32::NAN; values.len() / columns * rows];
                    linear(pool, matrix, &mut Inputs::new(values, columns), phase, None, &mut out).unwrap();
                    out
                };
                let wanted = product(&matrix, &pool, &values, Phase::Decode);
                matrix.set_level(Level::software_tiles(true));
                assert_eq!(product(&matrix, &pool, &values, Phase::Decode), wanted, "{} in decode", encoding.id());
                let out = product(&matrix, &pool, &values, Phase::Prefill);
                assert_eq!(product(&matrix, &one, &values, Phase::Prefill), out, "{} on one thread", encoding.id());
                let short = |value: &f32| f64::from(bf16::from_f32(*value).to_f32());
                let mut decoded = vec![0.0; columns];
                for row in 0..rows {
                    matrix.decode_row(row, &mut decoded).unwrap();
                    for (i, x) in values.chunks_exact(columns).enumerate() {
                        let terms = || x.iter().zip(&decoded).map(|(x, w)| short(x) * short(w));
                        let (exact, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                        let got = f64::from(out[i * rows + row]);
                        assert!((got - exact).abs() <= 2e-6 * size, "{} at {i}, {row}: {got}, not {exact} of {size}", encoding.id());
                    }
                }
                for (i, x) in values.chunks_exact(columns).enumerate() {
                    assert_eq!(product(&matrix, &pool, x, Phase::Prefill), out[i * rows..(i + 1) * rows], "{} row {i}", encoding.id());
                }
            }
        }
    }
}
