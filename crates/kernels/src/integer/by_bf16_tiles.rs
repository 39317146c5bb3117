//! Prompts by tiles of bf16 (AMX): weights are decoded once for all rows of activations, and no scale stops a product.
//!
//! Codes times their scales are rounded to bf16: two columns of 16 rows are a row of a tile. Sums are floats, of 32 columns at a time.
//!
//! Activations are rounded to 8 bits of a fraction instead of 127 steps of a block's largest, weights to as many: together a tenth
//! of what the latter costs.

use std::marker::PhantomData;

use gravure_simd::arch::Tiles;

use super::Packed;
use super::layout::Layout;
use super::tile::Tile;
use crate::ahead::ahead;
use crate::dispatch::{Level, PairWork, TileWork, Work};
use crate::form::{Form, PIECE};
use crate::lanes::{Lanes, PairLanes};
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
        let at = at / F::COLUMNS * Y::BYTES;
        // The groups of rows that are next.
        let next = if ahead() > 0 { MOST * self.packed.columns / F::COLUMNS * Y::BYTES } else { 0 };
        for r in 0..wide {
            let block = self.packed.block(group + r).wrapping_add(at);
            // SAFETY: the caller's promise; tile and weights have room for a chunk.
            unsafe { Y::pairs::<L>(block, columns / F::COLUMNS, next, self.tile, self.out.add(r * GROUP_BYTES)) };
        }
        [0, GROUP_BYTES].map(|r| self.out.cast_const().wrapping_add(r))
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
