//! Checkpoints whose weights are already quantized: GPTQ, AWQ, MLX, compressed-tensors, fp8.
//!
//! Such a checkpoint spreads a matrix over several tensors and says in `config.json` how. Here each
//! such group of tensors becomes one plain `f32` matrix under its usual name, whose rows are decoded
//! when they are read; nothing after this point knows that the source was quantized.
//!
//! ```text
//! gptq                qweight, qzeros, scales, [g_idx]
//! awq                 qweight, qzeros, scales
//! mlx                 weight (u32), scales, biases
//! compressed-tensors  weight_packed, weight_scale, weight_shape, [weight_zero_point, weight_g_idx]
//!                     weight (i8 or f8), weight_scale, [weight_zero_point]
//! fp8                 weight (f8), weight_scale or weight_scale_inv
//! ```

mod compressed;
mod groups;
mod integers;
mod planes;
mod scaled;
mod scheme;

use std::collections::HashSet;

use gravure_base::{Error, Result};
use gravure_core::{Catalog, Note, Tensor};
use serde_json::Value as Json;

use groups::Groups;
use scheme::Scheme;

/// The tensors of a checkpoint, none of them in several parts.
#[derive(Debug)]
pub(crate) struct Presented {
    /// In file order.
    pub(crate) tensors: Vec<Tensor>,
    /// Names of matrices that were packed as those of linear maps, `[outputs, inputs]`, whatever way around the
    /// architecture stores its floats.
    pub(crate) linear: HashSet<String>,
}

/// Replaces quantized groups by plain tensors and takes the description out of `config`.
///
/// # Errors
/// `Unsupported` for a way of quantizing that this build does not know (a note where `lenient`),
/// `Input` where tensors are missing or do not fit the description.
pub(crate) fn present(
    config: &mut Json,
    tensors: Vec<Tensor>,
    catalog: &Catalog,
    lenient: bool,
    notes: &mut Vec<Note>,
) -> Result<Presented> {
    let as_stored = |tensors| Presented { tensors, linear: HashSet::new() };
    let scheme = match Scheme::take(config) {
        Ok(Some(scheme)) => scheme,
        Ok(None) => return Ok(as_stored(tensors)),
        Err(error) if lenient && error.kind() == gravure_base::ErrorKind::Unsupported => {
            let text = format!("{}: the tensors are shown as they are stored", error.message());
            notes.push(Note { subject: "quantization_config".into(), text });
            return Ok(as_stored(tensors));
        }
        Err(error) => return Err(error),
    };
    let mut groups = Groups::new(tensors);
    let mut decoded = 0u64;
    let mut linear = HashSet::new();
    for base in groups.bases(scheme.marker()) {
        let context = |e: Error| e.at_item(&*base);
        if let Some(tensor) = scheme.decode(&base, &mut groups, catalog).map_err(context)? {
            if scheme.packs_linear_maps() {
                linear.insert(tensor.name.clone());
            }
            groups.put(&base, scheme.marker(), tensor).map_err(context)?;
            decoded += 1;
        }
    }
    if decoded == 0 && !lenient {
        return Err(Error::input(format!("says that its weights are stored as {}, but none of its tensors is", scheme.describe()))
            .at_item("quantization_config")
            .help("--lenient takes the tensors as they are"));
    }
    let dropped = groups.drop_suffixes(scheme.unused());
    notes.push(Note { subject: "weights".into(), text: format!("{decoded} matrices are decoded from {}", scheme.describe()) });
    if dropped > 0 {
        let text = format!("{dropped} tensors describe the quantization of activations and were left out");
        notes.push(Note { subject: "weights".into(), text });
    }
    Ok(Presented { tensors: groups.finish(), linear })
}

/// Takes the description out of `config` unread.
pub(crate) fn forget(config: &mut Json) {
    if let Json::Object(map) = config {
        scheme::KEYS.iter().for_each(|key| _ = map.shift_remove(*key));
    }
}

#[cfg(test)]
mod tests;
