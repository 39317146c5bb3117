//! Activations rounded to 8 bits in blocks, as integer kernels want them: in panels of some rows that are
//! computed together. In a panel the rows take turns: of each the first four codes, of each the next four, and
//! so on; scales and sums likewise. A kernel so walks along one pointer, however many rows it computes.

use crate::dispatch::{Level, Work};
use crate::form::halved;
use crate::lanes::Lanes;
use crate::tiles::TILE_HEIGHT;
use crate::{Pool, SharedRows};

/// Columns whose codes are summed: the shortest group of any encoding.
pub(crate) const SUMMED: usize = 16;

/// From so many rows on, a processor's tiles multiply where it has them.
const TILES_FROM: usize = 8;
/// Rows of a panel that meets weights that are laid out: results of so many in two groups of rows fill the registers.
pub(crate) const TILE_WIDTH: usize = 6;
/// Rows of a panel that meets weights as they are stored.
pub(crate) const DIRECT_WIDTH: usize = 4;

/// The order of the codes of rows, which says what they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Rows of a panel take turns: of each four codes. Weights as they are stored.
    Few,
    /// The same in wider panels: weights that are laid out.
    Many,
    /// Row by row, in panels as high as a processor's tiles.
    Rows,
}

impl Order {
    /// What `rows` rows meet on a processor, where a kernel lays weights out from `laid_out_from` rows on.
    pub(crate) fn of(level: Level, rows: usize, laid_out_from: usize) -> Self {
        if level.has_tiles() && rows >= TILES_FROM {
            Self::Rows
        } else if rows >= laid_out_from {
            Self::Many
        } else {
            Self::Few
        }
    }
}

/// Rows of the panel that begins at row `first` of `rows`.
#[inline(always)]
pub(crate) fn width(order: Order, first: usize, rows: usize) -> usize {
    let left = rows - first;
    match (order, left) {
        (Order::Rows, _) => left.min(TILE_HEIGHT),
        (Order::Few, _) => left.min(DIRECT_WIDTH),
        (Order::Many, 4 | 5) => 4,
        (Order::Many, _) => left.min(TILE_WIDTH),
    }
}

/// Codes with a scale for each block.
///
/// `value = scale * code`, the scale being the largest magnitude of the block by 127. A block with a value
/// that is no number, or infinite, has NaN as its scale. The panel that begins at row `r` lies where row `r`
/// would without panels.
#[derive(Debug)]
pub(crate) struct Rounded {
    /// Number of rows.
    pub(crate) rows: usize,
    /// Length of a row.
    pub(crate) columns: usize,
    /// Columns of a block.
    pub(crate) block: usize,
    /// The order of codes; scales and sums take turns in either.
    pub(crate) order: Order,
    /// Codes, four in each.
    pub(crate) codes: Vec<i32>,
    /// Scales of blocks.
    pub(crate) scales: Vec<f32>,
    /// Sums of codes of every [`SUMMED`] columns.
    pub(crate) sums: Vec<i32>,
}

/// Rounds a panel.
struct Round<'a> {
    /// Rows of values.
    values: &'a [f32],
    columns: usize,
    block: usize,
    order: Order,
    codes: &'a mut [i32],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

/// Columns of the longest block.
const MOST: usize = 256;

impl Work for Round<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let width = self.values.len() / self.columns;
        let mut bytes = [0_i8; MOST];
        let (row_stride, step_stride) = match self.order {
            Order::Few | Order::Many => (1, width),
            Order::Rows => (self.columns / 4, 1),
        };
        for (row, values) in self.values.chunks_exact(self.columns).enumerate() {
            for (index, values) in values.chunks_exact(self.block).enumerate() {
                let at = index * self.block;
                let mut bits = 0_u32;
                for value in values {
                    bits = bits.max(value.to_bits() & 0x7fff_ffff);
                }
                let most = f32::from_bits(bits);
                let finite = most.is_finite();
                let inverse = if finite && most > 0.0 { 127.0 / most } else { 0.0 };
                self.scales[index * width + row] = if finite { most / 127.0 } else { f32::NAN };
                let bytes = &mut bytes[..self.block];
                for (byte, value) in bytes.iter_mut().zip(values) {
                    *byte = nearest(value * inverse);
                }
                let codes = &mut self.codes[at / 4 * step_stride + row * row_stride..];
                for (step, four) in bytes.as_chunks::<4>().0.iter().enumerate() {
                    codes[step * step_stride] = i32::from_le_bytes(four.map(|b| b as u8));
                }
                for (group, bytes) in bytes.chunks_exact(SUMMED).enumerate() {
                    let mut sum = 0;
                    for byte in bytes {
                        sum += i32::from(*byte);
                    }
                    self.sums[(at / SUMMED + group) * width + row] = sum;
                }
            }
        }
    }
}

