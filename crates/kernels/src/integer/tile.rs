//! Some columns of some groups of rows, laid out for many rows of activations.

use super::{TILE_COLUMNS, TILE_GROUPS};
use crate::form::{Form, PIECE, Shape};
use crate::lanes::ROWS;
use crate::results::Line;

/// Codes, scales and minima of [`TILE_COLUMNS`] columns of some groups of rows, laid out for many rows of
/// activations: by group of columns, step, group of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    pub(super) codes: *mut u8,
    pub(super) scales: *mut f32,
    /// Factors of minima of blocks.
    pub(super) minima: *mut f32,
    /// Minima of blocks of several groups, by step.
    pub(super) least: *mut u8,
    /// Results so far: for each row of activations 16 of each group of rows.
    pub(super) sums: *mut f32,
}

impl Tile {
    /// A tile for `count` rows of activations.
    pub(super) fn new<F: Form>(room: &mut Vec<Line>, count: usize) -> Self {
        let line = size_of::<Line>();
        let codes = TILE_COLUMNS * TILE_GROUPS * ROWS / line;
        let groups = TILE_COLUMNS / F::GROUP * TILE_GROUPS * ROWS * size_of::<f32>() / line;
        let blocks = TILE_COLUMNS / F::COLUMNS * TILE_GROUPS;
        let minima = if F::MINIMA { blocks * ROWS * size_of::<f32>() / line } else { 0 };
        let least = blocks * Shape::<F>::LEAST * PIECE / line;
        let total = codes + groups + minima + least + count * TILE_GROUPS * ROWS * size_of::<f32>() / line;
        if room.len() < total {
            room.resize(total, Line::ZERO);
        }
        let codes_at = room.as_mut_ptr();
        let scales_at = codes_at.wrapping_add(codes);
        let minima_at = scales_at.wrapping_add(groups);
        let least_at = minima_at.wrapping_add(minima);
        let sums_at = least_at.wrapping_add(least);
        Self { codes: codes_at.cast(), scales: scales_at.cast(), minima: minima_at.cast(), least: least_at.cast(), sums: sums_at.cast() }
    }
}
