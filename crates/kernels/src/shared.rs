//! A buffer whose parts are written by several threads at once.

use std::marker::PhantomData;
use std::ops::Range;

/// Rows of equal length; threads write disjoint ranges of them.
#[derive(Debug)]
pub struct SharedRows<'a, T = f32> {
    start: *mut T,
    rows: usize,
    width: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

impl<T> Clone for SharedRows<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SharedRows<'_, T> {}

// SAFETY: what is written through it is disjoint by the contract of `part`, and elements may be sent.
unsafe impl<T: Send> Send for SharedRows<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedRows<'_, T> {}

impl<'a, T> SharedRows<'a, T> {
    /// `values` as rows of `width`; what is left over at the end is out of reach.
    pub fn new(values: &'a mut [T], width: usize) -> Self {
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
    pub unsafe fn part(&self, row: usize, columns: Range<usize>) -> &'a mut [T] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.width, "outside the buffer");
        // SAFETY: within the buffer by the assertion, disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.width + columns.start), columns.len()) }
    }

    /// Whole rows.
    ///
    /// # Safety
    /// As [`SharedRows::part`].
    ///
    /// # Panics
    /// Where there are not so many.
    #[allow(clippy::mut_from_ref)] // disjointness is the caller's promise
    pub unsafe fn rows_of(&self, rows: Range<usize>) -> &'a mut [T] {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "outside the buffer");
        // SAFETY: within the buffer by the assertion, disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(rows.start * self.width), rows.len() * self.width) }
    }
}
