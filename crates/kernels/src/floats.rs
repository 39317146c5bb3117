//! Products of 32-bit activations with weights that are floats, or that are decoded to floats.
//!
//! Sixteen rows of a matrix are the lanes: a column of 16 weights is multiplied with the activation of that
//! column. Each result is the sum of four, of the columns that leave 0, 1, 2 and 3 when divided by four:
//! `(s0 + s1) + (s2 + s3)`, whatever the number of rows of activations.
//!
//! One row of activations meets F16 and BF16 weights as fast as memory is read: on Zen 5 as many bytes in a second as
//! 32-bit weights. Where the processor multiplies pairs of bf16, such weights lie otherwise ([`crate::pairs`]).

use gravure_base::{Error, Result};
use gravure_core::Encoding;

use crate::ahead::{ahead, ask};
use crate::arena::Block;
use crate::dispatch::{Level, Work};
use crate::lanes::portable::Portable;
use crate::lanes::{Lanes, ROWS};
use crate::matrix::Room;
use crate::results::Results;
use crate::together::together;
use crate::{Pool, SharedRows};

/// Sums of each result.
const SUMS: usize = 4;

/// How weights lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// 32-bit floats, columns of 16 rows.
    F32,
    /// 16-bit floats, columns of 16 rows.
    F16,
    /// Upper halves of 32-bit floats, columns of 16 rows.
    Bf16,
    /// Rows in their encoding, decoded every time.
    Encoded,
}

impl Kept {
    /// Bytes of a number that kernels read.
    #[inline(always)]
    const fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::Encoded => 4,
        }
    }
}

/// A matrix of floats, or one that is decoded to them.
#[derive(Debug)]
pub(crate) struct Floats {
    rows: usize,
    columns: usize,
    encoding: &'static dyn Encoding,
    kept: Kept,
    row_bytes: usize,
    data: Block,
}

impl Floats {
    /// An empty matrix with room for all rows of `row_bytes` in their encoding.
    pub(crate) fn new(rows: usize, columns: usize, encoding: &'static dyn Encoding, row_bytes: usize) -> Result<Self> {
        let kept = match encoding.id() {
            "f32" => Kept::F32,
            "f16" => Kept::F16,
            "bf16" => Kept::Bf16,
            _ => Kept::Encoded,
        };
        let held = if kept == Kept::Encoded { rows } else { rows.next_multiple_of(ROWS) };
        let total = held.checked_mul(row_bytes).ok_or_else(|| Error::limit("the matrix does not fit in memory"))?;
        let data = Block::zeroed(total)?;
        Ok(Self { rows, columns, encoding, kept, row_bytes, data })
    }

    /// Where its rows go.
    pub(crate) fn room(&mut self) -> Room<'_> {
        let row_bytes = self.row_bytes;
        let width = match self.kept {
            Kept::F32 => 4,
            Kept::F16 | Kept::Bf16 => 2,
            Kept::Encoded => {
                let pack = |encoded: &[u8], out: &mut [u8]| out.copy_from_slice(encoded);
                return Room { groups: SharedRows::new(&mut self.data, row_bytes), rows: 1, row_bytes, pack: Box::new(pack) };
            }
        };
        let pack = move |encoded: &[u8], out: &mut [u8]| {
            for (out, group) in out.chunks_exact_mut(ROWS * row_bytes).zip(encoded.chunks(ROWS * row_bytes)) {
                for (lane, row) in group.chunks_exact(row_bytes).enumerate() {
                    let lanes = out[lane * width..].chunks_mut(ROWS * width);
                    for (to, from) in lanes.zip(row.chunks_exact(width)) {
                        to[..width].copy_from_slice(from);
                    }
                }
            }
        };
        Room { groups: SharedRows::new(&mut self.data, ROWS * row_bytes), rows: ROWS, row_bytes, pack: Box::new(pack) }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// How weights lie in memory.
    pub(crate) fn kept(&self) -> Kept {
        self.kept
    }

    /// Decodes a row that is there.
    pub(crate) fn decode_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        if self.kept == Kept::Encoded {
            return self.encoding.decode(&self.data[row * self.row_bytes..(row + 1) * self.row_bytes], out);
        }
        let group = &self.data[row / ROWS * ROWS * self.row_bytes..];
        for (column, out) in out.iter_mut().enumerate() {
            // SAFETY: the column is within the matrix; arrays need no instruction set.
            *out = unsafe { load::<Portable>(self.kept, group.as_ptr(), column) }[row % ROWS];
        }
        Ok(())
    }

    /// Multiplies; see [`crate::linear`].
    pub(crate) fn multiply(&self, pool: &Pool, level: Level, values: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        let groups = self.rows.div_ceil(ROWS);
        let results = Results { rows: self.rows, bias, out: SharedRows::new(out, self.rows) };
        let each = groups.div_ceil(pool.threads() * 8).max(1);
        pool.run(groups.div_ceil(each), &|task| {
            let range = task * each..((task + 1) * each).min(groups);
            // SAFETY: the level was detected; rows of values are as long as the matrix is wide, since `linear`
            // has checked it; tasks have disjoint groups of rows.
            unsafe { level.run(Product { matrix: self, values, range, results: &results }) };
        });
    }
}

