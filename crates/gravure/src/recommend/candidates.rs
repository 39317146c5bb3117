//! Every precision of a runtime: its size, and what the roofline says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gravure_base::{Error, Result};
use gravure_core::values::{Backend, ComputeUnit, Deployment, Figure, ModelKind, NumberType, Precision, RuntimeProfile, Target};
use gravure_core::{Encoding, Format, Model, Role};
use gravure_planner::mixtures::{MIXTURES, Mixture};
use gravure_planner::roofline::{PROMPT, Placement, Prediction, Use, Workload};
use serde::Serialize;

use super::{RecommendRequest, cache_number};
use crate::quantize::threads;
use crate::sizing::{Sized, Sizing};
use crate::{catalog, translate};

/// Bits from which on weights count as floats.
const FLOAT_BITS: f64 = 16.0;

/// One precision of one runtime.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// The mixture's name, or the precision's in the runtime's own tools.
    pub precision: String,
    /// What it is.
    pub doc: String,
    /// Its place on the runtime's ladder, 0 for the best quality; `None` where it is not recommended.
    pub rung: Option<usize>,
    /// Whether sizes are exact: this program lays out the files. Otherwise they follow from bits for each weight.
    pub exact: bool,
    /// Whether it is refused without an importance matrix.
    pub needs_importance: bool,
    /// Bytes of the file or files.
    pub file_bytes: u64,
    /// Bytes of the weights in memory.
    pub weight_bytes: u64,
    /// Bits for each weight over the whole model.
    pub bits_per_weight: f64,
    /// Bytes of weights, keys and values, and the runtime.
    pub memory_bytes: u64,
    /// Share of the bytes read for a token whose encoding has fast kernels; `None` where the runtime's tools
    /// choose the encodings.
    pub accelerated_share: Option<f64>,
    /// What the roofline says.
    #[serde(flatten)]
    pub prediction: Prediction,
    /// How many times as fast as 16-bit weights in the same place.
    pub speedup: f64,
    /// Limits that it misses, in words.
    pub misses: Vec<String>,
    /// Bytes in each encoding that has no fast kernels.
    pub slow_encodings: BTreeMap<String, u64>,
}

/// Something that does not run on the unit, or not fast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// Operation or encoding id.
    pub subject: String,
    /// What happens instead.
    pub instead: String,
}

/// The question, with what follows from the model.
pub(crate) struct Place<'a> {
    pub(crate) request: &'a RecommendRequest,
    pub(crate) workload: &'a Workload,
    pub(crate) kind: ModelKind,
    pub(crate) context: u64,
    pub(crate) cache_bytes: u64,
    /// Bytes that each runtime takes beside weights and cache, by its id: see [`runtime_bytes`].
    pub(crate) runtime_bytes: &'a BTreeMap<String, u64>,
    pub(crate) memory_limit: u64,
}

/// Bytes that the runtimes of a target take beside weights and cache, by their ids. `model` is in the neutral naming.
///
/// # Errors
/// `Bug` for a runtime that has no profile.
pub(crate) fn runtime_bytes(model: &Model, target: &Target) -> Result<BTreeMap<String, u64>> {
    let vocabulary = model.tensors.iter().filter(|t| t.id.is_some_and(|id| id.role == Role::TokenEmbedding));
    let vocabulary = vocabulary.map(|t| t.shape.rows()).max().unwrap_or(0);
    let of = |deployment: &Deployment| {
        let profile = gravure_targets::runtime(&deployment.runtime)?;
        let ours = profile.registered.as_ref().and_then(|id| catalog().runtimes.iter().find(|r| r.id() == id));
        let step = ours.and_then(|runtime| runtime.step_bytes(model, PROMPT)).unwrap_or(0);
        let table = profile.vocabulary_bytes.as_ref().map_or(0.0, |f| f.value) * vocabulary as f64;
        Ok((profile.id.clone(), (profile.overhead_bytes.value + table) as u64 + step))
    };
    target.runtimes.iter().map(of).collect()
}

