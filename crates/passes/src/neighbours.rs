//! Weights whose changes can cancel out, as a graph tells them.
//!
//! ```text
//! norm -------------------> linear maps that read it       (attention.norm -> query, key, value)
//! linear * activation ----> linear map                     (up -> down)
//! linear -> attention ----> linear map                     (value -> output, through heads)
//! ```
//! In each the outputs before are multiplied by something element by element, and inputs behind divided by it.

use std::collections::BTreeMap;
use std::ops::Range;

use gravure_core::values::{Attribute, Edge, Node, Origin};
use gravure_core::{Error, Graph, Model, Result, TensorId};
use gravure_ops as ops;

use crate::changed::tensor;

/// A linear map whose weight nobody else reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) weight: TensorId,
    pub(crate) bias: Option<TensorId>,
}

/// Who makes the inputs of linear maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Before {
    /// A norm, with its gain and bias.
    Norm { gain: TensorId, bias: Option<TensorId> },
    /// Some rows of a linear map.
    Rows { map: Map, rows: Range<u64> },
}

/// Heads between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Query heads: runs of inputs behind.
    pub(crate) queries: u64,
    /// Heads of keys and values: runs of outputs before.
    pub(crate) values: u64,
    /// Length of a value.
    pub(crate) length: u64,
}

/// Outputs, and the maps that read them and nothing else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Name of the node between.
    pub(crate) place: String,
    pub(crate) before: Before,
    pub(crate) behind: Vec<Map>,
    /// Where attention stands between the two; without it, input `i` is output `i`.
    pub(crate) heads: Option<Heads>,
}

impl Pair {
    /// For each input of the maps behind, the output that it is.
    pub(crate) fn output_of(&self, input: usize) -> usize {
        match self.heads {
            None => input,
            Some(Heads { queries, values, length }) => {
                let (head, at) = (input / length as usize, input % length as usize);
                head / (queries / values) as usize * length as usize + at
            }
        }
    }
}

/// A graph, and who makes and reads each value.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) graph: &'a Graph,
    model: &'a Model,
    weights: BTreeMap<Edge, TensorId>,
    makers: BTreeMap<Edge, usize>,
    users: BTreeMap<Edge, Vec<usize>>,
}

