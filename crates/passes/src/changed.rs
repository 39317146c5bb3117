//! Tensors with a change that is made when rows are read.

use std::ops::Range;
use std::sync::Arc;

use gravure_core::{Encoding, Error, Model, Result, Tensor, TensorData, TensorId};

use crate::rotation::Rotation;

/// What is done to a tensor of rows and columns; a vector, of a norm or a bias, has a column for each element.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Each column times a factor.
    Columns(Arc<[f32]>),
    /// Each of some rows, from `first` on, times a factor.
    Rows {
        /// The first row.
        first: u64,
        /// Factors of the rows.
        factors: Arc<[f32]>,
    },
    /// Some columns rotated, a run of them after the other.
    RotatedColumns {
        /// The columns: whole runs.
        columns: Range<u64>,
        /// How.
        rotation: Arc<Rotation>,
    },
    /// Some rows rotated, a run of them after the other.
    RotatedRows {
        /// The rows: whole runs.
        rows: Range<u64>,
        /// How.
        rotation: Arc<Rotation>,
    },
    /// All values are one.
    Ones,
}

/// A tensor's rows with a change.
#[derive(Debug)]
struct ChangedRows {
    inner: Tensor,
    change: Change,
}

impl ChangedRows {
    /// Rows that are read so that `rows` can be made.
    fn read(&self, rows: &Range<u64>) -> Range<u64> {
        let Change::RotatedRows { rows: rotated, rotation } = &self.change else { return rows.clone() };
        let run = rotation.len() as u64;
        let start = |row: u64| if rotated.contains(&row) { rotated.start + (row - rotated.start) / run * run } else { row };
        let end = |row: u64| if rotated.contains(&row) { rotated.start + ((row - rotated.start) / run + 1) * run } else { row + 1 };
        start(rows.start)..rows.end.checked_sub(1).map_or(rows.end, end).max(rows.end)
    }
}

impl TensorData for ChangedRows {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.inner.shape.row_length() as usize;
        let read = self.read(&rows);
        let (mut scratch, mut values) = (Vec::new(), Vec::new());
        self.inner.decode_rows(read.clone(), &mut scratch, &mut values)?;
        match &self.change {
            Change::Columns(factors) => {
                for row in values.chunks_exact_mut(columns.max(1)) {
                    row.iter_mut().zip(factors.iter()).for_each(|(v, f)| *v *= f);
                }
            }
            Change::Rows { first, factors } => {
                for (row, values) in read.clone().zip(values.chunks_exact_mut(columns.max(1))) {
                    let factor = row.checked_sub(*first).and_then(|at| factors.get(at as usize)).copied().unwrap_or(1.0);
                    values.iter_mut().for_each(|v| *v *= factor);
                }
            }
            Change::RotatedColumns { columns: rotated, rotation } => {
                for row in values.chunks_exact_mut(columns.max(1)) {
                    let part = &mut row[rotated.start as usize..rotated.end as usize];
                    part.chunks_exact_mut(rotation.len()).for_each(|run| rotation.apply(run));
                }
            }
            Change::RotatedRows { rows: rotated, rotation } => {
                let from = rotated.start.clamp(read.start, read.end) - read.start;
                let to = rotated.end.clamp(read.start, read.end) - read.start;
                let part = &mut values[from as usize * columns..to as usize * columns];
                part.chunks_exact_mut(rotation.len() * columns).for_each(|run| rotation.apply_to_rows(run, columns));
            }
            Change::Ones => values.fill(1.0),
        }
        let skipped = (rows.start - read.start) as usize * columns;
        let wanted = &values[skipped..skipped + (rows.end - rows.start) as usize * columns];
        out.extend(wanted.iter().flat_map(|v| v.to_le_bytes()));
        Ok(())
    }

    fn rows_at_once(&self) -> Option<u64> {
        let own = match &self.change {
            Change::RotatedRows { rotation, .. } => Some(rotation.len() as u64),
            _ => None,
        };
        own.max(self.inner.data.rows_at_once())
    }
}

/// Changes the tensor `id` of the model, on top of what was changed before.
///
/// # Errors
/// `Input` where the model lacks the tensor or its shape does not fit the change.
pub(crate) fn change(model: &mut Model, id: TensorId, change: Change, floats: &'static dyn Encoding) -> Result<()> {
    let tensor = model.tensors.iter_mut().find(|t| t.id == Some(id));
    let tensor = tensor.ok_or_else(|| Error::input(format!("the graph names a tensor that the model lacks: {id:?}")))?;
    let (rows, columns) = (tensor.shape.rows(), tensor.shape.row_length());
    let runs = |range: &Range<u64>, rotation: &Rotation, all: u64| {
        range.start <= range.end && range.end <= all && (range.end - range.start).is_multiple_of(rotation.len() as u64)
    };
    let fits = match &change {
        Change::Columns(factors) => factors.len() as u64 == columns,
        Change::Rows { first, factors } => first.checked_add(factors.len() as u64).is_some_and(|end| end <= rows),
        Change::RotatedColumns { columns: rotated, rotation } => runs(rotated, rotation, columns),
        Change::RotatedRows { rows: rotated, rotation } => runs(rotated, rotation, rows),
        Change::Ones => true,
    };
    if !fits {
        return Err(Error::input(format!("a tensor of shape {} does not fit its neighbours", tensor.shape)).at_item(&*tensor.name));
    }
    tensor.data = Arc::new(ChangedRows { inner: tensor.clone(), change });
    tensor.encoding = floats;
    Ok(())
}

/// The tensor `id`.
pub(crate) fn tensor(model: &Model, id: TensorId) -> Result<&Tensor> {
    let found = model.tensors.iter().find(|t| t.id == Some(id));
    found.ok_or_else(|| Error::input(format!("the graph names a tensor that the model lacks: {id:?}")))
}
