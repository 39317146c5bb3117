//! A buffer whose parts are written by several threads at once.

use std::marker::PhantomData;
use std::ops::Range;

/// Rows of equal length; threads write disjoint ranges of them.
#[derive(Debug, Clone, Copy)]
pub struct SharedRows<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: what is written through it is disjoint by the contract of `part`, and `f32` is `Send`.
unsafe impl Send for SharedRows<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// `values` as rows of `width`; what is left over at the end is out of reach.
    pub fn new(values: &'a mut [f32], width: usize) -> Self {
        let rows = values.len().checked_div(width).unwrap_or(0);
        Self { start: values.as_mut_ptr(), rows, width, lifetime: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Length of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The elements `columns` of row `row`.
    ///
    /// # Safety
    /// No two calls whose results live at the same time may overlap.
    ///
    /// # Panics
    /// Where the part is outside the buffer.
    #[allow(clippy::mut_from_ref)] // disjointness is the caller's promise
    pub unsafe fn part(&self, row: usize, columns: Range<usize>) -> &'a mut [f32] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.width, "outside the buffer");
        // SAFETY: within the buffer by the assertion, disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.width + columns.start), columns.len()) }
    }
}
