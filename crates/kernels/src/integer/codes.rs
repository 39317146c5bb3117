//! Codes in planes of bits: the layout of [`crate::form`].

use std::marker::PhantomData;

use super::affine::Affine;
use super::layout::Layout;
use super::panel::{Panel, start};
use super::tile::Tile;
use crate::ahead::{ahead, ask};
use crate::dispatch::Work;
use crate::form::{Form, PIECE, Parts, Shape, by_minima};
use crate::lanes::portable::Portable;
use crate::lanes::{Lanes, PairLanes, ROWS};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes;

impl<F: Form> Layout<F> for Codes {
    type Parts = Parts;
    const BYTES: usize = Shape::<F>::BYTES;
    const NAME: &'static str = "int8";
    // On Zen 4 codes are unpacked beside the products, at no cost; but every four rows read their activations again for each 16
    // rows of weights, which 512 feel.
    const LAID_OUT_FROM: usize = 64;

    #[inline(always)]
    fn split(row: &[u8], parts: &mut Parts) {
        F::split(row, parts);
    }

    fn pack(rows: &[Parts; ROWS], out: &mut [u8]) {
        Shape::<F>::pack(rows, out);
    }

    #[inline(always)]
    unsafe fn direct<L: Lanes, const T: usize>(block: *const u8, blocks: usize, panel: Panel<T>, out: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { L::apart(Direct::<F, T> { block, blocks, panel, out, form: PhantomData }) };
    }

