//! From a graph to a program: each operation is found by its id, widths of rows follow from the
//! shapes of weights, buffers are given back after the last use of their value.

use std::collections::HashMap;

use gravure_base::{Error, Result};
use gravure_core::contracts::Gap;
use gravure_core::values::{self, Attribute, Edge, Origin};
use gravure_core::{Model, TensorId};
use gravure_kernels::{AttentionShape, Binary, CacheShape, Unary};
use gravure_ops as ops;

use super::program::{Index, Layer, Map, Node, Place, Program, Rotation, Work};

/// Whether neighbouring nodes become one where that is faster. Results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fusion {
    /// Every node of the graph is there, for those who look at its input.
    None,
    Fused,
}

/// What of a model programs are compiled from.
#[derive(Debug)]
pub(crate) struct Outline {
    graph: values::Graph,
    /// Dimensions of the graph's weights, outermost first.
    shapes: HashMap<TensorId, Vec<usize>>,
}

impl Outline {
    /// Draws up a model's outline.
    ///
    /// # Errors
    /// What is missing, all of it.
    pub(crate) fn new(model: &Model) -> std::result::Result<Self, Vec<Gap>> {
        let Some(graph) = &model.graph else {
            let name = model.architecture_id.as_deref().unwrap_or("the model");
            return Err(vec![gap(name, "its computation is not known to this build")]);
        };
        let unknown: Vec<&values::Node> = graph.nodes.iter().filter(|n| !is_known(n.op)).collect();
        if !unknown.is_empty() {
            return Err(unknown.into_iter().map(|n| gap(&n.name, format!("the operation `{}` is not executed", n.op))).collect());
        }
        let tensors: HashMap<TensorId, &gravure_core::Tensor> = model.tensors.iter().filter_map(|t| Some((t.id?, t))).collect();
        let (mut shapes, mut gaps) = (HashMap::new(), Vec::new());
        for id in graph.weights() {
            let Some(tensor) = tensors.get(id) else {
                gaps.push(gap(&describe(id), "the model has no such tensor"));
                continue;
            };
            let shape: Option<Vec<usize>> = tensor.shape.dimensions().iter().map(|&d| usize::try_from(d).ok()).collect();
            match shape {
                Some(shape) => _ = shapes.insert(*id, shape),
                None => gaps.push(gap(&tensor.name, "a tensor larger than memory")),
            }
        }
        if gaps.is_empty() { Ok(Self { graph: graph.clone(), shapes }) } else { Err(gaps) }
    }

    /// Compiles the graph.
    ///
    /// # Errors
    /// What cannot be executed.
    pub(crate) fn compile(&self, fusion: Fusion) -> std::result::Result<Program, Gap> {
        let program = Compiler::new(self, fusion).and_then(Compiler::run);
        program.map_err(|e| gap(e.item().unwrap_or("the graph"), e.message()))
    }
}

fn gap(subject: &str, text: impl Into<String>) -> Gap {
    Gap { subject: subject.to_owned(), text: text.into() }
}

/// A weight's place for messages.
fn describe(id: &TensorId) -> String {
    let part = if id.part == gravure_core::Part::Bias { "bias" } else { "weight" };
    match id.layer {
        Some(layer) => format!("{:?} {part} of layer {layer}", id.role),
        None => format!("{:?} {part}", id.role),
    }
}

fn is_known(op: &str) -> bool {
    [
        ops::embedding::ID,
        ops::linear::ID,
        ops::rms_norm::ID,
        ops::layer_norm::ID,
        ops::rope::ID,
        ops::attention::ID,
        ops::silu::ID,
        ops::gelu::ID,
        ops::gelu_tanh::ID,
        ops::add::ID,
        ops::mul::ID,
        ops::scale::ID,
        ops::softcap::ID,
        ops::slice::ID,
    ]
    .contains(&op)
}

/// Where an edge's value comes from.
#[derive(Debug, Clone, Copy)]
enum Value {
    Unknown,
    Index(Index),
    Weight(TensorId),
    Made(Place),
}

