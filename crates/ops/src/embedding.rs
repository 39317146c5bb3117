//! Rows of a table by their numbers: token, position and type embeddings.

use gravure_base::{Error, Result};

use crate::op::misfit;
use crate::{Array, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "embedding";

/// `table [rows, width]`, `indices [positions]` (whole numbers) to `[positions, width]`.
#[derive(Debug, Clone, Copy)]
pub struct Embedding;

impl Op for Embedding {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "rows of a table by their numbers"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("table"), InputRule::required("indices")] }
    }

    fn shape(&self, inputs: &[&[usize]], _attributes: &Attributes) -> Result<Vec<usize>> {
        match (inputs[0], inputs[1]) {
            (&[_, width], &[positions]) => Ok(vec![positions, width]),
            _ => Err(misfit("a table of rows and a list of numbers are expected", inputs)),
        }
    }

    fn evaluate(&self, inputs: &[&Array], _attributes: &Attributes) -> Result<Array> {
        let (table, numbers) = (inputs[0], inputs[1]);
        let (rows, width) = (table.shape()[0], table.row_length());
        let mut out = Vec::with_capacity(numbers.values().len() * width);
        for &number in numbers.values() {
            if !(number >= 0.0 && number.fract() == 0.0 && (number as usize) < rows) {
                return Err(Error::input(format!("{number} is not a row of a table of {rows}")));
            }
            out.extend_from_slice(table.row(number as usize).unwrap_or_default());
        }
        Array::new([numbers.values().len(), width], out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_rows() {
        let table = Array::new([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let none = Attributes::new();
        let out = crate::evaluate(ID, &[&table, &Array::new([2], vec![2.0, 0.0]).unwrap()], &none).unwrap();
        assert_eq!(out, Array::new([2, 2], vec![5.0, 6.0, 1.0, 2.0]).unwrap());
        for wrong in [3.0, -1.0, 0.5, f32::NAN] {
            assert!(crate::evaluate(ID, &[&table, &Array::new([1], vec![wrong]).unwrap()], &none).is_err());
        }
    }
}
