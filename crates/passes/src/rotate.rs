//! `rotate`: vectors between layers and within heads are turned, so that no coordinate stands out.
//!
//! ```text
//! embedding T ---> x T ---> norm, its gain moved into the maps behind ---> maps: W diag(g) T^T
//!                   ^------------------------------------------- maps that add to x: T W
//! value T_h ---> attention ---> output: each head's columns T_h^T
//! ```
//! A norm without mean and gain does not see a rotation, and attention mixes whole vectors of values: with `T`
//! orthogonal the computation stays what it is. Where the embedding is the output matrix as well, where norms stand
//! behind a layer or subtract a mean, only heads are rotated. QuaRot, Ashkboos et al. 2024 (arXiv:2404.00456); the two
//! rotations that cost nothing when the model runs, SpinQuant's R1 and R2 (Liu et al. 2024).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gravure_core::contracts::{Changed, Surroundings};
use gravure_core::values::{Edge, Node};
use gravure_core::{Encoding, Error, Model, Needs, Note, Pass, Result, TensorId};
use gravure_ops as ops;

use crate::changed::{Change, change, tensor};
use crate::neighbours::{Before, Heads, Map, Pair, View};
use crate::rotation::Rotation;

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub struct Rotate;

impl Pass for Rotate {
    fn id(&self) -> &'static str {
        "rotate"
    }

    fn doc(&self) -> &'static str {
        "vectors between layers and within heads are turned (Ashkboos et al. 2024)"
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn apply(&self, model: &Model, surroundings: &dyn Surroundings) -> Result<Changed> {
        let floats = surroundings.floats();
        let mut changed = model.clone();
        let view = View::new(model)?;
        let mut notes = Vec::new();
        let mut note = |subject: &str, text: String| notes.push(Note { subject: subject.to_owned(), text });
        match Stream::new(&view) {
            Ok(stream) => {
                let (first, width) = stream.rotate(&mut changed, floats)?;
                note("between layers", format!("{width} coordinates rotated, {} maps, from {first:?} on", stream.maps()));
            }
            Err(reason) => note("between layers", format!("not rotated: {reason}")),
        }
        let heads: Vec<_> = view.pairs().into_iter().filter_map(|p| p.heads.map(|heads| (p, heads))).collect();
        for (number, (pair, heads)) in (1..).zip(&heads) {
            rotate_heads(&mut changed, pair, *heads, number, floats)?;
            note(&pair.place, format!("{} coordinates of each head rotated", heads.length));
        }
        let same = changed.tensors.iter().zip(&model.tensors).all(|(a, b)| Arc::ptr_eq(&a.data, &b.data));
        if same {
            return Err(Error::unsupported("the graph has no vectors that could be rotated").in_file(&model.source.path));
        }
        Ok(Changed { model: changed, notes })
    }
}

/// Rotates the values of each head, and turns them back in the map behind.
fn rotate_heads(model: &mut Model, pair: &Pair, heads: Heads, seed: u64, floats: &'static dyn Encoding) -> Result<()> {
    let length = usize::try_from(heads.length).ok().filter(|n| *n > 0).ok_or_else(|| Error::input("a head without length"))?;
    let rotation = Arc::new(Rotation::new(length, seed));
    let Before::Rows { map, rows } = &pair.before else { return Err(Error::bug("values that no map makes")) };
    change(model, map.weight, Change::RotatedRows { rows: rows.clone(), rotation: Arc::clone(&rotation) }, floats)?;
    if let Some(bias) = map.bias {
        change(model, bias, Change::RotatedColumns { columns: rows.clone(), rotation: Arc::clone(&rotation) }, floats)?;
    }
    for map in &pair.behind {
        let columns = 0..heads.queries * heads.length;
        change(model, map.weight, Change::RotatedColumns { columns, rotation: Arc::clone(&rotation) }, floats)?;
    }
    Ok(())
}

/// The vector that all layers read and add to.
struct Stream {
    /// Tables whose rows begin it.
    tables: Vec<TensorId>,
    /// Gains of norms that read it, and the maps behind each.
    readers: Vec<(TensorId, Vec<Map>)>,
    /// Maps that add to it.
    writers: Vec<Map>,
}

