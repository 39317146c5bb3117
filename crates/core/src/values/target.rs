//! Which device, under which limits? Plain data, read from TOML: nothing here computes.
//!
//! A [`Target`] says what a device has (memory, units that compute) and which runtimes serve it, in order
//! of preference. What a runtime reads, and which encodings its kernels for one kind of unit are fast in,
//! is the same on every device and stands in its [`RuntimeProfile`].
//!
//! Every figure carries where it is from: see [`Figure`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A number and where it is from: a public source, or the reasoning of an estimate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The number, in the unit that the field says.
    pub value: f64,
    /// Data sheet, benchmark or page that says so (an address, or the name of a document).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether it was reasoned out rather than read or measured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// How it follows from what is known; required of an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

impl Figure {
    /// A figure read off this machine or another source.
    pub fn from_source(value: f64, source: impl Into<String>) -> Self {
        Self { value, source: Some(source.into()), estimated: false, reasoning: None }
    }

    /// A figure that was reasoned out.
    pub fn estimate(value: f64, reasoning: impl Into<String>) -> Self {
        Self { value, source: None, estimated: true, reasoning: Some(reasoning.into()) }
    }
}

/// A type of numbers that multipliers work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum NumberType {
    Int4,
    Int8,
    Fp8,
    Fp16,
    Bf16,
    Fp32,
}

impl NumberType {
    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Fp8 => "fp8",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp32 => "fp32",
        }
    }
}

/// What kind of model somebody wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Continues texts, token by token.
    Text,
    /// Turns texts into vectors.
    Embedding,
    /// Anything else that is a graph of operations.
    Graph,
}

/// Memory of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryFacts {
    /// Bytes that are built in.
    pub total_bytes: Figure,
    /// Bytes that a model and its runtime can have.
    pub usable_bytes: Figure,
}

/// Something that computes: a CPU, a GPU, an NPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeUnit {
    /// Its name within the target: `cpu`, `gpu`, `npu`.
    pub id: String,
    /// What it is, for people.
    pub name: String,
    /// Bytes in a second (peak) between it and the memory that holds the weights.
    pub bandwidth: Figure,
    /// Operations in a second (peak, dense; a multiply-add counts as two) by type of numbers. A type that is
    /// not listed has no arithmetic of its own there.
    pub operations: BTreeMap<NumberType, Figure>,
    /// Watts of the whole device while this unit works.
    pub watts: Figure,
}

/// A runtime that serves a target, on one of its units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Runtime profile id.
    pub runtime: String,
    /// Which of the profile's backends.
    pub backend: String,
    /// Which of the target's units.
    pub unit: String,
    /// Why it stands at this place of the order.
    pub reason: String,
    /// Share of the unit's bandwidth that decoding reaches; the backend's own where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_efficiency: Option<Figure>,
    /// The same for weights in one encoding, by its id, where that was measured: some are bound by arithmetic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decode_efficiency_of: BTreeMap<String, Figure>,
    /// Share of the unit's arithmetic that prefill reaches; the backend's own where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_efficiency: Option<Figure>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Lower-case name as users type it.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// One line for tables.
    pub doc: String,
    /// What kind of device: `server`, `desktop`, `laptop`, `board`, `phone`, `browser`.
    pub class: String,
    /// Features of the instruction set that kernels use.
    #[serde(default)]
    pub isa: Vec<String>,
    /// What shapes and addresses have to satisfy to run well.
    #[serde(default)]
    pub alignment: Vec<String>,
    /// What else a user should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Its memory.
    pub memory: MemoryFacts,
    /// What computes.
    pub units: Vec<ComputeUnit>,
    /// What serves it, in order of preference.
    pub runtimes: Vec<Deployment>,
}

impl Target {
    /// The unit called `id`.
    pub fn unit(&self, id: &str) -> Option<&ComputeUnit> {
        self.units.iter().find(|u| u.id == id)
    }
}

/// An operation that a backend does not run itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackOp {
    /// Operation id.
    pub op: String,
    /// What happens instead.
    pub instead: String,
}

/// How a runtime works on one kind of unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Its name within the profile.
    pub id: String,
    /// One line for people.
    pub doc: String,
    /// Encoding ids with kernels that are fast there.
    pub accelerated: Vec<String>,
    /// Precisions (mixtures, or those of the profile) that suit it, best quality first, where they are fewer
    /// than the profile's own ladder.
    #[serde(default)]
    pub ladder: Vec<String>,
    /// Type of numbers in products of quantized weights.
    pub quantized_products: NumberType,
    /// Type of numbers in products of weights in floats.
    pub float_products: NumberType,
    /// Share of the unit's bandwidth that decoding usually reaches.
    pub decode_efficiency: Figure,
    /// Share of the unit's arithmetic that prefill usually reaches.
    pub prefill_efficiency: Figure,
    /// Seconds that a layer takes for each step beside its reading and its products: launches of kernels,
    /// waiting of threads for each other. Nothing where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_seconds: Option<Figure>,
    /// What happens to weights in an encoding that is not accelerated.
    pub fallback: String,
    /// How many times longer that takes than on a fast path.
    pub fallback_slowdown: Figure,
    /// Operations that run elsewhere.
    #[serde(default)]
    pub fallback_ops: Vec<FallbackOp>,
    /// Most bytes that one model may have there, where it is less than the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_bytes: Option<Figure>,
    /// Where the list of encodings is from.
    pub source: String,
}

/// How weights are stored in a format whose files Gravure does not lay out itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// Its name as the runtime's tools spell it.
    pub id: String,
    /// One line for people.
    pub doc: String,
    /// Bits for each weight of a matrix, scales and zero points included.
    pub bits_per_weight: f64,
    /// Bits for each weight of the token embedding and the output matrix, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_bits_per_weight: Option<f64>,
    /// Bits for each value of a vector.
    pub vector_bits: f64,
}

/// A runtime that models are deployed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeProfile {
    /// Lower-case name.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// One line for tables.
    pub doc: String,
    /// Id of the format that it reads.
    pub format: String,
    /// Id of the runtime in this build's registry, where it is one of them: artifacts can then be measured in it, and of those
    /// that execute graphs it is known what they cannot execute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<String>,
    /// Kinds of models that it serves.
    pub kinds: Vec<ModelKind>,
    /// Encoding ids that it reads.
    pub encodings: Vec<String>,
    /// Named mixtures of the format that are to be recommended, best quality first.
    #[serde(default)]
    pub ladder: Vec<String>,
    /// Where the order of the ladder is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladder_source: Option<String>,
    /// Precisions, best quality first, where the format's files are laid out by another tool.
    #[serde(default)]
    pub precisions: Vec<Precision>,
    /// How to make its files with other tools.
    pub converter: String,
    /// Bytes that it takes beside weights and the cache of keys and values; where the runtime knows its own step,
    /// intermediate values and the vocabulary are not among them.
    pub overhead_bytes: Figure,
    /// Bytes that it takes for each token of the vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary_bytes: Option<Figure>,
    /// What it does on each kind of unit.
    pub backends: Vec<Backend>,
}

impl RuntimeProfile {
    /// The backend called `id`.
    pub fn backend(&self, id: &str) -> Option<&Backend> {
        self.backends.iter().find(|b| b.id == id)
    }
}
