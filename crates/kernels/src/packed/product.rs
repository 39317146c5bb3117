//! The loops: a group or two of rows keep a cell in registers while the rows of activations pass by.

use std::marker::PhantomData;

use gravure_simd::rows::{Rows, RowsKernel};

use super::{CELL, Cell, Packed};
use crate::inputs::Rounded;
use crate::{Inputs, SharedRows};

/// Rows of activations whose sums are kept while the cells of a matrix pass by.
const TILE: usize = 64;

/// A kernel with its layout.
pub(crate) trait Product: Send + Sync + std::fmt::Debug {
    /// Name for people.
    fn name(&self) -> &'static str;
    /// Matrix rows that lie side by side.
    fn rows(&self) -> usize;
    /// What it needs of the activations: the number that is subtracted from codes.
    fn offset(&self) -> i32;
    /// Matrix rows of a task.
    fn task_rows(&self) -> usize;
    /// Lays an encoded row at place `lane` of a zeroed group.
    fn pack(&self, row: &[u8], lane: usize, group: &mut [u8]);
    /// Takes a row out again.
    fn unpack(&self, group: &[u8], lane: usize, row: &mut [u8]);
    /// Multiplies the groups of `data`, whose first row is `first` of `outputs`, with all activations.
    ///
    /// # Safety
    /// Nobody else uses the columns of `out` that belong to those rows.
    unsafe fn multiply(&self, data: &[u8], first: usize, inputs: &Inputs<'_>, bias: Option<&[f32]>, out: &SharedRows<'_>);
}

struct Kernel<F, S> {
    isa: S,
    format: PhantomData<F>,
}

/// The kernel of a format on an instruction set.
pub(crate) fn boxed<F: Packed, S: Rows>(isa: S) -> Box<dyn Product> {
    Box::new(Kernel::<F, S> { isa, format: PhantomData })
}

impl<F, S: Rows> std::fmt::Debug for Kernel<F, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(S::NAME)
    }
}

impl<F: Packed, S: Rows> Product for Kernel<F, S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn rows(&self) -> usize {
        S::ROWS
    }

    fn offset(&self) -> i32 {
        if F::BITS == 8 { S::SIGNED_OFFSET } else { F::OFFSET }
    }

    fn task_rows(&self) -> usize {
        S::ROWS * S::GROUPS
    }

    fn pack(&self, row: &[u8], lane: usize, group: &mut [u8]) {
        for (row, group) in row.chunks_exact(F::BYTES).zip(group.chunks_exact_mut(F::BYTES * S::ROWS)) {
            let mut start = 0;
            for &(bytes, unit) in F::FIELDS {
                let field = &mut group[start * S::ROWS..(start + bytes) * S::ROWS];
                for (unit_of_row, units) in row[start..start + bytes].chunks_exact(unit).zip(field.chunks_exact_mut(unit * S::ROWS)) {
                    units[lane * unit..(lane + 1) * unit].copy_from_slice(unit_of_row);
                }
                start += bytes;
            }
        }
    }

    fn unpack(&self, group: &[u8], lane: usize, row: &mut [u8]) {
        for (row, group) in row.chunks_exact_mut(F::BYTES).zip(group.chunks_exact(F::BYTES * S::ROWS)) {
            let mut start = 0;
            for &(bytes, unit) in F::FIELDS {
                let field = &group[start * S::ROWS..(start + bytes) * S::ROWS];
                for (unit_of_row, units) in row[start..start + bytes].chunks_exact_mut(unit).zip(field.chunks_exact(unit * S::ROWS)) {
                    unit_of_row.copy_from_slice(&units[lane * unit..(lane + 1) * unit]);
                }
                start += bytes;
            }
        }
    }

    unsafe fn multiply(&self, data: &[u8], first: usize, inputs: &Inputs<'_>, bias: Option<&[f32]>, out: &SharedRows<'_>) {
        let Some(rounded) = inputs.rounded(self.offset()) else { return };
        self.isa.enter(Multiply::<F> { data, first, rounded, columns: inputs.columns(), bias, out, format: PhantomData });
    }
}

struct Multiply<'a, F> {
    data: &'a [u8],
    first: usize,
    /// For each cell of columns, one for each row of activations.
    rounded: &'a [Rounded],
    columns: usize,
    bias: Option<&'a [f32]>,
    out: &'a SharedRows<'a>,
    format: PhantomData<F>,
}

impl<F: Packed> RowsKernel for Multiply<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Rows>(self, isa: S) {
        let length = self.columns / F::COLUMNS * F::BYTES * S::ROWS;
        let (mut start, mut row) = (0, self.first);
        while length > 0 && start + length <= self.data.len() {
            if S::GROUPS >= 2 && start + 2 * length <= self.data.len() {
                let (a, b) = self.data[start..start + 2 * length].split_at(length);
                self.tiles::<S, 2>(isa, [a, b], row);
                (start, row) = (start + 2 * length, row + 2 * S::ROWS);
            } else {
                self.tiles::<S, 1>(isa, [&self.data[start..start + length]], row);
                (start, row) = (start + length, row + S::ROWS);
            }
        }
    }
}

