//! Products of many rows by tiles (AMX): 16 rows of activations by 16 or 32 rows of weights at a time.
//!
//! The pieces in which codes are laid out are rows of a tile as they are: four columns of 16 rows of weights. A group
//! of columns is as deep as a product of tiles can be, since behind it sums are multiplied with the group's scale:
//! a tile of 16 or 32 of its 64 bytes. Integers are exact, and floats are added in the order of all integer kernels:
//! results have the same bits.

use gravure_simd::arch::{TILES, TileShape, Tiles};

use crate::form::{PIECE, by_minima};
use crate::lanes::{Lanes, ROWS};

/// Rows of a panel of activations, and of a tile.
pub(crate) const TILE_HEIGHT: usize = 16;
/// Most groups of 16 rows of weights.
const MOST: usize = 2;

/// How codes are laid out, and which parts they have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    /// Groups of a block.
    pub(crate) groups: usize,
    /// Steps of four columns in a group.
    pub(crate) steps: usize,
    /// Whether sums have starts other than zero.
    pub(crate) offset: bool,
    /// Whether there are minima.
    pub(crate) minima: bool,
    /// Steps of four groups' minima in a block, where it has several groups and minima.
    pub(crate) least: usize,
}

/// Some columns of 16 or 32 rows of weights, laid out in bytes, and of at most 16 rows of activations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) geometry: Geometry,
    /// Groups of 16 rows of weights, 1 or 2.
    pub(crate) wide: usize,
    /// Blocks of columns.
    pub(crate) blocks: usize,
    /// By group of columns, step, group of rows: pieces.
    pub(crate) codes: *const u8,
    /// By group of columns, group of rows: 16 floats.
    pub(crate) scales: *const f32,
    /// By block, group of rows: 16 factors of minima, where there are any.
    pub(crate) minima: *const f32,
    /// By block, step of minima, group of rows: pieces.
    pub(crate) least: *const u8,
    /// Rows of activations.
    pub(crate) rows: usize,
    /// Their codes, row by row.
    pub(crate) activations: *const u8,
    /// Bytes from one row of them to the next.
    pub(crate) stride: usize,
    /// By block, row: scales of the activations.
    pub(crate) factors: *const f32,
    /// By group, row: where sums begin.
    pub(crate) starts: *const i32,
    /// By group, row: what minima are multiplied with where blocks are groups.
    pub(crate) negated: *const f32,
    /// By step of minima, upper and lower, row: what they are multiplied with elsewhere.
    pub(crate) words: *const i32,
    /// By row, group of rows of weights: 16 results so far.
    pub(crate) sums: *mut f32,
}

/// Sums of a group of columns, as tiles are stored.
#[repr(align(64))]
struct Dots([i32; TILE_HEIGHT * MOST * ROWS]);

/// Results of a block.
#[repr(align(64))]
struct Inner([f32; TILE_HEIGHT * MOST * ROWS]);

/// Tiles 0 to 3 hold sums, those of an even group of columns in 0 and 1, those of the next in 2 and 3, so that one
/// pair is stored while the other is computed; 4 and 5 hold activations, 6 and 7 weights.
pub(crate) fn shapes(rows: usize, steps: usize) -> [TileShape; TILES] {
    let (rows, steps) = (rows as u8, steps as u8);
    let sums = TileShape { rows, bytes: PIECE as u8 };
    let activations = TileShape { rows, bytes: 4 * steps };
    let weights = TileShape { rows: steps, bytes: PIECE as u8 };
    [sums, sums, sums, sums, activations, activations, weights, weights]
}

/// Tiles of this thread, configured for some rows of activations at a time, and released at the end.
pub(crate) struct Configured<'a, X: Tiles> {
    tiles: &'a mut X,
    rows: usize,
}

impl<'a, X: Tiles> Configured<'a, X> {
    /// Tiles that nobody has configured.
    ///
    /// # Safety
    /// No other value works on the tiles of this thread until this one is dropped.
    pub(crate) unsafe fn new(tiles: &'a mut X) -> Self {
        Self { tiles, rows: 0 }
    }

