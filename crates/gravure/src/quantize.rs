//! Quantization: any model in, one artifact out, in one step.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gravure_base::{Disk, Error, Limits, Result, ResultExt, Sha256, Storage};
use gravure_core::{
    Artifact, Encoding, Format, ImportanceMatrix, Metadata, Model, Naming, Needs, Note, Order, Package, PackageTensor, Plan, PlanEntry,
    Policy, Tensor, WriteRequest,
};
use gravure_planner::mixtures::{MixtureRequest, importance_of};

use crate::engine::{LoadOptions, load, prepare};
use crate::execute::{Executor, Job, LONGEST_ROW};
use crate::hessians::{CalibrationText, Hessians, linear_maps, text_missing};
use crate::in_turn::round_in_turn;
use crate::open::{OpenRequest, open};
use crate::output::{Split, check_target, fingerprint, target_format, write_request};
use crate::{Observer, adapter, catalog, passes, translate};

/// Who chooses the encodings.
#[derive(Debug, Clone)]
pub enum PlanSource {
    /// One of the named mixtures of the GGUF world, with its options.
    Mixture(MixtureRequest),
    /// A plan made earlier, perhaps edited by hand.
    Given(Plan),
    /// Whole-model conversion to one float or simple type, as the reference converter does it.
    Uniform(gravure_planner::uniform::Uniform),
}

/// What to quantize, how, and where to.
#[derive(Debug, Clone)]
pub struct QuantizeRequest {
    /// Source file or folder.
    pub source: PathBuf,
    /// Target file or folder.
    pub output: PathBuf,
    /// Of an adapter: the model that it changes, where its own configuration does not lead there.
    pub base: Option<PathBuf>,
    /// Format of the source, where the user names it.
    pub source_format: Option<String>,
    /// Format of the output, where the user names it; otherwise the target's extension decides.
    pub output_format: Option<String>,
    /// Who chooses the encodings.
    pub plan: PlanSource,
    /// Importance matrix file.
    pub importance: Option<PathBuf>,
    /// An importance matrix that is in memory already; goes before the file.
    pub matrix: Option<Arc<ImportanceMatrix>>,
    /// Method for the matrices that the plan rounds to nearest, where it can do them.
    pub method: Option<String>,
    /// Passes over the weights before they are rounded, in their order; `None` for the plan's own.
    pub passes: Option<Vec<String>>,
    /// In which order tensors are rounded; `None` for the plan's own.
    pub order: Option<Order>,
    /// Text for methods that need to see the inputs of matrices.
    pub calibration: Option<CalibrationText>,
    /// How the output is cut into files.
    pub split: Split,
    /// Metadata to set in the output.
    pub overrides: Metadata,
    /// Worker threads; 0 for one for each core.
    pub threads: usize,
    /// Whether unknown keys and tensors are notes instead of errors.
    pub lenient: bool,
    /// Bounds for what the source may ask.
    pub limits: Limits,
    /// Where the output goes; tests put a failing disk here.
    pub storage: Arc<dyn Storage>,
}

impl QuantizeRequest {
    /// How the source is loaded to be run over a text.
    fn source_options(&self, context: usize) -> LoadOptions {
        LoadOptions {
            format: self.source_format.clone(),
            threads: self.threads,
            positions: context,
            lenient: self.lenient,
            limits: self.limits,
            ..LoadOptions::new(&self.source)
        }
    }

    /// A request with defaults.
    pub fn new(source: impl Into<PathBuf>, output: impl Into<PathBuf>, plan: PlanSource) -> Self {
        Self {
            source: source.into(),
            output: output.into(),
            base: None,
            source_format: None,
            output_format: None,
            plan,
            importance: None,
            matrix: None,
            method: None,
            passes: None,
            order: None,
            calibration: None,
            split: Split::Single,
            overrides: Metadata::new(),
            threads: 0,
            lenient: false,
            limits: Limits::default(),
            storage: Arc::new(Disk),
        }
    }
}

