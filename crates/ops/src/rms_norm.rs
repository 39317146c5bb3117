//! Root-mean-square normalization (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + epsilon) * gain`.
//!
//! Where the gain is shorter than a row, each piece of a row of the gain's length is normalized by
//! itself: that is how heads are.

use gravure_base::Result;

use crate::array::dot;
use crate::attribute::Get;
use crate::op::misfit;
use crate::{Array, AttributeKind, AttributeRule, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "rms_norm";
/// Attribute: what is added to the mean square.
pub const EPSILON: &str = "epsilon";

/// `x [.., n * length]`, `gain [length]` to the shape of `x`.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm;

impl Op for RmsNorm {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "root-mean-square normalization of rows, or of pieces of rows"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x"), InputRule::required("gain")] }
    }

    fn attributes(&self) -> &'static [AttributeRule] {
        &[AttributeRule { name: EPSILON, kind: AttributeKind::Float, required: true, doc: "added to the mean square" }]
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        match (inputs[0].last(), inputs[1]) {
            (Some(&row), &[length]) if length > 0 && row.is_multiple_of(length) => Ok(inputs[0].to_vec()),
            _ => Err(misfit("rows that are a multiple of the gain's length are expected", inputs)),
        }
    }

    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
        let epsilon = attributes.required_float(EPSILON)?;
        let (x, gain) = (inputs[0], inputs[1].values());
        let mut out = Vec::with_capacity(x.values().len());
        for piece in x.values().chunks_exact(gain.len()) {
            let factor = 1.0 / (dot(piece, piece) / piece.len() as f64 + epsilon).sqrt();
            out.extend(piece.iter().zip(gain).map(|(&v, &g)| (f64::from(v) * factor * f64::from(g)) as f32));
        }
        Array::new(x.shape(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    #[test]
    fn normalizes_rows_and_pieces() {
        let attributes = Attributes::from([(EPSILON, Attribute::Float(0.0))]);
        let x = Array::new([1, 4], vec![3.0, 4.0, 5.0, 12.0]).unwrap();
        let gain = Array::new([2], vec![1.0, 2.0]).unwrap();
        let out = crate::evaluate(ID, &[&x, &gain], &attributes).unwrap();
        let (a, b) = (12.5_f32.sqrt(), 84.5_f32.sqrt());
        for (got, expected) in out.values().iter().zip([3.0 / a, 8.0 / a, 5.0 / b, 24.0 / b]) {
            assert!((got - expected).abs() < 1e-6);
        }
        let gain = Array::new([3], vec![1.0; 3]).unwrap();
        assert!(crate::evaluate(ID, &[&x, &gain], &attributes).is_err());
    }
}