impl<F: Packed> Multiply<'_, F> {
    #[inline(always)]
    fn tiles<S: Rows, const G: usize>(&self, isa: S, groups: [&[u8]; G], row: usize) {
        let inputs = self.out.rows();
        let mut start = 0;
        while start < inputs {
            let count = (inputs - start).min(TILE);
            if count == 1 {
                self.tile::<S, G, 1>(isa, groups, row, start, 1);
            } else if count <= 4 {
                self.tile::<S, G, 4>(isa, groups, row, start, count);
            } else {
                self.tile::<S, G, TILE>(isa, groups, row, start, count);
            }
            start += count;
        }
    }

    #[inline(always)]
    fn tile<S: Rows, const G: usize, const T: usize>(&self, isa: S, groups: [&[u8]; G], row: usize, start: usize, count: usize) {
        let inputs = self.out.rows();
        let mut sums = [[isa.splat(0.0); G]; T];
        let mut position = 0;
        for block in 0..self.columns / F::COLUMNS {
            let bytes = F::BYTES * S::ROWS;
            let mut blocks = groups;
            for group in &mut blocks {
                *group = &group[block * bytes..(block + 1) * bytes];
            }
            let mut heads = [F::head(isa, blocks[0]); G];
            for g in 1..G {
                heads[g] = F::head(isa, blocks[g]);
            }
            for index in 0..F::COLUMNS / CELL {
                let mut cells = [F::cell(isa, blocks[0], &heads[0], index); G];
                for g in 1..G {
                    cells[g] = F::cell(isa, blocks[g], &heads[g], index);
                }
                let rounded = &self.rounded[position + start..position + start + count];
                if T == 1 {
                    add::<F, S, G>(isa, &cells, &rounded[0], &mut sums[0]);
                } else {
                    for (rounded, sums) in rounded.iter().zip(&mut sums) {
                        add::<F, S, G>(isa, &cells, rounded, sums);
                    }
                }
                position += inputs;
            }
        }
        for (i, sums) in sums.iter().enumerate().take(count) {
            for (g, sum) in sums.iter().enumerate() {
                let mut values = [0.0; 16];
                isa.store(*sum, &mut values);
                let first = row + g * S::ROWS;
                let columns = first..(first + S::ROWS).min(self.out.width());
                if columns.is_empty() {
                    continue;
                }
                if let Some(bias) = self.bias {
                    for (value, bias) in values.iter_mut().zip(&bias[columns.clone()]) {
                        *value += bias;
                    }
                }
                let length = columns.len();
                // SAFETY: the caller of `multiply` promises that these columns are this task's.
                unsafe { self.out.part(start + i, columns) }.copy_from_slice(&values[..length]);
            }
        }
    }
}

#[inline(always)]
fn add<F: Packed, S: Rows, const G: usize>(isa: S, cells: &[Cell<S>; G], rounded: &Rounded, sums: &mut [S::F32; G]) {
    let scale = isa.splat(rounded.scale);
    for g in 0..G {
        let cell = &cells[g];
        let mut sum = sums[g];
        if F::HALVES {
            let parts = match F::BITS {
                8 => [dot::<S, 8, 0, 4>(isa, cell, rounded, 0), dot::<S, 8, 4, 4>(isa, cell, rounded, 1)],
                6 => [dot::<S, 6, 0, 4>(isa, cell, rounded, 0), dot::<S, 6, 4, 4>(isa, cell, rounded, 1)],
                _ => [dot::<S, 4, 0, 4>(isa, cell, rounded, 0), dot::<S, 4, 4, 4>(isa, cell, rounded, 1)],
            };
            sum = isa.mul_add(isa.to_f32(parts[0]), isa.mul(cell.scales[0], scale), sum);
            sum = isa.mul_add(isa.to_f32(parts[1]), isa.mul(cell.scales[1], scale), sum);
        } else {
            let whole = match F::BITS {
                8 => dot::<S, 8, 0, 8>(isa, cell, rounded, 2),
                6 => dot::<S, 6, 0, 8>(isa, cell, rounded, 2),
                _ => dot::<S, 4, 0, 8>(isa, cell, rounded, 2),
            };
            sum = isa.mul_add(isa.to_f32(whole), isa.mul(cell.scales[0], scale), sum);
        }
        if F::MINIMUM {
            sum = isa.mul_add(cell.minimum, isa.splat(rounded.sum), sum);
        }
        sums[g] = sum;
    }
}

#[inline(always)]
fn dot<S: Rows, const BITS: u32, const FIRST: usize, const COUNT: usize>(
    isa: S,
    cell: &Cell<S>,
    rounded: &Rounded,
    part: usize,
) -> S::Word {
    isa.dot::<BITS, FIRST, COUNT>(&cell.codes, &rounded.codes, rounded.starts[part])
}
