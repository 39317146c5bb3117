//! Runs a graph with the scalar evaluation of each operation: slow, exact, the reference that
//! runtimes are compared with.

use std::collections::BTreeMap;

use gravure_base::{Error, Result};
use gravure_core::values::{Graph, Origin};
use gravure_core::{Part, TensorId};
use gravure_ops::Array;

/// The outputs of `graph` by name. `weight` gives the weights in the neutral form, except for the
/// order of rotary rows, which is Hugging Face's; `inputs` the values of this run by name.
///
/// # Errors
/// `Input` for a missing input or a shape that does not fit; the node is named.
pub fn run(
    graph: &Graph,
    weight: &mut dyn FnMut(&TensorId) -> Result<Array>,
    inputs: &BTreeMap<&str, Array>,
) -> Result<BTreeMap<String, Array>> {
    let mut values: Vec<Option<Array>> = vec![None; graph.edge_count()];
    for (edge, origin) in &graph.origins {
        let value = match origin {
            Origin::Weight(id) => weight(id)?,
            Origin::Input(name) => {
                inputs.get(name.as_str()).cloned().ok_or_else(|| Error::input("this input is not given").at_item(name.as_str()))?
            }
        };
        *slot(&mut values, edge.0)? = Some(value);
    }
    for node in &graph.nodes {
        let arguments: Vec<&Array> = node
            .inputs
            .iter()
            .map(|edge| values.get(edge.0 as usize).and_then(Option::as_ref).ok_or_else(|| Error::bug("read before made")))
            .collect::<Result<_>>()
            .map_err(|e| e.at_item(&*node.name))?;
        let value = gravure_ops::evaluate(node.op, &arguments, &node.attributes).map_err(|e| {
            let op = e.message().to_owned();
            Error::new(e.kind(), op).at_item(&*node.name)
        })?;
        let [output] = node.outputs.as_slice() else { return Err(Error::bug("an operation has one output").at_item(&*node.name)) };
        *slot(&mut values, output.0)? = Some(value);
    }
    graph
        .outputs
        .iter()
        .map(|(name, edge)| {
            let value = values.get(edge.0 as usize).cloned().flatten();
            Ok((name.clone(), value.ok_or_else(|| Error::bug("an output is not made").at_item(name.as_str()))?))
        })
        .collect()
}

fn slot(values: &mut [Option<Array>], index: u32) -> Result<&mut Option<Array>> {
    values.get_mut(index as usize).ok_or_else(|| Error::bug("an edge that the graph does not count"))
}

/// A weight's name for messages.
pub fn describe(id: &TensorId) -> String {
    let part = if id.part == Part::Bias { "bias" } else { "weight" };
    match id.layer {
        Some(layer) => format!("{:?} {part} of layer {layer}", id.role),
        None => format!("{:?} {part}", id.role),
    }
}
