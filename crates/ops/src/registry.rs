//! All operations, in the order of tables.

use gravure_base::{Error, Result};

use crate::op::check;
use crate::{Array, Attributes, Op};

/// The operations.
pub static OPS: &[&dyn Op] = &[
    &crate::embedding::Embedding,
    &crate::linear::Linear,
    &crate::rms_norm::RmsNorm,
    &crate::layer_norm::LayerNorm,
    &crate::rope::Rope,
    &crate::attention::Attention,
    &crate::silu::Silu,
    &crate::gelu::Gelu,
    &crate::gelu_tanh::GeluTanh,
    &crate::add::Add,
    &crate::mul::Mul,
    &crate::scale::Scale,
    &crate::softcap::Softcap,
    &crate::slice::Slice,
];

/// The operation with this id.
pub fn find(id: &str) -> Option<&'static dyn Op> {
    OPS.iter().copied().find(|op| op.id() == id)
}

fn known(id: &str) -> Result<&'static dyn Op> {
    find(id).ok_or_else(|| Error::unsupported("no such operation is known").at_item(id))
}

/// The shape of the output of the operation `id`, after the checks that all operations share.
pub fn shape(id: &str, inputs: &[&[usize]], attributes: &Attributes) -> Result<Vec<usize>> {
    let op = known(id)?;
    check(op, inputs.len(), attributes)?;
    op.shape(inputs, attributes).map_err(|e| e.at_item(id))
}

/// The output of the operation `id`, after all checks.
pub fn evaluate(id: &str, inputs: &[&Array], attributes: &Attributes) -> Result<Array> {
    let op = known(id)?;
    let shapes: Vec<&[usize]> = inputs.iter().map(|a| a.shape()).collect();
    let expected = shape(id, &shapes, attributes)?;
    let out = op.evaluate(inputs, attributes).map_err(|e| e.at_item(id))?;
    if out.shape() != expected {
        return Err(Error::bug(format!("made {:?} where its rule says {expected:?}", out.shape())).at_item(id));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attribute;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_documented() {
        let ids: BTreeSet<_> = OPS.iter().map(|op| op.id()).collect();
        assert_eq!(ids.len(), OPS.len());
        for op in OPS {
            assert!(!op.doc().is_empty(), "{}", op.id());
            assert!(op.attributes().iter().all(|a| !a.doc.is_empty()), "{}", op.id());
            let optional: Vec<_> = op.inputs().iter().map(|i| i.optional).collect();
            assert!(optional.is_sorted(), "{}: optional inputs come last", op.id());
        }
    }

    #[test]
    fn every_file_is_registered() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_string_lossy().strip_suffix(".rs").map(str::to_owned))
            .filter(|name| !["lib", "registry", "op", "array", "attribute"].contains(&name.as_str()))
            .collect();
        let mut ids: Vec<String> = OPS.iter().map(|op| op.id().to_owned()).collect();
        files.sort();
        ids.sort();
        assert_eq!(files, ids);
    }

    #[test]
    fn wrong_nodes_are_refused() {
        let x = Array::new([1, 2], vec![1.0, 2.0]).unwrap();
        let none = Attributes::new();
        assert!(evaluate("no_such", &[&x], &none).is_err());
        assert!(evaluate("silu", &[], &none).is_err());
        assert!(evaluate("silu", &[&x, &x], &none).is_err());
        let wrong = Attributes::from([("wobble", Attribute::Flag(true))]);
        assert!(evaluate("silu", &[&x], &wrong).is_err());
        assert!(evaluate("scale", &[&x], &none).is_err());
        let wrong = Attributes::from([("factor", Attribute::Integer(2))]);
        assert!(evaluate("scale", &[&x], &wrong).is_err());
    }

    /// Shapes and attributes that make no sense give errors, never panics, in every operation.
    #[test]
    fn hostile_shapes_and_attributes_are_errors_or_answers() {
        let shapes: &[&[usize]] = &[&[], &[0], &[1], &[3], &[2, 4], &[4, 2], &[0, 4], &[2, 0], &[2, 2, 2]];
        let numbers = [i64::MIN, -1, 0, 1, 2, 3, i64::MAX];
        for op in OPS {
            for count in 0..=op.inputs().len() + 1 {
                for pick in 0..shapes.len().pow(count.min(3) as u32) {
                    let inputs: Vec<Array> = (0..count)
                        .map(|i| {
                            let shape = shapes[pick / shapes.len().pow(i.min(2) as u32) % shapes.len()];
                            Array::new(shape, vec![1.0; shape.iter().product()]).unwrap()
                        })
                        .collect();
                    let inputs: Vec<&Array> = inputs.iter().collect();
                    for number in numbers {
                        let attributes: Attributes = op
                            .attributes()
                            .iter()
                            .map(|rule| {
                                let value = match rule.kind {
                                    crate::AttributeKind::Integer => Attribute::Integer(number),
                                    crate::AttributeKind::Float => Attribute::Float(number as f64),
                                    crate::AttributeKind::Flag => Attribute::Flag(number > 0),
                                    crate::AttributeKind::Text => Attribute::Text(number.to_string()),
                                    crate::AttributeKind::Integers => Attribute::Integers(vec![number]),
                                };
                                (rule.name, value)
                            })
                            .collect();
                        let _ = evaluate(op.id(), &inputs, &attributes);
                    }
                }
            }
        }
    }
}
