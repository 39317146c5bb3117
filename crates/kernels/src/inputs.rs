//! Rows of activations that several matrices are multiplied with.

use std::sync::{Mutex, PoisonError};

use gravure_simd::{Isa, Kernel, Simd};

use crate::Pool;

/// 32 activations, rounded to bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounded {
    /// `activation = scale * code`, codes from -127 to 127.
    pub(crate) codes: [i8; 32],
    /// Not a number where an activation is none or infinite.
    pub(crate) scale: f32,
    /// What integer sums start from, over the first half, the second half and all: the sum of the codes
    /// times the negated offset of the weights' codes.
    pub(crate) starts: [i32; 3],
    /// The sum of the rounded activations.
    pub(crate) sum: f32,
}

const NOTHING: Rounded = Rounded { codes: [0; 32], scale: 0.0, starts: [0; 3], sum: 0.0 };

/// Below this all are taken for zero: their reciprocal would overflow.
const LEAST: f32 = 1e-36;

/// Activations, and their rounded forms where a kernel has asked for them.
#[derive(Debug)]
pub struct Inputs<'a> {
    values: &'a [f32],
    columns: usize,
    /// By the offset that they are made for; for each 32 columns, one for each row.
    rounded: Vec<(i32, Vec<Rounded>)>,
}

impl<'a> Inputs<'a> {
    /// `values` as rows of `columns`.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, columns, rounded: Vec::new() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Length of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        self.values.get(index * self.columns..(index + 1) * self.columns).unwrap_or_default()
    }

    /// The rounded form for an offset, where it was made.
    pub(crate) fn rounded(&self, offset: i32) -> Option<&[Rounded]> {
        self.rounded.iter().find(|(of, _)| *of == offset).map(|(_, rounded)| &rounded[..])
    }

    /// Makes the rounded form for an offset; columns are a multiple of 32.
    pub(crate) fn round(&mut self, pool: &Pool, offset: i32) {
        if self.rounded(offset).is_some() {
            return;
        }
        let rows = self.rows();
        let mut rounded = vec![NOTHING; rows * (self.columns / 32)];
        if rows > 0 {
            /// Columns of a task, in 32s: four read whole cache lines of a row.
            const STRETCH: usize = 4;
            let parts: Vec<Mutex<&mut [Rounded]>> = rounded.chunks_mut(rows * STRETCH).map(Mutex::new).collect();
            let isa = Isa::detect();
            let (values, columns) = (self.values, self.columns);
            let body = |task: usize| {
                let mut out = parts[task].lock().unwrap_or_else(PoisonError::into_inner);
                isa.vectorize(Round { values, columns, rows, first: task * STRETCH, offset, out: &mut out });
            };
            if rows < 4 {
                (0..parts.len()).for_each(body);
            } else {
                pool.run(parts.len(), &body);
            }
        }
        self.rounded.push((offset, rounded));
    }
}

struct Round<'a> {
    values: &'a [f32],
    columns: usize,
    rows: usize,
    first: usize,
    offset: i32,
    out: &'a mut [Rounded],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _isa: S) {
        for (i, out) in self.out.chunks_exact_mut(self.rows).enumerate() {
            let column = 32 * (self.first + i);
            for (row, out) in out.iter_mut().enumerate() {
                let start = row * self.columns + column;
                if let Some(values) = self.values[start..].first_chunk::<32>() {
                    round(values, self.offset, out);
                }
            }
        }
    }
}

#[inline(always)]
fn round(values: &[f32; 32], offset: i32, out: &mut Rounded) {
    /// 1.5 * 2^23: adding it rounds to the nearest integer, ties to even, and leaves that in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let mut largest = 0;
    for value in values {
        // Magnitudes are ordered as their bits are; infinities and NaNs come last.
        largest = largest.max(value.to_bits() & 0x7fff_ffff);
    }
    let magnitude = f32::from_bits(largest);
    if !magnitude.is_finite() {
        *out = Rounded { scale: f32::NAN, sum: f32::NAN, ..NOTHING };
        return;
    }
    if magnitude < LEAST {
        *out = NOTHING;
        return;
    }
    let (scale, inverse) = (magnitude / 127.0, 127.0 / magnitude);
    let mut codes = [0i32; 32];
    for (code, value) in codes.iter_mut().zip(values) {
        *code = (value * inverse + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32;
    }
    let mut halves = [0; 2];
    for i in 0..16 {
        halves[0] += codes[i];
        halves[1] += codes[16 + i];
    }
    for (out, code) in out.codes.iter_mut().zip(codes) {
        *out = code as i8;
    }
    let whole = halves[0] + halves[1];
    out.scale = scale;
    out.starts = [-offset * halves[0], -offset * halves[1], -offset * whole];
    out.sum = scale * whole as f32;
}
