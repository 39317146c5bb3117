//! A weight that is ready to be multiplied with.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use gravure_base::{Error, Result};
use gravure_core::contracts::Activations;
use gravure_core::{Encoding, GroupedRows, Grouping};
use gravure_simd::Isa;

use crate::dispatch::{Abilities, Level};
use crate::floats::{Floats, Kept};
use crate::form::Form;
use crate::forms::lattice::Lattice;
use crate::forms::{self, LatticeVisitor, Visitor, grouped};
use crate::integer::{Codes, Integer, Layout, Packed, Points};
use crate::lanes::ROWS;
use crate::pairs::Pairs;
use crate::{Pool, SharedRows};

/// Replaces the buffer with the encoded bytes of a range of rows; several threads ask at once.
pub type ReadRows<'a> = dyn Fn(Range<u64>, &mut Vec<u8>) -> Result<()> + Sync + 'a;

/// Replaces the rows with the integers of a range of them.
pub type ReadGrouped<'a> = dyn Fn(Range<u64>, &mut GroupedRows) -> Result<()> + Sync + 'a;

/// Integers in groups that the rows of a matrix are decoded from.
#[derive(Clone, Copy)]
pub struct GroupedSource<'a> {
    /// Their bits, and the columns of a group.
    pub grouping: Grouping,
    /// The columns in the order of their groups, where these do not follow each other.
    pub order: Option<&'a [u32]>,
    /// Replaces the rows with the integers of a range of them.
    pub read: &'a ReadGrouped<'a>,
}

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
    /// Rows that should be read at once, where fewer cost as much.
    pub rows_at_once: Option<u64>,
    /// Replaces the buffer with the encoded bytes of a range of rows.
    pub read: &'a ReadRows<'a>,
    /// The integers in groups that the rows are decoded from, where they are stored so.
    pub grouped: Option<GroupedSource<'a>>,
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
    activations: Activations,
    /// How its weights are stored as integers in groups, where they are multiplied so.
    grouping: Option<Grouping>,
    /// The columns in the order of its weights, where that is another one.
    order: Option<Vec<u32>>,
    pub(crate) weights: Weights,
}

/// Weights as a kernel wants them.
#[derive(Debug)]
pub(crate) enum Weights {
    Integer(Box<dyn Integer>),
    /// Also where activations stay as they are.
    Pairs(Arc<Pairs>),
    Floats(Floats),
}

/// Bytes that are read at once: they are put in order while the second-level cache still has them.
const CHUNK: u64 = 256 << 10;

thread_local! {
    /// Encoded rows, kept from chunk to chunk.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Rows in groups, likewise.
    static GROUPED: RefCell<GroupedRows> = RefCell::default();
}

/// Puts encoded rows in order.
pub(crate) type PackRows<'a> = dyn Fn(&[u8], &mut [u8]) + Sync + 'a;

/// Where rows of a matrix go, from their encoding.
pub(crate) struct Room<'a> {
    /// Groups of [`Room::rows`] rows.
    pub(crate) groups: SharedRows<'a, u8>,
    /// Rows of a group.
    pub(crate) rows: usize,
    /// Bytes of an encoded row.
    pub(crate) row_bytes: usize,
    /// Puts the encoded rows of some groups, the last of which may have fewer, in order. What it does not write
    /// is zero.
    pub(crate) pack: Box<PackRows<'a>>,
}

impl Room<'_> {
    /// Puts rows from `start`, the first of a group, on in order.
    ///
    /// # Safety
    /// No two calls at the same time have rows of the same group.
    unsafe fn fill(&self, start: usize, encoded: &[u8]) -> Result<()> {
        let first = start / self.rows;
        let count = (encoded.len() / self.row_bytes.max(1)).div_ceil(self.rows);
        if !start.is_multiple_of(self.rows) || first + count > self.groups.rows() {
            return Err(Error::bug("rows that the matrix does not have"));
        }
        // SAFETY: the caller's promise.
        (self.pack)(encoded, unsafe { self.groups.rows_of(first..first + count) });
        Ok(())
    }
}

/// Makes an empty matrix of a form.
#[derive(Clone, Copy)]
struct Empty {
    rows: usize,
    columns: usize,
}

impl Visitor for Empty {
    type Output = Option<Result<Box<dyn Integer>>>;

    fn visit<F: Form>(self) -> Self::Output {
        self.laid_out::<F, Codes>()
    }
}

impl LatticeVisitor for Empty {
    type Output = Option<Result<Box<dyn Integer>>>;

