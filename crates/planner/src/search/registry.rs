//! Every sampler of this build.

use gravure_core::{Error, Result};

use super::sampler::SamplerKind;
use super::{Grid, Halving, Nsga2, Random, Tpe};

/// All samplers.
pub static SAMPLERS: &[&dyn SamplerKind] = &[&Nsga2, &Tpe, &Halving, &Random, &Grid];

/// The sampler called `id`.
///
/// # Errors
/// `Request` where there is none, with those that there are.
pub fn sampler(id: &str) -> Result<&'static dyn SamplerKind> {
    SAMPLERS.iter().copied().find(|s| s.id() == id).ok_or_else(|| {
        let known: Vec<_> = SAMPLERS.iter().map(|s| s.id()).collect();
        Error::request(format!("unknown sampler `{id}`")).help(format!("known samplers: {}", known.join(", ")))
    })
}
