//! What there is to choose from, and whether a budget can be met at all: known from shapes alone, before a
//! weight is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gravure_base::{Error, Result};
use gravure_core::values::ImportanceEntry;
use gravure_core::{Encoding, Format, ImportanceMatrix, Metadata, Method, Model, Needs, Plan, PlanEntry, Tensor, TensorId};

use super::OptimizeRequest;
use super::device::{Device, Stored};
use crate::catalog;
use crate::hessians::linear_maps;
use crate::quantize::{PlanSource, QuantizePlan, QuantizeRequest, plan_quantize};

/// Name of the importance matrix in the output folder.
pub(super) const IMPORTANCE: &str = "imatrix.gguf";
/// Stem of the artifact's name in it.
const ARTIFACT: &str = "model";

/// Models up to this many weights are rounded by the method that loses least unless another is asked for: the
/// products of all pairs of inputs cost more than all else where matrices are wide.
const THOROUGH_PARAMETERS: u64 = 100_000_000;

/// A name in the spelling of a format: that of a file, or of a folder where it writes one.
pub(super) fn file_name(stem: &str, format: &dyn Format) -> String {
    format.extension().map_or_else(|| stem.to_owned(), |extension| format!("{stem}.{extension}"))
}

/// Name of the artifact in the output folder.
pub(super) fn artifact(format: &dyn Format) -> String {
    file_name(ARTIFACT, format)
}

/// An encoding with the bytes that a tensor has in it.
type Way = (&'static dyn Encoding, u64);

/// The tensors that may be quantized, and the rest.
#[derive(Debug)]
pub(super) struct Space<'a> {
    pub(super) request: &'a OptimizeRequest,
    /// The artifact's format.
    pub(super) format: &'static dyn Format,
    /// The original in the neutral naming.
    pub(super) neutral: &'a Model,
    /// Every tensor that the format stores, as a conversion would leave it.
    pub(super) base: &'a Plan,
    /// Bytes of the tensors that are not up for choice.
    pub(super) fixed_bytes: u64,
    /// For each tensor that is, the ways to store it.
    pub(super) choices: Vec<(&'a Tensor, Vec<Way>)>,
    /// How values are chosen.
    pub(super) method: &'static dyn Method,
    /// The linear maps of the model.
    maps: BTreeMap<TensorId, TensorId>,
    /// Metadata of the output beside what the format writes by itself.
    pub(super) overrides: Metadata,
}

/// Encodings to choose from: those that are asked for, or all that can be written, that `format` has a tag
/// for, and that the target's runtime reads.
///
/// # Errors
/// `Request` for an unknown encoding, for one that the format has no tag for, and for one that the target's runtime
/// does not read.
pub(super) fn candidates(request: &OptimizeRequest, format: &dyn Format, device: &Device) -> Result<Vec<&'static dyn Encoding>> {
    if !request.candidates.is_empty() {
        let asked = request.candidates.iter().map(|id| catalog().encoding(id)).collect::<Result<Vec<_>>>()?;
        if let Some(unheld) = asked.iter().find(|e| !format.can_hold(**e)) {
            return Err(Error::request(format!("{} cannot hold tensors in {}", format.id(), unheld.id()))
                .help("leave it out, or choose another format with --to"));
        }
        if let Some(unread) = asked.iter().find(|e| !device.reads(**e)) {
            let target = device.target().unwrap_or_default();
            return Err(Error::request(format!("the runtime of the target `{target}` does not read {}", unread.id()))
                .help("leave it out, or choose another target"));
        }
        return Ok(asked);
    }
    let usable = |e: &&'static dyn Encoding| {
        e.can_encode() && !e.is_integer() && format.can_hold(*e) && e.bits_per_weight() <= 16.0 && device.reads(*e)
    };
    Ok(catalog().encodings.iter().copied().filter(usable).collect())
}

/// The tensors of a plan that may be stored in fewer bits than a conversion leaves them.
pub(super) fn choosable<'a>(neutral: &'a Model, base: &Plan) -> Result<Vec<&'a Tensor>> {
    let mut tensors = Vec::new();
    for entry in &base.tensors {
        let tensor = neutral.tensor(&entry.tensor).ok_or_else(|| Error::bug("a planned tensor is gone"))?;
        let packs = tensor.shape.dimensions().len() == 2 && tensor.id.is_some_and(|id| !id.keeps_full_precision(2));
        if packs && !tensor.encoding.is_integer() && entry.encoding != "f32" {
            tensors.push(tensor);
        }
    }
    Ok(tensors)
}

