//! Between Hugging Face's conventions and the neutral ones, without touching a weight until it is read.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use gravure_base::{Error, Result, ResultExt};
use gravure_core::values::GeneratedTensor;
use gravure_core::{Catalog, Encoding, GroupedRows, Grouping, Model, Naming, Part, Role, Shape, Tensor, TensorData, TensorId, Transform};

/// The GGUF-style name of an identity; asked of the format that owns the neutral names.
pub(crate) type Namer = fn(&TensorId) -> Option<String>;

/// The model with neutral names, shapes and values.
///
/// # Errors
/// `Unsupported` where the model's architecture has no file here, or a tensor has no neutral name.
pub(crate) fn to_neutral(model: &Model, catalog: &Catalog, namer: Namer) -> Result<Model> {
    if model.naming == Naming::Neutral {
        return Ok(model.clone());
    }
    let Some(architecture) = model.architecture else {
        let known: Vec<_> = catalog.architectures.iter().map(|a| a.id()).collect();
        let name = model.architecture_id.as_deref().unwrap_or("(none named)");
        return Err(Error::unsupported(format!("the architecture `{name}` is not known to this build"))
            .in_file(&model.source.path)
            .help(format!("known architectures: {}", known.join(", "))));
    };
    let map = architecture.tensor_map(&model.hyperparameters)?;
    let float32 = catalog.encoding("f32")?;
    let mut tensors = Vec::with_capacity(model.tensors.len());
    for generated in &map.generated {
        let name = namer(&generated.id).ok_or_else(|| Error::bug(format!("a generated {:?} has no name", generated.id.role)))?;
        tensors.push(generated_tensor(generated, name, float32)?);
    }
    for tensor in &model.tensors {
        let Some((id, rule)) = map.identify(&tensor.name) else { continue };
        let name = namer(&id).ok_or_else(|| Error::unsupported("this tensor has no name in the target format").at_item(&*tensor.name))?;
        tensors.push(apply(tensor, name, id, rule.transform, float32).at_item(|| tensor.name.clone())?);
    }
    let mut neutral = model.clone();
    neutral.tensors = tensors;
    neutral.naming = Naming::Neutral;
    Ok(neutral)
}

/// The model with Hugging Face's names, shapes and values.
///
/// # Errors
/// `Unsupported` where no architecture file knows the model, or a tensor has no place in it.
pub(crate) fn to_hugging_face(model: &Model, catalog: &Catalog) -> Result<Model> {
    if model.naming == Naming::HuggingFace {
        return Ok(model.clone());
    }
    let Some(architecture) = model.architecture else {
        let name = model.architecture_id.as_deref().unwrap_or("(none named)");
        return Err(Error::unsupported(format!(
            "the architecture `{name}` is not known to this build, so its tensors have no Hugging Face names"
        ))
        .in_file(&model.source.path));
    };
    let map = architecture.tensor_map(&model.hyperparameters)?;
    let float32 = catalog.encoding("f32")?;
    let mut tensors = Vec::with_capacity(model.tensors.len());
    for tensor in &model.tensors {
        if tensor.id.is_some_and(|id| is_generated(id.role)) {
            continue;
        }
        let found = tensor.id.as_ref().and_then(|id| map.name_of(id).map(|(name, rule)| (name, *id, rule.transform)));
        let Some((name, id, transform)) = found else {
            return Err(Error::unsupported("this tensor has no Hugging Face name").at_item(&*tensor.name).in_file(&model.source.path));
        };
        tensors.push(apply(tensor, name, id, inverse(transform), float32).at_item(|| tensor.name.clone())?);
    }
    let mut out = model.clone();
    out.tensors = tensors;
    out.naming = Naming::HuggingFace;
    Ok(out)
}

/// The model as its graph reads it: neutral names, shapes and values, but rows of rotated projections in
/// Hugging Face's order of halves. Rows move as they are encoded.
///
/// # Errors
/// `Unsupported` where no architecture file knows the model or it has no graph.
pub(crate) fn to_graph(model: &Model, catalog: &Catalog, namer: Namer) -> Result<Model> {
    let known = |architecture: Option<&'static dyn gravure_core::Architecture>| {
        architecture.filter(|_| model.graph.is_some()).ok_or_else(|| {
            let known: Vec<_> = catalog.architectures.iter().map(|a| a.id()).collect();
            let name = model.architecture_id.as_deref().unwrap_or("(none named)");
            Error::unsupported(format!("no graph is known for the architecture `{name}`, so it can be converted but not run"))
                .in_file(&model.source.path)
                .help(format!("architectures that run: {}", known.join(", ")))
        })
    };
    let map = known(model.architecture)?.tensor_map(&model.hyperparameters)?;
    let mut out = to_neutral(model, catalog, namer)?;
    for tensor in &mut out.tensors {
        let rule = tensor.id.as_ref().and_then(|id| map.name_of(id));
        if let Some((_, rule)) = rule
            && let (Transform::InterleaveRope { .. }, Some(id)) = (rule.transform, tensor.id)
        {
            let name = tensor.name.clone();
            *tensor = apply(tensor, name.clone(), id, inverse(rule.transform), catalog.encoding("f32")?).at_item(|| name)?;
        }
    }
    Ok(out)
}