struct Compiler<'a> {
    graph: &'a values::Graph,
    fusion: Fusion,
    program: Program,
    values: Vec<Value>,
    shapes: Vec<Vec<usize>>,
    /// The last node of the graph that reads an edge.
    last_use: Vec<usize>,
    /// Nodes of the program that make an edge's value, and the last that reads it.
    spans: Vec<Option<(usize, usize)>>,
    free: Vec<Place>,
}

impl<'a> Compiler<'a> {
    fn new(outline: &'a Outline, fusion: Fusion) -> Result<Self> {
        let graph = &outline.graph;
        let edges = graph.edge_count();
        let mut values = vec![Value::Unknown; edges];
        let mut shapes = vec![Vec::new(); edges];
        for (edge, origin) in &graph.origins {
            let (value, shape) = match origin {
                Origin::Input(name) => {
                    let index = match name.as_str() {
                        "tokens" => Index::Tokens,
                        "positions" => Index::Positions,
                        "token_types" => Index::TokenTypes,
                        _ => return Err(Error::unsupported("an input that is not known").at_item(name.as_str())),
                    };
                    (Value::Index(index), vec![1])
                }
                Origin::Weight(id) => {
                    let shape = outline.shapes.get(id).ok_or_else(|| Error::bug("a weight that is not there"))?;
                    (Value::Weight(*id), shape.clone())
                }
            };
            *slot(&mut values, *edge)? = value;
            *slot(&mut shapes, *edge)? = shape;
        }
        let mut last_use = vec![0; edges];
        for (i, node) in graph.nodes.iter().enumerate() {
            for edge in &node.inputs {
                *slot(&mut last_use, *edge)? = i;
            }
        }
        for (_, edge) in &graph.outputs {
            *slot(&mut last_use, *edge)? = usize::MAX;
        }
        Ok(Self { graph, fusion, program: Program::default(), values, shapes, last_use, spans: vec![None; edges], free: vec![] })
    }

