//! A weight that is ready to be multiplied with.

use std::ops::Range;

use gravure_base::{Error, Result};
use gravure_core::Encoding;
use gravure_core::contracts::Activations;
use gravure_simd::Isa;

use crate::dispatch::Level;
use crate::floats::{Floats, Kept};
use crate::form::Form;
use crate::forms::{self, Visitor};
use crate::integer::{Integer, Packed};
use crate::lanes::ROWS;

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
    level: Level,
    pub(crate) weights: Weights,
}

/// Weights as a kernel wants them.
#[derive(Debug)]
pub(crate) enum Weights {
    Integer(Box<dyn Integer>),
    Floats(Floats),
}

/// Bytes that are read at once.
const CHUNK: u64 = 8 << 20;
/// Threads that put weights in order: as many as the machine has, within reason.
const MOST_THREADS: usize = 16;

/// Makes an empty matrix of a form.
struct Empty {
    rows: usize,
    columns: usize,
}

impl Visitor for Empty {
    type Output = Option<Result<Box<dyn Integer>>>;

    fn visit<F: Form>(self) -> Self::Output {
        Packed::<F>::new(self.rows, self.columns).map(|packed| packed.map(|p| Box::new(p) as Box<dyn Integer>))
    }
}

impl Matrix {
    /// Reads all rows and lays them out for the best kernel of this encoding on `isa`.
    ///
    /// # Errors
    /// Those of the source; `Unsupported` where rows are no whole blocks; `Input` for weights that
    /// are no numbers, with the range of rows; `Limit` where memory does not suffice.
    pub fn load(source: MatrixSource<'_>, isa: Isa, activations: Activations) -> Result<Self> {
        let MatrixSource { name, encoding, rows, columns, read } = source;
        let row_bytes = usize::try_from(encoding.row_bytes(columns as u64)?).map_err(|_| Error::limit("a row does not fit in memory"))?;
        let form = match activations {
            Activations::Fast => forms::visit(encoding.id(), Empty { rows, columns }).flatten().transpose()?,
            Activations::F32 => None,
        };
        let mut weights = match form {
            Some(integer) => Weights::Integer(integer),
            None => Weights::Floats(Floats::new(rows, columns, encoding, row_bytes)?),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let step = (CHUNK / row_bytes.max(1) as u64).max(1).next_multiple_of(ROWS as u64);
        let mut chunk = Vec::new();
        let mut start = 0;
        while start < rows as u64 {
            let end = (start + step).min(rows as u64);
            read(start..end, &mut chunk)?;
            if chunk.len() as u64 != row_bytes as u64 * (end - start) {
                return Err(Error::bug(format!("{} bytes of {} rows of {row_bytes}", chunk.len(), end - start)));
            }
            encoding.validate(&chunk).map_err(|e| e.at_item(format!("rows {start} to {end} of {name}")))?;
            match &mut weights {
                Weights::Integer(integer) => integer.append(&chunk, threads)?,
                Weights::Floats(floats) => floats.append(&chunk)?,
            }
            start = end;
        }
        Ok(Self { name: name.to_owned(), encoding, rows, columns, level: Level::of(isa), weights })
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
        match &self.weights {
            Weights::Integer(integer) => integer.bytes(),
            Weights::Floats(floats) => floats.bytes(),
        }
    }

    /// Instruction set of the kernels.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Name of the kernel that multiplies it, for people: how activations meet it, and the instruction set.
    pub fn kernel(&self) -> String {
        let how = match &self.weights {
            Weights::Integer(_) => "int8",
            Weights::Floats(floats) if floats.kept() == Kept::Encoded => "decoded",
            Weights::Floats(_) => "float",
        };
        format!("{how} {}", self.level.name())
    }

    /// Decodes one row.
    ///
    /// # Errors
    /// `Request` where there is no such row, or `out` is not a row long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        if row >= self.rows || out.len() != self.columns {
            return Err(Error::request(format!("row {row} of {}", self.rows)).at_item(&*self.name));
        }
        match &self.weights {
            Weights::Integer(integer) => {
                integer.decode_row(row, out);
                Ok(())
            }
            Weights::Floats(floats) => floats.decode_row(row, out),
        }
    }
}
