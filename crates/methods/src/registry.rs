//! Every method of this build.

use gravure_core::Method;

use crate::{Descent, Gptq, Hqq, Rtn, ScaleEstimation};

/// All methods.
pub static METHODS: &[&dyn Method] = &[&Rtn, &Hqq, &ScaleEstimation, &Gptq, &Descent];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_documented_and_named_once() {
        for (i, method) in METHODS.iter().enumerate() {
            assert!(!method.doc().is_empty(), "{} has no doc", method.id());
            assert!(METHODS[..i].iter().all(|m| m.id() != method.id()), "{} twice", method.id());
        }
    }
}
