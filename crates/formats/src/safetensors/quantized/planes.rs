//! A matrix in planes as one tensor of decoded rows.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use gravure_base::{Error, Result};
use gravure_core::values::order_of_groups;
use gravure_core::{Catalog, GroupedRows, Grouping, PlaneAxis, PlaneEncoding, PlaneLayout, PlaneParameters, PlaneRole, Tensor, TensorData};

/// Rows that are decoded at once, in bytes of `f32`: strided planes are read in fewer, longer pieces.
const PIECE_BYTES: u64 = 4 << 20;

/// The planes of one matrix.
#[derive(Debug)]
struct PlaneTensor {
    encoding: &'static dyn PlaneEncoding,
    parameters: PlaneParameters,
    planes: Vec<(PlaneLayout, Arc<dyn TensorData>)>,
    row_step: u64,
    /// See [`Self::order`].
    order: OnceLock<Option<Vec<u32>>>,
}

/// The matrix `name` from its planes.
///
/// # Errors
/// `Input` where a plane is missing, left over, or has another shape or type than the encoding says.
pub(super) fn tensor(
    name: String,
    encoding: &str,
    parameters: PlaneParameters,
    mut stored: Vec<(PlaneRole, Tensor)>,
    catalog: &Catalog,
) -> Result<Tensor> {
    let encoding = catalog.plane_encoding(encoding)?;
    let shape = parameters.shape()?;
    let mut planes = Vec::new();
    for layout in encoding.planes(&parameters)? {
        let at = stored.iter().position(|(role, _)| *role == layout.role);
        let at = at.ok_or_else(|| Error::input(format!("its tensor of {:?} is missing", layout.role)))?;
        let (_, plane) = stored.swap_remove(at);
        check(&layout, &plane)?;
        planes.push((layout, plane.data));
    }
    if let Some((role, plane)) = stored.first() {
        return Err(Error::input(format!("`{}` is a plane of {role:?}, which {} does not have", plane.name, encoding.id())));
    }
    let row_step = encoding.row_step(&parameters)?.max(1);
    let data = Arc::new(PlaneTensor { encoding, parameters, planes, row_step, order: OnceLock::new() });
    Ok(Tensor { name, id: None, shape, encoding: catalog.encoding("f32")?, data })
}

fn check(layout: &PlaneLayout, plane: &Tensor) -> Result<()> {
    let fits = match plane.shape.dimensions() {
        [outer, inner] => [*outer, *inner] == [layout.outer, layout.inner],
        [inner] => layout.outer == 1 && *inner == layout.inner,
        _ => false,
    };
    let elements = plane.encoding.layout();
    if !fits || elements.block_elements != 1 || elements.block_bytes as u64 != layout.element_bytes {
        return Err(Error::input(format!(
            "`{}` is {} of {}, where the quantization asks for [{}, {}] of {} bytes",
            plane.name,
            plane.shape,
            plane.encoding.id(),
            layout.outer,
            layout.inner,
            layout.element_bytes
        )));
    }
    Ok(())
}

impl PlaneTensor {
    fn has_index(&self) -> bool {
        self.planes.iter().any(|(layout, _)| layout.role == PlaneRole::GroupIndex)
    }

    /// The columns in the order of their groups, where the checkpoint names the group of each (it then has reordered them by
    /// importance, or says that it has not); read once.
    fn order(&self) -> Option<&Vec<u32>> {
        let read = || {
            let (layout, data) = self.planes.iter().find(|(layout, _)| layout.role == PlaneRole::GroupIndex)?;
            let index = self.read(layout, data.as_ref(), &(0..self.row_step.min(self.parameters.rows))).ok()?;
            let group_of: Vec<usize> = index.as_chunks::<4>().0.iter().map(|g| u32::from_le_bytes(*g) as usize).collect();
            order_of_groups(&group_of, self.parameters.group_size)
        };
        self.order.get_or_init(read).as_ref()
    }