/// The nearest integer of a value that is within -127 and 127 but for a rounding; something for what is
/// no number.
#[inline(always)]
fn nearest(value: f32) -> i8 {
    #[allow(clippy::manual_clamp, reason = "`clamp` keeps what is no number")]
    let bounded = value.max(-127.0).min(127.0);
    // SAFETY: within a byte by the line above: the compiler makes one instruction of it.
    unsafe { bounded.round_ties_even().to_int_unchecked::<i32>() as i8 }
}

impl Rounded {
    /// Rounds `values`, rows of `columns`, which is a multiple of `block`, which is one of 16 and at most 256.
    pub(crate) fn new(pool: &Pool, level: Level, values: &[f32], columns: usize, block: usize, order: Order) -> Self {
        let rows = values.len() / columns.max(1);
        let mut out = Self {
            rows,
            columns,
            block,
            order,
            codes: vec![0; rows * columns / 4],
            scales: vec![0.0; rows * columns / block],
            sums: vec![0; rows * columns / SUMMED],
        };
        let panels: Vec<usize> = panels(order, rows).collect();
        let (codes, scales, sums) = (
            SharedRows::new(&mut out.codes, columns / 4),
            SharedRows::new(&mut out.scales, columns / block),
            SharedRows::new(&mut out.sums, columns / SUMMED),
        );
        pool.run(panels.len(), &|index| {
            let first = panels[index];
            let range = first..first + width(order, first, rows);
            let values = &values[range.start * columns..range.end * columns];
            // SAFETY: each task writes its own rows; the level was detected.
            unsafe {
                let (codes, scales, sums) = (codes.rows_of(range.clone()), scales.rows_of(range.clone()), sums.rows_of(range));
                level.run(Round { values, columns, block, order, codes, scales, sums });
            }
        });
        out
    }
}

/// First rows of the panels of so many rows.
pub(crate) fn panels(order: Order, rows: usize) -> impl Iterator<Item = usize> {
    std::iter::successors((rows > 0).then_some(0), move |&first| Some(first + width(order, first, rows)).filter(|next| *next < rows))
}

/// What a kernel reads of the rows beside their codes: for each group of columns `-offset * sum`, where sums
/// of codes begin, and `-sum`, which minima are multiplied with: times the scale where blocks are groups, and in words of four
/// upper and of four lower bytes where groups are smaller ([`halved`]). In panels, as the codes.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) starts: Vec<i32>,
    pub(crate) negated: Vec<f32>,
    pub(crate) words: Vec<i32>,
}

impl Groups {
    /// For groups of `group` columns.
    pub(crate) fn new(rounded: &Rounded, group: usize, offset: i32, minima: bool) -> Self {
        let (rows, columns, parts) = (rounded.rows, rounded.columns, group / SUMMED);
        let mut sums = vec![0_i32; rows * columns / group];
        for first in panels(rounded.order, rows) {
            let width = width(rounded.order, first, rows);
            let from = &rounded.sums[first * columns / SUMMED..];
            let to = &mut sums[first * columns / group..][..width * columns / group];
            for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(parts * width)) {
                for from in from.chunks_exact(width) {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        }
        let starts = if offset == 0 { Vec::new() } else { sums.iter().map(|s| -offset * s).collect() };
        let negated = match (minima, rounded.block == group) {
            (false, _) => Vec::new(),
            (true, true) => sums.iter().zip(&rounded.scales).map(|(s, scale)| -(*s as f32) * scale).collect(),
            (true, false) => Vec::new(),
        };
        let mut words = Vec::new();
        if minima && rounded.block != group {
            words.reserve_exact(sums.len() / 2);
            for first in panels(rounded.order, rows) {
                let width = width(rounded.order, first, rows);
                for four in sums[first * columns / group..][..width * columns / group].chunks_exact(4 * width) {
                    for part in 0..2 {
                        let word = |row: usize| i32::from_le_bytes(std::array::from_fn(|i| halved(-four[i * width + row])[part] as u8));
                        words.extend((0..width).map(word));
                    }
                }
            }
        }
        Self { starts, negated, words }
    }
}
