//! The walk over rows and blocks that every block encoding shares: shapes are checked here, once,
//! so that the code of an encoding sees arrays of fixed size and nothing else.

use gravure_core::{Encoding, Error, Importance, ImportanceUse, Result};

use crate::numbers::half_is_finite;
use crate::vectorized::are_finite;

/// Checks the lengths of everything handed to [`Encoding::encode`].
pub(crate) fn check_encode(
    encoding: &dyn Encoding,
    source: &[f32],
    row_length: usize,
    importance: Importance<'_>,
    out: &[u8],
) -> Result<()> {
    let row_bytes = encoding.row_bytes(row_length as u64)?;
    if row_length == 0 || !source.len().is_multiple_of(row_length) {
        return Err(Error::bug(format!("{} weights are not whole rows of {row_length}", source.len())));
    }
    let expected = (source.len() / row_length) as u64 * row_bytes;
    if out.len() as u64 != expected {
        return Err(Error::bug(format!("{} bytes of room for {expected} bytes of {}", out.len(), encoding.id())));
    }
    match importance {
        None if encoding.importance() == ImportanceUse::Required => {
            Err(Error::request(format!("{} needs an importance matrix", encoding.id()))
                .help("hand one over with --imatrix: without it the result would be of very poor quality"))
        }
        Some(values) if values.len() != row_length => {
            Err(Error::input(format!("the importance has {} columns, the rows have {row_length}", values.len())))
        }
        Some(values) if encoding.importance() != ImportanceUse::Ignored && values.iter().any(|v| !v.is_finite()) => {
            Err(Error::input("the importance holds a value that is not finite"))
        }
        _ => Ok(()),
    }
}

/// Refuses NaN and infinities, which no block of quantized weights can hold.
pub(crate) fn check_finite(encoding: &dyn Encoding, source: &[f32]) -> Result<()> {
    if are_finite(source) { Ok(()) } else { Err(non_finite(encoding, source)) }
}

/// The error that names the first weight that is not finite.
#[cold]
pub(crate) fn non_finite(encoding: &dyn Encoding, source: &[f32]) -> Error {
    let (at, value) = source.iter().enumerate().find(|(_, v)| !v.is_finite()).unwrap_or((0, &f32::NAN));
    Error::input(format!("weight {at} of these is {value}, which {} cannot hold", encoding.id()))
}

/// Encodes whole rows of blocks of `N` weights in `B` bytes. `row` is called first for each row and
/// gives what its blocks need to know of it; `block` gets the weights, their importance and that.
pub(crate) fn encode_rows<const N: usize, const B: usize, S: Copy>(
    encoding: &dyn Encoding,
    source: &[f32],
    row_length: usize,
    importance: Importance<'_>,
    out: &mut [u8],
    row: impl Fn(&[f32]) -> S,
    block: impl Fn(&[f32; N], Option<&[f32; N]>, S, &mut [u8; B]),
) -> Result<()> {
    check_encode(encoding, source, row_length, importance, out)?;
    let columns = importance.map(|values| values.as_chunks::<N>().0);
    for (weights, bytes) in source.chunks_exact(row_length).zip(out.chunks_exact_mut(row_length / N * B)) {
        check_finite(encoding, weights)?;
        let shared = row(weights);
        for (i, (x, y)) in weights.as_chunks::<N>().0.iter().zip(bytes.as_chunks_mut::<B>().0).enumerate() {
            block(x, columns.map(|c| &c[i]), shared, y);
        }
    }
    Ok(())
}

/// Encodes blocks that know nothing of their row.
pub(crate) fn encode_blocks<const N: usize, const B: usize>(
    encoding: &dyn Encoding,
    source: &[f32],
    row_length: usize,
    importance: Importance<'_>,
    out: &mut [u8],
    block: impl Fn(&[f32; N], Option<&[f32; N]>, &mut [u8; B]),
) -> Result<()> {
    encode_rows(encoding, source, row_length, importance, out, |_| (), |x, w, (), y| block(x, w, y))
}

/// Decodes blocks of `B` bytes into `N` weights each.
pub(crate) fn decode_blocks<const N: usize, const B: usize>(
    encoding: &dyn Encoding,
    source: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; B], &mut [f32; N]),
) -> Result<()> {
    check_decode::<N, B>(encoding, source, out)?;
    for (x, y) in source.as_chunks::<B>().0.iter().zip(out.as_chunks_mut::<N>().0) {
        block(x, y);
    }
    Ok(())
}

/// Checks the lengths of everything handed to [`Encoding::decode`].
pub(crate) fn check_decode<const N: usize, const B: usize>(encoding: &dyn Encoding, source: &[u8], out: &[f32]) -> Result<()> {
    let (blocks, rest) = source.as_chunks::<B>();
    let (weights, none) = out.as_chunks::<N>();
    if !rest.is_empty() || !none.is_empty() || blocks.len() != weights.len() {
        let message = format!("{} bytes of {} do not hold {} weights", source.len(), encoding.id(), out.len());
        return Err(Error::input(message));
    }
    Ok(())
}

/// Checks that the halves at the given offsets of every block of `B` bytes are finite.
pub(crate) fn validate_scales<const B: usize>(encoding: &dyn Encoding, source: &[u8], offsets: &[usize]) -> Result<()> {
    validate_blocks::<B>(encoding, source, |block| offsets.iter().all(|&at| half_is_finite(u16::from_le_bytes([block[at], block[at + 1]]))))
}

/// Checks every block of `B` bytes with `is_good`, which looks at its scales.
pub(crate) fn validate_blocks<const B: usize>(encoding: &dyn Encoding, source: &[u8], is_good: impl Fn(&[u8; B]) -> bool) -> Result<()> {
    let (blocks, rest) = source.as_chunks::<B>();
    if !rest.is_empty() {
        return Err(Error::input(format!("{} bytes are not whole blocks of {} ({B} bytes each)", source.len(), encoding.id())));
    }
    match blocks.iter().position(|block| !is_good(block)) {
        None => Ok(()),
        // Where the bytes lie in a file, only the caller knows.
        Some(at) if encoding.layout().block_elements == 1 => {
            Err(Error::input(format!("weight {at} of {} is no finite 32-bit number", encoding.id())))
        }
        Some(at) => Err(Error::input(format!("block {at} of {} has a scale that is not a finite number", encoding.id()))),
    }
}
