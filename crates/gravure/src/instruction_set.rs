//! Which instruction set runs, and whether it is the one that was asked for.

use gravure_base::{Error, Result};
use gravure_simd::Isa;

/// The name of the instruction set that runs: the best of this processor, or the one that `GRAVURE_ISA` names.
///
/// # Errors
/// `Request` where this processor does not have what `GRAVURE_ISA` names. Kernels would run the best there is.
pub fn instruction_set() -> Result<&'static str> {
    match Isa::asked() {
        Some(Err(name)) => {
            let known: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
            let help = format!("set it to one of {}, or not at all for the first", known.join(", "));
            Err(Error::request(format!("GRAVURE_ISA is {name:?}, an instruction set that this processor does not have")).help(help))
        }
        _ => Ok(Isa::detect().name()),
    }
}
