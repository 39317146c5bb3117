//! Lazy tensors: shape, encoding, role, and a reader of encoded rows.

use std::ops::Range;
use std::sync::Arc;

use gravure_base::ReadAt;

use crate::{Encoding, Error, GroupedRows, Grouping, Result, TensorId};

/// Dimensions, outermost first (row-major): `[rows, columns]` for a matrix. GGUF writes them in
/// the opposite order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Shape(Vec<u64>);

impl Shape {
    /// Checks that the number of weights fits in 63 bits.
    pub fn new(dimensions: impl Into<Vec<u64>>) -> Result<Self> {
        let dimensions = dimensions.into();
        let product = dimensions.iter().try_fold(1u64, |p, &d| p.checked_mul(d));
        if product.is_none_or(|p| p > i64::MAX as u64) {
            return Err(Error::input(format!("a tensor of shape {dimensions:?} is impossibly large")));
        }
        Ok(Self(dimensions))
    }

    /// Dimensions, outermost first.
    pub fn dimensions(&self) -> &[u64] {
        &self.0
    }

    /// Number of weights.
    pub fn elements(&self) -> u64 {
        self.0.iter().product()
    }

    /// Length of a row: the innermost dimension, 1 for a scalar.
    pub fn row_length(&self) -> u64 {
        self.0.last().copied().unwrap_or(1)
    }

    /// Number of rows: the product of all other dimensions. 0 for an empty tensor.
    pub fn rows(&self) -> u64 {
        if self.elements() == 0 { 0 } else { self.elements() / self.row_length() }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: Vec<String> = self.0.iter().map(u64::to_string).collect();
        write!(f, "[{}]", text.join(", "))
    }
}

/// Encoded rows of one tensor, read when asked.
pub trait TensorData: Send + Sync + std::fmt::Debug {
    /// Replaces `out` with the encoded bytes of `rows`.
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()>;

    /// Rows that should be read at once, where reading fewer costs as much (a transposed view reads
    /// the whole tensor for every call).
    fn rows_at_once(&self) -> Option<u64> {
        None
    }

    /// The tensor that this shows with rows and columns exchanged, where it is such a view.
    fn transposed(&self) -> Option<&Tensor> {
        None
    }

    /// Bytes that the weights take in the file, where these are not the encoded rows.
    fn stored_bytes(&self) -> Option<u64> {
        None
    }

    /// How the rows are integers in groups of one length, where they are stored so.
    fn grouping(&self) -> Option<Grouping> {
        None
    }

    /// The columns in the order of their groups, where these do not follow each other.
    fn group_order(&self) -> Option<Vec<u32>> {
        None
    }

    /// Replaces `out` with the integers of `rows` and their scales, where there is a [`TensorData::grouping`].
    fn read_grouped(&self, rows: Range<u64>, _out: &mut GroupedRows) -> Result<()> {
        Err(Error::bug(format!("rows {rows:?} are no integers in groups")))
    }

    /// Replaces `out` with the bytes `bytes` of each of the encoded `rows`, one after the other: a
    /// part of the columns, without reading the others where the source allows it.
    fn read_columns(&self, rows: Range<u64>, bytes: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let mut whole = Vec::new();
        for row in rows {
            self.read_rows(row..row + 1, &mut whole)?;
            let (start, end) = (usize::try_from(bytes.start), usize::try_from(bytes.end));
            let part = start.ok().zip(end.ok()).and_then(|(start, end)| whole.get(start..end));
            out.extend_from_slice(part.ok_or_else(|| Error::bug(format!("bytes {bytes:?} of a row of {}", whole.len())))?);
        }
        Ok(())
    }
}

/// A tensor whose weights have not been read yet.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Name in the source's own spelling.
    pub name: String,
    /// Its place in the model, where it is known.
    pub id: Option<TensorId>,
    /// Dimensions, outermost first.
    pub shape: Shape,
    /// How `data` is encoded.
    pub encoding: &'static dyn Encoding,
    /// The reader.
    pub data: Arc<dyn TensorData>,
}

impl Tensor {
    /// Encoded size in bytes.
    pub fn bytes(&self) -> Result<u64> {
        let row = self.encoding.row_bytes(self.shape.row_length()).map_err(|e| e.at_item(&*self.name))?;
        row.checked_mul(self.shape.rows()).ok_or_else(|| Error::input("the tensor is impossibly large").at_item(&*self.name))
    }

    /// Bytes of the weights in the file: those of their planes where they are spread over some.
    pub fn stored_bytes(&self) -> Result<u64> {
        self.data.transposed().unwrap_or(self).data.stored_bytes().map_or_else(|| self.bytes(), Ok)
    }

    /// How the weights lie in the file, for people: their encoding, or the integers that they are decoded from.
    pub fn stored_as(&self) -> String {
        let stored = self.data.transposed().unwrap_or(self);
        stored.data.grouping().map_or_else(|| stored.encoding.id().to_owned(), |grouping| grouping.to_string())
    }

