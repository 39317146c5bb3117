//! What a compiled graph is.

use gravure_core::TensorId;
use gravure_kernels::{AttentionShape, Binary, CacheShape, Unary};

/// Where a value lies while it is needed, and the length of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) width: usize,
}

/// A list of numbers that is given at every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    Tokens,
    Positions,
    TokenTypes,
}

/// A linear map.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    /// The node's name in the graph.
    pub(crate) name: String,
    pub(crate) weight: TensorId,
    /// Index into the program's matrices.
    pub(crate) matrix: usize,
    /// Index into the program's vectors.
    pub(crate) bias: Option<usize>,
    pub(crate) output: Place,
}

/// What a node does. Numbers index the program's matrices, vectors, rotations and layers.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Embedding {
        table: usize,
        index: Index,
    },
    /// Several maps of the same input.
    Linear(Vec<Map>),
    RmsNorm {
        gain: usize,
        epsilon: f32,
    },
    LayerNorm {
        gain: usize,
        bias: Option<usize>,
        epsilon: f32,
    },
    Rope {
        rotation: usize,
        head: usize,
    },
    Attention {
        layer: usize,
    },
    Unary(Unary),
    Binary(Binary),
    /// A function of the first input times the second.
    Gated(Unary),
    Slice {
        start: usize,
    },
}

/// One step of a program. Where the output lies where the first input does, it is made in place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The node's name in the graph; of the last one where several became one.
    pub(crate) name: String,
    pub(crate) work: Work,
    pub(crate) inputs: Vec<Place>,
    pub(crate) output: Place,
}

/// Angles of rotary embeddings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rotation {
    pub(crate) attributes: gravure_ops::Attributes,
    /// Indices of vectors: divisors, and those of long sequences.
    pub(crate) divisors: Option<usize>,
    pub(crate) long_divisors: Option<usize>,
}

/// An attention node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layer {
    pub(crate) shape: AttentionShape,
    pub(crate) kept: CacheShape,
}

/// A compiled graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) nodes: Vec<Node>,
    /// Number of buffers.
    pub(crate) slots: usize,
    /// From this node on, only wanted rows run; what of earlier nodes is needed then.
    pub(crate) tail_at: usize,
    pub(crate) tail_inputs: Vec<Place>,
    /// From this node on, few rows run at a time; what of earlier nodes is needed then.
    pub(crate) head_at: usize,
    pub(crate) head_inputs: Vec<Place>,
    pub(crate) output: Option<Place>,
    pub(crate) matrices: Vec<TensorId>,
    pub(crate) vectors: Vec<TensorId>,
    pub(crate) rotations: Vec<Rotation>,
    pub(crate) layers: Vec<Layer>,
    /// Sequences longer than this rotate by other divisors.
    pub(crate) long_beyond: Option<usize>,
    /// Tables that tokens, positions and token types are looked up in.
    pub(crate) tables: Vec<(Index, usize)>,
}

impl Program {
    /// The longest row that each buffer ever has, of those that hold every row of a step: behind `head_at` few run at
    /// a time.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.slots];
        for node in self.nodes.iter().take(self.head_at) {
            let maps = if let Work::Linear(maps) = &node.work { maps.as_slice() } else { &[] };
            for place in maps.iter().map(|m| m.output).chain([node.output]) {
                if let Some(width) = widths.get_mut(place.slot) {
                    *width = place.width.max(*width);
                }
            }
        }
        widths
    }

    /// The longest row that a linear map ever reads.
    pub(crate) fn widest_input(&self) -> usize {
        let maps = self.nodes.iter().filter(|n| matches!(n.work, Work::Linear(_)));
        maps.filter_map(|n| n.inputs.first()).map(|place| place.width).max().unwrap_or(0)
    }
}
