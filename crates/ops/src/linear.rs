//! Products of rows with the rows of a matrix, and a bias: `x W^T + b`.

use gravure_base::Result;

use crate::array::dot;
use crate::op::misfit;
use crate::{Array, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "linear";

/// `x [.., inputs]`, `weight [outputs, inputs]`, `bias [outputs]` to `[.., outputs]`.
#[derive(Debug, Clone, Copy)]
pub struct Linear;

impl Op for Linear {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "matrix product with the rows of a weight, and a bias"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x"), InputRule::required("weight"), InputRule::optional("bias")] }
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        let mut shape = inputs[0].to_vec();
        match (shape.last_mut(), inputs[1], inputs.get(2)) {
            (Some(last), &[outputs, columns], bias) if *last == columns && bias.is_none_or(|b| *b == [outputs]) => {
                *last = outputs;
                Ok(shape)
            }
            _ => Err(misfit("rows, a matrix of as many columns, and a bias for each of its rows are expected", inputs)),
        }
    }

    fn evaluate(&self, inputs: &[&Array], _attributes: &Attributes) -> Result<Array> {
        let (x, weight) = (inputs[0], inputs[1]);
        let outputs = weight.shape()[0];
        let bias = |i: usize| inputs.get(2).map_or(0.0, |b| f64::from(b.values()[i]));
        // A row length of zero has no rows to iterate over, and products of nothing.
        let rows: usize = x.shape()[..x.shape().len() - 1].iter().product();
        let mut out = Vec::with_capacity(rows * outputs);
        for row in 0..rows {
            let row = x.row(row).unwrap_or_default();
            out.extend((0..outputs).map(|i| (dot(row, weight.row(i).unwrap_or_default()) + bias(i)) as f32));
        }
        x.with_rows(outputs, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies() {
        let x = Array::new([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let w = Array::new([2, 3], vec![1.0, 0.0, 0.0, 0.0, 1.0, -1.0]).unwrap();
        let b = Array::new([2], vec![10.0, 20.0]).unwrap();
        let none = Attributes::new();
        assert_eq!(crate::evaluate(ID, &[&x, &w], &none).unwrap().values(), [1.0, -1.0, 4.0, -1.0]);
        assert_eq!(crate::evaluate(ID, &[&x, &w, &b], &none).unwrap().values(), [11.0, 19.0, 14.0, 19.0]);
        assert!(crate::evaluate(ID, &[&x, &b], &none).is_err());
    }
}
