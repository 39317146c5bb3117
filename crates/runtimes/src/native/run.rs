//! Runs the nodes of a program.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use gravure_base::{Error, Result};
use gravure_core::contracts::{CacheType, LoadFacts, LoadRequest, Tap, Taps, cancelled};
use gravure_core::{HyperKey, Tensor, TensorId};
use gravure_kernels::{self as kernels, AttentionRows, Cache, CacheShape, Inputs, Matrix, Pool};

use super::batch::Batch;
use super::compile::{Fusion, Outline};
use super::fingerprint::Fingerprint;
use super::program::{Index, Map, Node, Place, Program, Work};
use super::weights;

/// A low-rank addition to a linear map.
#[derive(Debug)]
struct LowRank {
    weight: TensorId,
    down: Matrix,
    up: Matrix,
    scale: f32,
}

/// Frequencies of a rotation.
#[derive(Debug)]
struct Angles {
    usual: Vec<f32>,
    long: Vec<f32>,
    magnitude: f64,
}

/// A compiled model with its weights.
#[derive(Debug)]
pub(crate) struct Machine {
    outline: Outline,
    /// For steps that nobody looks into.
    fused: Program,
    /// With every node of the graph, from the first step on that somebody looks into.
    whole: OnceLock<Program>,
    matrices: Vec<Arc<Matrix>>,
    vectors: Vec<Vec<f32>>,
    angles: Vec<Angles>,
    adapters: Vec<LowRank>,
    pool: Pool,
    fingerprint: Fingerprint,
}

/// Intermediate values, kept from step to step for their memory.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    slots: Vec<Vec<f32>>,
    /// Sines and cosines of each rotation, where they were made for the rows at hand.
    turns: Vec<Option<(Vec<f32>, Vec<f32>)>>,
}

/// Who looks on, and who may stop it.
pub(crate) struct Watch<'a, 'b> {
    pub(crate) taps: Option<&'a mut dyn Taps>,
    pub(crate) cancelled: &'b (dyn Fn() -> bool + Sync),
}

impl Machine {
    /// Compiles the model and reads its weights.
    pub(crate) fn load(request: &LoadRequest<'_>) -> Result<Self> {
        let model = request.model;
        let outline = Outline::new(model).map_err(|gaps| super::unsupported(model, &gaps))?;
        let fused = outline.compile(Fusion::Fused).map_err(|gap| super::unsupported(model, &[gap]))?;
        let tensors: HashMap<TensorId, &Tensor> = model.tensors.iter().filter_map(|t| Some((t.id?, t))).collect();
        let find = |id: &TensorId| tensors.get(id).copied().ok_or_else(|| Error::bug("a weight that is not there"));
        let in_file = |e: Error| e.in_file(&model.source.path);
        let pool = Pool::new(request.threads);
        let vectors: Vec<Vec<f32>> = fused.vectors.iter().map(|id| weights::vector(find(id)?)).collect::<Result<_>>().map_err(in_file)?;
        let matrices: Vec<Arc<Matrix>> = fused
            .matrices
            .iter()
            .map(|id| weights::shared_matrix(&pool, find(id)?, request.activations))
            .collect::<Result<_>>()
            .map_err(in_file)?;
        let angles = fused
            .rotations
            .iter()
            .map(|r| {
                let at = |i: Option<usize>| i.and_then(|i| vectors.get(i)).map(Vec::as_slice);
                let of = |divisors| -> Result<Vec<f32>> {
                    Ok(gravure_ops::rope::frequencies(divisors, &r.attributes)?.into_iter().map(|f| f as f32).collect())
                };
                let magnitude = match r.attributes.get(gravure_ops::rope::MAGNITUDE) {
                    Some(gravure_ops::Attribute::Float(m)) => *m,
                    _ => 1.0,
                };
                Ok(Angles { usual: of(at(r.divisors))?, long: of(at(r.long_divisors.or(r.divisors)))?, magnitude })
            })
            .collect::<Result<_>>()?;
        let read = fused.matrices.iter().chain(&fused.vectors);
        let read = read.map(|id| Ok((*id, find(id)?.clone()))).collect::<Result<_>>()?;
        let fingerprint = Fingerprint::new(read, &request.adapters);
        let adapters = adapters(&pool, request, &fused, &matrices)?;
        Ok(Self { outline, fused, whole: OnceLock::new(), matrices, vectors, angles, adapters, pool, fingerprint })
    }

