//! Integers in groups of any length, as quantized Hugging Face checkpoints store them: blocks of 64 columns (of 32 where the
//! groups ask for it), each with a scale and a minimum in 32 bits, so that every scale of 16 bits and its product with a zero
//! point are what they were. Bits that no form has are stored in the next that one has.

use gravure_base::{Error, Result};
use gravure_core::{GroupedRows, Grouping};

use super::{Visitor, word};
use crate::form::{Form, Parts};

/// Bytes before the codes of a block that is to be taken apart: its scale and minimum.
const HEAD: usize = 8;

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grouped<const COLUMNS: usize, const BITS: usize>;

macro_rules! grouped {
    ($($bits:literal like $like:literal),*) => {
        $(impl<const COLUMNS: usize> Form for Grouped<COLUMNS, $bits> {
            type Like = Grouped<COLUMNS, $like>;
            const ID: &'static str = "";
            const COLUMNS: usize = COLUMNS;
            const GROUP: usize = COLUMNS;
            const BITS: usize = $bits;
            const MINIMA: bool = true;
            const WIDE: bool = true;
            const ENCODED: usize = HEAD + COLUMNS;

            #[inline(always)]
            fn split(row: &[u8], parts: &mut Parts) {
                (parts.d, parts.m) = (word(row, 0), word(row, 4));
                parts.codes[..COLUMNS].copy_from_slice(&row[HEAD..]);
            }
        })*
    };
}

grouped!(2 like 4, 3 like 4, 4 like 4, 5 like 4, 6 like 4, 8 like 8);

/// Columns of the blocks that such rows are laid out in, where there is a form for them.
pub(crate) fn block(grouping: Grouping, columns: usize) -> Option<usize> {
    let fits = |block: usize| grouping.columns.is_multiple_of(block as u64) && columns.is_multiple_of(block);
    [64, 32].into_iter().find(|block| fits(*block)).filter(|_| (1..=8).contains(&grouping.bits) && grouping.columns > 0)
}

/// Shows `visitor` the form of blocks of `block` columns.
pub(crate) fn visit<V: Visitor>(block: usize, bits: u32, visitor: V) -> V::Output {
    match (block, bits) {
        (64, ..=2) => visitor.visit::<Grouped<64, 2>>(),
        (64, 3) => visitor.visit::<Grouped<64, 3>>(),
        (64, 4) => visitor.visit::<Grouped<64, 4>>(),
        (64, 5) => visitor.visit::<Grouped<64, 5>>(),
        (64, 6) => visitor.visit::<Grouped<64, 6>>(),
        (64, _) => visitor.visit::<Grouped<64, 8>>(),
        (_, ..=4) => visitor.visit::<Grouped<32, 4>>(),
        _ => visitor.visit::<Grouped<32, 8>>(),
    }
}

/// Bytes of a row in blocks that are to be taken apart.
pub(crate) fn row_bytes(columns: usize, block: usize) -> usize {
    columns / block * (HEAD + block)
}

/// Writes `count` rows as such blocks.
///
/// # Errors
/// `Input` for scales or minima that are no numbers.
pub(crate) fn write(rows: &GroupedRows, count: usize, columns: usize, grouping: Grouping, block: usize, out: &mut Vec<u8>) -> Result<()> {
    let group = usize::try_from(grouping.columns).unwrap_or(columns).min(columns);
    let groups = columns.div_ceil(group);
    if rows.codes.len() != count * columns || [&rows.scales, &rows.minima].iter().any(|list| list.len() != count * groups) {
        return Err(Error::bug(format!("{} codes and {} scales for {count} rows", rows.codes.len(), rows.scales.len())));
    }
    if let Some(bad) = rows.scales.iter().chain(&rows.minima).find(|v| !v.is_finite()) {
        return Err(Error::input(format!("a scale or a minimum is {bad}")).help("the model is damaged"));
    }
    out.clear();
    for (row, codes) in rows.codes.chunks_exact(columns).enumerate() {
        for (index, codes) in codes.chunks_exact(block).enumerate() {
            let at = row * groups + index * block / group;
            out.extend_from_slice(&rows.scales[at].to_le_bytes());
            out.extend_from_slice(&rows.minima[at].to_le_bytes());
            out.extend_from_slice(codes);
        }
    }
    Ok(())
}