impl<'a> View<'a> {
    /// Of a model's graph.
    ///
    /// # Errors
    /// `Unsupported` where it has none.
    pub(crate) fn new(model: &'a Model) -> Result<Self> {
        let graph = model.graph.as_ref().ok_or_else(|| {
            Error::unsupported("no graph is known for this architecture, so its weights have no known neighbours")
                .in_file(&model.source.path)
        })?;
        let weights = graph.origins.iter().filter_map(|(edge, origin)| match origin {
            Origin::Weight(id) => Some((*edge, *id)),
            Origin::Input(_) => None,
        });
        let mut users: BTreeMap<Edge, Vec<usize>> = BTreeMap::new();
        let mut makers = BTreeMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|edge| users.entry(*edge).or_default().push(index));
            node.outputs.iter().for_each(|edge| {
                makers.insert(*edge, index);
            });
        }
        Ok(Self { graph, model, weights: weights.collect(), makers, users })
    }

    /// The weight behind an edge.
    pub(crate) fn weight(&self, edge: Edge) -> Option<TensorId> {
        self.weights.get(&edge).copied()
    }

    /// Nodes that read a value, by index; `None` where it is also a result of the graph.
    pub(crate) fn readers(&self, edge: Edge) -> Option<&[usize]> {
        if self.graph.outputs.iter().any(|(_, e)| *e == edge) { None } else { self.users.get(&edge).map(Vec::as_slice) }
    }

    /// A weight that one node reads.
    fn own_weight(&self, edge: Edge) -> Option<TensorId> {
        self.weight(edge).filter(|_| self.users.get(&edge).is_some_and(|u| u.len() == 1))
    }

    /// The linear map of a node, where its weights are its own.
    pub(crate) fn map(&self, node: &Node) -> Option<Map> {
        match node.inputs[..] {
            [_, weight] if node.op == ops::linear::ID => Some(Map { weight: self.own_weight(weight)?, bias: None }),
            [_, weight, bias] if node.op == ops::linear::ID => {
                Some(Map { weight: self.own_weight(weight)?, bias: Some(self.own_weight(bias)?) })
            }
            _ => None,
        }
    }

    /// The linear maps that read a value, where nothing else does.
    pub(crate) fn maps_behind(&self, edge: Edge) -> Option<Vec<Map>> {
        let readers = self.readers(edge)?;
        let map = |&index: &usize| {
            let node = &self.graph.nodes[index];
            if node.inputs.first() == Some(&edge) { self.map(node) } else { None }
        };
        readers.iter().map(map).collect()
    }

    /// The gain and the bias of a norm's node, where they are its own.
    pub(crate) fn norm(&self, node: &Node) -> Option<(TensorId, Option<TensorId>)> {
        match node.inputs[..] {
            [_, gain] if node.op == ops::rms_norm::ID => Some((self.own_weight(gain)?, None)),
            [_, gain, bias] if node.op == ops::layer_norm::ID => Some((self.own_weight(gain)?, Some(self.own_weight(bias)?))),
            _ => None,
        }
    }

    /// The rows of a linear map that make a value which nothing else reads.
    fn rows_before(&self, edge: Edge) -> Option<Before> {
        if self.readers(edge)?.len() != 1 {
            return None;
        }
        let maker = &self.graph.nodes[*self.makers.get(&edge)?];
        if maker.op == ops::slice::ID {
            let whole = *maker.inputs.first()?;
            // The other rows must be others.
            let ranges: Vec<_> = self.readers(whole)?.iter().map(|&i| slice(&self.graph.nodes[i])).collect::<Option<_>>()?;
            let own = slice(maker)?;
            if ranges.iter().filter(|r| r.start < own.end && own.start < r.end).count() != 1 {
                return None;
            }
            let map = self.map(&self.graph.nodes[*self.makers.get(&whole)?])?;
            return Some(Before::Rows { map, rows: own });
        }
        let map = self.map(maker)?;
        let rows = tensor(self.model, map.weight).ok()?.shape.rows();
        Some(Before::Rows { map, rows: 0..rows })
    }

    /// The pair at a node, if there is one.
    fn pair(&self, node: &Node) -> Option<Pair> {
        let out = *node.outputs.first()?;
        let (before, heads) = match node.op {
            ops::rms_norm::ID | ops::layer_norm::ID => {
                let (gain, bias) = self.norm(node)?;
                (Before::Norm { gain, bias }, None)
            }
            ops::mul::ID => (node.inputs.iter().find_map(|edge| self.rows_before(*edge))?, None),
            ops::attention::ID => {
                let before = self.rows_before(*node.inputs.get(2)?)?;
                let Before::Rows { rows, .. } = &before else { return None };
                let (queries, values) = (number(node, ops::attention::HEADS)?, number(node, ops::attention::KV_HEADS)?);
                let length = (rows.end - rows.start).checked_div(values)?;
                let whole = length > 0 && queries >= values && queries.is_multiple_of(values) && length * values == rows.end - rows.start;
                (before, Some(whole.then_some(Heads { queries, values, length })?))
            }
            _ => return None,
        };
        let behind = self.maps_behind(out).filter(|maps| !maps.is_empty())?;
        Some(Pair { place: node.name.clone(), before, behind, heads })
    }

    /// All pairs, in the order of the graph.
    pub(crate) fn pairs(&self) -> Vec<Pair> {
        self.graph.nodes.iter().filter_map(|node| self.pair(node)).collect()
    }
}

/// What a slice takes.
fn slice(node: &Node) -> Option<Range<u64>> {
    if node.op != ops::slice::ID {
        return None;
    }
    let start = number(node, ops::slice::START)?;
    Some(start..start.checked_add(number(node, ops::slice::LENGTH)?)?)
}

fn number(node: &Node, key: &str) -> Option<u64> {
    match node.attributes.get(key) {
        Some(Attribute::Integer(n)) => u64::try_from(*n).ok(),
        _ => None,
    }
}
