//! Weights whose codes, scales and zero points lie in tensors of their own (planes).
//!
//! Quantized Hugging Face checkpoints (GPTQ, AWQ, MLX, compressed-tensors) store one matrix as
//! several tensors. A format knows their names; a [`PlaneEncoding`] knows how they are laid out and
//! what they mean. The matrix is always seen in the neutral orientation, `[rows, columns]` =
//! `[outputs, inputs]`, whatever axis the planes put first.
//!
//! To read rows `a..b`: ask [`PlaneEncoding::planes`] for the layouts, round the range to
//! [`PlaneEncoding::row_step`], read for each plane the byte ranges that [`PlaneLayout::pieces`]
//! names one after the other into a buffer, and hand the buffers to [`PlaneEncoding::decode`].

use std::ops::Range;

use crate::{Encoding, Error, GroupedRows, Result, Shape};

/// What one plane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlaneRole {
    /// The integers.
    Codes,
    /// One factor for each group of each row.
    Scales,
    /// One addend for each group of each row.
    Biases,
    /// One integer for each group of each row, taken from the codes.
    ZeroPoints,
    /// The group of each column (`i32`), where columns were reordered by importance.
    GroupIndex,
}

/// Along which axis of a plane the rows of the matrix lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaneAxis {
    /// The outer (first) axis: rows of the matrix are contiguous.
    Outer,
    /// The inner (last) axis: rows of the matrix are strided.
    Inner,
    /// Neither: the plane belongs to all rows.
    None,
}

/// Shape and place of one plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneLayout {
    /// What it holds.
    pub role: PlaneRole,
    /// First dimension of its stored shape; 1 for a vector.
    pub outer: u64,
    /// Last dimension of its stored shape.
    pub inner: u64,
    /// Bytes of an element.
    pub element_bytes: u64,
    /// Where the matrix' rows lie.
    pub axis: PlaneAxis,
    /// Rows of the matrix in one step along `axis`.
    pub step_rows: u64,
    /// Elements along `axis` that hold such a step.
    pub step_elements: u64,
}

impl PlaneLayout {
    /// The whole size in bytes.
    pub fn bytes(&self) -> Result<u64> {
        let bytes = self.outer.checked_mul(self.inner).and_then(|n| n.checked_mul(self.element_bytes));
        bytes.ok_or_else(|| Error::input(format!("a plane of {} times {} elements is impossibly large", self.outer, self.inner)))
    }

    /// Elements along the row axis that hold `rows`. The start must be a multiple of `step_rows`;
    /// so must the end, unless it is the end of the matrix.
    fn elements(&self, rows: &Range<u64>) -> Result<Range<u64>> {
        let length = match self.axis {
            PlaneAxis::Outer => self.outer,
            PlaneAxis::Inner => self.inner,
            PlaneAxis::None => return Ok(0..self.inner),
        };
        let bad = || Error::bug(format!("rows {rows:?} are no whole steps of a plane of {length} elements"));
        if self.step_rows == 0 || rows.start > rows.end || !rows.start.is_multiple_of(self.step_rows) {
            return Err(bad());
        }
        let start = (rows.start / self.step_rows).checked_mul(self.step_elements).ok_or_else(bad)?;
        let end = rows.end.div_ceil(self.step_rows).checked_mul(self.step_elements).ok_or_else(bad)?.min(length);
        if start > end { Err(bad()) } else { Ok(start..end) }
    }

    /// Byte ranges, relative to the start of the plane, that hold `rows` of the matrix. Read one
    /// after the other they make the buffer that [`PlaneEncoding::decode`] wants.
    pub fn pieces(&self, rows: Range<u64>) -> Result<impl Iterator<Item = Range<u64>> + use<>> {
        self.bytes()?;
        let part = self.elements(&rows)?;
        let row_bytes = self.inner * self.element_bytes;
        let (count, start, length) = match self.axis {
            PlaneAxis::Outer => (1, part.start * row_bytes, (part.end - part.start) * row_bytes),
            PlaneAxis::Inner => (self.outer, part.start * self.element_bytes, (part.end - part.start) * self.element_bytes),
            PlaneAxis::None => (1, 0, self.outer * row_bytes),
        };
        Ok((0..count).map(move |i| i * row_bytes + start..i * row_bytes + start + length))
    }
}