    /// The bytes of one plane that belong to `rows`.
    fn read(&self, layout: &PlaneLayout, data: &dyn TensorData, rows: &Range<u64>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let Some(piece) = layout.pieces(rows.clone())?.next() else { return Ok(out) };
        match layout.axis {
            PlaneAxis::None => data.read_rows(0..layout.outer, &mut out)?,
            PlaneAxis::Inner => data.read_columns(0..layout.outer, piece, &mut out)?,
            PlaneAxis::Outer => {
                let row_bytes = layout.inner * layout.element_bytes;
                if let (Some(start), Some(end)) = (piece.start.checked_div(row_bytes), piece.end.checked_div(row_bytes)) {
                    data.read_rows(start..end, &mut out)?;
                }
            }
        }
        Ok(out)
    }

    /// The planes of the whole steps that `rows` lie in, and the rows of these.
    fn steps(&self, rows: &Range<u64>) -> Result<(Range<u64>, Vec<Vec<u8>>)> {
        if rows.start > rows.end || rows.end > self.parameters.rows {
            return Err(Error::bug(format!("rows {rows:?} of {}", self.parameters.rows)));
        }
        let start = rows.start / self.row_step * self.row_step;
        let steps = start..rows.end.next_multiple_of(self.row_step).min(self.parameters.rows);
        let planes = self.planes.iter().map(|(layout, data)| self.read(layout, data.as_ref(), &steps));
        Ok((steps.clone(), planes.collect::<Result<Vec<_>>>()?))
    }
}

impl TensorData for PlaneTensor {
    fn stored_bytes(&self) -> Option<u64> {
        self.planes.iter().map(|(layout, _)| layout.bytes().ok()).sum()
    }

    fn grouping(&self) -> Option<Grouping> {
        let PlaneParameters { bits, group_size, .. } = self.parameters;
        // Groups of different lengths have no order.
        (!self.has_index() || self.order().is_some()).then_some(Grouping { bits, columns: group_size })
    }

    fn group_order(&self) -> Option<Vec<u32>> {
        self.order().filter(|order| !order.is_sorted()).cloned()
    }

    fn read_grouped(&self, rows: Range<u64>, out: &mut GroupedRows) -> Result<()> {
        let (steps, buffers) = self.steps(&rows)?;
        let views: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
        self.encoding.unpack(&self.parameters, &views, steps.end - steps.start, out)?;
        // Only what was asked for of the steps' rows.
        let (skip, keep) = ((rows.start - steps.start) as usize, (rows.end - rows.start) as usize);
        let (columns, groups) = (self.parameters.columns as usize, self.parameters.groups()? as usize);
        let cut = |values: &mut Vec<f32>| {
            values.drain(..skip * groups);
            values.truncate(keep * groups);
        };
        out.codes.drain(..skip * columns);
        out.codes.truncate(keep * columns);
        cut(&mut out.scales);
        cut(&mut out.minima);
        Ok(())
    }

    fn rows_at_once(&self) -> Option<u64> {
        let row_bytes = self.parameters.columns.saturating_mul(4).max(1);
        let rows = (PIECE_BYTES / row_bytes / self.row_step).max(1) * self.row_step;
        Some(rows.clamp(1, self.parameters.rows.max(1)))
    }

    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if rows.is_empty() {
            return Ok(());
        }
        let (steps, buffers) = self.steps(&rows)?;
        let views: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
        let count = (steps.end - steps.start).checked_mul(self.parameters.columns).and_then(|n| usize::try_from(n).ok());
        let mut values = vec![0.0; count.ok_or_else(|| Error::limit("too many rows at once"))?];
        self.encoding.decode(&self.parameters, &views, steps.end - steps.start, &mut values)?;
        let columns = self.parameters.columns as usize;
        let wanted = (rows.start - steps.start) as usize * columns..(rows.end - steps.start) as usize * columns;
        let wanted = values.get(wanted).ok_or_else(|| Error::bug("fewer rows were decoded than asked for"))?;
        out.reserve(wanted.len() * 4);
        out.extend(wanted.iter().flat_map(|v| v.to_le_bytes()));
        Ok(())
    }
}