    fn visit<F: Lattice>(self) -> Self::Output {
        self.laid_out::<F, Points>()
    }
}

impl Empty {
    fn integer(self, encoding: &dyn Encoding, abilities: Abilities) -> Option<Result<Weights>> {
        let points = if abilities.points { forms::visit_lattice(encoding.id(), self) } else { None };
        points.or_else(|| forms::visit(encoding.id(), self)).flatten().map(|integer| integer.map(Weights::Integer))
    }

    fn pairs(self, encoding: &dyn Encoding, abilities: Abilities) -> Option<Result<Weights>> {
        if abilities.pairs {
            Pairs::new(self.rows, self.columns, encoding).map(|pairs| pairs.map(|pairs| Weights::Pairs(Arc::new(pairs))))
        } else {
            None
        }
    }

    fn laid_out<F: Form, Y: Layout<F>>(self) -> Option<Result<Box<dyn Integer>>> {
        Packed::<F, Y>::new(self.rows, self.columns).map(|packed| packed.map(|p| Box::new(p) as Box<dyn Integer>))
    }
}

/// Replaces the buffer with the checked bytes of a range of rows.
type ReadChecked<'a> = dyn Fn(Range<usize>, &mut Vec<u8>) -> Result<()> + Sync + 'a;

/// Reads all rows, a bounded number at a time on each thread, and puts them in order. `read` gives checked rows of `row_bytes`.
fn fill(
    pool: &Pool,
    weights: &mut Weights,
    rows: usize,
    row_bytes: usize,
    rows_at_once: Option<u64>,
    read: &ReadChecked<'_>,
) -> Result<()> {
    let step = (CHUNK / row_bytes.max(1) as u64).max(rows_at_once.unwrap_or(1)).max(1);
    let step = usize::try_from(step).unwrap_or(usize::MAX).min(rows.max(1)).next_multiple_of(ROWS);
    let room = match weights {
        Weights::Integer(integer) => integer.room(),
        Weights::Pairs(pairs) => Arc::get_mut(pairs).ok_or_else(|| Error::bug("weights that are shared already"))?.room(),
        Weights::Floats(floats) => floats.room(),
    };
    let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    pool.run(rows.div_ceil(step), &|chunk| {
        let done = ENCODED.with_borrow_mut(|encoded| {
            let (start, end) = (chunk * step, ((chunk + 1) * step).min(rows));
            read(start..end, encoded)?;
            if encoded.len() != row_bytes * (end - start) {
                return Err(Error::bug(format!("{} bytes of {} rows of {row_bytes}", encoded.len(), end - start)));
            }
            // SAFETY: chunks have disjoint rows.
            unsafe { room.fill(start, encoded) }
        });
        if let Err(error) = done {
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            // Of several the first in the file, whoever came first.
            if failed.as_ref().is_none_or(|(before, _)| chunk < *before) {
                *failed = Some((chunk, error));
            }
        }
    });
    drop(room);
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), |(_, error)| Err(error))
}

impl Matrix {
    /// Reads all rows and lays them out for the best kernel of this encoding on `isa`, on all threads of the pool.
    ///
    /// # Errors
    /// Those of the source; `Unsupported` where rows are no whole blocks; `Input` for weights that
    /// are no numbers, with the range of rows; `Limit` where memory does not suffice.
    pub fn load(pool: &Pool, source: MatrixSource<'_>, isa: Isa, activations: Activations) -> Result<Self> {
        let level = Level::of(isa);
        Self::laid_out(pool, source, level, level.abilities(), activations)
    }

