//! Products with encoded rows as they are: rows lie side by side, one in each lane of a vector, their
//! codes are unpacked to bytes in registers and multiplied with activations that are rounded to bytes.
//!
//! A block of the file's encoding keeps its order of fields; the units of a field (words of codes,
//! halves of scales) of `ROWS` consecutive matrix rows are interleaved, so a matrix takes the bytes
//! that it takes in its file, and a row can be taken out again. One encoding is one file here: it
//! says how long the units are, and unpacks 32 columns (a cell) of `ROWS` rows.
//!
//! The sum of an output is formed cell by cell in the order of columns: exact integers within a cell
//! (or half of one), then one multiplication and addition in floats. Nothing of that depends on how
//! many rows of activations there are.

mod product;
mod q4_0;
mod q4_k;
mod q6_k;
mod q8_0;

use gravure_simd::Isa;
use gravure_simd::rows::{PortableRows, Rows};

pub(crate) use product::Product;

/// Columns of a cell.
pub(crate) const CELL: usize = 32;

/// 32 columns of `ROWS` rows: `weight = scale * (code - OFFSET) - minimum`.
#[derive(Clone, Copy)]
pub(crate) struct Cell<S: Rows> {
    /// Word `i` holds columns `4 i .. 4 i + 4`.
    codes: [S::Word; 8],
    /// Of the first and the second half of the columns.
    scales: [S::F32; 2],
    /// Less than nothing: what is added for the minimum.
    minimum: S::F32,
}

/// How an encoding's blocks are unpacked when rows are interleaved.
pub(crate) trait Packed: Send + Sync + 'static {
    /// Columns of a block, a multiple of [`CELL`].
    const COLUMNS: usize;
    /// Length of a block in bytes.
    const BYTES: usize;
    /// Bytes of each field and of its units, in the order of the file.
    const FIELDS: &'static [(usize, usize)];
    /// Bits of a code; 8 where codes are signed bytes.
    const BITS: u32;
    /// What is subtracted from a code of less than 8 bits.
    const OFFSET: i32;
    /// Whether the halves of a cell have scales of their own.
    const HALVES: bool;
    /// Whether there are minima.
    const MINIMUM: bool;
    /// What the cells of a block share.
    type Head<S: Rows>: Copy;

    /// Reads what the cells share.
    fn head<S: Rows>(isa: S, block: &[u8]) -> Self::Head<S>;

    /// Unpacks the cell of number `index`.
    fn cell<S: Rows>(isa: S, block: &[u8], head: &Self::Head<S>, index: usize) -> Cell<S>;
}

/// The kernel of an encoding, where there is one.
pub(crate) fn find(encoding: &str, isa: Isa) -> Option<Box<dyn Product>> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(_) => match gravure_simd::rows::Avx512Rows::detect() {
            Some(rows) => find_on(encoding, rows),
            None => find_on(encoding, gravure_simd::rows::Avx2Rows::detect()?),
        },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(_) => find_on(encoding, gravure_simd::rows::Avx2Rows::detect()?),
        _ => find_on(encoding, PortableRows),
    }
}

fn find_on<S: Rows>(encoding: &str, isa: S) -> Option<Box<dyn Product>> {
    Some(match encoding {
        "q4_0" => product::boxed::<q4_0::Q4_0, S>(isa),
        "q8_0" => product::boxed::<q8_0::Q8_0, S>(isa),
        "q4_k" => product::boxed::<q4_k::Q4K, S>(isa),
        "q6_k" => product::boxed::<q6_k::Q6K, S>(isa),
        _ => return None,
    })
}
