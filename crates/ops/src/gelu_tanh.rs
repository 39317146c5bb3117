//! `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`, element by element: the usual approximation
//! of the Gaussian error linear unit (Hendrycks and Gimpel 2016).

use gravure_base::Result;

use crate::{Array, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "gelu_tanh";

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct GeluTanh;

impl Op for GeluTanh {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "Gaussian error linear unit by the hyperbolic tangent"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x")] }
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], _attributes: &Attributes) -> Result<Array> {
        Ok(inputs[0].map(gelu_tanh))
    }
}

fn gelu_tanh(x: f32) -> f32 {
    let x = f64::from(x);
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    (0.5 * x * (1.0 + inner.tanh())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(gelu_tanh(0.0), 0.0);
        assert!((gelu_tanh(1.0) - 0.841_192).abs() < 1e-6);
        assert!((gelu_tanh(-1.0) + 0.158_808).abs() < 1e-6);
    }
}