    /// The program of steps that nobody looks into.
    pub(crate) fn fused(&self) -> &Program {
        &self.fused
    }

    /// The program with every node of the graph.
    pub(crate) fn whole(&self) -> Result<&Program> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let (whole, fused) = (self.outline.compile(Fusion::None).map_err(|gap| Error::bug(gap.text).at_item(gap.subject))?, &self.fused);
        if fused.matrices != whole.matrices || fused.vectors != whole.vectors || fused.rotations != whole.rotations {
            return Err(Error::bug("fusion has changed the weights of a program"));
        }
        Ok(self.whole.get_or_init(|| whole))
    }

    /// A number that differs between models that differ.
    ///
    /// # Errors
    /// Those of the tensors' source.
    pub(crate) fn fingerprint(&self) -> Result<u64> {
        self.fingerprint.get()
    }

    /// Whether positions see only what comes before them.
    pub(crate) fn is_causal(&self) -> bool {
        self.fused.layers.iter().all(|l| l.shape.causal)
    }

    /// What the cache keeps, layer by layer.
    pub(crate) fn kept(&self) -> Vec<CacheShape> {
        self.fused.layers.iter().map(|l| l.kept).collect()
    }

    /// Rows of the smallest table that is looked up by these numbers.
    pub(crate) fn rows_of(&self, index: Index) -> Option<usize> {
        let tables = self.fused.tables.iter().filter(|(i, _)| *i == index);
        tables.filter_map(|(_, table)| self.matrices.get(*table)).map(|m| m.rows()).min()
    }

    pub(crate) fn facts(&self, request: &LoadRequest<'_>) -> LoadFacts {
        let floats: usize = self.vectors.iter().map(Vec::len).sum();
        let low: u64 = self.adapters.iter().map(|a| a.down.bytes() + a.up.bytes()).sum();
        let mut kernels: Vec<String> = self.matrices.iter().map(|m| format!("{}: {}", m.stored(), m.kernel())).collect();
        kernels.sort_unstable();
        kernels.dedup();
        let stated = request.model.hyperparameters.u64(HyperKey::ContextLength).ok().and_then(|c| usize::try_from(c).ok());
        let context = stated.unwrap_or(usize::MAX).min(self.rows_of(Index::Positions).unwrap_or(usize::MAX));
        let kept = Cache::new(request.cache, &self.kept(), 0).map_or(0, |c| c.bytes_per_position());
        LoadFacts {
            weight_bytes: self.matrices.iter().map(|m| m.bytes()).sum::<u64>() + low + floats as u64 * 4,
            cache_bytes_per_position: if self.is_causal() { kept } else { 0 },
            positions: request.positions,
            context,
            width: self.fused.output.map_or(0, |o| o.width),
            kernels,
        }
    }

    /// Makes room for the buffers of `program`.
    pub(crate) fn prepare(&self, program: &Program, buffers: &mut Buffers) {
        if buffers.slots.len() < program.slots {
            buffers.slots.resize_with(program.slots, Vec::new);
        }
        buffers.forget_rows(self.angles.len());
    }

    /// Runs `nodes` on the rows of `batch`.
    ///
    /// # Errors
    /// `Interrupted` where it was cancelled, whatever a tap says, or `Request` for numbers beyond a table.
    pub(crate) fn run(
        &self,
        program: &Program,
        nodes: &[Node],
        batch: &Batch,
        buffers: &mut Buffers,
        cache: &mut Cache,
        watch: &mut Watch<'_, '_>,
    ) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        for node in nodes {
            if (watch.cancelled)() {
                return Err(cancelled());
            }
            if let Some(taps) = watch.taps.as_deref_mut() {
                tap(taps, node, batch.rows(), buffers)?;
            }
            self.node(program, node, batch, buffers, cache).map_err(|e| e.at_item(&*node.name))?;
        }
        Ok(())
    }

    fn node(&self, program: &Program, node: &Node, batch: &Batch, buffers: &mut Buffers, cache: &mut Cache) -> Result<()> {
        let rows = batch.rows();
        if let Work::Linear(maps) = &node.work {
            return self.linear(maps, node.inputs.first().copied(), batch, buffers);
        }
        if let Work::Rope { rotation, .. } = node.work {
            self.turn(rotation, batch, buffers)?;
        }
        let mut slot = buffers.take(node.output.slot);
        let out = room(&mut slot, rows * node.output.width);
        let input = |i: usize| -> Option<&[f32]> {
            let place = node.inputs.get(i)?;
            buffers.slots.get(place.slot)?.get(..rows * place.width)
        };
        let in_place = node.inputs.first().is_some_and(|p| p.slot == node.output.slot);
        let first = if in_place { None } else { input(0) };
        let missing = || Error::bug("a value that was not made");
        let vector = |i: usize| self.vectors.get(i).map(Vec::as_slice).ok_or_else(missing);
        match &node.work {
            Work::Embedding { table, index } => self.embed(*table, *index, batch, node.output.width, out)?,
            Work::RmsNorm { gain, epsilon } => kernels::rms_norm(&self.pool, first, vector(*gain)?, *epsilon, out),
            Work::LayerNorm { gain, bias, epsilon } => {
                let bias = bias.map(vector).transpose()?;
                kernels::layer_norm(&self.pool, first, vector(*gain)?, bias, *epsilon, out);
            }
            Work::Rope { rotation, head } => {
                copy(first, out);
                let half = self.angles.get(*rotation).ok_or_else(missing)?.usual.len();
                let (cosines, sines) = buffers.turns.get(*rotation).and_then(Option::as_ref).ok_or_else(missing)?;
                kernels::rope(&self.pool, out, node.output.width, *head, cosines, sines, half);
            }
            Work::Attention { layer } => {
                let (q, k, v) = (input(0).ok_or_else(missing)?, input(1).ok_or_else(missing)?, input(2).ok_or_else(missing)?);
                let shape = program.layers.get(*layer).ok_or_else(missing)?.shape;
                keep(cache, *layer, batch, k, v)?;
                let groups: Vec<AttentionRows<'_>> = batch
                    .groups
                    .iter()
                    .map(|g| AttentionRows { pages: &g.pages, first_row: g.first_row, rows: g.rows, position: g.position, end: g.end })
                    .collect();
                kernels::attention(&self.pool, cache, *layer, &shape, q, &groups, out)?;
            }
            Work::Unary(function) => {
                copy(first, out);
                kernels::unary(&self.pool, *function, out);
            }
            Work::Binary(function) => {
                copy(first, out);
                kernels::binary(&self.pool, *function, out, input(1).ok_or_else(missing)?);
            }
            Work::Gated(function) => {
                copy(first, out);
                kernels::gated(&self.pool, *function, out, input(1).ok_or_else(missing)?);
            }
            Work::Slice { start } => {
                let (x, width) = (first.ok_or_else(missing)?, node.inputs.first().ok_or_else(missing)?.width);
                for (to, from) in out.chunks_exact_mut(node.output.width).zip(x.chunks_exact(width)) {
                    to.copy_from_slice(from.get(*start..start + node.output.width).ok_or_else(missing)?);
                }
            }
            Work::Linear(_) => return Err(Error::bug("a linear map on a wrong way")),
        }
        buffers.put(node.output.slot, slot);
        Ok(())
    }

    fn embed(&self, table: usize, index: Index, batch: &Batch, width: usize, out: &mut [f32]) -> Result<()> {
        let table = self.matrices.get(table).ok_or_else(|| Error::bug("a table that is not there"))?;
        let numbers = match index {
            Index::Tokens => &batch.tokens,
            Index::Positions => &batch.positions,
            Index::TokenTypes => &batch.token_types,
        };
        numbers.iter().zip(out.chunks_exact_mut(width)).try_for_each(|(number, row)| table.decode_row(*number as usize, row))
    }

    fn linear(&self, maps: &[Map], input: Option<Place>, batch: &Batch, buffers: &mut Buffers) -> Result<()> {
        let missing = || Error::bug("a value that was not made");
        let input = input.ok_or_else(missing)?;
        let x = buffers.take(input.slot);
        let result = self.linear_of(maps, &x, input.width, batch, buffers);
        buffers.put(input.slot, x);
        result
    }

    fn linear_of(&self, maps: &[Map], x: &[f32], width: usize, batch: &Batch, buffers: &mut Buffers) -> Result<()> {
        let missing = || Error::bug("a value that was not made");
        for map in maps {
            room(buffers.slots.get_mut(map.output.slot).ok_or_else(missing)?, batch.rows() * map.output.width);
        }
        for (phase, rows) in batch.phases() {
            let x = x.get(rows.start * width..rows.end * width).ok_or_else(missing)?;
            let mut inputs = Inputs::new(x, width);
            for map in maps {
                let matrix = self.matrices.get(map.matrix).ok_or_else(missing)?;
                let bias = map.bias.map(|b| self.vectors.get(b).map(Vec::as_slice).ok_or_else(missing)).transpose()?;
                let out = buffers.slots.get_mut(map.output.slot).ok_or_else(missing)?;
                let out = out.get_mut(rows.start * map.output.width..rows.end * map.output.width).ok_or_else(missing)?;
                kernels::linear(&self.pool, matrix, &mut inputs, phase, bias, out).map_err(|e| e.at_item(&*map.name))?;
                for low in self.adapters.iter().filter(|a| a.weight == map.weight) {
                    let (mut small, mut large) = (vec![0.0; inputs.rows() * low.down.rows()], vec![0.0; out.len()]);
                    kernels::linear(&self.pool, &low.down, &mut inputs, phase, None, &mut small)?;
                    kernels::linear(&self.pool, &low.up, &mut Inputs::new(&small, low.down.rows()), phase, None, &mut large)?;
                    kernels::add_scaled(&self.pool, out, low.scale, &large);
                }
            }
        }
        Ok(())
    }

    /// Makes the sines and cosines of the rows at hand, where that has not been done.
    fn turn(&self, rotation: usize, batch: &Batch, buffers: &mut Buffers) -> Result<()> {
        let missing = || Error::bug("a rotation that is not there");
        let angles = self.angles.get(rotation).ok_or_else(missing)?;
        let turns = buffers.turns.get_mut(rotation).ok_or_else(missing)?;
        if turns.is_some() {
            return Ok(());
        }
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for (position, long) in batch.positions.iter().zip(&batch.long) {
            for frequency in if *long { &angles.long } else { &angles.usual } {
                // The product is rounded to `f32`, as the operation's reference says.
                let (sine, cosine) = f64::from(*position as f32 * frequency).sin_cos();
                cosines.push((cosine * angles.magnitude) as f32);
                sines.push((sine * angles.magnitude) as f32);
            }
        }
        *turns = Some((cosines, sines));
        Ok(())
    }
}