/// A decision, and what it will cost.
#[derive(Debug, Clone, serde::Serialize)]
pub struct QuantizePlan {
    /// The plan itself.
    pub plan: Plan,
    /// Files of the output with exact sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// Exact size of the whole output in bytes.
    pub output_bytes: u64,
    /// Encoded size of the source's tensors in bytes.
    pub source_bytes: u64,
    /// Upper estimate of the resident memory that the work needs, in bytes.
    pub peak_memory_bytes: u64,
    /// Bits for each weight over the whole output.
    pub bits_per_weight: f64,
    /// What was ignored or should be known.
    pub notes: Vec<gravure_core::Note>,
    /// Per tensor: what it was and what it becomes.
    pub tensors: Vec<TensorOutcome>,
    /// What showed that the written tokenizer gives the source's tokens, where one was written anew.
    pub tokenizer_proof: Option<TokenizerProof>,
}

/// The comparison of the source's tokenizer with the one that is written.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TokenizerProof {
    /// Texts of the built-in corpus whose tokens are equal.
    pub texts: usize,
    /// Tokens of these texts.
    pub tokens: usize,
    /// What no written vocabulary can follow: the reason, and the number of texts left out for it.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// One tensor before and after.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TensorOutcome {
    /// Name in the output.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Encoding in the source.
    pub from: String,
    /// Encoding in the output.
    pub to: String,
    /// Bytes in the source.
    pub source_bytes: u64,
    /// Bytes in the output.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// A finished quantization.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outcome {
    /// What was decided.
    #[serde(flatten)]
    pub plan: QuantizePlan,
    /// The files.
    pub artifact: Artifact,
    /// Wall-clock time of the work.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Decides without writing anything: the dry run.
///
/// # Errors
/// Whatever opening, planning or sizing says; the disk is not looked at.
pub fn plan_quantize(request: &QuantizeRequest) -> Result<QuantizePlan> {
    Prepared::new(request)?.describe(request)
}

/// Quantizes. The output appears under its name whole, or not at all.
///
/// # Errors
/// `Request` where source and options do not fit, `Environment` where the disk is too small or fails,
/// `Interrupted` where the observer asks to stop.
pub fn quantize(request: &QuantizeRequest, observer: &dyn Observer) -> Result<Outcome> {
    let mut prepared = Prepared::new(request)?;
    let text = request.calibration.as_ref();
    let passed = !prepared.plan.passes.is_empty();
    if passed {
        let options = request.source_options(text.map_or(1, |t| t.context));
        let model = passes::apply(&prepared.plan.passes, prepared.model.clone(), &prepared.encodings(), &options, text, observer)?;
        prepared.replace(model)?;
    }
    let sees = prepared.jobs.iter().any(|j| j.method.is_some_and(|m| m.needs() == Needs::Hessian));
    let text = match text {
        None if sees => return Err(text_missing()),
        Some(text) if sees || passed => text,
        _ => return carry_out(request, &prepared, None, observer),
    };
    let options = request.source_options(text.context).as_original();
    let engine = if passed { prepare(prepared.model.clone(), &options)? } else { load(&options, &crate::Quiet)? };
    let hessians = Hessians::new(Arc::new(engine), text, observer)?;
    if passed {
        prepared.weigh_by(&hessians)?;
    }
    carry_out(request, &prepared, Some(&hessians), observer)
}

/// The same with second moments of the original that somebody holds already, or with a plan that needs none.
///
/// # Errors
/// As [`quantize`].
pub(crate) fn quantize_with(request: &QuantizeRequest, hessians: Option<&Hessians<'_>>, observer: &dyn Observer) -> Result<Outcome> {
    let prepared = Prepared::new(request)?;
    if prepared.plan.passes.is_empty() {
        carry_out(request, &prepared, hessians, observer)
    } else {
        // Behind a pass the inputs are others.
        drop(prepared);
        quantize(request, observer)
    }
}

