//! Activations rounded to 8 bits in blocks, as integer kernels want them.

use crate::dispatch::{Level, Work};
use crate::lanes::Lanes;
use crate::{Pool, SharedRows};

/// Columns whose codes are summed: the shortest group of any encoding.
pub(crate) const SUMMED: usize = 16;

/// Rows of codes with a scale for each block.
///
/// `value = scale * code`, the scale being the largest magnitude of the block by 127. A block with a value
/// that is no number, or infinite, has NaN as its scale.
#[derive(Debug)]
pub(crate) struct Rounded {
    /// Columns of a block.
    pub(crate) block: usize,
    /// Codes.
    pub(crate) codes: Vec<i8>,
    /// Scales of blocks.
    pub(crate) scales: Vec<f32>,
    /// Sums of codes of every [`SUMMED`] columns.
    pub(crate) sums: Vec<i32>,
}

struct Round<'a> {
    values: &'a [f32],
    block: usize,
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Work for Round<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (index, values) in self.values.chunks_exact(self.block).enumerate() {
            let at = index * self.block;
            let mut bits = 0_u32;
            for value in values {
                bits = bits.max(value.to_bits() & 0x7fff_ffff);
            }
            let most = f32::from_bits(bits);
            let finite = most.is_finite();
            let inverse = if finite && most > 0.0 { 127.0 / most } else { 0.0 };
            self.scales[index] = if finite { most / 127.0 } else { f32::NAN };
            let codes = &mut self.codes[at..at + self.block];
            for (code, value) in codes.iter_mut().zip(values) {
                *code = byte(value * inverse);
            }
            for (sum, codes) in self.sums[at / SUMMED..].iter_mut().zip(codes.chunks_exact(SUMMED)) {
                *sum = 0;
                for code in codes {
                    *sum += i32::from(*code);
                }
            }
        }
    }
}

/// The nearest integer of a value that is within -127 and 127 but for a rounding; something for what is
/// no number.
#[inline(always)]
fn byte(value: f32) -> i8 {
    #[allow(clippy::manual_clamp, reason = "`clamp` keeps what is no number")]
    let bounded = value.max(-127.0).min(127.0);
    // SAFETY: within a byte by the line above: the compiler makes one instruction of it.
    unsafe { bounded.round_ties_even().to_int_unchecked::<i32>() as i8 }
}

impl Rounded {
    /// Rounds `values`, rows of `columns`, which is a multiple of `block`, which is one of 16.
    pub(crate) fn new(pool: &Pool, level: Level, values: &[f32], columns: usize, block: usize) -> Self {
        let rows = values.len() / columns.max(1);
        let mut out = Self {
            block,
            codes: vec![0; rows * columns],
            scales: vec![0.0; rows * columns / block],
            sums: vec![0; rows * columns / SUMMED],
        };
        let (codes, scales, sums) = (
            SharedRows::new(&mut out.codes, columns),
            SharedRows::new(&mut out.scales, columns / block),
            SharedRows::new(&mut out.sums, columns / SUMMED),
        );
        pool.run(rows, &|row| {
            let values = &values[row * columns..(row + 1) * columns];
            // SAFETY: each task writes its own row; the level was detected.
            unsafe { level.run(Round { values, block, codes: codes.row(row), scales: scales.row(row), sums: sums.row(row) }) };
        });
        out
    }
}

/// What a kernel reads of the rows beside their codes: for each group of columns `-offset * sum`, where sums
/// of codes begin, and `-sum` (times the scale where blocks are groups), which minima are multiplied with.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) starts: Vec<i32>,
    pub(crate) negated: Vec<f32>,
}

impl Groups {
    /// For groups of `group` columns.
    pub(crate) fn new(rounded: &Rounded, group: usize, offset: i32, minima: bool) -> Self {
        let sums = rounded.sums.chunks_exact(group / SUMMED).map(|s| s.iter().sum::<i32>());
        let starts = if offset == 0 { Vec::new() } else { sums.clone().map(|s| -offset * s).collect() };
        let scaled = rounded.block == group;
        let negated = match (minima, scaled) {
            (false, _) => Vec::new(),
            (true, true) => sums.zip(&rounded.scales).map(|(s, scale)| -(s as f32) * scale).collect(),
            (true, false) => sums.map(|s| -(s as f32)).collect(),
        };
        Self { starts, negated }
    }
}
