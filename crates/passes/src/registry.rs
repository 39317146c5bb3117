//! Every pass of this build.

use gravure_core::Pass;

use crate::{Awq, Rotate};

/// All passes.
pub static PASSES: &[&dyn Pass] = &[&Awq, &Rotate];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_is_documented_and_named_once() {
        for (i, pass) in PASSES.iter().enumerate() {
            assert!(!pass.doc().is_empty(), "{} has no doc", pass.id());
            assert!(PASSES[..i].iter().all(|p| p.id() != pass.id()), "{} twice", pass.id());
        }
    }
}
