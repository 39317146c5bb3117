//! `x / (1 + exp(-x))`, element by element: the sigmoid-weighted linear unit (Elfwing et al. 2017).

use gravure_base::Result;

use crate::{Array, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "silu";

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Silu;

impl Op for Silu {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "sigmoid-weighted linear unit"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x")] }
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], _attributes: &Attributes) -> Result<Array> {
        Ok(inputs[0].map(silu))
    }
}

fn silu(x: f32) -> f32 {
    let x = f64::from(x);
    (x / (1.0 + (-x).exp())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(silu(0.0), 0.0);
        assert!((silu(1.0) - 0.731_058_6).abs() < 1e-7);
        assert_eq!(silu(-200.0), 0.0);
        assert_eq!(silu(200.0), 200.0);
    }
}
