//! Rows of activations as bf16.

use crate::dispatch::{Level, Work};
use crate::lanes::Lanes;
use crate::tiles_bf16::DEPTH;
use crate::{Pool, SharedRows};

/// Rows of bf16; behind each are zeros up to a whole number of [`DEPTH`] columns.
#[derive(Debug)]
pub(crate) struct Bf16Rows {
    values: Vec<u16>,
    /// Numbers from one row to the next.
    pub(crate) stride: usize,
}

impl Bf16Rows {
    /// The nearest of each value, ties to even.
    pub(crate) fn new(pool: &Pool, level: Level, values: &[f32], columns: usize) -> Self {
        let stride = columns.next_multiple_of(DEPTH);
        let mut out = vec![0; values.len().checked_div(columns).unwrap_or(0) * stride];
        let rows = SharedRows::new(&mut out, stride);
        pool.run(rows.rows(), &|row| {
            let values = &values[row * columns..][..columns];
            // SAFETY: the level was detected; each task writes its own row.
            unsafe { level.run(Round { values, out: rows.part(row, 0..columns) }) };
        });
        Self { values: out, stride }
    }

    /// Column `column` of row `row`.
    pub(crate) fn at(&self, row: usize, column: usize) -> *const u16 {
        self.values.as_ptr().wrapping_add(row * self.stride + column)
    }
}

struct Round<'a> {
    values: &'a [f32],
    out: &'a mut [u16],
}

impl Work for Round<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (out, value) in self.out.iter_mut().zip(self.values) {
            *out = nearest(*value) as u16;
        }
    }
}

/// The bits of the nearest bf16, ties to even; of what is no number, of something that is none.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if value.is_nan() { bits >> 16 | 0x40 } else { rounded }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::nearest;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        for value in
            [0.0, -0.0, 1.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -3.7e-5, 6.1e4, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, 1e-40]
        {
            assert_eq!(nearest(value), u32::from(bf16::from_f32(value).to_bits()), "{value}");
        }
        for bits in [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff] {
            assert!(bf16::from_bits(nearest(f32::from_bits(bits)) as u16).is_nan(), "{bits:x}");
        }
    }
}