    /// The tiles in these shapes, which depend on the number of rows alone.
    #[inline(always)]
    pub(crate) fn for_rows(&mut self, rows: usize, shapes: impl FnOnce(usize) -> [TileShape; TILES]) -> &mut X {
        if self.rows != rows {
            // SAFETY: whoever made this value promised that nobody else works on the tiles.
            unsafe { self.tiles.configure(&shapes(rows)) };
            self.rows = rows;
        }
        self.tiles
    }
}

impl<X: Tiles> Drop for Configured<'_, X> {
    fn drop(&mut self) {
        if self.rows > 0 {
            // SAFETY: they were configured here.
            unsafe { self.tiles.release() };
        }
    }
}

/// Adds the products of all columns to the results.
///
/// # Safety
/// All parts are there; the tiles are configured by [`shapes`] for so many rows and steps; see [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn multiply<L: Lanes, X: Tiles>(tiles: &mut X, o: Operands) {
    let places = o.blocks * o.geometry.groups;
    let (mut even, mut odd) = (Dots([0; TILE_HEIGHT * MOST * ROWS]), Dots([0; TILE_HEIGHT * MOST * ROWS]));
    let mut inner = Inner([0.0; TILE_HEIGHT * MOST * ROWS]);
    // SAFETY: the caller's promise.
    unsafe {
        let mut place = 0;
        while place < places {
            let both = place + 1 < places;
            dots::<X, 0, 1, 4>(tiles, &o, place);
            if both {
                dots::<X, 2, 3, 5>(tiles, &o, place + 1);
            }
            store::<X, 0, 1>(tiles, &o, &mut even);
            if both {
                store::<X, 2, 3>(tiles, &o, &mut odd);
            }
            scale::<L>(&o, place, &even, &mut inner);
            if both {
                scale::<L>(&o, place + 1, &odd, &mut inner);
            }
            place += 2;
        }
    }
}

/// Sums of codes of a group of columns.
#[inline(always)]
unsafe fn dots<X: Tiles, const FIRST: usize, const SECOND: usize, const A: usize>(tiles: &mut X, o: &Operands, place: usize) {
    let steps = o.geometry.steps;
    let codes = o.codes.wrapping_add(place * steps * o.wide * PIECE);
    // SAFETY: the caller's promise.
    unsafe {
        tiles.load::<A>(o.activations.wrapping_add(place * steps * 4), o.stride);
        tiles.load::<6>(codes, o.wide * PIECE);
        tiles.zero::<FIRST>();
        tiles.dot::<FIRST, A, 6>();
        if o.wide == MOST {
            tiles.load::<7>(codes.wrapping_add(PIECE), o.wide * PIECE);
            tiles.zero::<SECOND>();
            tiles.dot::<SECOND, A, 7>();
        }
    }
}

/// Sums go where vectors read them: by row of activations, group of rows of weights.
#[inline(always)]
unsafe fn store<X: Tiles, const FIRST: usize, const SECOND: usize>(tiles: &mut X, o: &Operands, to: &mut Dots) {
    let to = to.0.as_mut_ptr().cast::<u8>();
    // SAFETY: the caller's promise; there is room for 16 rows of two groups.
    unsafe {
        tiles.store::<FIRST>(to, o.wide * PIECE);
        if o.wide == MOST {
            tiles.store::<SECOND>(to.wrapping_add(PIECE), o.wide * PIECE);
        }
    }
}

