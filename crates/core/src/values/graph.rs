//! A computation as nodes and named edges. An architecture builds one out of shared blocks; a graph
//! format brings its own. Weights are referred to by name and stay lazy.

use std::collections::BTreeMap;

pub use gravure_ops::Attribute;

/// Index of a value that flows between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge(pub u32);

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Unique within the graph, for taps and messages, for example `layers.3.attention.scores`.
    pub name: String,
    /// Id of the operation in the registry of ops.
    pub op: &'static str,
    /// Values that it reads.
    pub inputs: Vec<Edge>,
    /// Values that it makes.
    pub outputs: Vec<Edge>,
    /// Its properties.
    pub attributes: BTreeMap<&'static str, Attribute>,
}

/// Where a value comes from when no node makes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// Given by the caller at every run, for example token ids.
    Input(String),
    /// A weight of the model.
    Weight(crate::TensorId),
}

/// Nodes in an order in which every input exists before it is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// Values that no node makes.
    pub origins: Vec<(Edge, Origin)>,
    /// The operations.
    pub nodes: Vec<Node>,
    /// Results by name.
    pub outputs: Vec<(String, Edge)>,
    edges: u32,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    fn edge(&mut self) -> Edge {
        self.edges += 1;
        Edge(self.edges - 1)
    }

    /// A value given at every run.
    pub fn input(&mut self, name: impl Into<String>) -> Edge {
        let edge = self.edge();
        self.origins.push((edge, Origin::Input(name.into())));
        edge
    }

    /// A weight; the same edge for the same weight.
    pub fn weight(&mut self, id: crate::TensorId) -> Edge {
        if let Some((edge, _)) = self.origins.iter().find(|(_, o)| *o == Origin::Weight(id)) {
            return *edge;
        }
        let edge = self.edge();
        self.origins.push((edge, Origin::Weight(id)));
        edge
    }

    /// Adds a node with one output.
    pub fn node(
        &mut self,
        name: impl Into<String>,
        op: &'static str,
        inputs: impl Into<Vec<Edge>>,
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) -> Edge {
        let edge = self.edge();
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.into(),
            outputs: vec![edge],
            attributes: attributes.into_iter().collect(),
        });
        edge
    }

    /// Names a result.
    pub fn output(&mut self, name: impl Into<String>, edge: Edge) {
        self.outputs.push((name.into(), edge));
    }

    /// Number of values, given and made: edges count from zero to it.
    pub fn edge_count(&self) -> usize {
        self.edges as usize
    }

    /// The weights that the graph reads, in order of first use.
    pub fn weights(&self) -> impl Iterator<Item = &crate::TensorId> {
        self.origins.iter().filter_map(|(_, o)| match o {
            Origin::Weight(id) => Some(id),
            Origin::Input(_) => None,
        })
    }
}
