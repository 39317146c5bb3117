//! Many rows of activations meet weights that are laid out.

use std::marker::PhantomData;

use super::panel::{Panel, start};
use super::tile::Tile;
use crate::dispatch::Work;
use crate::form::{Form, PIECE, Shape, by_minima};
use crate::lanes::{Lanes, ROWS};

/// `R` groups of rows, laid out, by `T` rows of activations.
pub(super) struct Multiply<F: Form, const R: usize, const T: usize> {
    pub(super) tile: Tile,
    pub(super) blocks: usize,
    pub(super) panel: Panel<T>,
    /// `R * 16` results of each row of activations so far.
    pub(super) sums: *mut f32,
    pub(super) form: PhantomData<F>,
}

impl<F: Form, const R: usize, const T: usize> Work for Multiply<F, R, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { tile, blocks, panel, sums, .. } = self;
        // SAFETY: the tile holds so many blocks, each row of activations as many columns, `sums` `T` rows.
        unsafe {
            let mut out = [[L::float_zero(); R]; T];
            for t in 0..T {
                for r in 0..R {
                    out[t][r] = L::float_load(sums.add((t * R + r) * ROWS));
                }
            }
            let single = Shape::<F>::GROUPS == 1;
            for index in 0..blocks {
                let mut inner = [[L::float_zero(); R]; T];
                if F::MINIMA && !single {
                    for r in 0..R {
                        let m = L::float_load(tile.minima.cast_const().add((index * R + r) * ROWS));
                        let steps = Shape::<F>::LEAST;
                        let least = |step| L::load(tile.least.cast_const().add(((index * steps + step) * R + r) * PIECE));
                        for t in 0..T {
                            let sum = by_minima::<L>(steps, least, |step, part| panel.sums::<F>(index, step, part, t));
                            inner[t][r] = L::mul(sum, m);
                        }
                    }
                }
                for group in 0..Shape::<F>::GROUPS {
                    let place = index * Shape::<F>::GROUPS + group;
                    let mut dots = [[L::zero(); R]; T];
                    for t in 0..T {
                        dots[t] = [start::<L, F, T>(panel, place, t); R];
                    }
                    let codes = tile.codes.cast_const().add(place * Shape::<F>::STEPS * R * PIECE);
                    for step in 0..Shape::<F>::STEPS {
                        let mut weights = [L::zero(); R];
                        for r in 0..R {
                            weights[r] = L::load(codes.add((step * R + r) * PIECE));
                        }
                        for t in 0..T {
                            let four = L::every(panel.step(place * Shape::<F>::STEPS + step, t));
                            for r in 0..R {
                                dots[t][r] = Shape::<F>::dot::<L>(dots[t][r], weights[r], four);
                            }
                        }
                    }
                    for r in 0..R {
                        let scale = L::float_load(tile.scales.cast_const().add((place * R + r) * ROWS));
                        for t in 0..T {
                            if single {
                                let scale = L::mul(scale, L::float_every(panel.scales.add(place * T + t)));
                                out[t][r] = L::fma(L::float(dots[t][r]), scale, out[t][r]);
                            } else {
                                inner[t][r] = L::fma(L::float(dots[t][r]), scale, inner[t][r]);
                            }
                        }
                        if F::MINIMA && single {
                            let m = L::float_load(tile.minima.cast_const().add((place * R + r) * ROWS));
                            for t in 0..T {
                                out[t][r] = L::fma(m, L::float_every(panel.negated.add(place * T + t)), out[t][r]);
                            }
                        }
                    }
                }
                if !single {
                    for t in 0..T {
                        let scale = L::float_every(panel.scales.add(index * T + t));
                        for r in 0..R {
                            out[t][r] = L::fma(inner[t][r], scale, out[t][r]);
                        }
                    }
                }
            }
            for t in 0..T {
                for r in 0..R {
                    L::float_store(out[t][r], sums.add((t * R + r) * ROWS));
                }
            }
        }
    }
}
