//! A range of the innermost dimension: takes fused projections apart.

use gravure_base::{Error, Result};

use crate::attribute::Get;
use crate::op::misfit;
use crate::{Array, AttributeKind, AttributeRule, Attributes, InputRule, Op};

/// Id of the operation.
pub const ID: &str = "slice";
/// Attribute: where the range begins.
pub const START: &str = "start";
/// Attribute: its length.
pub const LENGTH: &str = "length";

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Slice;

impl Op for Slice {
    fn id(&self) -> &'static str {
        ID
    }

    fn doc(&self) -> &'static str {
        "range of the innermost dimension"
    }

    fn inputs(&self) -> &'static [InputRule] {
        const { &[InputRule::required("x")] }
    }

    fn attributes(&self) -> &'static [AttributeRule] {
        &[
            AttributeRule { name: START, kind: AttributeKind::Integer, required: true, doc: "where the range begins" },
            AttributeRule { name: LENGTH, kind: AttributeKind::Integer, required: true, doc: "its length, positive" },
        ]
    }

    fn shape(&self, inputs: &[&[usize]], attributes: &Attributes) -> Result<Vec<usize>> {
        let (start, length) = range(attributes)?;
        let mut shape = inputs[0].to_vec();
        let last = shape.last_mut().ok_or_else(|| misfit("a scalar has no range", inputs))?;
        if start.checked_add(length).is_none_or(|end| end > *last) {
            return Err(misfit(&format!("{length} elements from {start} leave the row"), inputs));
        }
        *last = length;
        Ok(shape)
    }

    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
        let (start, length) = range(attributes)?;
        let values = inputs[0].rows().flat_map(|row| row.iter().skip(start).take(length)).copied().collect();
        inputs[0].with_rows(length, values)
    }
}

fn range(attributes: &Attributes) -> Result<(usize, usize)> {
    let start = attributes.integer(START)?.and_then(|v| usize::try_from(v).ok());
    let start = start.ok_or_else(|| Error::input(format!("attribute `{START}` is missing or negative")))?;
    Ok((start, attributes.count(LENGTH)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;

    #[test]
    fn takes_columns() {
        let x = Array::new([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let attributes = |start, length| Attributes::from([(START, Attribute::Integer(start)), (LENGTH, Attribute::Integer(length))]);
        let out = crate::evaluate(ID, &[&x], &attributes(1, 2)).unwrap();
        assert_eq!(out, Array::new([2, 2], vec![2.0, 3.0, 5.0, 6.0]).unwrap());
        assert!(crate::evaluate(ID, &[&x], &attributes(2, 2)).is_err());
        assert!(crate::evaluate(ID, &[&x], &attributes(-1, 2)).is_err());
    }
}