/// One runtime on one unit.
pub(crate) struct Site<'a> {
    place: &'a Place<'a>,
    profile: &'a RuntimeProfile,
    backend: &'a Backend,
    unit: &'a ComputeUnit,
    decode: &'a Figure,
    decode_of: &'a BTreeMap<String, Figure>,
    prefill: &'a Figure,
}

impl<'a> Place<'a> {
    /// Where `deployment` runs.
    pub(crate) fn site(&'a self, deployment: &'a Deployment, profile: &'a RuntimeProfile) -> Result<Site<'a>> {
        // Reading a target has checked both names.
        let missing = |what: &str| Error::bug(format!("the target's {what} was not checked")).at_item(&*deployment.runtime);
        let backend = profile.backend(&deployment.backend).ok_or_else(|| missing("backend"))?;
        let unit = self.request.target.unit(&deployment.unit).ok_or_else(|| missing("unit"))?;
        Ok(Site {
            place: self,
            profile,
            backend,
            unit,
            decode: deployment.decode_efficiency.as_ref().unwrap_or(&backend.decode_efficiency),
            decode_of: &deployment.decode_efficiency_of,
            prefill: deployment.prefill_efficiency.as_ref().unwrap_or(&backend.prefill_efficiency),
        })
    }
}

/// How one weight is stored.
struct Stored<'a> {
    bytes: f64,
    bits: f64,
    /// Its encoding, where this program chose it.
    encoding: Option<&'a str>,
}

