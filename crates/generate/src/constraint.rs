//! What a reply may consist of.

use gravure_base::Result;

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
