//! Prompts by tiles of bf16 (AMX): weights are decoded once for all rows of activations, and no scale stops a product.
//!
//! Of 512 columns of 32 rows of weights the codes are laid out in bytes, as for all products of many rows, times their scales, and
//! rounded to bf16: two columns of 16 rows are a row of a tile. Sums are floats, of 32 columns at a time.
//!
//! Activations are rounded to 8 bits of a fraction instead of 127 steps of a block's largest, weights to as many: together a tenth
//! of what the latter costs.

use std::marker::PhantomData;

use gravure_simd::arch::Tiles;

use super::Packed;
use super::layout::Layout;
use super::tile::Tile;
use crate::dispatch::{Level, PairWork, TileWork, Work};
use crate::form::{Form, PIECE, Shape};
use crate::lanes::{Lanes, PairLanes, ROWS};
use crate::results::Line;
use crate::tiles_bf16::{CHUNK, MOST, Product, Weights};

/// Bytes of the weights of 16 rows of a chunk.
const GROUP_BYTES: usize = CHUNK / 2 * PIECE;

/// The results of some groups of rows for all rows of activations.
pub(super) struct ProductBf16<'a, F: Form, Y: Layout<F>> {
    pub(super) packed: &'a Packed<F, Y>,
    pub(super) product: Product<'a>,
    pub(super) level: Level,
    pub(super) rooms: &'a mut Rooms,
}

/// What a product needs room for, kept from product to product.
#[derive(Debug)]
pub(super) struct Rooms {
    /// Codes and scales.
    tile: Vec<Line>,
    /// Weights in bf16.
    weights: Vec<Line>,
    sums: Vec<Line>,
}

impl Rooms {
    /// None yet.
    pub(super) const EMPTY: Self = Self { tile: Vec::new(), weights: Vec::new(), sums: Vec::new() };
}

impl<F: Form, Y: Layout<F>> Work for ProductBf16<'_, F, Y> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the promise of whoever made this value; lanes beside tiles of bf16 round to bf16.
        unsafe { L::with_pairs(self) }
    }
}

impl<F: Form, Y: Layout<F>> PairWork for ProductBf16<'_, F, Y> {
    #[inline(always)]
    unsafe fn run<L: PairLanes>(self) {
        let Rooms { tile, weights, sums } = self.rooms;
        weights.resize(MOST * GROUP_BYTES / size_of::<Line>(), Line::ZERO);
        let decoded = Decoded { packed: self.packed, tile: Tile::new::<F>(tile, 0), out: weights.as_mut_ptr().cast() };
        self.level.with_tiles(ByTiles::<L, F, Y> { product: self.product, decoded, sums, lanes: PhantomData });
    }
}

struct ByTiles<'a, L, F: Form, Y: Layout<F>> {
    product: Product<'a>,
    decoded: Decoded<'a, F, Y>,
    sums: &'a mut Vec<Line>,
    lanes: PhantomData<L>,
}

impl<L: PairLanes, F: Form, Y: Layout<F>> TileWork for ByTiles<'_, L, F, Y> {
    #[inline(always)]
    fn run<X: Tiles>(mut self, tiles: &mut X) {
        // SAFETY: the promise of whoever made the product; no other value works on the tiles.
        unsafe { self.product.multiply::<L, X>(tiles, self.sums, &mut self.decoded) };
    }
}

/// Weights that are decoded as they are asked for.
struct Decoded<'a, F: Form, Y: Layout<F>> {
    packed: &'a Packed<F, Y>,
    tile: Tile,
    out: *mut u8,
}

impl<F: Form, Y: Layout<F>> Weights for Decoded<'_, F, Y> {
    #[inline(always)]
    unsafe fn tiles<L: PairLanes>(&mut self, group: usize, wide: usize, at: usize, columns: usize) -> [*const u8; MOST] {
        let blocks = columns / F::COLUMNS;
        let block = |r: usize| self.packed.block(group + r).wrapping_add(at / F::COLUMNS * Y::BYTES);
        // SAFETY: the caller's promise; tile and weights have room for a chunk.
        unsafe {
            if wide == MOST {
                Y::fill::<L, MOST>(self.tile, [block(0), block(1)], blocks);
            } else {
                Y::fill::<L, 1>(self.tile, [block(0)], blocks);
            }
            for r in 0..wide {
                decode::<L, F>(self.tile, wide, r, blocks, self.out.wrapping_add(r * GROUP_BYTES));
            }
        }
        [0, GROUP_BYTES].map(|r| self.out.cast_const().wrapping_add(r))
    }
}

/// Weights of columns of group `r` of `wide` that are laid out, as pairs of bf16.
///
/// # Safety
/// The tile holds so many blocks of `wide` groups of rows, and `out` has room; see [`Lanes`].
#[inline(always)]
unsafe fn decode<L: PairLanes, F: Form>(tile: Tile, wide: usize, r: usize, blocks: usize, out: *mut u8) {
    let (groups, steps, least) = (Shape::<F>::GROUPS, Shape::<F>::STEPS, Shape::<F>::LEAST);
    // SAFETY: the caller's promise.
    unsafe {
        let (offset, minus) = (L::float_every(&-(F::OFFSET as f32)), L::float_every(&-1.0));
        for place in 0..blocks * groups {
            let scale = L::float_load(tile.scales.cast_const().add((place * wide + r) * ROWS));
            let mut shift = L::mul(scale, offset);
            if F::MINIMA {
                let block = place / groups;
                let mut minimum = L::mul(minus, L::float_load(tile.minima.cast_const().add((block * wide + r) * ROWS)));
                if groups > 1 {
                    let four = L::load(tile.least.cast_const().add(((block * least + place % groups / 4) * wide + r) * PIECE));
                    let byte = match place % 4 {
                        0 => L::byte::<0>(four),
                        1 => L::byte::<1>(four),
                        2 => L::byte::<2>(four),
                        _ => L::byte::<3>(four),
                    };
                    minimum = L::mul(minimum, byte);
                }
                shift = L::add(shift, minimum);
            }
            for step in 0..steps {
                let four = L::load(tile.codes.cast_const().add(((place * steps + step) * wide + r) * PIECE));
                let out = out.add(2 * (place * steps + step) * PIECE);
                let first = L::pairs(weight::<L, F, 0>(four, scale, shift), weight::<L, F, 1>(four, scale, shift));
                let second = L::pairs(weight::<L, F, 2>(four, scale, shift), weight::<L, F, 3>(four, scale, shift));
                L::store(first, out);
                L::store(second, out.add(PIECE));
            }
        }
    }
}

/// Column `K` of four.
#[inline(always)]
unsafe fn weight<L: PairLanes, F: Form, const K: u32>(four: L::Int, scale: L::Float, shift: L::Float) -> L::Float {
    // SAFETY: the caller's promise.
    unsafe {
        let code = L::byte::<K>(four);
        if F::OFFSET == 0 && !F::MINIMA { L::mul(code, scale) } else { L::fma(code, scale, shift) }
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
                let hardware = Isa::available().into_iter().map(Level::of).filter(|level| level.prefers_bf16());
                for level in hardware.chain([Level::software_tiles(true)]) {
                    matrix.set_level(level);
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
}
