//! How a form lies in memory, and what reads it there.

use super::affine::Affine;
use super::panel::Panel;
use super::tile::Tile;
use crate::ahead::ask;
use crate::form::{Form, PIECE, Shape};
use crate::lanes::{Lanes, PairLanes, ROWS};

/// A layout of a form's blocks of 16 rows. Whichever it is, products have the same bits: codes and scales are the same, and
/// what is done with them too.
pub(crate) trait Layout<F: Form>: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// The parts of one row of a block.
    type Parts: Default;
    /// Bytes of 16 rows of a block.
    const BYTES: usize;
    /// What products with it are called, for people.
    const NAME: &'static str;

    /// Rows of activations from which on codes are laid out in bytes first.
    const LAID_OUT_FROM: usize;

    /// Takes a row of a block apart.
    fn split(row: &[u8], parts: &mut Self::Parts);

    /// Puts 16 rows of a block in order. `out` is [`Self::BYTES`] long, and zeros.
    fn pack(rows: &[Self::Parts; ROWS], out: &mut [u8]);

    /// 16 rows by `T` rows of activations: writes 16 results of each.
    ///
    /// # Safety
    /// The group of rows has so many blocks, the panel as many columns, and `out` room; see [`Lanes`].
    unsafe fn direct<L: Lanes, const T: usize>(block: *const u8, blocks: usize, panel: Panel<T>, out: *mut f32);

    /// Lays out `blocks` blocks of `R` groups of rows in bytes.
    ///
    /// # Safety
    /// Every group of rows has so many blocks, and the tile has room for them; see [`Lanes`].
    unsafe fn fill<L: Lanes, const R: usize>(tile: Tile, block: [*const u8; R], blocks: usize);

    /// The weights of `blocks` blocks of a group of rows as pairs of bf16: by pair of columns. The same columns of what lies `ahead` bytes
    /// further are asked for, where that is not 0.
    ///
    /// # Safety
    /// The group of rows has so many blocks, and the tile and `out` room for them; see [`Lanes`].
    #[inline(always)]
    unsafe fn pairs<L: PairLanes>(block: *const u8, blocks: usize, ahead: usize, tile: Tile, out: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            ask::<L>(ahead, block, blocks * Self::BYTES);
            Self::fill::<L, 1>(tile, [block], blocks);
            for place in 0..blocks * Shape::<F>::GROUPS {
                let block = place / Shape::<F>::GROUPS;
                let minimum = if F::MINIMA { L::float_load(tile.minima.cast_const().add(block * ROWS)) } else { L::float_zero() };
                let least = |step| L::load(tile.least.cast_const().add((block * Shape::<F>::LEAST + step) * PIECE));
                let scale = L::float_load(tile.scales.cast_const().add(place * ROWS));
                let affine = Affine::<L>::new::<F>(scale, minimum, place % Shape::<F>::GROUPS, least);
                for step in 0..Shape::<F>::STEPS {
                    let at = place * Shape::<F>::STEPS + step;
                    affine.put::<F>(L::load(tile.codes.cast_const().add(at * PIECE)), out.add(2 * at * PIECE));
                }
            }
        }
    }

    /// The codes of a group of columns of one row.
    ///
    /// # Safety
    /// The block is there; lane and group are within it; `codes` is as long as a group.
    unsafe fn row(block: *const u8, lane: usize, group: usize, codes: &mut [u8]);
}