fn carry_out(request: &QuantizeRequest, prepared: &Prepared, hessians: Option<&Hessians<'_>>, observer: &dyn Observer) -> Result<Outcome> {
    let start = Instant::now();
    let plan = prepared.describe(request)?;
    check_target(prepared.format, &prepared.model, &prepared.write, &plan.files)?;
    for note in &plan.notes {
        observer.note(&format!("{}: {}", note.subject, note.text));
    }
    let in_turn = match hessians {
        Some(hessians) if prepared.plan.order == Order::InTurn => {
            let (original, text) = hessians.source();
            let options = request.source_options(text.context).as_original();
            Some(round_in_turn(&prepared.jobs, &prepared.model, original, hessians, text, &options, observer)?)
        }
        _ => None,
    };
    let jobs = in_turn.as_ref().unwrap_or(&prepared.jobs);
    let executor = Executor { jobs, threads: threads(request.threads), observer, hessians };
    observer.begin("quantize", prepared.jobs.len(), plan.source_bytes);
    let artifact = prepared.format.write(&prepared.package(request, &executor), &prepared.write);
    observer.end();
    Ok(Outcome { plan, artifact: artifact?, elapsed: start.elapsed() })
}

pub(crate) fn threads(asked: usize) -> usize {
    if asked > 0 { asked } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// Everything decided, nothing written.
struct Prepared {
    model: Model,
    plan: Plan,
    importance: Option<ImportanceMatrix>,
    jobs: Vec<Job>,
    tensors: Vec<PackageTensor>,
    format: &'static dyn Format,
    write: WriteRequest,
    tokenizer_proof: Option<TokenizerProof>,
}

impl Prepared {
    fn new(request: &QuantizeRequest) -> Result<Self> {
        let format = target_format(&request.output, request.output_format.as_deref())?;
        let source = open(&OpenRequest {
            path: &request.source,
            format: request.source_format.as_deref(),
            lenient: request.lenient,
            limits: request.limits,
        })?;
        let mut neutral = neutral(request, &source, format)?;
        let not_stored = translate::not_stored(&neutral, format.naming());
        neutral.tensors.retain(|t| !not_stored.contains(&t.name));
        let importance = match (&request.matrix, &request.importance) {
            (Some(matrix), _) => Some(matrix.as_ref().clone()),
            (None, Some(path)) => Some(gravure_formats::read_importance_matrix(path, catalog(), &request.limits)?),
            (None, None) => None,
        };
        let mut plan = decide(request, source.naming, &neutral, importance.as_ref())?;
        if let Some(method) = &request.method {
            use_method(&mut plan, method, &neutral)?;
        }
        plan.tensors.retain(|e| !not_stored.contains(&e.tensor));
        plan.order = request.order.unwrap_or(plan.order);
        check_order(&plan, format)?;
        if let Some(passes) = &request.passes {
            plan.passes.clone_from(passes);
        }
        check_passes(&plan, format, request)?;
        let importance = match &request.plan {
            PlanSource::Mixture(mixture) => importance.and_then(|m| mixture.filter_importance(m)),
            _ => importance,
        };
        let mut model = match format.naming() {
            Naming::Neutral => neutral,
            Naming::HuggingFace => translate::to_hugging_face(&source, catalog())?,
        };
        let mut write = write_request(&request.output, request.storage.clone(), request.split, &source, &plan);
        let mut files = source.source.files.clone();
        files.extend(request.importance.clone());
        let seen = request.matrix.as_ref().map(|matrix| digest(matrix));
        files.extend(request.calibration.iter().map(|text| text.data.clone()));
        let told = (&request.overrides, request.split, seen, &request.base, &request.calibration);
        let decision = format!("{} {plan:?} {told:?}", format.id());
        write.fingerprint = Some(fingerprint(&decision, &files));
        let (jobs, tensors) = jobs(&model, &plan, format, importance.as_ref())?;
        let tokenizer_proof = prove_tokenizer(&mut model, &source, format)?;
        Ok(Self { model, plan, importance, jobs, tensors, format, write, tokenizer_proof })
    }

    /// The encoding of each tensor that is rounded.
    fn encodings(&self) -> BTreeMap<String, &'static dyn Encoding> {
        let rounded = self.jobs.iter().filter(|j| j.target.layout().block_elements > 1);
        rounded.map(|j| (j.source.name.clone(), j.target)).collect()
    }

    /// Takes weights from a changed model with the same tensors.
    fn replace(&mut self, model: Model) -> Result<()> {
        (self.jobs, self.tensors) = jobs(&model, &self.plan, self.format, self.importance.as_ref())?;
        self.model.tensors = model.tensors;
        Ok(())
    }

    /// Weighs errors by what the matrices see on a text.
    fn weigh_by(&mut self, hessians: &Hessians<'_>) -> Result<()> {
        for job in self.jobs.iter_mut().filter(|j| j.method.is_some()) {
            let seen = job.source.id.map(|id| hessians.get(&id)).transpose()?.flatten();
            job.importance = seen.map(|hessian| hessian.diagonal());
        }
        Ok(())
    }

    fn package<'a>(&'a self, request: &QuantizeRequest, chunks: &'a Executor<'a>) -> Package<'a> {
        Package {
            model: &self.model,
            file_type: self.plan.file_type,
            pruned_layers: self.plan.pruned_layers.len() as u32,
            overrides: request.overrides.clone(),
            importance: self.importance.as_ref(),
            naming: self.model.naming,
            tensors: self.tensors.clone(),
            chunks,
        }
    }

    fn describe(&self, request: &QuantizeRequest) -> Result<QuantizePlan> {
        let executor = Executor { jobs: &self.jobs, threads: threads(request.threads), observer: &crate::Quiet, hessians: None };
        let files = self.format.layout(&self.package(request, &executor), &self.write)?;
        let output_bytes = files.iter().map(|(_, bytes)| bytes).sum::<u64>();
        let mut tensors = Vec::with_capacity(self.jobs.len());
        let (mut source_bytes, mut weights) = (0, 0);
        for ((job, tensor), entry) in self.jobs.iter().zip(&self.tensors).zip(&self.plan.tensors) {
            let from = job.source.bytes()?;
            source_bytes += from;
            weights += job.source.shape.elements();
            tensors.push(TensorOutcome {
                name: tensor.name.clone(),
                shape: tensor.shape.dimensions().to_vec(),
                from: job.source.encoding.id().to_owned(),
                to: tensor.encoding.id().to_owned(),
                source_bytes: from,
                bytes: tensor.bytes()?,
                reason: entry.reason.clone(),
            });
        }
        let mut plan = self.plan.clone();
        plan.tensor_bytes = tensors.iter().map(|t| t.bytes).sum();
        Ok(QuantizePlan {
            bits_per_weight: if weights == 0 { 0.0 } else { plan.tensor_bytes as f64 * 8.0 / weights as f64 },
            plan,
            files,
            output_bytes,
            source_bytes,
            peak_memory_bytes: executor.peak_memory(),
            notes: self.model.notes.clone(),
            tensors,
            tokenizer_proof: self.tokenizer_proof.clone(),
        })
    }
}

