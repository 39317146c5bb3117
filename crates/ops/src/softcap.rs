//! `limit * tanh(x / limit)`, element by element: a soft bound on logits (Gemma Team 2024).

use gravure_base::{Error, Result};

use crate::attribute::Get;
use crate::{Array, AttributeKind, AttributeRule, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "softcap";
/// Attribute: the bound.
pub const LIMIT: &str = "limit";

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Softcap;

impl Op for Softcap {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "soft bound by the hyperbolic tangent"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x")] }
    }

    fn attributes(&self) -> &'static [AttributeRule] {
        &[AttributeRule { name: LIMIT, kind: AttributeKind::Float, required: true, doc: "the bound, positive" }]
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
        let limit = attributes.required_float(LIMIT)?;
        if limit <= 0.0 {
            return Err(Error::input(format!("attribute `{LIMIT}` is {limit} and should be positive")));
        }
        Ok(inputs[0].map(|x| capped(f64::from(x), limit) as f32))
    }
}

/// The function itself.
pub(crate) fn capped(x: f64, limit: f64) -> f64 {
    limit * (x / limit).tanh()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    #[test]
    fn is_bounded_and_odd() {
        let x = Array::new([4], vec![0.0, 0.01, 1e6, -1e6]).unwrap();
        let out = crate::evaluate(ID, &[&x], &Attributes::from([(LIMIT, Attribute::Float(30.0))])).unwrap();
        assert_eq!(out.values()[0], 0.0);
        assert!((out.values()[1] - 0.01).abs() < 1e-8);
        assert_eq!(out.values()[2..], [30.0, -30.0]);
        assert!(crate::evaluate(ID, &[&x], &Attributes::from([(LIMIT, Attribute::Float(0.0))])).is_err());
    }
}
