//! The two products of attention: queries by a tile of keys, and weights by a tile of values.
//!
//! Lanes are positions in the first and elements of values in the second. Each result is summed in the order
//! of elements, or of positions, whatever the queries that it is computed with.

use crate::cache::PAGE;
use crate::dispatch::Work;
use crate::lanes::{Lanes, ROWS};

/// `scores[q][p] = queries[q] . keys[..][p]` for all queries and the first `held` positions of a tile, rounded
/// up to whole vectors; what lies behind them is something.
pub(crate) struct Products<'a> {
    /// `[queries][length]`.
    pub(crate) queries: &'a [f32],
    /// `[length][PAGE]`.
    pub(crate) keys: &'a [f32],
    pub(crate) length: usize,
    pub(crate) held: usize,
    /// `[queries][PAGE]`.
    pub(crate) scores: &'a mut [f32],
}

/// `sums[q] += weights[q][p] * values[p]` over the first `held` positions of a tile.
pub(crate) struct Mix<'a> {
    /// `[queries][PAGE]`.
    pub(crate) weights: &'a [f32],
    /// `[held][padded]`.
    pub(crate) values: &'a [f32],
    /// A multiple of [`ROWS`].
    pub(crate) padded: usize,
    pub(crate) held: usize,
    /// `[queries][padded]`.
    pub(crate) sums: &'a mut [f32],
}

/// The largest of 4 (where registers suffice), 2 and 1 that `left` holds.
#[inline(always)]
fn part<L: Lanes>(left: usize) -> usize {
    match left {
        0 | 1 => 1,
        2 | 3 => 2,
        _ if L::REGISTERS >= 32 => 4,
        _ => 2,
    }
}

impl Work for Products<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let count = self.queries.len() / self.length;
        let vectors = self.held.div_ceil(ROWS);
        assert!(
            self.keys.len() >= self.length * PAGE && self.scores.len() >= count * PAGE && vectors <= PAGE / ROWS,
            "a tile that does not fit"
        );
        let mut q = 0;
        while q < count {
            let rows = part::<L>(count - q);
            // SAFETY: so many queries are left, by the assertion above.
            unsafe {
                match rows {
                    1 => self.rows::<L, 1>(q),
                    2 => self.rows::<L, 2>(q),
                    _ => self.rows::<L, 4>(q),
                }
            }
            q += rows;
        }
    }
}

impl Products<'_> {
    /// `R` queries from `q` on.
    #[inline(always)]
    unsafe fn rows<L: Lanes, const R: usize>(&mut self, q: usize) {
        let vectors = self.held.div_ceil(ROWS);
        let mut v = 0;
        while v < vectors {
            let columns = part::<L>(vectors - v);
            // SAFETY: so many queries and vectors of positions are left.
            unsafe {
                let (queries, keys) = (self.queries.as_ptr().add(q * self.length), self.keys.as_ptr().add(v * ROWS));
                let to = self.scores.as_mut_ptr().add(q * PAGE + v * ROWS);
                match columns {
                    1 => products::<L, R, 1>(queries, keys, self.length, to),
                    2 => products::<L, R, 2>(queries, keys, self.length, to),
                    _ => products::<L, R, 4>(queries, keys, self.length, to),
                }
            }
            v += columns;
        }
    }
}

/// `R` queries by `N` vectors of positions.
#[inline(always)]
unsafe fn products<L: Lanes, const R: usize, const N: usize>(queries: *const f32, keys: *const f32, length: usize, scores: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::float_zero(); N]; R];
        for i in 0..length {
            let mut lanes = [L::float_zero(); N];
            for n in 0..N {
                lanes[n] = L::float_load(keys.add(i * PAGE + n * ROWS));
            }
            for r in 0..R {
                let query = L::float_every(queries.add(r * length + i));
                for n in 0..N {
                    sums[r][n] = L::fma(query, lanes[n], sums[r][n]);
                }
            }
        }
        for r in 0..R {
            for n in 0..N {
                L::float_store(sums[r][n], scores.add(r * PAGE + n * ROWS));
            }
        }
    }
}

impl Work for Mix<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        let count = self.weights.len() / PAGE;
        assert!(
            self.held <= PAGE && self.values.len() >= self.held * self.padded && self.sums.len() >= count * self.padded,
            "a tile that does not fit"
        );
        let mut q = 0;
        while q < count {
            let rows = part::<L>(count - q);
            // SAFETY: so many queries are left, by the assertion above.
            unsafe {
                match rows {
                    1 => self.rows::<L, 1>(q),
                    2 => self.rows::<L, 2>(q),
                    _ => self.rows::<L, 4>(q),
                }
            }
            q += rows;
        }
    }
}

impl Mix<'_> {
    /// `R` queries from `q` on.
    #[inline(always)]
    unsafe fn rows<L: Lanes, const R: usize>(&mut self, q: usize) {
        let vectors = self.padded / ROWS;
        let mut v = 0;
        while v < vectors {
            let columns = part::<L>(vectors - v);
            // SAFETY: so many queries and vectors of elements are left.
            unsafe {
                let (weights, values) = (self.weights.as_ptr().add(q * PAGE), self.values.as_ptr().add(v * ROWS));
                let to = self.sums.as_mut_ptr().add(q * self.padded + v * ROWS);
                match columns {
                    1 => mix::<L, R, 1>(weights, values, self.held, self.padded, to),
                    2 => mix::<L, R, 2>(weights, values, self.held, self.padded, to),
                    _ => mix::<L, R, 4>(weights, values, self.held, self.padded, to),
                }
            }
            v += columns;
        }
    }
}

/// `R` queries by `N` vectors of elements.
#[inline(always)]
unsafe fn mix<L: Lanes, const R: usize, const N: usize>(
    weights: *const f32,
    values: *const f32,
    held: usize,
    padded: usize,
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut out = [[L::float_zero(); N]; R];
        for r in 0..R {
            for n in 0..N {
                out[r][n] = L::float_load(sums.add(r * padded + n * ROWS));
            }
        }
        for p in 0..held {
            let mut lanes = [L::float_zero(); N];
            for n in 0..N {
                lanes[n] = L::float_load(values.add(p * padded + n * ROWS));
            }
            for r in 0..R {
                let weight = L::float_every(weights.add(r * PAGE + p));
                for n in 0..N {
                    out[r][n] = L::fma(weight, lanes[n], out[r][n]);
                }
            }
        }
        for r in 0..R {
            for n in 0..N {
                L::float_store(out[r][n], sums.add(r * padded + n * ROWS));
            }
        }
    }
}
