//! `x * (1 + erf(x / sqrt(2))) / 2`, element by element: the Gaussian error linear unit (Hendrycks and
//! Gimpel 2016), exact.

use gravure_base::Result;

use crate::{Array, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "gelu";

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Gelu;

impl Op for Gelu {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "Gaussian error linear unit, exact"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x")] }
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], _attributes: &Attributes) -> Result<Array> {
        Ok(inputs[0].map(gelu))
    }
}

/// The function itself.
fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
}

/// The error function, to about 1e-15: its Taylor series near zero, the continued fraction of its
/// complement further out.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            let n = f64::from(n);
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        (2.0 / std::f64::consts::PI.sqrt() * sum).copysign(x)
    } else if a < 6.5 {
        // Lentz would be safer in general; from 2.5 on, sixty levels from below are exact enough.
        let fraction = (1..=60).rev().fold(a, |below, n| a + f64::from(n) / 2.0 / below);
        (1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * fraction)).copysign(x)
    } else {
        1.0_f64.copysign(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // From tables of the error function.
        let cases = [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ];
        for (x, expected) in cases {
            assert!((erf(x) - expected).abs() < 1e-14, "erf({x}) is {}", erf(x));
            assert!((erf(-x) + expected).abs() < 1e-14);
        }
        assert!((erf(2.499_999_999) - erf(2.500_000_001)).abs() < 1e-11);
        assert!((gelu(1.0) - 0.841_344_7).abs() < 1e-6);
        assert_eq!(gelu(-40.0), 0.0);
    }
}