/// Names the contents of an importance matrix.
fn digest(matrix: &ImportanceMatrix) -> String {
    let mut digest = Sha256::new();
    for (name, entry) in &matrix.entries {
        digest.update(name.as_bytes());
        entry.values.iter().chain(&entry.counts).for_each(|v| digest.update(&v.to_le_bytes()));
    }
    digest.finish()
}

/// Compares the source's tokenizer with the one that a program will find in the output, where the two
/// formats store it differently. A model without one gets a note: some programs refuse it.
fn prove_tokenizer(model: &mut Model, source: &Model, format: &dyn Format) -> Result<Option<TokenizerProof>> {
    if source.source.format == format.id() || source.adapter.is_some() {
        return Ok(None);
    }
    let Some(tokenizer) = &source.tokenizer else {
        model.notes.push(Note {
            subject: "tokenizer".into(),
            text: "none was found beside the weights, so none is written; programs that make text need one".into(),
        });
        return Ok(None);
    };
    let Some(written) = format.tokenizer_as_written(tokenizer)? else { return Ok(None) };
    let proof = gravure_text::prove(tokenizer, &written).map_err(|e| e.at_item("tokenizer").in_file(&source.source.path))?;
    Ok(Some(TokenizerProof { texts: proof.texts, tokens: proof.tokens, left_out: proof.left_out }))
}