    /// As [`Matrix::load`], for kernels that need `abilities`.
    pub(crate) fn laid_out(
        pool: &Pool,
        source: MatrixSource<'_>,
        level: Level,
        abilities: Abilities,
        activations: Activations,
    ) -> Result<Self> {
        let MatrixSource { name, encoding, rows, columns, rows_at_once, read, grouped } = source;
        let row_bytes = usize::try_from(encoding.row_bytes(columns as u64)?).map_err(|_| Error::limit("a row does not fit in memory"))?;
        if let Some(GroupedSource { grouping, order, read }) = grouped.filter(|_| activations != Activations::F32)
            && order.is_none_or(|order| order.len() == columns && order.iter().all(|column| (*column as usize) < columns))
            && let Some(block) = grouped::block(grouping, columns)
            && let Some(form) = grouped::visit(block, grouping.bits, Empty { rows, columns })
        {
            let mut weights = Weights::Integer(form?);
            let blocks = |range: Range<usize>, out: &mut Vec<u8>| {
                let at = || format!("rows {} to {} of {name}", range.start, range.end);
                GROUPED.with_borrow_mut(|rows| {
                    read(range.start as u64..range.end as u64, rows)?;
                    grouped::write(rows, range.len(), columns, grouping, block, out).map_err(|e| e.at_item(at()))
                })
            };
            fill(pool, &mut weights, rows, grouped::row_bytes(columns, block), rows_at_once, &blocks)?;
            return Ok(Self {
                name: name.to_owned(),
                encoding,
                rows,
                columns,
                level,
                activations,
                grouping: Some(grouping),
                order: order.map(<[u32]>::to_vec),
                weights,
            });
        }
        let empty = Empty { rows, columns };
        let integer = if activations == Activations::F32 { None } else { empty.integer(encoding, abilities) };
        let others = || empty.pairs(encoding, abilities);
        let floats = || Floats::new(rows, columns, encoding, row_bytes).map(Weights::Floats);
        let mut weights = integer.or_else(others).unwrap_or_else(floats)?;
        let encoded = |range: Range<usize>, out: &mut Vec<u8>| {
            read(range.start as u64..range.end as u64, out)?;
            encoding.validate(out).map_err(|e| e.at_item(format!("rows {} to {} of {name}", range.start, range.end)))
        };
        fill(pool, &mut weights, rows, row_bytes, rows_at_once, &encoded)?;
        Ok(Self { name: name.to_owned(), encoding, rows, columns, level, activations, grouping: None, order: None, weights })
    }

    /// What [`Matrix::load`] would make of the same rows for these activations, with the same weights in memory, where those serve
    /// both.
    pub fn sharing(self: &Arc<Self>, activations: Activations) -> Option<Arc<Self>> {
        let rank = |activations| match activations {
            Activations::Fast => 0,
            Activations::Original => 1,
            Activations::F32 => 2,
        };
        let serves = match &self.weights {
            Weights::Pairs(pairs) => {
                let weights = Weights::Pairs(Arc::clone(pairs));
                let fast = [activations, self.activations].map(|a| a == Activations::Fast);
                if fast[0] != fast[1] {
                    let (name, order) = (self.name.clone(), self.order.clone());
                    return Some(Arc::new(Self { weights, activations, name, order, ..**self }));
                }
                true
            }
            Weights::Integer(_) => activations != Activations::F32,
            // Where faster activations have no other kernel, slower ones have none either.
            Weights::Floats(_) => rank(activations) >= rank(self.activations),
        };
        serves.then(|| Arc::clone(self))
    }

    /// Whether activations are multiplied as they are.
    pub(crate) fn is_exact(&self) -> bool {
        self.activations != Activations::Fast
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

    /// How its weights are stored, for people: an encoding, or the integers that they are multiplied as.
    pub fn stored(&self) -> String {
        self.grouping.map_or_else(|| self.encoding.id().to_owned(), |grouping| grouping.to_string())
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        match &self.weights {
            Weights::Integer(integer) => integer.bytes(),
            Weights::Pairs(pairs) => pairs.bytes(),
            Weights::Floats(floats) => floats.bytes(),
        }
    }

    /// Lets another set multiply it.
    #[cfg(test)]
    pub(crate) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// The columns in the order of its weights, where that is another one.
    pub(crate) fn order(&self) -> Option<&[u32]> {
        self.order.as_deref()
    }

    /// Instruction set of the kernels.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Name of the kernel that multiplies it, for people: how activations meet it, and the instruction set.
    pub fn kernel(&self) -> String {
        let how = match &self.weights {
            Weights::Integer(integer) => integer.name(),
            Weights::Pairs(_) if !self.is_exact() => "bf16",
            Weights::Floats(floats) if floats.kept() == Kept::Encoded => "decoded",
            Weights::Pairs(_) | Weights::Floats(_) => "float",
        };
        let prompts = if matches!(self.weights, Weights::Integer(_)) && self.level.prefers_bf16() { ", bf16 for prompts" } else { "" };
        format!("{how} {}{prompts}", self.level.name())
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
                if let Some(order) = &self.order {
                    let stored = out.to_vec();
                    order.iter().zip(stored).for_each(|(column, value)| out[*column as usize] = value);
                }
                Ok(())
            }
            Weights::Pairs(pairs) => {
                pairs.decode_row(row, out);
                Ok(())
            }
            Weights::Floats(floats) => floats.decode_row(row, out),
        }
    }
}
