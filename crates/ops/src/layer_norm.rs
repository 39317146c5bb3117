//! Layer normalization (Ba, Kiros and Hinton 2016):
//! `(x - mean) / sqrt(variance + epsilon) * gain + bias`, with the variance of the whole row.

use gravure_base::Result;

use crate::attribute::Get;
use crate::op::misfit;
use crate::{Array, AttributeKind, AttributeRule, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "layer_norm";
/// Attribute: what is added to the variance.
pub const EPSILON: &str = "epsilon";

/// `x [.., length]`, `gain [length]`, `bias [length]` to the shape of `x`.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm;

impl Op for LayerNorm {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "layer normalization of rows"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x"), InputRule::required("gain"), InputRule::optional("bias")] }
    }

    fn attributes(&self) -> &'static [AttributeRule] {
        &[AttributeRule { name: EPSILON, kind: AttributeKind::Float, required: true, doc: "added to the variance" }]
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        let row = inputs[0].last().copied().unwrap_or(0);
        if row == 0 || inputs[1..].iter().any(|vector| *vector != [row]) {
            return Err(misfit("rows, and a gain and bias of their length, are expected", inputs));
        }
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
        let epsilon = attributes.required_float(EPSILON)?;
        let (x, gain) = (inputs[0], inputs[1].values());
        let bias = |i: usize| inputs.get(2).map_or(0.0, |b| f64::from(b.values()[i]));
        let mut out = Vec::with_capacity(x.values().len());
        for row in x.rows() {
            let n = row.len() as f64;
            let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
            let factor = 1.0 / (variance + epsilon).sqrt();
            let normal = |(i, &v): (usize, &f32)| ((f64::from(v) - mean) * factor * f64::from(gain[i]) + bias(i)) as f32;
            out.extend(row.iter().enumerate().map(normal));
        }
        Array::new(x.shape(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    #[test]
    fn normalizes() {
        let attributes = Attributes::from([(EPSILON, Attribute::Float(0.0))]);
        let x = Array::new([1, 2], vec![1.0, 5.0]).unwrap();
        let gain = Array::new([2], vec![1.0, 3.0]).unwrap();
        let bias = Array::new([2], vec![0.0, 10.0]).unwrap();
        assert_eq!(crate::evaluate(ID, &[&x, &gain], &attributes).unwrap().values(), [-1.0, 3.0]);
        assert_eq!(crate::evaluate(ID, &[&x, &gain, &bias], &attributes).unwrap().values(), [-1.0, 13.0]);
        assert!(crate::evaluate(ID, &[&x, &x], &attributes).is_err());
    }
}
