//! Guesses of the tokens to come. A guess costs little and is checked by the model in one step, so right
//! ones make generation faster (Leviathan et al., "Fast Inference from Transformers via Speculative
//! Decoding", 2023).
//!
//! A guess is accepted where it is the very token that the sampler chooses from the model's own logits.
//! This draws from the model's distribution without correction, and with a seed gives the same tokens as
//! without guesses: exactness is paid with the few guesses that rejection sampling would accept more.

mod draft;
mod lookup;

use gravure_base::Result;

pub use draft::Draft;
pub use lookup::Lookup;

/// Guesses tokens.
pub trait Speculator {
    /// At most `most` tokens that may follow `tokens`.
    ///
    /// # Errors
    /// Whatever a model that guesses says; that it is full is no error.
    fn propose(&mut self, tokens: &[u32], most: usize) -> Result<Vec<u32>>;
}