/// A column of 16 weights.
///
/// # Safety
/// The column is within the group of rows; see [`Lanes`].
#[inline(always)]
unsafe fn load<L: Lanes>(kept: Kept, group: *const u8, column: usize) -> L::Float {
    // SAFETY: the caller's promise.
    unsafe {
        match kept {
            Kept::F16 => L::halves(group.add(column * ROWS * 2)),
            Kept::Bf16 => L::brains(group.add(column * ROWS * 2)),
            Kept::F32 | Kept::Encoded => L::float_load(group.add(column * ROWS * 4).cast()),
        }
    }
}

struct Product<'a> {
    matrix: &'a Floats,
    values: &'a [f32],
    /// Groups of 16 rows.
    range: std::ops::Range<usize>,
    results: &'a Results<'a>,
}

impl Product<'_> {
    /// 16 rows by `T` rows of activations.
    #[inline(always)]
    unsafe fn some<L: Lanes, const T: usize>(&self, kept: Kept, weights: *const u8, group: usize, first: usize) {
        let columns = self.matrix.columns;
        // SAFETY: the group of rows and each row of activations have so many columns.
        unsafe {
            let values = self.values.as_ptr().add(first * columns);
            let mut sums = [[L::float_zero(); SUMS]; T];
            let whole = columns / SUMS * SUMS;
            let ahead = ahead();
            let mut column = 0;
            while column < whole {
                ask::<L>(ahead, weights.add(column * ROWS * kept.bytes()), SUMS * ROWS * kept.bytes());
                for s in 0..SUMS {
                    let w = load::<L>(kept, weights, column + s);
                    for t in 0..T {
                        sums[t][s] = L::fma(w, L::float_every(values.add(t * columns + column + s)), sums[t][s]);
                    }
                }
                column += SUMS;
            }
            for s in 0..columns - whole {
                let w = load::<L>(kept, weights, whole + s);
                for t in 0..T {
                    sums[t][s] = L::fma(w, L::float_every(values.add(t * columns + whole + s)), sums[t][s]);
                }
            }
            for t in 0..T {
                let total = L::add(L::add(sums[t][0], sums[t][1]), L::add(sums[t][2], sums[t][3]));
                self.results.put::<L>(group, first + t, total);
            }
        }
    }

    #[inline(always)]
    unsafe fn group<L: Lanes>(&self, kept: Kept, weights: *const u8, group: usize) {
        // SAFETY: the caller's promise.
        unsafe { together!(self.results.out.rows(), first, T, self.some::<L, T>(kept, weights, group, first)) };
    }

    /// Decodes 16 rows to columns of floats; rows that cannot be decoded become NaN.
    fn decode(&self, group: usize, row: &mut [f32], to: &mut [f32]) {
        for lane in 0..ROWS {
            let index = group * ROWS + lane;
            if index >= self.matrix.rows {
                row.fill(0.0);
            } else if self.matrix.decode_row(index, row).is_err() {
                row.fill(f32::NAN);
            }
            for (to, value) in to.chunks_exact_mut(ROWS).zip(&*row) {
                to[lane] = *value;
            }
        }
    }
}

impl Work for Product<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let matrix = self.matrix;
        // SAFETY: the promise of whoever made this value.
        unsafe {
            if matrix.kept == Kept::Encoded {
                let mut row = vec![0.0; matrix.columns];
                let mut columns = vec![0.0; matrix.columns * ROWS];
                for group in self.range.clone() {
                    self.decode(group, &mut row, &mut columns);
                    self.group::<L>(Kept::F32, columns.as_ptr().cast(), group);
                }
                return;
            }
            for group in self.range.clone() {
                let weights = matrix.data.as_ptr().add(group * ROWS * matrix.row_bytes);
                match matrix.kept {
                    Kept::F16 => self.group::<L>(Kept::F16, weights, group),
                    Kept::Bf16 => self.group::<L>(Kept::Bf16, weights, group),
                    Kept::F32 | Kept::Encoded => self.group::<L>(Kept::F32, weights, group),
                }
            }
        }
    }
}