impl Buffers {
    fn take(&mut self, slot: usize) -> Vec<f32> {
        self.slots.get_mut(slot).map(std::mem::take).unwrap_or_default()
    }

    fn put(&mut self, slot: usize, values: Vec<f32>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = values;
        }
    }

    /// The rows of a value.
    pub(crate) fn rows(&self, place: Place, rows: usize) -> &[f32] {
        self.slots.get(place.slot).and_then(|s| s.get(..rows * place.width)).unwrap_or_default()
    }

    /// Forgets what was made for rows that are gone.
    pub(crate) fn forget_rows(&mut self, rotations: usize) {
        self.turns.clear();
        self.turns.resize_with(rotations, || None);
    }

    /// Moves these rows, in ascending order, of a value to its beginning.
    pub(crate) fn compact(&mut self, place: Place, rows: &[usize]) {
        let Some(values) = self.slots.get_mut(place.slot) else { return };
        for (to, from) in rows.iter().enumerate() {
            values.copy_within(from * place.width..(from + 1) * place.width, to * place.width);
        }
    }

    /// Copies these rows of a value from other buffers.
    pub(crate) fn copy_rows(&mut self, other: &Self, place: Place, rows: &[usize]) {
        let (Some(to), Some(from)) = (self.slots.get_mut(place.slot), other.slots.get(place.slot)) else { return };
        to.clear();
        for row in rows {
            to.extend_from_slice(from.get(row * place.width..(row + 1) * place.width).unwrap_or_default());
        }
    }
}