    /// The matrix with rows and columns exchanged, as a view; turned twice it is the tensor itself again.
    ///
    /// # Errors
    /// `Input` for a tensor that is no matrix, `Unsupported` where its encoding packs several weights into a block.
    pub fn transposed(&self) -> Result<Self> {
        let [rows, columns] = self.shape.dimensions() else {
            return Err(Error::input(format!("a tensor of shape {} cannot be transposed", self.shape)));
        };
        if self.encoding.layout().block_elements != 1 {
            return Err(Error::unsupported(format!("a tensor in {} cannot be transposed", self.encoding.id())));
        }
        let shape = Shape::new([*columns, *rows])?;
        let data = match self.data.transposed() {
            Some(inner) => Arc::clone(&inner.data),
            None => Arc::new(Transposed { inner: self.clone() }),
        };
        Ok(Self { shape, data, ..self.clone() })
    }

    /// Decodes `rows` to `f32`, replacing `out`. `scratch` is reused for the encoded bytes.
    pub fn decode_rows(&self, rows: Range<u64>, scratch: &mut Vec<u8>, out: &mut Vec<f32>) -> Result<()> {
        let count = (rows.end - rows.start) * self.shape.row_length();
        self.data.read_rows(rows, scratch)?;
        out.resize(usize::try_from(count).map_err(|_| Error::limit("too many rows at once"))?, 0.0);
        self.encoding.decode(scratch, out).map_err(|e| e.at_item(&*self.name))
    }
}

/// A view with rows and columns exchanged. Every call reads the whole tensor in passes, so calls
/// should ask for many rows.
#[derive(Debug)]
struct Transposed {
    inner: Tensor,
}

impl TensorData for Transposed {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let width = self.inner.encoding.layout().block_bytes;
        let stored_columns = self.inner.shape.row_length() as usize;
        let stored_rows = self.inner.shape.rows() as usize;
        if rows.start > rows.end || rows.end > stored_columns as u64 {
            return Err(Error::bug(format!("rows {rows:?} of {stored_columns}")));
        }
        let (start, count) = (rows.start as usize, (rows.end - rows.start) as usize);
        let bytes =
            count.checked_mul(stored_rows).and_then(|n| n.checked_mul(width)).ok_or_else(|| Error::limit("too many rows at once"))?;
        out.clear();
        out.resize(bytes, 0);
        let step = ((1usize << 20) / (stored_columns * width).max(1)).max(1);
        let mut block = Vec::new();
        let mut at = 0;
        while at < stored_rows {
            let end = (at + step).min(stored_rows);
            self.inner.data.read_rows(at as u64..end as u64, &mut block)?;
            for stored in at..end {
                let row = &block[(stored - at) * stored_columns * width..][..stored_columns * width];
                for i in 0..count {
                    let to = (i * stored_rows + stored) * width;
                    out[to..to + width].copy_from_slice(&row[(start + i) * width..][..width]);
                }
            }
            at = end;
        }
        Ok(())
    }

    fn transposed(&self) -> Option<&Tensor> {
        Some(&self.inner)
    }

    fn rows_at_once(&self) -> Option<u64> {
        // 8 MiB of output for each pass over the source.
        let row = self.inner.shape.rows() * self.inner.encoding.layout().block_bytes as u64;
        Some(((8 << 20) / row.max(1)).max(1))
    }
}

/// Rows that lie one after the other in a file.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    source: Arc<dyn ReadAt>,
    offset: u64,
    row_bytes: u64,
    rows: u64,
}

impl StoredTensor {
    /// `rows` rows of `row_bytes` bytes from `offset` of `source`; an error where they leave it.
    pub fn new(source: Arc<dyn ReadAt>, offset: u64, row_bytes: u64, rows: u64) -> Result<Self> {
        let end = row_bytes.checked_mul(rows).and_then(|n| n.checked_add(offset));
        if end.is_none_or(|end| end > source.len()) {
            let message = format!("the tensor's {rows} rows of {row_bytes} bytes lie beyond the end of the file at {}", source.len());
            return Err(Error::input(message).in_file(source.path()).at_offset(offset));
        }
        Ok(Self { source, offset, row_bytes, rows })
    }
}

impl TensorData for StoredTensor {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        if rows.start > rows.end || rows.end > self.rows {
            return Err(Error::bug(format!("rows {rows:?} of {}", self.rows)));
        }
        let bytes = (rows.end - rows.start) * self.row_bytes;
        out.resize(usize::try_from(bytes).map_err(|_| Error::limit("too many rows at once"))?, 0);
        self.source.read_exact_at(out, self.offset + rows.start * self.row_bytes)
    }

    fn read_columns(&self, rows: Range<u64>, bytes: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        if rows.start > rows.end || rows.end > self.rows || bytes.start > bytes.end || bytes.end > self.row_bytes {
            return Err(Error::bug(format!("bytes {bytes:?} of {} in rows {rows:?} of {}", self.row_bytes, self.rows)));
        }
        let each = bytes.end - bytes.start;
        let total = usize::try_from((rows.end - rows.start) * each).map_err(|_| Error::limit("too many rows at once"))?;
        out.resize(total, 0);
        if each == 0 {
            return Ok(());
        }
        for (row, out) in rows.zip(out.chunks_exact_mut(each as usize)) {
            self.source.read_exact_at(out, self.offset + row * self.row_bytes + bytes.start)?;
        }
        Ok(())
    }
}
