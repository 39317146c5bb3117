//! Multiplication by a constant, element by element.

use gravure_base::Result;

use crate::attribute::Get;
use crate::{Array, AttributeKind, AttributeRule, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "scale";
/// Attribute: the constant.
pub const FACTOR: &str = "factor";

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Scale;

impl Op for Scale {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "multiplication by a constant"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x")] }
    }

    fn attributes(&self) -> &'static [AttributeRule] {
        &[AttributeRule { name: FACTOR, kind: AttributeKind::Float, required: true, doc: "the constant, as `f32`" }]
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
        let factor = attributes.required_float(FACTOR)? as f32;
        Ok(inputs[0].map(|x| x * factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    #[test]
    fn scales() {
        let x = Array::new([2], vec![2.0, -3.0]).unwrap();
        let out = crate::evaluate(ID, &[&x], &Attributes::from([(FACTOR, Attribute::Float(1.5))])).unwrap();
        assert_eq!(out.values(), [3.0, -4.5]);
    }
}
