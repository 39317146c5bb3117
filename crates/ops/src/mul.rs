//! The product of two values of the same shape, element by element.

use gravure_base::Result;

use crate::op::misfit;
use crate::{Array, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "mul";

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Mul;

impl Op for Mul {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "product, element by element"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("a"), InputRule::required("b")] }
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        if inputs[0] != inputs[1] {
            return Err(misfit("both inputs should have the same shape", inputs));
        }
        Ok(inputs[0].to_vec())
    }

    fn evaluate(&self, inputs: &[&Array], _attributes: &Attributes) -> Result<Array> {
        let values: Vec<f32> = inputs[0].values().iter().zip(inputs[1].values()).map(|(a, b)| a * b).collect();
        Array::new(inputs[0].shape(), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_by_element() {
        let a = Array::new([2], vec![2.0, 3.0]).unwrap();
        let b = Array::new([2], vec![5.0, 7.0]).unwrap();
        let out = crate::evaluate(ID, &[&a, &b], &Attributes::new()).unwrap();
        assert_eq!(out.values(), [2.0 * 5.0, 3.0 * 7.0]);
        let c = Array::new([1, 2], vec![5.0, 7.0]).unwrap();
        assert!(crate::evaluate(ID, &[&a, &c], &Attributes::new()).is_err());
    }
}