/// One matrix as a checkpoint's configuration and tensor shapes describe it.
#[derive(Debug, Clone, Copy)]
pub struct PlaneParameters {
    /// Outputs: rows of the neutral matrix.
    pub rows: u64,
    /// Inputs: columns of the neutral matrix.
    pub columns: u64,
    /// Bits of a code.
    pub bits: u32,
    /// Columns that share a scale; `columns` where a row has one scale. The last group may be
    /// shorter.
    pub group_size: u64,
    /// How scales and biases are stored: a float encoding with blocks of one element.
    pub numbers: &'static dyn Encoding,
    /// Whether there is a plane of zero points. Without one the convention of the encoding holds
    /// (usually: codes are symmetric).
    pub zero_points: bool,
    /// Whether there is a plane that gives the group of each column.
    pub group_index: bool,
}

impl PlaneParameters {
    /// Groups in a row.
    pub fn groups(&self) -> Result<u64> {
        if self.group_size == 0 || self.columns == 0 {
            return Err(Error::input(format!("groups of {} in rows of {} weights", self.group_size, self.columns)));
        }
        Ok(self.columns.div_ceil(self.group_size))
    }

    /// The shape of the matrix.
    pub fn shape(&self) -> Result<Shape> {
        Shape::new([self.rows, self.columns])
    }
}

/// A way of storing a matrix as planes.
pub trait PlaneEncoding: Send + Sync + std::fmt::Debug {
    /// Lower-case name, for example `gptq`.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// The planes of such a matrix, in the order in which [`PlaneEncoding::decode`] wants them.
    ///
    /// # Errors
    /// `Unsupported` for bit widths or options that the layout does not have, `Input` for shapes
    /// that it cannot hold.
    fn planes(&self, parameters: &PlaneParameters) -> Result<Vec<PlaneLayout>>;

    /// Rows are read in multiples of this (the last piece may be shorter).
    fn row_step(&self, parameters: &PlaneParameters) -> Result<u64>;

    /// Decodes `rows` rows to `f32`, row-major. `planes` are the buffers of these rows in the order
    /// of [`PlaneEncoding::planes`]; `out` has `rows * columns` elements.
    ///
    /// # Errors
    /// `Input` where a buffer has not the size that the layout says, or a group index is out of
    /// range.
    fn decode(&self, parameters: &PlaneParameters, planes: &[&[u8]], rows: u64, out: &mut [f32]) -> Result<()>;

    /// Replaces `out` with the integers of `rows` rows, their scales and minima; the integers of a row in the order of their
    /// groups, which must have one length.
    ///
    /// # Errors
    /// As [`PlaneEncoding::decode`].
    fn unpack(&self, parameters: &PlaneParameters, planes: &[&[u8]], rows: u64, out: &mut GroupedRows) -> Result<()>;
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is expected")]
mod tests {
    use super::*;

    fn layout(axis: PlaneAxis) -> PlaneLayout {
        PlaneLayout { role: PlaneRole::Codes, outer: 4, inner: 6, element_bytes: 4, axis, step_rows: 8, step_elements: 1 }
    }

    #[test]
    fn pieces_of_each_axis() {
        let pieces = |axis, rows| layout(axis).pieces(rows).map(|p| p.collect::<Vec<_>>());
        assert_eq!(pieces(PlaneAxis::Outer, 8..24).unwrap(), [24..72]);
        assert_eq!(pieces(PlaneAxis::Inner, 8..24).unwrap(), [4..12, 28..36, 52..60, 76..84]);
        assert_eq!(pieces(PlaneAxis::None, 8..24).unwrap(), [0..96]);
        assert_eq!(pieces(PlaneAxis::Outer, 24..31).unwrap(), [72..96]);
        assert!(pieces(PlaneAxis::Outer, 4..8).is_err());
        assert!(pieces(PlaneAxis::Outer, 40..48).is_err());
        assert!(PlaneLayout { outer: u64::MAX, ..layout(PlaneAxis::Outer) }.pieces(0..8).is_err());
    }
}