/// The source in the neutral naming.
fn neutral(request: &QuantizeRequest, source: &Model, format: &dyn Format) -> Result<Model> {
    if source.adapter.is_none() {
        if request.base.is_some() {
            return Err(Error::request("a base model is given, but the source is a model and no adapter").in_file(&request.source));
        }
        return translate::to_neutral(source, catalog(), gravure_formats::neutral_name);
    }
    if matches!(request.plan, PlanSource::Mixture(_)) {
        return Err(Error::request("mixtures are for models: the factors of an adapter are small")
            .in_file(&request.source)
            .help("`gravure convert --dtype q8_0` rounds them too"));
    }
    if format.naming() == Naming::HuggingFace {
        return Err(Error::unsupported(format!("an adapter cannot be written as {} yet", format.id())).in_file(&request.source));
    }
    if source.naming == Naming::Neutral {
        return Ok(source.clone());
    }
    let base = adapter::base_of(source, request.base.as_deref(), request.lenient, &request.limits)?;
    adapter::to_neutral(source, &base).in_file(&request.source)
}

fn decide(request: &QuantizeRequest, naming: Naming, neutral: &Model, importance: Option<&ImportanceMatrix>) -> Result<Plan> {
    let mut view = float_view(naming, neutral)?;
    gravure_formats::override_hyperparameters(&mut view, &request.overrides)?;
    match &request.plan {
        PlanSource::Mixture(mixture) => mixture.plan(&view, catalog(), importance),
        PlanSource::Uniform(uniform) => uniform.plan(neutral, catalog(), importance),
        PlanSource::Given(plan) => {
            check_complete(plan, &view)?;
            Ok(plan.clone())
        }
    }
}

/// The model as policies see it: a checkpoint's tensors count as converted to f32 first, as the reference tools
/// do it in two steps.
pub(crate) fn float_view(naming: Naming, neutral: &Model) -> Result<Model> {
    let mut view = neutral.clone();
    if naming == Naming::HuggingFace {
        let float32 = catalog().encoding("f32")?;
        view.tensors.iter_mut().filter(|t| !t.encoding.is_integer()).for_each(|t| t.encoding = float32);
    }
    Ok(view)
}

/// Refuses a plan, perhaps edited by hand, that leaves out tensors of layers that it does not prune: the
/// output would be a model that no program can run.
fn check_complete(plan: &Plan, model: &Model) -> Result<()> {
    let planned: HashSet<&str> = plan.tensors.iter().map(|e| e.source.as_deref().unwrap_or(&e.tensor)).collect();
    let pruned = |tensor: &Tensor| tensor.id.and_then(|id| id.layer).is_some_and(|layer| plan.pruned_layers.contains(&layer));
    match model.tensors.iter().find(|t| !planned.contains(t.name.as_str()) && !pruned(t)) {
        None => Ok(()),
        Some(tensor) => Err(Error::request("the plan leaves out a tensor of the model")
            .at_item(&*tensor.name)
            .help("give it an entry; a layer may be left out as a whole, under pruned_layers")),
    }
}

/// Puts a method in the place of rounding to nearest, for the matrices that it can do: where it needs second
/// moments, the linear maps of the model in encodings that have a grid.
pub(crate) fn use_method(plan: &mut Plan, id: &str, neutral: &Model) -> Result<()> {
    let method = catalog().method(id)?;
    let maps = neutral.graph.as_ref().map(linear_maps).unwrap_or_default();
    for entry in plan.tensors.iter_mut().filter(|e| e.method == "rtn") {
        let tensor = neutral.tensor(entry.source.as_deref().unwrap_or(&entry.tensor));
        let is_map = tensor.is_some_and(|t| t.shape.dimensions().len() == 2 && t.id.is_some_and(|id| maps.contains_key(&id)));
        let has_grid = catalog().encoding(&entry.encoding)?.grid().is_some();
        if method.needs() == Needs::Nothing || is_map && has_grid {
            method.id().clone_into(&mut entry.method);
        }
    }
    if plan.tensors.iter().all(|e| e.method != method.id()) && method.needs() == Needs::Hessian {
        return Err(Error::request(format!("the method {id} has nothing to do"))
            .help("it rounds the matrices of models that this build can run, in encodings of blocks with a grid of values"));
    }
    Ok(())
}