    fn run(mut self) -> Result<Program> {
        let nodes = &self.graph.nodes;
        let mut at = 0;
        while let Some(node) = nodes.get(at) {
            let fused = self.gate(at).map(|(unary, inputs, output)| (Work::Gated(unary), inputs, output, at + 1));
            let made = match fused {
                Some((work, inputs, output, last)) => {
                    self.shape(node)?;
                    self.shape(&nodes[last])?;
                    self.place(&nodes[last], at..=last, work, &inputs, output).map(|()| last)
                }
                None => self.lower(node, at).map(|()| at),
            };
            at = made.map_err(|e| e.at_item(&*node.name))? + 1;
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Program> {
        let [(_, output)] = self.graph.outputs.as_slice() else { return Err(Error::unsupported("a graph of several outputs")) };
        let Value::Made(place) = *slot(&mut self.values, *output)? else { return Err(Error::input("an output that no node makes")) };
        let nodes = &self.program.nodes;
        let tail_at = nodes.iter().rposition(|n| matches!(n.work, Work::Attention { .. })).map_or(0, |i| i + 1);
        let head_at = nodes.iter().rposition(|n| matches!(n.work, Work::Linear(_))).filter(|&i| i >= tail_at).unwrap_or(nodes.len());
        let live = |at: usize| -> Vec<Place> {
            let crossing = self.spans.iter().zip(&self.values).filter_map(|(span, value)| match (span, value) {
                (Some((made, used)), Value::Made(place)) if *made < at && *used >= at => Some(*place),
                _ => None,
            });
            crossing.collect()
        };
        let (tail_inputs, head_inputs) = (live(tail_at), live(head_at));
        Ok(Program { tail_at, tail_inputs, head_at, head_inputs, output: Some(place), ..self.program })
    }

    /// The activation at `at` and the product behind it, where that is all that reads it.
    fn gate(&self, at: usize) -> Option<(Unary, Vec<Edge>, Edge)> {
        let (node, next) = (self.graph.nodes.get(at)?, self.graph.nodes.get(at + 1)?);
        let unary = match node.op {
            ops::silu::ID => Unary::Silu,
            ops::gelu::ID => Unary::Gelu,
            ops::gelu_tanh::ID => Unary::GeluTanh,
            _ => return None,
        };
        let (&[gate], &[active], &[a, b], &[output]) =
            (node.inputs.as_slice(), node.outputs.as_slice(), next.inputs.as_slice(), next.outputs.as_slice())
        else {
            return None;
        };
        let up = if a == active { b } else { a };
        let reads = self.graph.nodes.iter().flat_map(|n| &n.inputs).filter(|e| **e == active).count();
        let only = reads == 1 && self.last_use.get(active.0 as usize) == Some(&(at + 1)) && up != active && up != gate;
        let values = [gate, up].iter().all(|e| matches!(self.values.get(e.0 as usize), Some(Value::Made(_))));
        (self.fusion == Fusion::Fused && next.op == ops::mul::ID && only && values).then(|| (unary, vec![gate, up], output))
    }

    /// Computes the shape of a node's output.
    fn shape(&mut self, node: &values::Node) -> Result<()> {
        let inputs: Vec<&[usize]> = node.inputs.iter().map(|e| self.shapes.get(e.0 as usize).map_or(&[][..], Vec::as_slice)).collect();
        let shape = ops::shape(node.op, &inputs, &node.attributes)?;
        let [output] = node.outputs.as_slice() else { return Err(Error::unsupported("an operation with several outputs")) };
        *slot(&mut self.shapes, *output)? = shape;
        Ok(())
    }

    fn value(&self, node: &values::Node, i: usize) -> Result<Value> {
        let edge = node.inputs.get(i).ok_or_else(|| Error::bug("an input that is not there"))?;
        Ok(self.values.get(edge.0 as usize).copied().unwrap_or(Value::Unknown))
    }

    fn weight(&self, node: &values::Node, i: usize) -> Result<TensorId> {
        match self.value(node, i)? {
            Value::Weight(id) => Ok(id),
            _ => Err(Error::unsupported(format!("input {i} is no weight of the model"))),
        }
    }

    fn matrix(&mut self, node: &values::Node, i: usize) -> Result<usize> {
        let id = self.weight(node, i)?;
        Ok(number(&mut self.program.matrices, id))
    }

    fn vector(&mut self, node: &values::Node, i: usize) -> Result<usize> {
        let id = self.weight(node, i)?;
        Ok(number(&mut self.program.vectors, id))
    }

    fn optional(&mut self, node: &values::Node, i: usize) -> Result<Option<usize>> {
        if node.inputs.len() > i { self.vector(node, i).map(Some) } else { Ok(None) }
    }

    fn index(&self, node: &values::Node, i: usize) -> Result<Index> {
        match self.value(node, i)? {
            Value::Index(index) => Ok(index),
            _ => Err(Error::unsupported(format!("input {i} is no list that is given at every run"))),
        }
    }

    /// Translates one node.
    fn lower(&mut self, node: &values::Node, at: usize) -> Result<()> {
        self.shape(node)?;
        let [output] = node.outputs[..] else { return Err(Error::unsupported("an operation with several outputs")) };
        let first = node.inputs.iter().take(1).copied().collect::<Vec<Edge>>();
        let float = |name| float(node, name);
        let epsilon = |name| float(name).map(|v| v.unwrap_or(0.0) as f32);
        let (work, inputs) = match node.op {
            ops::embedding::ID => {
                let (table, index) = (self.matrix(node, 0)?, self.index(node, 1)?);
                self.program.tables.push((index, table));
                (Work::Embedding { table, index }, vec![])
            }
            ops::linear::ID => {
                let (weight, matrix, bias) = (self.weight(node, 1)?, self.matrix(node, 1)?, self.optional(node, 2)?);
                let map = Map { name: node.name.clone(), weight, matrix, bias, output: Place { slot: 0, width: 0 } };
                (Work::Linear(vec![map]), first)
            }
            ops::rms_norm::ID => (Work::RmsNorm { gain: self.vector(node, 1)?, epsilon: epsilon(ops::rms_norm::EPSILON)? }, first),
            ops::layer_norm::ID => {
                let (gain, bias) = (self.vector(node, 1)?, self.optional(node, 2)?);
                (Work::LayerNorm { gain, bias, epsilon: epsilon(ops::layer_norm::EPSILON)? }, first)
            }
            ops::rope::ID => (self.rope(node)?, first),
            ops::attention::ID => (self.attention(node)?, node.inputs.clone()),
            ops::silu::ID => (Work::Unary(Unary::Silu), first),
            ops::gelu::ID => (Work::Unary(Unary::Gelu), first),
            ops::gelu_tanh::ID => (Work::Unary(Unary::GeluTanh), first),
            ops::scale::ID => (Work::Unary(Unary::Scale(epsilon(ops::scale::FACTOR)?)), first),
            ops::softcap::ID => match epsilon(ops::softcap::LIMIT)? {
                limit if limit > 0.0 => (Work::Unary(Unary::Softcap(limit)), first),
                limit => return Err(Error::input(format!("a bound of {limit}"))),
            },
            ops::add::ID => (Work::Binary(Binary::Add), node.inputs.clone()),
            ops::mul::ID => (Work::Binary(Binary::Mul), node.inputs.clone()),
            ops::slice::ID => (Work::Slice { start: integer(node, ops::slice::START).unwrap_or(0) }, first),
            other => return Err(Error::unsupported(format!("the operation `{other}` is not executed"))),
        };
        self.place(node, at..=at, work, &inputs, output)
    }

    fn rope(&mut self, node: &values::Node) -> Result<Work> {
        if self.index(node, 1)? != Index::Positions {
            return Err(Error::unsupported("a rotation by something else than positions"));
        }
        let (divisors, long_divisors) = (self.optional(node, 2)?, self.optional(node, 3)?);
        let mut attributes = node.attributes.clone();
        let heads = integer(node, ops::rope::HEADS).unwrap_or(1).max(1);
        attributes.remove(ops::rope::HEADS);
        let rotation = Rotation { attributes, divisors, long_divisors };
        if long_divisors.is_some() {
            let original = integer(node, ops::rope::ORIGINAL_CONTEXT).ok_or_else(|| Error::input("its original context is missing"))?;
            if self.program.long_beyond.is_some_and(|o| o != original) {
                return Err(Error::unsupported("rotations with several original contexts"));
            }
            self.program.long_beyond = Some(original);
        }
        let width = self.width(node, 0);
        Ok(Work::Rope { rotation: number(&mut self.program.rotations, rotation), head: width / heads })
    }

    fn attention(&mut self, node: &values::Node) -> Result<Work> {
        let count = |name| integer(node, name).filter(|n| *n > 0).ok_or_else(|| Error::input(format!("`{name}` should be positive")));
        let (heads, kv_heads) = (count(ops::attention::HEADS)?, count(ops::attention::KV_HEADS)?);
        let softcap = float(node, ops::attention::SOFTCAP)?.map(|v| v as f32);
        if softcap.is_some_and(|c| c <= 0.0) {
            return Err(Error::input("a bound of scores that is not positive"));
        }
        let window = match node.attributes.get(ops::attention::WINDOW) {
            Some(_) => Some(count(ops::attention::WINDOW)?),
            None => None,
        };
        let shape = AttentionShape {
            heads,
            scale: float(node, ops::attention::SCALE)?.unwrap_or(1.0) as f32,
            causal: node.attributes.get(ops::attention::CAUSAL) == Some(&Attribute::Flag(true)),
            window,
            softcap,
        };
        let kept = CacheShape { kv_heads, key_length: self.width(node, 1) / kv_heads, value_length: self.width(node, 2) / kv_heads };
        self.program.layers.push(Layer { shape, kept });
        Ok(Work::Attention { layer: self.program.layers.len() - 1 })
    }

    fn width(&self, node: &values::Node, i: usize) -> usize {
        node.inputs.get(i).and_then(|e| self.shapes.get(e.0 as usize)).and_then(|s| s.last()).copied().unwrap_or(0)
    }

    /// Gives the output a buffer, gives back those of inputs that nobody reads any more, and appends
    /// the node. `reads` are the graph's nodes that it stands for.
    fn place(
        &mut self,
        node: &values::Node,
        reads: std::ops::RangeInclusive<usize>,
        mut work: Work,
        inputs: &[Edge],
        output: Edge,
    ) -> Result<()> {
        let width = match slot(&mut self.shapes, output)?.as_slice() {
            &[1, width] => width,
            other => return Err(Error::unsupported(format!("a value of shape {other:?}"))),
        };
        let mut places: Vec<Place> = inputs
            .iter()
            .map(|e| match self.values.get(e.0 as usize) {
                Some(Value::Made(place)) => Ok(*place),
                _ => Err(Error::unsupported("an input that is a weight or comes from outside")),
            })
            .collect::<Result<_>>()?;
        let mut edges = inputs.to_vec();
        let mut dies: Vec<bool> = edges.iter().map(|e| self.last_use.get(e.0 as usize).is_some_and(|used| reads.contains(used))).collect();
        // The first input is the one that is changed; of a sum or product it may be either.
        if matches!(work, Work::Binary(_)) && dies == [false, true] {
            places.swap(0, 1);
            edges.swap(0, 1);
            dies.swap(0, 1);
        }
        let alone = edges.iter().skip(1).all(|e| *e != edges[0]);
        let in_place = changes_in_place(&work) && alone && dies.first() == Some(&true);
        let place = if in_place { Place { slot: places[0].slot, width } } else { self.take(width) };
        let mut dead: Vec<Place> = Vec::new();
        for (p, dies) in places.iter().zip(&dies) {
            if *dies && p.slot != place.slot && dead.iter().all(|d| d.slot != p.slot) {
                dead.push(*p);
            }
        }
        self.free.extend(dead);
        *slot(&mut self.values, output)? = Value::Made(place);
        if let Work::Linear(maps) = &mut work {
            maps.iter_mut().for_each(|m| m.output = place);
        }
        let merged = match (self.program.nodes.last_mut(), &mut work) {
            (Some(Node { work: Work::Linear(before), inputs: same, .. }), Work::Linear(maps)) if *same == places => {
                before.append(maps);
                true
            }
            _ => false,
        };
        if !merged {
            self.program.nodes.push(Node { name: node.name.clone(), work, inputs: places, output: place });
        }
        let number = self.program.nodes.len() - 1;
        for edge in inputs {
            if let Some((_, used)) = slot(&mut self.spans, *edge)? {
                *used = number;
            }
        }
        let used = if self.last_use.get(output.0 as usize) == Some(&usize::MAX) { usize::MAX } else { number };
        *slot(&mut self.spans, output)? = Some((number, used));
        // A value that nobody reads gives its buffer back at once.
        if self.last_use.get(output.0 as usize) == Some(&0) {
            self.free.push(place);
        }
        Ok(())
    }

    /// A buffer: one that had rows of the same length, any other free one, or a new one.
    fn take(&mut self, width: usize) -> Place {
        let same = self.free.iter().rposition(|p| p.width == width);
        let slot = match same.or(self.free.len().checked_sub(1)) {
            Some(i) => self.free.swap_remove(i).slot,
            None => {
                self.program.slots += 1;
                self.program.slots - 1
            }
        };
        Place { slot, width }
    }
}

fn changes_in_place(work: &Work) -> bool {
    match work {
        Work::RmsNorm { .. } | Work::LayerNorm { .. } | Work::Rope { .. } | Work::Unary(_) | Work::Binary(_) | Work::Gated(_) => true,
        Work::Embedding { .. } | Work::Linear(_) | Work::Attention { .. } | Work::Slice { .. } => false,
    }
}

/// The number of `item` in `list`, which it joins where it is new.
fn number<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

fn slot<T>(list: &mut [T], edge: Edge) -> Result<&mut T> {
    list.get_mut(edge.0 as usize).ok_or_else(|| Error::bug("an edge that the graph does not count"))
}

fn integer(node: &values::Node, name: &str) -> Option<usize> {
    match node.attributes.get(name) {
        Some(Attribute::Integer(value)) => usize::try_from(*value).ok(),
        _ => None,
    }
}

fn float(node: &values::Node, name: &str) -> Result<Option<f64>> {
    match node.attributes.get(name) {
        None => Ok(None),
        Some(Attribute::Float(value)) if value.is_finite() => Ok(Some(*value)),
        Some(other) => Err(Error::input(format!("attribute `{name}` is {other:?}"))),
    }
}
