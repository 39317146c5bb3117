//! Rounded activations of some rows, as a kernel walks along them.

use crate::form::{Form, Shape};
use crate::lanes::Lanes;

/// Where a panel of `T` rows of activations lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel<const T: usize> {
    pub(super) codes: *const i32,
    pub(super) scales: *const f32,
    pub(super) starts: *const i32,
    pub(super) negated: *const f32,
    pub(super) words: *const i32,
}

impl<const T: usize> Panel<T> {
    /// The same from `columns` on, which is a multiple of the block and of the group.
    #[inline(always)]
    pub(super) fn from<F: Form>(self, columns: usize) -> Self {
        let block = if Shape::<F>::GROUPS == 1 { F::GROUP } else { F::COLUMNS };
        // Lists that are empty are not read.
        Self {
            codes: self.codes.wrapping_add(columns / 4 * T),
            scales: self.scales.wrapping_add(columns / block * T),
            starts: self.starts.wrapping_add(columns / F::GROUP * T),
            negated: self.negated.wrapping_add(columns / F::GROUP * T),
            words: self.words.wrapping_add(columns / F::GROUP / 2 * T),
        }
    }

    /// The upper or lower bytes of the sums of four groups of row `t`.
    #[inline(always)]
    pub(super) fn sums<F: Form>(self, block: usize, step: usize, part: usize, t: usize) -> *const i32 {
        self.words.wrapping_add(((block * Shape::<F>::LEAST + step) * 2 + part) * T + t)
    }

    /// Four codes of row `t`.
    #[inline(always)]
    pub(super) fn step(self, step: usize, t: usize) -> *const i32 {
        self.codes.wrapping_add(step * T + t)
    }
}

/// Where sums of codes begin.
#[inline(always)]
pub(super) unsafe fn start<L: Lanes, F: Form, const T: usize>(panel: Panel<T>, group: usize, t: usize) -> L::Int {
    // SAFETY: the list has an entry for every group where there is an offset.
    unsafe { if F::OFFSET == 0 { L::zero() } else { L::every(panel.starts.add(group * T + t)) } }
}
