//! A weight that is ready to be multiplied with.

use std::ops::Range;

use gravure_base::{Error, Result};
use gravure_core::Encoding;
use gravure_simd::Isa;

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
    data: Vec<u8>,
}

/// Rows that are read at once.
const CHUNK: u64 = 4 << 20;

impl Matrix {
    /// Reads all rows and lays them out for the best kernel of this encoding on `isa`.
    ///
    /// # Errors
    /// Those of the source; `Unsupported` where rows are no whole blocks; `Input` for weights that
    /// are no numbers.
    pub fn load(source: MatrixSource<'_>, _isa: Isa, _precision: Precision) -> Result<Self> {
        let too_large = || Error::limit("the matrix does not fit in memory");
        let row_bytes = source.encoding.row_bytes(source.columns as u64)?;
        let total = row_bytes.checked_mul(source.rows as u64).ok_or_else(too_large)?;
        let mut data = Vec::new();
        data.try_reserve_exact(usize::try_from(total).map_err(|_| too_large())?).map_err(|_| too_large())?;
        let (rows, step) = (source.rows as u64, (CHUNK / row_bytes.max(1)).max(1));
        let mut chunk = Vec::new();
        let mut start = 0;
        while start < rows {
            let end = (start + step).min(rows);
            (source.read)(start..end, &mut chunk)?;
            if chunk.len() as u64 != row_bytes * (end - start) {
                return Err(Error::bug(format!("{} bytes of {} rows of {row_bytes}", chunk.len(), end - start)));
            }
            source.encoding.validate(&chunk)?;
            data.extend_from_slice(&chunk);
            start = end;
        }
        Ok(Self {
            name: source.name.to_owned(),
            encoding: source.encoding,
            rows: source.rows,
            columns: source.columns,
            row_bytes: usize::try_from(row_bytes).map_err(|_| too_large())?,
            data,
        })
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
        "decoded"
    }

    /// Decodes one row.
    ///
    /// # Errors
    /// `Request` where there is no such row, or `out` is not a row long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        let bytes = row.checked_mul(self.row_bytes).and_then(|start| self.data.get(start..start + self.row_bytes));
        match bytes {
            Some(bytes) if row < self.rows && out.len() == self.columns => self.encoding.decode(bytes, out),
            _ => Err(Error::request(format!("row {row} of {}", self.rows)).at_item(&*self.name)),
        }
    }
}
