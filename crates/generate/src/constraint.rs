//! What a reply may consist of.

use gravure_base::Result;
use gravure_text::grammar::Grammar;

/// Allows and forbids next tokens, such as a grammar does.
pub trait Constraint {
    /// Sets the logits of tokens that may not come next to minus infinity.
    ///
    /// # Errors
    /// `Limit` where the constraint takes too much to compute.
    fn mask(&mut self, logits: &mut [f32]) -> Result<()>;

    /// Takes in the token that was chosen.
    ///
    /// # Errors
    /// `Bug` for a token that was forbidden.
    fn accept(&mut self, token: u32) -> Result<()>;

    /// Whether the reply is complete and cannot go on.
    fn finished(&mut self) -> bool;
}

impl Constraint for Grammar {
    fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        Self::mask(self, logits)
    }

    fn accept(&mut self, token: u32) -> Result<()> {
        Self::accept(self, token)
    }

    fn finished(&mut self) -> bool {
        Self::finished(self)
    }
}
