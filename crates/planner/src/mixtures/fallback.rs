//! What a tensor gets when its rows are no multiple of the chosen encoding's block.

use gravure_core::{Catalog, Encoding, Error, Result};

/// The encoding for rows of `columns` weights: `wanted` where they are whole blocks of it, else the
/// nearest encoding in blocks of 32, else 16-bit floats. With the reason where it is not `wanted`.
///
/// # Errors
/// `Unsupported` where the reference defines no fallback: blocks of 64 and 128 whose encoding has none.
pub(super) fn fit(wanted: &'static dyn Encoding, columns: u64, catalog: &Catalog) -> Result<(&'static dyn Encoding, Option<String>)> {
    let block = wanted.layout().block_elements as u64;
    if columns.is_multiple_of(block) {
        return Ok((wanted, None));
    }
    let smaller = match wanted.id() {
        "iq1_s" | "iq1_m" | "iq2_xxs" | "iq2_xs" | "iq2_s" | "iq3_xxs" | "iq3_s" | "iq4_xs" => "iq4_nl",
        "q2_0" | "q2_k" | "q3_k" | "tq1_0" | "tq2_0" => "q4_0",
        "q4_k" => "q5_0",
        "q5_k" => "q5_1",
        "q6_k" => "q8_0",
        id if block <= 32 => id,
        id => {
            let message =
                format!("rows of {columns} weights are no multiple of the {block} that a block of {id} holds, and {id} has no fallback");
            return Err(Error::unsupported(message).help("choose another type for this tensor with --tensor-type"));
        }
    };
    let mut chosen = catalog.encoding(smaller)?;
    let fits = columns.is_multiple_of(chosen.layout().block_elements as u64);
    if !fits {
        chosen = catalog.encoding("f16")?;
    }
    let reason = format!(
        "rows of {columns} weights are no multiple of the {block} that a block of {} holds{}: {} instead",
        wanted.id(),
        if fits { "" } else { ", nor of 32" },
        chosen.id()
    );
    Ok((chosen, Some(reason)))
}
