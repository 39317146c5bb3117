//! From tensors over storages to lazy rows in a file.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gravure_base::{Error, Limits, ReadAt, Result, ResultExt};
use gravure_core::values::StoredTensor;
use gravure_core::{Catalog, Shape, Tensor, TensorData};

use super::globals::Element;
use super::heap::{Heap, Storage, TensorView};

/// Where a storage's bytes are.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) source: Arc<dyn ReadAt>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Largest stretch of a file that one strip of a transposed tensor reads at once.
const MAX_STRIP_BYTES: u64 = 8 << 20;

/// A tensor of the heap and its reader.
type Made = (usize, Arc<dyn TensorData>);

/// Makes lazy tensors; equal views of one storage share their reader.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    heap: &'a Heap,
    places: &'a HashMap<String, Placed>,
    catalog: &'a Catalog,
    limits: &'a Limits,
    made: HashMap<usize, Vec<Made>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(heap: &'a Heap, places: &'a HashMap<String, Placed>, catalog: &'a Catalog, limits: &'a Limits) -> Self {
        Self { heap, places, catalog, limits, made: HashMap::new() }
    }

    /// The tensor `index` of the heap under this name.
    pub(super) fn tensor(&mut self, index: usize, name: String) -> Result<Tensor> {
        self.make(index, &name).at_item(|| name)
    }

    fn make(&mut self, index: usize, name: &str) -> Result<Tensor> {
        let view = &self.heap.tensors[index];
        Limits::check(view.size.len() as u64, self.limits.dimensions.into(), "dimensions of a tensor")?;
        let encoding = self.catalog.encoding(view.element.encoding)?;
        if encoding.layout().block_elements != 1 || encoding.layout().block_bytes as u64 != view.element.bytes {
            return Err(Error::bug(format!("the encoding {} has not the size of its elements", view.element.encoding)));
        }
        let shape = Shape::new(view.size.clone())?;
        let storage = &self.heap.storages[view.storage];
        let place =
            self.places.get(&storage.key).ok_or_else(|| Error::input(format!("its storage `{}` is not in the file", storage.key)))?;
        check_size(storage, place)?;
        check_bounds(view, place.bytes)?;
        let shared = self.made.entry(view.storage).or_default();
        let equal = shared.iter().find(|(other, _)| self.heap.tensors[*other] == *view);
        let data = match equal {
            Some((_, data)) => Arc::clone(data),
            None => {
                let data = reader(view, &shape, place)?;
                // A handful of views share a storage (tied weights); more are not worth the search.
                if shared.len() < 16 {
                    shared.push((index, Arc::clone(&data)));
                }
                data
            }
        };
        Ok(Tensor { name: name.to_owned(), id: None, shape, encoding, data })
    }
}

/// The storage's length as the pickle says is its length in the file.
fn check_size(storage: &Storage, place: &Placed) -> Result<()> {
    let bytes = storage.count.checked_mul(storage.element.map_or(1, |e| e.bytes));
    if bytes != Some(place.bytes) {
        let message =
            format!("its storage `{}` has {} bytes in the file, but the pickle says {} elements", storage.key, place.bytes, storage.count);
        return Err(Error::input(message));
    }
    Ok(())
}

/// Every element lies within the storage.
fn check_bounds(view: &TensorView, bytes: u64) -> Result<()> {
    if view.size.contains(&0) {
        return Ok(());
    }
    let last =
        view.size.iter().zip(&view.stride).try_fold(view.offset, |at, (&size, &stride)| at.checked_add((size - 1).checked_mul(stride)?));
    let end = last.and_then(|last| last.checked_add(1)?.checked_mul(view.element.bytes));
    if end.is_none_or(|end| end > bytes) {
        let message =
            format!("size {:?} with strides {:?} from {} leaves its storage of {bytes} bytes", view.size, view.stride, view.offset);
        return Err(Error::input(message));
    }
    Ok(())
}

fn reader(view: &TensorView, shape: &Shape, place: &Placed) -> Result<Arc<dyn TensorData>> {
    let Element { bytes, .. } = view.element;
    // Both products were checked against the storage.
    let offset = if shape.elements() == 0 { place.offset } else { place.offset + view.offset * bytes };
    let (row_bytes, rows) = (shape.row_length().checked_mul(bytes), shape.rows());
    let row_bytes = row_bytes.ok_or_else(|| Error::input(format!("a row of {} elements is impossibly large", shape.row_length())))?;
    if is_contiguous(&view.size, &view.stride) {
        return Ok(Arc::new(StoredTensor::new(Arc::clone(&place.source), offset, row_bytes, rows)?));
    }
    match (&view.size[..], &view.stride[..]) {
        // A smaller stride would read elements many times over: one short storage could pose as a huge matrix.
        ([rows, columns], [1, stride]) if stride >= rows => Ok(Arc::new(TransposedTensor {
            source: Arc::clone(&place.source),
            offset,
            element: bytes,
            rows: *rows,
            columns: *columns,
            stride: *stride,
        })),
        _ => Err(Error::unsupported(format!(
            "size {:?} with strides {:?} is neither contiguous nor a transposed matrix",
            view.size, view.stride
        ))
        .help("call `.contiguous()` on its tensors and save it again")),
    }
}

/// Whether the strides are those of a dense row-major tensor; dimensions of one element do not matter.
fn is_contiguous(size: &[u64], stride: &[u64]) -> bool {
    if size.contains(&0) {
        return true;
    }
    let mut expected = 1u64;
    for (&size, &stride) in size.iter().zip(stride).rev() {
        if size != 1 && stride != expected {
            return false;
        }
        expected = expected.saturating_mul(size);
    }
    true
}

/// A matrix that lies in the file by columns.
#[derive(Debug)]
struct TransposedTensor {
    source: Arc<dyn ReadAt>,
    offset: u64,
    /// Bytes of an element.
    element: u64,
    rows: u64,
    columns: u64,
    /// Elements from one column to the next.
    stride: u64,
}

impl TensorData for TransposedTensor {
    fn rows_at_once(&self) -> Option<u64> {
        let row_bytes = self.columns.saturating_mul(self.element).max(1);
        Some((MAX_STRIP_BYTES / row_bytes).clamp(1, self.rows.max(1)))
    }

    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        if rows.start > rows.end || rows.end > self.rows {
            return Err(Error::bug(format!("rows {rows:?} of {}", self.rows)));
        }
        let count = rows.end - rows.start;
        let strip_bytes = count * self.element;
        Limits::check(strip_bytes, MAX_STRIP_BYTES, "bytes of a column")?;
        let (element, columns) = (self.element as usize, self.columns as usize);
        out.clear();
        out.resize(usize::try_from(strip_bytes * self.columns).map_err(|_| Error::limit("too many rows at once"))?, 0);
        let mut strip = vec![0; strip_bytes as usize];
        for column in 0..self.columns {
            self.source.read_exact_at(&mut strip, self.offset + (column * self.stride + rows.start) * self.element)?;
            for (row, value) in strip.chunks_exact(element).enumerate() {
                let at = (row * columns + column as usize) * element;
                out[at..at + element].copy_from_slice(value);
            }
        }
        Ok(())
    }
}