/// Sums of a group of columns as floats times their scales; behind the last of a block, times the activations'
/// scale. The operations of the kernels without tiles, in their order.
#[inline(always)]
unsafe fn scale<L: Lanes>(o: &Operands, place: usize, dots: &Dots, inner: &mut Inner) {
    let Geometry { groups, offset, minima, least: steps, .. } = o.geometry;
    let (single, last) = (groups == 1, (place + 1).is_multiple_of(groups));
    // SAFETY: the caller's promise.
    unsafe {
        for r in 0..o.wide {
            let weights = L::float_load(o.scales.wrapping_add((place * o.wide + r) * ROWS));
            let block = place / groups;
            let m = if minima { L::float_load(o.minima.wrapping_add((block * o.wide + r) * ROWS)) } else { weights };
            for t in 0..o.rows {
                let at = (t * o.wide + r) * ROWS;
                let mut sum = L::load(dots.0.as_ptr().wrapping_add(at).cast());
                if offset {
                    sum = L::plus(sum, L::every(o.starts.wrapping_add(place * o.rows + t)));
                }
                let negated = || L::float_every(o.negated.wrapping_add(place * o.rows + t));
                let factor = || L::float_every(o.factors.wrapping_add(place / groups * o.rows + t));
                let out = o.sums.wrapping_add(at);
                if single {
                    let mut to = L::fma(L::float(sum), L::mul(weights, factor()), L::float_load(out));
                    if minima {
                        to = L::fma(m, negated(), to);
                    }
                    L::float_store(to, out);
                    continue;
                }
                let held = inner.0.as_mut_ptr().wrapping_add(at);
                let begun = if minima && place.is_multiple_of(groups) {
                    let least = |step| L::load(o.least.wrapping_add(((block * steps + step) * o.wide + r) * PIECE));
                    let words = |step, part| o.words.wrapping_add(((block * steps + step) * 2 + part) * o.rows + t);
                    L::mul(by_minima::<L>(steps, least, words), m)
                } else {
                    L::float_load(held)
                };
                let mut to = L::fma(L::float(sum), weights, begun);
                if last {
                    L::float_store(L::fma(to, factor(), L::float_load(out)), out);
                    to = L::float_zero();
                }
                L::float_store(to, held);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gravure_core::contracts::{Activations, Phase};
    use gravure_encodings::ENCODINGS;
    use gravure_simd::Isa;

    use crate::dispatch::Level;
    use crate::{Inputs, Matrix, MatrixSource, Pool, linear};

    fn numbers(count: usize, mut state: u64) -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// Every encoding, a panel and two and a half, one group of rows and three and a bit, one chunk of columns and
    /// one and a half: what tiles compute has the bits of what lanes compute, which `tests/linear.rs` holds against
    /// decoded weights.
    #[test]
    fn tiles_compute_what_lanes_compute() {
        let pool = Pool::new(2);
        let Some(lanes) = Isa::named("portable") else { panic!("arrays are everywhere") };
        let mut tried = 0;
        for encoding in ENCODINGS.iter().filter(|e| e.layout().block_elements > 1 && e.can_encode()) {
            for (rows, columns) in [(16, 256), (52, 768)] {
                let weights = numbers(rows * columns, 1);
                let mut bytes = vec![0; encoding.row_bytes(columns as u64).unwrap() as usize * rows];
                encoding.encode(&weights, columns, Some(&vec![1.0; columns]), &mut bytes).unwrap();
                let row_bytes = bytes.len() / rows;
                let source = MatrixSource {
                    grouped: None,
                    name: "m",
                    encoding: *encoding,
                    rows,
                    columns,
                    rows_at_once: None,
                    read: &|range: std::ops::Range<u64>, out: &mut Vec<u8>| {
                        out.clear();
                        out.extend_from_slice(&bytes[range.start as usize * row_bytes..range.end as usize * row_bytes]);
                        Ok(())
                    },
                };
                let mut matrix = Matrix::load(&pool, source, lanes, Activations::Fast).unwrap();
                for count in [8, 37, 71] {
                    let values = numbers(count * columns, 2);
                    let product = |matrix: &Matrix| {
                        let mut out = vec![f32::NAN; count * rows];
                        linear(&pool, matrix, &mut Inputs::new(&values, columns), Phase::Prefill, None, &mut out).unwrap();
                        out
                    };
                    matrix.set_level(Level::of(lanes));
                    let wanted = product(&matrix);
                    matrix.set_level(Level::software_tiles(false));
                    assert_eq!(product(&matrix), wanted, "{} [{rows}, {columns}] x {count}", encoding.id());
                    tried += 1;
                }
            }
        }
        assert!(tried > 0);
    }
}
