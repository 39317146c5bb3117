//! Elements that decode by themselves (float8, bytes), times a scale for the tensor, each row, or each
//! block.

use std::ops::Range;
use std::sync::Arc;

use gravure_base::{Error, Result};
use gravure_core::{Catalog, Tensor, TensorData};

use super::groups::Groups;

/// A matrix whose element `[r, c]` is multiplied by `scales[r / block[0], c / block[1]]`.
#[derive(Debug)]
struct ScaledTensor {
    weight: Tensor,
    scales: Tensor,
    block: [u64; 2],
    columns: u64,
    rows: u64,
    /// Scales for one row of blocks.
    across: u64,
}

/// `weight` times `scales`, whose shape says what they belong to: one for all, one for each row, or
/// one for each block of the size `block`.
pub(super) fn tensor(weight: Tensor, scales: Tensor, block: Option<[u64; 2]>, catalog: &Catalog) -> Result<Tensor> {
    let &[rows, columns] = weight.shape.dimensions() else {
        return Err(Error::unsupported(format!("scales of a tensor of shape {}, which is no matrix", weight.shape)));
    };
    if scales.encoding.is_integer() || scales.encoding.layout().block_elements != 1 {
        return Err(Error::unsupported(format!("scales stored as {}", scales.encoding.id())));
    }
    let dimensions = scales.shape.dimensions();
    let grid = |[height, width]: [u64; 2]| [rows.div_ceil(height), columns.div_ceil(width)];
    let (block, across) = match (dimensions, block) {
        ([down, across], Some(block)) if [*down, *across] == grid(block) => (block, *across),
        ([] | [1] | [1, 1], _) => ([rows.max(1), columns.max(1)], 1),
        ([n] | [n, 1], _) if *n == rows => ([1, columns.max(1)], 1),
        _ => {
            let blocks = block.map_or(String::new(), |[a, b]| format!(" in blocks of {a} by {b}"));
            return Err(Error::input(format!(
                "`{}` of shape {} does not fit a matrix of {}{blocks}",
                scales.name, scales.shape, weight.shape
            )));
        }
    };
    let (name, shape) = (weight.name.clone(), weight.shape.clone());
    let data = Arc::new(ScaledTensor { weight, scales, block, columns, rows, across });
    Ok(Tensor { name, id: None, shape, encoding: catalog.encoding("f32")?, data })
}

impl ScaledTensor {
    /// The scales that rows of blocks `range` need, row by row.
    fn scales(&self, range: Range<u64>) -> Result<Vec<f32>> {
        // A vector is one row of the file; a matrix is read by its rows.
        let (first, count) = (range.start * self.across, (range.end - range.start) * self.across);
        let size = self.scales.encoding.layout().block_bytes as u64;
        let row = self.scales.shape.row_length();
        let mut bytes = Vec::new();
        if row == self.across {
            self.scales.data.read_rows(range, &mut bytes)?;
        } else {
            self.scales.data.read_columns(0..1, first * size..(first + count) * size, &mut bytes)?;
        }
        let mut out = vec![0.0; usize::try_from(count).map_err(|_| Error::limit("too many rows at once"))?];
        self.scales.encoding.decode(&bytes, &mut out)?;
        Ok(out)
    }
}

impl TensorData for ScaledTensor {
    fn stored_bytes(&self) -> Option<u64> {
        Some(self.weight.bytes().ok()? + self.scales.bytes().ok()?)
    }

    fn rows_at_once(&self) -> Option<u64> {
        self.weight.data.rows_at_once()
    }

    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        if rows.start > rows.end || rows.end > self.rows {
            return Err(Error::bug(format!("rows {rows:?} of {}", self.rows)));
        }
        out.clear();
        if rows.is_empty() || self.columns == 0 {
            return Ok(());
        }
        let [height, width] = self.block;
        let blocks = rows.start / height..(rows.end - 1) / height + 1;
        let first = blocks.start;
        let scales = self.scales(blocks)?;
        let (mut scratch, mut values) = (Vec::new(), Vec::new());
        self.weight.decode_rows(rows.clone(), &mut scratch, &mut values)?;
        let across = self.across as usize;
        out.reserve(values.len() * 4);
        for (row, values) in rows.zip(values.chunks_exact(self.columns as usize)) {
            let start = (row / height - first) as usize * across;
            let scales = scales.get(start..start + across).ok_or_else(|| Error::bug("fewer scales than rows"))?;
            for (values, scale) in values.chunks(usize::try_from(width).unwrap_or(usize::MAX)).zip(scales) {
                out.extend(values.iter().flat_map(|v| (v * scale).to_le_bytes()));
            }
        }
        Ok(())
    }
}

/// A float8 matrix with its scale; `None` where it has none.
pub(super) fn fp8(block: Option<[u64; 2]>, base: &str, groups: &mut Groups, catalog: &Catalog) -> Result<Option<Tensor>> {
    let scales = [".weight_scale_inv", ".weight_scale"].map(|suffix| format!("{base}{suffix}"));
    let mut there = scales.iter().filter(|name| groups.get(name).is_some());
    let (Some(name), None) = (there.next(), there.next()) else {
        // Both would be contradictory, none is an ordinary tensor.
        return if scales.iter().all(|name| groups.get(name).is_some()) { Err(Error::input("has two scales")) } else { Ok(None) };
    };
    let scales = groups.need(name)?;
    let weight = groups.need(&format!("{base}.weight"))?;
    if weight.encoding.is_integer() {
        return Err(Error::input(format!("`{}` is stored as {} instead of float8", weight.name, weight.encoding.id())));
    }
    tensor(weight, scales, block, catalog).map(Some)
}