impl Site<'_> {
    /// The ids that this place recommends, best first.
    fn ladder(&self) -> Vec<&str> {
        if self.backend.ladder.is_empty() {
            self.profile.ladder.iter().chain(self.profile.precisions.iter().map(|p| &p.id)).map(String::as_str).collect()
        } else {
            self.backend.ladder.iter().map(String::as_str).collect()
        }
    }

    /// Tokens in a second of what counts for this kind of model, with every weight in 16 bits.
    pub(super) fn speed_in_16_bits(&self) -> f64 {
        let stored =
            self.place.workload.weights.iter().map(|w| Stored { bytes: w.elements as f64 * 2.0, bits: FLOAT_BITS, encoding: None });
        speed(&self.predict(&stored.collect::<Vec<_>>()))
    }

    fn predict(&self, stored: &[Stored<'_>]) -> Prediction {
        Placement {
            bytes: stored.iter().map(|s| s.bytes).collect(),
            slowdown: stored.iter().map(|s| self.slowdown_of(s)).collect(),
            bandwidth: self.unit.bandwidth.value * self.decode.value,
            operations: self.operations(stored) * self.prefill.value,
            layer_seconds: self.backend.layer_seconds.as_ref().map_or(0.0, |f| f.value),
            cache_bytes: cache_number(self.place.request.cache),
            watts: self.unit.watts.value,
        }
        .predict(self.place.workload, self.place.context)
    }

    /// As it was measured, or by whether there are fast kernels.
    fn slowdown_of(&self, stored: &Stored<'_>) -> f64 {
        match stored.encoding.and_then(|id| self.decode_of.get(id)) {
            Some(measured) => self.decode.value / measured.value,
            None if self.is_slow(stored) => self.backend.fallback_slowdown.value,
            None => 1.0,
        }
    }

    fn is_slow(&self, stored: &Stored<'_>) -> bool {
        stored.encoding.is_some_and(|id| !self.backend.accelerated.iter().any(|a| a == id))
    }

    /// Peak operations in a second for this mixture of quantized weights and floats.
    fn operations(&self, stored: &[Stored<'_>]) -> f64 {
        let peak = |kind: NumberType| self.unit.operations.get(&kind).map_or(1.0, |f| f.value);
        let (mut work, mut seconds) = (0.0, 0.0);
        for (weight, stored) in self.place.workload.weights.iter().zip(stored).filter(|(w, _)| w.matrix && w.usage != Use::Lookup) {
            let kind = if stored.bits < FLOAT_BITS { self.backend.quantized_products } else { self.backend.float_products };
            work += weight.elements as f64;
            seconds += weight.elements as f64 / peak(kind);
        }
        if seconds > 0.0 { work / seconds } else { peak(self.backend.float_products) }
    }

    /// The model's weights as `tensors` stores them, by their neutral names.
    fn stored<'t>(&self, tensors: &BTreeMap<String, (&'t dyn Encoding, u64)>) -> Vec<Stored<'t>> {
        let stored = self.place.workload.weights.iter().map(|w| match tensors.get(&w.name) {
            Some((encoding, bytes)) => Stored { bytes: *bytes as f64, bits: encoding.bits_per_weight(), encoding: Some(encoding.id()) },
            None => Stored { bytes: 0.0, bits: FLOAT_BITS, encoding: None },
        });
        stored.collect()
    }

    /// What the roofline says of tensors stored so.
    pub(crate) fn predict_tensors(&self, tensors: &BTreeMap<String, (&dyn Encoding, u64)>) -> Prediction {
        self.predict(&self.stored(tensors))
    }

    /// How many times longer weights in this encoding take than on a fast path.
    pub(crate) fn slowdown(&self, encoding: &str) -> f64 {
        self.slowdown_of(&Stored { bytes: 0.0, bits: 0.0, encoding: Some(encoding) })
    }

    /// Whether weights in this encoding have fast kernels.
    pub(crate) fn is_accelerated(&self, encoding: &str) -> bool {
        self.backend.accelerated.iter().any(|a| a == encoding)
    }

    fn runtime_bytes(&self) -> u64 {
        self.place.runtime_bytes.get(&self.profile.id).copied().unwrap_or(0)
    }

    /// Bytes in a second that decoding reads.
    pub(crate) fn decode_bandwidth(&self) -> f64 {
        self.unit.bandwidth.value * self.decode.value
    }

    /// What `mixture` is here, of exactly this size.
    fn exact(&self, mixture: &Mixture, sized: &Sized, base: f64) -> Candidate {
        let stored = self.stored(&sized.tensors);
        let weight_bytes = sized.tensors.values().map(|(_, bytes)| bytes).sum();
        let mut candidate = self.candidate(mixture.id, mixture.doc, &stored, weight_bytes, base);
        candidate.exact = true;
        if mixture.base.is_none() {
            // The source as it is: it was kept because nothing better can be made of it.
            candidate.rung = Some(0);
        }
        candidate.file_bytes = sized.file_bytes;
        candidate.needs_importance = sized.needs_importance;
        let read = || self.place.workload.weights.iter().zip(&stored).filter(|(w, _)| w.matrix && w.usage != Use::Lookup).map(|(_, s)| s);
        let all: f64 = read().map(|s| s.bytes).sum();
        for slow in read().filter(|s| self.is_slow(s)) {
            *candidate.slow_encodings.entry(slow.encoding.unwrap_or_default().to_owned()).or_default() += slow.bytes as u64;
        }
        let slow: u64 = candidate.slow_encodings.values().sum();
        candidate.accelerated_share = Some(if all > 0.0 { 1.0 - slow as f64 / all } else { 1.0 });
        let unread: BTreeSet<&str> =
            sized.tensors.values().map(|(e, _)| e.id()).filter(|id| !self.profile.encodings.iter().any(|e| e == id)).collect();
        if !unread.is_empty() {
            candidate.misses.push(format!("{} does not read {}", self.profile.name, unread.into_iter().collect::<Vec<_>>().join(", ")));
        }
        self.judge(&mut candidate);
        candidate
    }

    /// What `precision` is here, as its bits for each weight say.
    fn stated(&self, precision: &Precision, base: f64) -> Candidate {
        let stored: Vec<Stored<'_>> = self
            .place
            .workload
            .weights
            .iter()
            .map(|w| {
                let bits = match (w.matrix, w.vocabulary) {
                    (false, _) => precision.vector_bits,
                    (true, true) => precision.embedding_bits_per_weight.unwrap_or(precision.bits_per_weight),
                    (true, false) => precision.bits_per_weight,
                };
                Stored { bytes: w.elements as f64 * bits / 8.0, bits, encoding: None }
            })
            .collect();
        let weight_bytes = stored.iter().map(|s| s.bytes).sum::<f64>().ceil() as u64;
        let mut candidate = self.candidate(&precision.id, &precision.doc, &stored, weight_bytes, base);
        self.judge(&mut candidate);
        candidate
    }

    fn candidate(&self, id: &str, doc: &str, stored: &[Stored<'_>], weight_bytes: u64, base: f64) -> Candidate {
        let prediction = self.predict(stored);
        let parameters = self.place.workload.parameters().max(1);
        Candidate {
            precision: id.to_owned(),
            doc: doc.to_owned(),
            rung: self.ladder().iter().position(|rung| *rung == id),
            exact: false,
            needs_importance: false,
            file_bytes: weight_bytes,
            weight_bytes,
            bits_per_weight: weight_bytes as f64 * 8.0 / parameters as f64,
            memory_bytes: weight_bytes.saturating_add(self.place.cache_bytes).saturating_add(self.runtime_bytes()),
            accelerated_share: None,
            speedup: speed(&prediction) / base,
            prediction,
            misses: Vec::new(),
            slow_encodings: BTreeMap::new(),
        }
    }

    /// Holds a candidate against the limits.
    fn judge(&self, candidate: &mut Candidate) {
        let request = self.place.request;
        let over = |what: &str, has: u64, most: u64| (has > most).then(|| format!("{what} {has} bytes, {} more than {most}", has - most));
        candidate.misses.extend(over("memory", candidate.memory_bytes, self.place.memory_limit));
        if let Some(most) = request.max_size {
            candidate.misses.extend(over("file", candidate.file_bytes, most));
        }
        if let Some(most) = &self.backend.largest_bytes {
            candidate.misses.extend(over(
                "the unit addresses",
                candidate.weight_bytes.saturating_add(self.place.cache_bytes),
                most.value as u64,
            ));
        }
        if let Some(least) = request.min_tokens_per_second {
            let has = speed(&candidate.prediction);
            if has < least {
                candidate.misses.push(format!("{has:.1} tokens/s of {least:.1}"));
            }
        }
    }

    /// What of `candidate` and of the model's `operations` does not run on the unit, or not fast.
    pub(super) fn fallbacks(&self, candidate: &Candidate, operations: &BTreeSet<String>) -> Vec<Fallback> {
        let mut all: Vec<Fallback> = self
            .backend
            .fallback_ops
            .iter()
            .filter(|f| operations.contains(&f.op))
            .map(|f| Fallback { subject: f.op.clone(), instead: f.instead.clone() })
            .collect();
        let slow = candidate.slow_encodings.iter();
        all.extend(slow.map(|(id, bytes)| Fallback { subject: format!("{id}, {bytes} bytes"), instead: self.backend.fallback.clone() }));
        all
    }
}