/// The first `len` numbers of a slot, which keeps its length where that is larger: whoever uses it next writes before it reads.
fn room(slot: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if slot.len() < len {
        slot.resize(len, 0.0);
    }
    slot.get_mut(..len).unwrap_or_default()
}

fn copy(first: Option<&[f32]>, out: &mut [f32]) {
    if let Some(first) = first {
        out.copy_from_slice(first);
    }
}

/// Keeps keys and values of all groups.
fn keep(cache: &mut Cache, layer: usize, batch: &Batch, keys: &[f32], values: &[f32]) -> Result<()> {
    let rows = batch.rows();
    let (key, value) = (keys.len() / rows.max(1), values.len() / rows.max(1));
    for group in &batch.groups {
        for i in 0..group.rows {
            let (row, position) = (group.first_row + i, group.position + i);
            let page = group.pages.get(position / kernels::PAGE).ok_or_else(|| Error::bug("a position without a page"))?;
            let (k, v) = (&keys[row * key..(row + 1) * key], &values[row * value..(row + 1) * value]);
            cache.write(layer, *page as usize, position % kernels::PAGE, k, v);
        }
    }
    Ok(())
}

/// Shows the first input of a node.
fn tap(taps: &mut dyn Taps, node: &Node, rows: usize, buffers: &Buffers) -> Result<()> {
    let Some(&input) = node.inputs.first() else { return Ok(()) };
    let mut show = |node: &str, weight: Option<TensorId>| {
        if !taps.wants(node, weight) {
            return Ok(());
        }
        taps.see(&Tap { node, weight, values: buffers.rows(input, rows), width: input.width })
    };
    match &node.work {
        Work::Linear(maps) => maps.iter().try_for_each(|m| show(&m.name, Some(m.weight))),
        _ => show(&node.name, None),
    }
}