/// Refuses to round in turn where nothing would come of it.
fn check_order(plan: &Plan, format: &dyn Format) -> Result<()> {
    if plan.order == Order::Apart {
        return Ok(());
    }
    let needs = |e: &PlanEntry| catalog().method(method_id(e)).is_ok_and(|m| m.needs() == Needs::Hessian);
    if !plan.tensors.iter().any(needs) {
        return Err(Error::request("rounding in turn is for methods that see the inputs of matrices").help("choose one with --method"));
    }
    if !plan.pruned_layers.is_empty() || format.naming() != Naming::Neutral {
        return Err(not_in_turn(format));
    }
    Ok(())
}

fn check_passes(plan: &Plan, format: &dyn Format, request: &QuantizeRequest) -> Result<()> {
    if plan.passes.is_empty() {
        return Ok(());
    }
    plan.passes.iter().try_for_each(|id| catalog().pass(id).map(drop))?;
    if request.importance.is_some() {
        return Err(Error::request("an importance matrix of the original does not fit weights that a pass has changed")
            .help("give the text itself, with --calibration-data"));
    }
    if !plan.pruned_layers.is_empty() || format.naming() != Naming::Neutral {
        return Err(Error::unsupported(format!("no pass runs over layers that are pruned, or written as {}", format.id())));
    }
    Ok(())
}

/// Why layers are not rounded in turn where a format, or pruning, does not allow it.
pub(crate) fn not_in_turn(format: &dyn Format) -> Error {
    Error::unsupported(format!("layers that are pruned, or written as {}, are not rounded in turn", format.id()))
}

/// A tensor that is kept as converted still has its values written in the new encoding.
fn method_id(entry: &PlanEntry) -> &str {
    if entry.method == "copy" { "rtn" } else { &entry.method }
}

pub(crate) fn jobs(
    model: &Model,
    plan: &Plan,
    format: &dyn Format,
    importance: Option<&ImportanceMatrix>,
) -> Result<(Vec<Job>, Vec<PackageTensor>)> {
    let by_name: HashMap<String, &Tensor> = model
        .tensors
        .iter()
        .map(|t| {
            let neutral = if model.naming == Naming::HuggingFace { t.id.as_ref().and_then(gravure_formats::neutral_name) } else { None };
            (neutral.unwrap_or_else(|| t.name.clone()), t)
        })
        .collect();
    let mut jobs = Vec::with_capacity(plan.tensors.len());
    let mut tensors = Vec::with_capacity(plan.tensors.len());
    for entry in &plan.tensors {
        let wanted = entry.source.as_deref().unwrap_or(&entry.tensor);
        let tensor = by_name.get(wanted).copied().ok_or_else(|| {
            Error::request("the plan names a tensor that the model does not have")
                .at_item(wanted)
                .help("the plan was made for another model")
        })?;
        let target = catalog().encoding(&entry.encoding)?;
        if !format.can_hold(target) {
            return Err(Error::request(format!("{} cannot hold tensors in {}", format.id(), target.id())).at_item(&*entry.tensor));
        }
        target.row_bytes(tensor.shape.row_length()).map_err(|e| e.at_item(&*entry.tensor))?;
        Limits::check(tensor.shape.row_length(), LONGEST_ROW, "weights in a row").map_err(|e| e.at_item(&*entry.tensor))?;
        let importance = match importance {
            Some(matrix) => importance_of(matrix, wanted, &tensor.shape)?.map(<[f32]>::to_vec),
            None => None,
        };
        let name = if model.naming == Naming::Neutral { entry.tensor.clone() } else { tensor.name.clone() };
        tensors.push(PackageTensor { name, id: tensor.id, shape: tensor.shape.clone(), encoding: target });
        let method = if tensor.encoding.id() == target.id() { None } else { Some(catalog().method(method_id(entry))?) };
        jobs.push(Job { source: tensor.clone(), target, method, importance });
    }
    Ok((jobs, tensors))
}
