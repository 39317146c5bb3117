//! A weight that is ready to be multiplied with.

use std::ops::Range;

use gravure_base::{Error, Result};
use gravure_core::Encoding;
use gravure_simd::Isa;

use crate::packed::{self, Product};

/// How activations meet a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Rounded to 8 bits where a kernel of the encoding wants it.
    Fast,
    /// 32-bit floats, weights decoded.
    F32,
}

/// Replaces the buffer with the encoded bytes of a range of rows.
pub type ReadRows<'a> = dyn FnMut(Range<u64>, &mut Vec<u8>) -> Result<()> + 'a;

/// Where the encoded rows of a matrix come from.
pub struct MatrixSource<'a> {
    /// Name for messages.
    pub name: &'a str,
    /// How the rows are encoded.
    pub encoding: &'static dyn Encoding,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Replaces the buffer with the encoded bytes of a range of rows.
    pub read: &'a mut ReadRows<'a>,
}

impl std::fmt::Debug for MatrixSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}, {}] in {}", self.name, self.rows, self.columns, self.encoding.id())
    }
}

/// A matrix `[rows, columns]` in the form that its kernel wants.
#[derive(Debug)]
pub struct Matrix {
    name: String,
    encoding: &'static dyn Encoding,
    rows: usize,
    columns: usize,
    row_bytes: usize,
    /// Rows one after the other, or groups of rows as `product` wants them, the last filled up with zeros.
    data: Vec<u8>,
    product: Option<Box<dyn Product>>,
}

/// Rows that are read at once.
const CHUNK: u64 = 4 << 20;

impl Matrix {
    /// Reads all rows and lays them out for the best kernel of this encoding on `isa`.
    ///
    /// # Errors
    /// Those of the source; `Unsupported` where rows are no whole blocks; `Input` for weights that
    /// are no numbers.
    pub fn load(source: MatrixSource<'_>, isa: Isa, precision: Precision) -> Result<Self> {
        let too_large = || Error::limit("the matrix does not fit in memory");
        let row_bytes = source.encoding.row_bytes(source.columns as u64)?;
        let product = match precision {
            Precision::Fast if row_bytes > 0 => packed::find(source.encoding.id(), isa),
            _ => None,
        };
        let side_by_side = product.as_ref().map_or(1, |product| product.rows());
        let padded = source.rows.checked_next_multiple_of(side_by_side).ok_or_else(too_large)?;
        let total = row_bytes.checked_mul(padded as u64).ok_or_else(too_large)?;
        let total = usize::try_from(total).map_err(|_| too_large())?;
        let mut data = Vec::new();
        data.try_reserve_exact(total).map_err(|_| too_large())?;
        let row_length = usize::try_from(row_bytes).map_err(|_| too_large())?;
        let rows = source.rows as u64;
        let step = (CHUNK / row_bytes.max(1)).max(1).next_multiple_of(side_by_side as u64);
        let mut chunk = Vec::new();
        let mut start = 0;
        while start < rows {
            let end = (start + step).min(rows);
            (source.read)(start..end, &mut chunk)?;
            if chunk.len() as u64 != row_bytes * (end - start) {
                return Err(Error::bug(format!("{} bytes of {} rows of {row_bytes}", chunk.len(), end - start)));
            }
            source.encoding.validate(&chunk)?;
            match &product {
                None => data.extend_from_slice(&chunk),
                Some(product) => {
                    for rows in chunk.chunks(row_length * side_by_side) {
                        let first = data.len();
                        data.resize(first + row_length * side_by_side, 0);
                        for (lane, row) in rows.chunks_exact(row_length).enumerate() {
                            product.pack(row, lane, &mut data[first..]);
                        }
                    }
                }
            }
            start = end;
        }
        Ok(Self {
            name: source.name.to_owned(),
            encoding: source.encoding,
            rows: source.rows,
            columns: source.columns,
            row_bytes: row_length,
            data,
            product,
        })
    }

    /// The kernel and the groups of rows that it takes, where there is one.
    pub(crate) fn product(&self) -> Option<(&dyn Product, &[u8])> {
        self.product.as_deref().map(|product| (product, &self.data[..]))
    }

    /// Bytes of an encoded row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How it is encoded in its file.
    pub fn encoding(&self) -> &'static dyn Encoding {
        self.encoding
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// Name of the kernel that multiplies it, for people.
    pub fn kernel(&self) -> &'static str {
        self.product.as_ref().map_or("decoded", |product| product.name())
    }

    /// Decodes one row.
    ///
    /// # Errors
    /// `Request` where there is no such row, or `out` is not a row long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        if row >= self.rows || out.len() != self.columns {
            return Err(Error::request(format!("row {row} of {}", self.rows)).at_item(&*self.name));
        }
        let Some(product) = &self.product else {
            return self.encoding.decode(&self.data[row * self.row_bytes..(row + 1) * self.row_bytes], out);
        };
        let (group, lane) = (row / product.rows(), row % product.rows());
        let length = self.row_bytes * product.rows();
        let mut bytes = vec![0; self.row_bytes];
        product.unpack(&self.data[group * length..(group + 1) * length], lane, &mut bytes);
        self.encoding.decode(&bytes, out)
    }
}
