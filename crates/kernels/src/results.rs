//! Where sums of products go.

use crate::SharedRows;
use crate::lanes::{Lanes, ROWS};

/// What vectors are stored to: lines of the cache, so that none lies in two.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

impl Line {
    pub(crate) const ZERO: Self = Self([0; 64]);
}

/// Where results go.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    /// Rows of the matrix.
    pub(crate) rows: usize,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) out: SharedRows<'a>,
}

impl Results<'_> {
    /// Writes 16 results of one row of activations.
    ///
    /// # Safety
    /// The group of rows is this task's alone; the bias is as long as there are rows; see [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn put<L: Lanes>(&self, group: usize, index: usize, values: L::Float) {
        let first = group * ROWS;
        let count = ROWS.min(self.rows - first);
        // SAFETY: groups of rows belong to one task each; whole groups are within the row and the bias, which is
        // as long.
        unsafe {
            let out = self.out.part(index, first..first + count);
            if count == ROWS {
                let values = match self.bias {
                    Some(bias) => L::add(values, L::float_load(bias[first..first + ROWS].as_ptr())),
                    None => values,
                };
                L::float_store(values, out.as_mut_ptr());
                return;
            }
            let mut all = [0.0; ROWS];
            L::float_store(values, all.as_mut_ptr());
            for (i, out) in out.iter_mut().enumerate() {
                *out = all[i] + self.bias.map_or(0.0, |bias| bias[first + i]);
            }
        }
    }
}