/// A tensor with the rows of a weight, in neutral order, as the graph of `model` reads the weight.
///
/// # Errors
/// `Input` where it has not the weight's rows.
pub(crate) fn weight_to_graph(tensor: &Tensor, weight: TensorId, model: &Model, catalog: &Catalog) -> Result<Tensor> {
    let Some(architecture) = model.architecture else { return Ok(tensor.clone()) };
    let map = architecture.tensor_map(&model.hyperparameters)?;
    match map.name_of(&weight) {
        Some((_, rule)) if matches!(rule.transform, Transform::InterleaveRope { .. }) => {
            apply(tensor, tensor.name.clone(), weight, inverse(rule.transform), catalog.encoding("f32")?)
        }
        _ => Ok(tensor.clone()),
    }
}

/// A tensor under another name, with its values changed as `transform` says.
///
/// # Errors
/// `Input` where its shape does not allow that.
pub(crate) fn with_transform(tensor: &Tensor, name: String, id: TensorId, transform: Transform, catalog: &Catalog) -> Result<Tensor> {
    apply(tensor, name, id, transform, catalog.encoding("f32")?)
}

/// What [`apply`] does to a tensor.
#[derive(Debug, Clone, Copy)]
enum Change {
    None,
    Rows { transform: Transform, inverse: bool },
    Transpose,
    Add(f32),
}

impl From<Transform> for Change {
    fn from(transform: Transform) -> Self {
        match transform {
            Transform::Identity => Self::None,
            Transform::InterleaveRope { .. } => Self::Rows { transform, inverse: false },
            Transform::Transpose => Self::Transpose,
            Transform::Add(constant) => Self::Add(constant),
        }
    }
}

fn inverse(transform: Transform) -> Change {
    match transform {
        Transform::InterleaveRope { .. } => Change::Rows { transform, inverse: true },
        Transform::Add(constant) => Change::Add(-constant),
        other => other.into(),
    }
}

fn apply(tensor: &Tensor, name: String, id: TensorId, change: impl Into<Change>, float32: &'static dyn Encoding) -> Result<Tensor> {
    let mut out = Tensor { name, id: Some(id), ..tensor.clone() };
    match change.into() {
        Change::None => {}
        Change::Rows { transform, inverse } => {
            transform.neutral_shape(&tensor.shape)?;
            // A bias is a vector: its elements move as the matrix's rows do.
            let rows = tensor.shape.dimensions().first().copied().unwrap_or(0);
            out.data = if id.part == Part::Bias || tensor.shape.dimensions().len() == 1 {
                Arc::new(MovedElements { inner: tensor.clone(), transform, inverse })
            } else {
                Arc::new(MovedRows { inner: tensor.clone(), transform, inverse, rows })
            };
        }
        Change::Transpose => {
            let turned = tensor.transposed()?;
            (out.shape, out.data) = (turned.shape, turned.data);
        }
        Change::Add(constant) => {
            // The sum is made in the precision of the checkpoint where that is half, else in f32: as the
            // reference converter does.
            let target = if tensor.encoding.id() == "f16" { tensor.encoding } else { float32 };
            out.encoding = target;
            out.data = Arc::new(Added { inner: tensor.clone(), constant, target });
        }
    }
    Ok(out)
}

#[derive(Debug)]
struct MovedRows {
    inner: Tensor,
    transform: Transform,
    inverse: bool,
    rows: u64,
}

impl MovedRows {
    /// The heads that a range of rows touches, within which they move; and for each row the one of these that it is.
    fn places(&self, rows: Range<u64>) -> Result<(Range<u64>, Vec<usize>)> {
        let Transform::InterleaveRope { heads } = self.transform else {
            return Err(Error::bug("rows moved by a transform that moves none"));
        };
        let head = (self.rows / heads.max(1)).max(1);
        let (first, last) = (rows.start / head * head, rows.end.div_ceil(head) * head);
        let from = |row| if self.inverse { self.transform.neutral_row(row, self.rows) } else { self.transform.stored_row(row, self.rows) };
        Ok((first..last.min(self.rows), rows.map(|row| (from(row) - first) as usize).collect()))
    }
}