/// A method where the encoding allows it, the encoding's own search elsewhere.
pub(super) fn method_for(method: &'static dyn Method, encoding: &dyn Encoding) -> Result<&'static dyn Method> {
    if method.needs() == Needs::Nothing || encoding.grid().is_some() { Ok(method) } else { catalog().method("rtn") }
}

impl<'a> Space<'a> {
    /// Sizes every choice.
    ///
    /// # Errors
    /// `Request` where a tensor fits none of the encodings, and where the method that is asked for can do nothing.
    pub(super) fn new(
        request: &'a OptimizeRequest,
        format: &'static dyn Format,
        neutral: &'a Model,
        base: &'a Plan,
        candidates: &[&'static dyn Encoding],
        overrides: Metadata,
    ) -> Result<Self> {
        let mut choices = Vec::new();
        for tensor in choosable(neutral, base)? {
            // Rows that are no whole blocks of an encoding cannot be stored in it.
            let sized = candidates.iter().filter_map(|e| Some((*e, e.row_bytes(tensor.shape.row_length()).ok()?)));
            let sized: Vec<_> = sized.map(|(e, row)| (e, row.saturating_mul(tensor.shape.rows()))).collect();
            if sized.is_empty() {
                return Err(Error::request("no encoding to choose from can hold this tensor").at_item(&*tensor.name));
            }
            choices.push((tensor, sized));
        }
        let mut fixed_bytes = 0;
        for entry in base.tensors.iter().filter(|e| choices.iter().all(|(t, _)| t.name != e.tensor)) {
            fixed_bytes += entry_bytes(neutral, entry)?;
        }
        request.passes.iter().try_for_each(|id| catalog().pass(id).map(drop))?;
        // Only values in blocks with a grid are chosen by their products.
        let grids = candidates.iter().any(|e| e.grid().is_some());
        let usual = if grids && neutral.parameters() <= THOROUGH_PARAMETERS { "descent" } else { "rtn" };
        let method = catalog().method(request.method.as_deref().unwrap_or(usual))?;
        if !grids && method.needs() != Needs::Nothing {
            let ids: Vec<_> = candidates.iter().map(|e| e.id()).collect();
            return Err(Error::request(format!("the method {} has nothing to do in {}", method.id(), ids.join(", ")))
                .help("it rounds matrices in encodings of blocks with a grid of values: leave it out"));
        }
        let maps = neutral.graph.as_ref().map(linear_maps).unwrap_or_default();
        Ok(Self { request, format, neutral, base, fixed_bytes, choices, method, maps, overrides })
    }

    /// Whether the model multiplies its inputs by the tensor.
    fn is_map(&self, tensor: &Tensor) -> bool {
        tensor.id.is_some_and(|id| self.maps.contains_key(&id))
    }

    /// The plan in which each choosable tensor has the encoding that `pick` names.
    pub(super) fn plan(&self, name: &str, pick: impl Fn(&Tensor) -> Option<(String, String)>) -> Result<Plan> {
        let mut plan = Plan { name: name.to_owned(), file_type: None, ..self.base.clone() };
        for (tensor, _) in &self.choices {
            let (encoding, reason) = pick(tensor).ok_or_else(|| Error::bug("no encoding was picked").at_item(&*tensor.name))?;
            let entry = plan.tensors.iter_mut().find(|e| e.tensor == tensor.name);
            let entry: &mut PlanEntry = entry.ok_or_else(|| Error::bug("an allocated tensor is not planned").at_item(&*tensor.name))?;
            let target = catalog().encoding(&encoding)?;
            let rounded = if self.is_map(tensor) { method_for(self.method, target)? } else { catalog().method("rtn")? };
            entry.method = if tensor.encoding.id() == encoding { "copy" } else { rounded.id() }.to_owned();
            entry.encoding = encoding;
            entry.reason = reason;
        }
        plan.passes.clone_from(&self.request.passes);
        if plan.tensors.iter().any(|e| e.method == self.method.id()) && self.method.needs() == Needs::Hessian {
            plan.order = self.request.order;
        }
        plan.tensor_bytes = self.stored(&plan)?.values().map(|(_, bytes)| bytes).sum();
        Ok(plan)
    }

    /// Encoding and bytes of each tensor of a plan.
    pub(super) fn stored(&self, plan: &Plan) -> Result<Stored> {
        let entry = |e: &PlanEntry| Ok((e.tensor.clone(), (catalog().encoding(&e.encoding)?, entry_bytes(self.neutral, e)?)));
        plan.tensors.iter().map(entry).collect()
    }

    /// What writes `plan` to `output`.
    pub(super) fn quantize(&self, plan: &Plan, output: PathBuf, importance: Arc<ImportanceMatrix>) -> QuantizeRequest {
        let source = &self.request.source;
        let mut request = QuantizeRequest::new(&source.path, output, PlanSource::Given(plan.clone()));
        request.output_format = Some(self.format.id().to_owned());
        if plan.passes.is_empty() {
            request.matrix = Some(importance);
        } else {
            request.calibration = Some(self.request.calibration_text());
        }
        request.overrides = self.overrides.clone();
        request.threads = source.threads;
        request.source_format.clone_from(&source.format);
        request.lenient = source.lenient;
        request.limits = source.limits;
        request.storage = Arc::clone(&self.request.storage);
        request
    }

    /// Exact sizes of what `plan` makes.
    pub(super) fn describe(&self, plan: &Plan) -> Result<QuantizePlan> {
        plan_quantize(&self.quantize(plan, self.request.output.join(artifact(self.format)), self.placeholder()))
    }

    /// An importance matrix as long in the output's header as the one that calibration makes.
    pub(super) fn placeholder(&self) -> Arc<ImportanceMatrix> {
        let mut matrix = ImportanceMatrix { chunk_count: 1, chunk_size: 1, ..ImportanceMatrix::default() };
        matrix.entries.insert(String::new(), ImportanceEntry { values: Vec::new(), counts: Vec::new() });
        Arc::new(named(matrix, &self.request.calibration_data))
    }

    /// The plan with the fewest bytes.
    pub(super) fn least(&self) -> Result<Plan> {
        self.plan("least", |tensor| {
            let (_, choices) = self.choices.iter().find(|(t, _)| t.name == tensor.name)?;
            choices.iter().min_by_key(|(_, bytes)| *bytes).map(|(e, _)| (e.id().to_owned(), "the fewest bytes".to_owned()))
        })
    }

    /// Refuses a budget that even the smallest encodings break, naming the nearest that they do not.
    ///
    /// # Errors
    /// `Request`.
    pub(super) fn check_possible(&self, device: &Device) -> Result<()> {
        let budget = &self.request.budget;
        let plan = self.least()?;
        let (bytes, weights) = (plan.tensor_bytes, self.neutral.parameters().max(1));
        let refuse = |what: String, nearest: String| Err(Error::request(format!("{what} cannot be met")).help(nearest));
        if let Some(most) = budget.max_size {
            let least = self.describe(&plan)?.output_bytes;
            if least > most {
                return refuse(
                    format!("a file of {most} bytes"),
                    format!("the smallest that these encodings make has {least} bytes: ask for {least}B or more"),
                );
            }
        }
        if let Some(most) = budget.max_tensor_bytes.filter(|most| bytes > *most) {
            return refuse(
                format!("a budget of {most} bytes for tensors"),
                format!("in the smallest encodings they take {bytes} bytes: ask for {bytes}B or more"),
            );
        }
        if let Some(most) = budget.bits_per_weight.filter(|most| bytes > (weights as f64 * most / 8.0) as u64) {
            let least = (bytes as f64 * 8.0 / weights as f64 * 1e4).ceil() / 1e4;
            return refuse(
                format!("{most} bits for each weight"),
                format!("in the smallest encodings the tensors take {least:.4}: ask for {least:.4} or more"),
            );
        }
        let needed = bytes.saturating_add(device.beside_weights());
        if let Some(most) = budget.max_memory.filter(|most| needed > *most) {
            return refuse(
                format!("a memory of {most} bytes"),
                format!(
                    "the smallest weights take {bytes} bytes, keys and values of {} positions and the runtime {}: ask for {needed}B or \
                     more, or for fewer positions",
                    device.positions,
                    device.beside_weights()
                ),
            );
        }
        if let (Some(least), Some(best)) = (budget.min_tokens_per_second, device.tokens_per_second(&self.stored(&self.quickest(device)?)?)?)
            && best < least
        {
            return refuse(
                format!("{least} tokens in a second on `{}`", device.target().unwrap_or_default()),
                format!("with the encodings that are fastest there {best:.1} are predicted: ask for {:.1} or less", floor(best)),
            );
        }
        Ok(())
    }

    /// The plan that is read fastest on the device.
    fn quickest(&self, device: &Device) -> Result<Plan> {
        let mut picks = std::collections::BTreeMap::new();
        for (tensor, choices) in &self.choices {
            let mut best: Option<(f64, u64, &str)> = None;
            for (encoding, bytes) in choices {
                let seconds = device.read_seconds(&tensor.name, encoding.id(), *bytes)?;
                if best.is_none_or(|(s, b, _)| (seconds, *bytes) < (s, b)) {
                    best = Some((seconds, *bytes, encoding.id()));
                }
            }
            picks.extend(best.map(|(_, _, id)| (tensor.name.clone(), id.to_owned())));
        }
        self.plan("quickest", |tensor| Some((picks.get(&tensor.name)?.clone(), "the fastest to read".to_owned())))
    }
}

/// One digit after the point, downward.
fn floor(value: f64) -> f64 {
    (value * 10.0).floor() / 10.0
}

fn entry_bytes(neutral: &Model, entry: &PlanEntry) -> Result<u64> {
    let tensor = neutral.tensor(&entry.tensor).ok_or_else(|| Error::bug("a planned tensor is gone"))?;
    Ok(catalog().encoding(&entry.encoding)?.row_bytes(tensor.shape.row_length())?.saturating_mul(tensor.shape.rows()))
}

/// The matrix with the names of its files instead of their paths: what is written into the artifact must
/// not depend on the folders that a run is made in.
pub(super) fn named(mut matrix: ImportanceMatrix, data: &Path) -> ImportanceMatrix {
    matrix.path = PathBuf::from(IMPORTANCE);
    matrix.datasets = vec![data.file_name().unwrap_or_default().to_string_lossy().into_owned()];
    matrix
}