/// Tokens in a second of what counts: decoding, or encoding where there is none.
pub(crate) fn speed(prediction: &Prediction) -> f64 {
    prediction.decode_tokens_per_second.unwrap_or(prediction.prefill_tokens_per_second)
}

/// A mixture, and what it makes in one format or why nothing.
type SizedMixture = (&'static Mixture, Result<Sized>);

/// The sizes of every mixture in every format that a target's runtimes read.
pub(super) struct Catalogue<'a> {
    sizing: &'a Sizing,
    /// By format id; empty where this program does not write the format.
    sized: BTreeMap<String, Vec<SizedMixture>>,
}

impl<'a> Catalogue<'a> {
    /// Sizes every mixture in every format that the request's target may want.
    pub(super) fn new(sizing: &'a Sizing, request: &RecommendRequest) -> Result<Self> {
        let mut sized = BTreeMap::new();
        for deployment in &request.target.runtimes {
            let format = &gravure_targets::runtime(&deployment.runtime)?.format;
            if !sized.contains_key(format) {
                let known = catalog().formats.iter().copied().find(|f| f.id() == format);
                let mixtures = match known.map(|f| (f, sizing.named_for(f))) {
                    Some((known, Ok(named))) => size_all(sizing, known, &named, threads(request.threads)),
                    _ => Vec::new(),
                };
                sized.insert(format.clone(), mixtures);
            }
        }
        Ok(Self { sizing, sized })
    }