/// The rows of `stored` that `places` name, each of `length` elements.
fn moved<T: Copy>(stored: &[T], places: &[usize], length: usize, out: &mut Vec<T>) {
    out.clear();
    places.iter().for_each(|at| out.extend_from_slice(&stored[at * length..(at + 1) * length]));
}

impl TensorData for MovedRows {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let (heads, places) = self.places(rows)?;
        let mut stored = Vec::new();
        self.inner.data.read_rows(heads, &mut stored)?;
        moved(&stored, &places, self.inner.encoding.row_bytes(self.inner.shape.row_length())? as usize, out);
        Ok(())
    }

    fn stored_bytes(&self) -> Option<u64> {
        self.inner.data.stored_bytes()
    }

    fn grouping(&self) -> Option<Grouping> {
        self.inner.data.grouping()
    }

    fn group_order(&self) -> Option<Vec<u32>> {
        self.inner.data.group_order()
    }

    fn read_grouped(&self, rows: Range<u64>, out: &mut GroupedRows) -> Result<()> {
        let (heads, places) = self.places(rows)?;
        let mut stored = GroupedRows::default();
        self.inner.data.read_grouped(heads.clone(), &mut stored)?;
        let count = (heads.end - heads.start).max(1) as usize;
        moved(&stored.codes, &places, stored.codes.len() / count, &mut out.codes);
        moved(&stored.scales, &places, stored.scales.len() / count, &mut out.scales);
        moved(&stored.minima, &places, stored.minima.len() / count, &mut out.minima);
        Ok(())
    }
}

#[derive(Debug)]
struct MovedElements {
    inner: Tensor,
    transform: Transform,
    inverse: bool,
}

impl TensorData for MovedElements {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let mut stored = Vec::new();
        self.inner.data.read_rows(rows, &mut stored)?;
        let layout = self.inner.encoding.layout();
        if layout.block_elements != 1 {
            return Err(Error::unsupported("elements of a block encoding cannot be moved").at_item(&*self.inner.name));
        }
        let count = (stored.len() / layout.block_bytes) as u64;
        out.clear();
        for element in 0..count {
            let from = if self.inverse { self.transform.neutral_row(element, count) } else { self.transform.stored_row(element, count) };
            let at = from as usize * layout.block_bytes;
            out.extend_from_slice(&stored[at..at + layout.block_bytes]);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Added {
    inner: Tensor,
    constant: f32,
    target: &'static dyn Encoding,
}

impl TensorData for Added {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let (mut scratch, mut values) = (Vec::new(), Vec::new());
        self.inner.decode_rows(rows, &mut scratch, &mut values)?;
        values.iter_mut().for_each(|v| *v += self.constant);
        let layout = self.target.layout();
        out.resize(values.len() * layout.block_bytes, 0);
        self.target.encode(&values, self.inner.shape.row_length() as usize, None, out)
    }
}

#[derive(Debug)]
struct InMemory(Vec<u8>);

impl TensorData for InMemory {
    fn read_rows(&self, rows: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        if rows != (0..1) {
            return Err(Error::bug(format!("rows {rows:?} of a vector")));
        }
        out.clone_from(&self.0);
        Ok(())
    }
}

fn generated_tensor(generated: &GeneratedTensor, name: String, float32: &'static dyn Encoding) -> Result<Tensor> {
    let bytes = generated.values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(Tensor {
        name,
        id: Some(generated.id),
        shape: Shape::new([generated.values.len() as u64])?,
        encoding: float32,
        data: Arc::new(InMemory(bytes)),
    })
}

/// Names of the tensors of a model in the neutral naming that files of `naming` do not hold, as they are computed from
/// the configuration.
pub(crate) fn not_stored(neutral: &Model, naming: Naming) -> HashSet<String> {
    let computed = neutral.tensors.iter().filter(|t| naming == Naming::HuggingFace && t.id.is_some_and(|id| is_generated(id.role)));
    computed.map(|t| t.name.clone()).collect()
}

/// Whether tensors of this role are computed from the configuration and not stored in a checkpoint.
pub(crate) fn is_generated(role: Role) -> bool {
    matches!(role, Role::RopeFrequencies | Role::RopeFactorsLong | Role::RopeFactorsShort)
}