/// Reads the adapters, whose pairs have to fit the maps that they change.
fn adapters(pool: &Pool, request: &LoadRequest<'_>, program: &Program, matrices: &[Arc<Matrix>]) -> Result<Vec<LowRank>> {
    let mut out = Vec::new();
    for adapter in &request.adapters {
        for (weight, a, b) in &adapter.pairs {
            let at = program.matrices.iter().position(|id| id == weight);
            let Some(matrix) = at.and_then(|i| matrices.get(i)) else {
                return Err(Error::input("an adapter changes a weight that the model does not have").at_item(&*a.name));
            };
            let exact = gravure_core::contracts::Activations::F32;
            let (down, up) = (weights::matrix(pool, a, exact)?, weights::matrix(pool, b, exact)?);
            if down.columns() != matrix.columns() || up.rows() != matrix.rows() || up.columns() != down.rows() {
                let shapes = format!("{} and {} do not fit [{}, {}]", a.shape, b.shape, matrix.rows(), matrix.columns());
                return Err(Error::input(format!("an adapter's shapes {shapes}")).at_item(&*a.name));
            }
            out.push(LowRank { weight: *weight, down, up, scale: adapter.scale });
        }
    }
    Ok(out)
}

/// A cache for one text that is seen as a whole.
pub(crate) fn temporary_cache(machine: &Machine, positions: usize) -> Result<Cache> {
    Cache::new(CacheType::F32, &machine.kept(), positions.div_ceil(kernels::PAGE))
}