    #[inline(always)]
    unsafe fn fill<L: Lanes, const R: usize>(tile: Tile, block: [*const u8; R], blocks: usize) {
        // SAFETY: every group of rows has so many blocks, and the tile has room for them.
        unsafe {
            for r in 0..R {
                for index in 0..blocks {
                    let block = block[r].add(index * Shape::<F>::BYTES);
                    let d = Shape::<F>::d::<L>(block);
                    if F::MINIMA {
                        L::float_store(Shape::<F>::m::<L>(block), tile.minima.add((index * R + r) * ROWS));
                    }
                    for step in 0..Shape::<F>::LEAST {
                        let at = ((index * Shape::<F>::LEAST + step) * R + r) * PIECE;
                        L::store(Shape::<F>::least::<L>(block, step), tile.least.add(at));
                    }
                    let mut first = 0;
                    while first < Shape::<F>::GROUPS {
                        written_out!(Shape::<F>::TOGETHER, next, {
                            let place = index * Shape::<F>::GROUPS + first + next;
                            for step in 0..Shape::<F>::STEPS {
                                let at = ((place * Shape::<F>::STEPS + step) * R + r) * PIECE;
                                L::store(Shape::<F>::codes::<L>(block, first, next, step), tile.codes.add(at));
                            }
                            let at = (place * R + r) * ROWS;
                            L::float_store(Shape::<F>::scales::<L>(block, d, first + next), tile.scales.add(at));
                        });
                        first += Shape::<F>::TOGETHER;
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn pairs<L: PairLanes>(mut block: *const u8, blocks: usize, ahead: usize, _tile: Tile, out: *mut u8) {
        // SAFETY: the group of rows has so many blocks, and `out` room for them.
        unsafe {
            for index in 0..blocks {
                ask::<L>(ahead, block, Shape::<F>::BYTES);
                let d = Shape::<F>::d::<L>(block);
                let m = if F::MINIMA { Shape::<F>::m::<L>(block) } else { d };
                let mut first = 0;
                while first < Shape::<F>::GROUPS {
                    written_out!(Shape::<F>::TOGETHER, next, {
                        let group = first + next;
                        let least = |step| Shape::<F>::least::<L>(block, step);
                        let affine = Affine::<L>::new::<F>(Shape::<F>::scales::<L>(block, d, group), m, group, least);
                        for step in 0..Shape::<F>::STEPS {
                            let at = (index * Shape::<F>::GROUPS + group) * Shape::<F>::STEPS + step;
                            affine.put::<F>(Shape::<F>::codes::<L>(block, first, next, step), out.add(2 * at * PIECE));
                        }
                    });
                    first += Shape::<F>::TOGETHER;
                }
                block = block.add(Shape::<F>::BYTES);
            }
        }
    }

    #[inline(always)]
    unsafe fn row(block: *const u8, lane: usize, group: usize, codes: &mut [u8]) {
        let together = Shape::<F>::TOGETHER;
        for (step, codes) in codes.chunks_exact_mut(4).enumerate() {
            // SAFETY: the caller's promise; arrays need no instruction set.
            let all = unsafe { Shape::<F>::codes::<Portable>(block, group / together * together, group % together, step) };
            codes.copy_from_slice(&all[4 * lane..4 * lane + 4]);
        }
    }
}

/// 16 rows by `T` rows of activations, codes read as they are needed.
struct Direct<F: Form, const T: usize> {
    block: *const u8,
    blocks: usize,
    panel: Panel<T>,
    /// 16 results of each row of activations.
    out: *mut f32,
    form: PhantomData<F>,
}

impl<F: Form, const T: usize> Work for Direct<F, T> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { mut block, blocks, panel, out: results, .. } = self;
        // SAFETY: the group of rows has so many blocks and each row of activations as many columns.
        unsafe {
            let mut out = [L::float_zero(); T];
            let ahead = ahead();
            for index in 0..blocks {
                ask::<L>(ahead, block, Shape::<F>::BYTES);
                let d = Shape::<F>::d::<L>(block);
                if Shape::<F>::GROUPS == 1 {
                    let mut sums = [L::zero(); T];
                    for t in 0..T {
                        sums[t] = start::<L, F, T>(panel, index, t);
                    }
                    for step in 0..Shape::<F>::STEPS {
                        let codes = Shape::<F>::codes::<L>(block, 0, 0, step);
                        for t in 0..T {
                            sums[t] = Shape::<F>::dot::<L>(sums[t], codes, L::every(panel.step(index * Shape::<F>::STEPS + step, t)));
                        }
                    }
                    for t in 0..T {
                        let scale = L::mul(d, L::float_every(panel.scales.add(index * T + t)));
                        out[t] = L::fma(L::float(sums[t]), scale, out[t]);
                        if F::MINIMA {
                            out[t] = L::fma(Shape::<F>::m::<L>(block), L::float_every(panel.negated.add(index * T + t)), out[t]);
                        }
                    }
                } else {
                    let mut inner = [L::float_zero(); T];
                    if F::MINIMA {
                        let least = |step| Shape::<F>::least::<L>(block, step);
                        for t in 0..T {
                            let sum = by_minima::<L>(Shape::<F>::LEAST, least, |step, part| panel.sums::<F>(index, step, part, t));
                            inner[t] = L::mul(sum, Shape::<F>::m::<L>(block));
                        }
                    }
                    let mut first = 0;
                    while first < Shape::<F>::GROUPS {
                        written_out!(Shape::<F>::TOGETHER, next, {
                            let place = index * Shape::<F>::GROUPS + first + next;
                            let mut sums = [L::zero(); T];
                            for t in 0..T {
                                sums[t] = start::<L, F, T>(panel, place, t);
                            }
                            for step in 0..Shape::<F>::STEPS {
                                let codes = Shape::<F>::codes::<L>(block, first, next, step);
                                for t in 0..T {
                                    sums[t] =
                                        Shape::<F>::dot::<L>(sums[t], codes, L::every(panel.step(place * Shape::<F>::STEPS + step, t)));
                                }
                            }
                            let scale = Shape::<F>::scales::<L>(block, d, first + next);
                            for t in 0..T {
                                inner[t] = L::fma(L::float(sums[t]), scale, inner[t]);
                            }
                        });
                        first += Shape::<F>::TOGETHER;
                    }
                    for t in 0..T {
                        out[t] = L::fma(inner[t], L::float_every(panel.scales.add(index * T + t)), out[t]);
                    }
                }
                block = block.add(Shape::<F>::BYTES);
            }
            for t in 0..T {
                L::float_store(out[t], results.add(t * ROWS));
            }
        }
    }
}