    /// All candidates of a place: those on its ladder in order, then the others.
    pub(super) fn candidates(&self, site: &Site<'_>) -> Result<Vec<Candidate>> {
        let base = site.speed_in_16_bits();
        let mixtures = self.sized.get(&site.profile.format).map(Vec::as_slice).unwrap_or_default();
        let exact = mixtures.iter().filter_map(|(mixture, sized)| Some(site.exact(mixture, sized.as_ref().ok()?, base)));
        let stated = site.profile.precisions.iter().map(|p| site.stated(p, base));
        let mut all: Vec<Candidate> = exact.chain(stated).collect();
        all.sort_by_key(|c| (c.rung.is_none(), c.rung));
        Ok(all)
    }

    /// What the registered runtime `id` cannot execute of the model, in words; `None` where it can execute it all.
    pub(super) fn gap(&self, id: &str) -> Result<Option<String>> {
        let runtime = catalog().runtime(id)?;
        if runtime.opens_files() {
            return Ok(None);
        }
        let model = translate::to_graph(&self.sizing.source, catalog(), gravure_formats::neutral_name);
        Ok(match model {
            Ok(model) => runtime.gaps(&model).first().map(|gap| format!("cannot execute {}: {}", gap.subject, gap.text)),
            Err(error) => Some(error.message().to_owned()),
        })
    }

    /// Operations of the model's graph.
    pub(super) fn operations(&self) -> BTreeSet<String> {
        let model = &self.sizing.neutral;
        let made = || model.architecture.and_then(|a| a.graph(&model.hyperparameters).ok());
        let graph = model.graph.clone().or_else(made);
        graph.map(|g| g.nodes.iter().map(|n| n.op.to_owned()).collect()).unwrap_or_default()
    }

    /// What could not be sized, and why: one line for each format.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (format, mixtures) in &self.sized {
            let failed: Vec<_> = mixtures.iter().filter_map(|(m, sized)| Some((m.id, sized.as_ref().err()?))).collect();
            if let Some((_, first)) = failed.first() {
                let ids: Vec<_> = failed.iter().map(|(id, _)| *id).collect();
                let few = ids.len() <= 8;
                let which = if few { ids.join(", ") } else { format!("{} of {} mixtures", ids.len(), mixtures.len()) };
                notes.push(format!("{format}: no plan for {which}: {}", first.message()));
            }
        }
        notes
    }
}

/// Sizes every mixture that `format` can hold, several at once, in the order of the table.
fn size_all(sizing: &Sizing, format: &'static dyn Format, named: &gravure_core::Model, threads: usize) -> Vec<SizedMixture> {
    // A source that is quantized already is best left as it is; floats are never left as they are.
    let quantized = sizing.neutral.tensors.iter().any(|t| !t.encoding.is_integer() && t.encoding.bits_per_weight() < FLOAT_BITS);
    let holds = |m: &Mixture| m.base.map_or(quantized, |id| catalog().encoding(id).is_ok_and(|e| format.can_hold(e)));
    let wanted: Vec<&'static Mixture> = MIXTURES.iter().filter(|m| holds(m)).collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(wanted.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, wanted.len().max(1)) {
            scope.spawn(|| {
                while let Some(mixture) = wanted.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let sized = sizing.mixture(mixture, format, named);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((mixture, sized));
                }
            });
        }
    });
    let mut all = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    all.sort_by_key(|(mixture, _): &SizedMixture| wanted.iter().position(|m| m.id == mixture.id));
    all
}