impl Stream {
    /// Follows the stream through the graph; the reason where it cannot be rotated.
    fn new(view: &View<'_>) -> std::result::Result<Self, String> {
        let mut edges: BTreeSet<Edge> = BTreeSet::new();
        let mut linear: BTreeMap<Edge, &Node> = BTreeMap::new();
        let mut stream = Self { tables: Vec::new(), readers: Vec::new(), writers: Vec::new() };
        for node in &view.graph.nodes {
            let Some(&out) = node.outputs.first() else { continue };
            match node.op {
                ops::embedding::ID => {
                    let table = node.inputs.first().and_then(|edge| Some((view.weight(*edge)?, view.readers(*edge)?.len())));
                    match table {
                        Some((id, 1)) => stream.tables.push(id),
                        _ => return Err(format!("the table of `{}` is the output matrix as well", node.name)),
                    }
                    edges.insert(out);
                }
                ops::scale::ID if edges.contains(&node.inputs[0]) => {
                    edges.insert(out);
                }
                ops::add::ID if node.inputs.iter().any(|edge| edges.contains(edge)) => {
                    for edge in node.inputs.iter().filter(|edge| !edges.contains(edge)) {
                        let map = linear.get(edge).and_then(|node| view.map(node));
                        let alone = view.readers(*edge).is_some_and(|r| r.len() == 1);
                        stream.writers.push(map.filter(|_| alone).ok_or_else(|| format!("what `{}` adds is no linear map's", node.name))?);
                    }
                    edges.insert(out);
                }
                ops::rms_norm::ID if edges.contains(&node.inputs[0]) => {
                    let (gain, _) = view.norm(node).ok_or_else(|| format!("the gain of `{}` is not its own", node.name))?;
                    let maps = view.maps_behind(out).ok_or_else(|| format!("not only linear maps of their own read `{}`", node.name))?;
                    stream.readers.push((gain, maps));
                }
                _ if node.inputs.iter().any(|edge| edges.contains(edge)) => {
                    return Err(format!("`{}` ({}) sees a rotation", node.name, node.op));
                }
                ops::linear::ID => {
                    linear.insert(out, node);
                }
                _ => {}
            }
        }
        if edges.iter().any(|edge| view.graph.outputs.iter().any(|(_, e)| e == edge)) {
            return Err("it is a result of the model".to_owned());
        }
        if stream.tables.is_empty() || stream.readers.is_empty() {
            return Err("no norm reads an embedding".to_owned());
        }
        Ok(stream)
    }

    /// Maps that read it or add to it.
    fn maps(&self) -> usize {
        self.writers.len() + self.readers.iter().map(|(_, maps)| maps.len()).sum::<usize>()
    }

    /// Rotates it; the first table, and its width.
    fn rotate(&self, model: &mut Model, floats: &'static dyn Encoding) -> Result<(gravure_core::Role, u64)> {
        let first = *self.tables.first().ok_or_else(|| Error::bug("a stream without beginning"))?;
        let width = tensor(model, first)?.shape.row_length();
        let length = usize::try_from(width).ok().filter(|n| *n > 0).ok_or_else(|| Error::input("an embedding without width"))?;
        let rotation = Arc::new(Rotation::new(length, 0));
        let columns = || Change::RotatedColumns { columns: 0..width, rotation: Arc::clone(&rotation) };
        for table in &self.tables {
            change(model, *table, columns(), floats)?;
        }
        for (gain, maps) in &self.readers {
            let (mut scratch, mut values) = (Vec::new(), Vec::new());
            let norm = tensor(model, *gain)?;
            norm.decode_rows(0..norm.shape.rows(), &mut scratch, &mut values)?;
            let factors: Arc<[f32]> = values.into();
            for map in maps {
                change(model, map.weight, Change::Columns(Arc::clone(&factors)), floats)?;
                change(model, map.weight, columns(), floats)?;
            }
            change(model, *gain, Change::Ones, floats)?;
        }
        for map in &self.writers {
            change(model, map.weight, Change::RotatedRows { rows: 0..width, rotation: Arc::clone(&rotation) }, floats)?;
            if let Some(bias) = map.bias {
                change(model, bias, columns(), floats)?;
            }
        }
        Ok((first.role, width))
    }
}
