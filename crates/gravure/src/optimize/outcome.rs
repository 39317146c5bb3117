//! What an optimization hands back: the artifact's figures with all that they rest on. The same document is
//! `report.json`, and what the other reports are drawn from.

use std::path::PathBuf;

use gravure_core::values::Sensitivity;
use gravure_core::{Artifact, ImportanceMatrix, Model, Naming, Plan, Policy, Result};
use gravure_planner::mixtures::{MIXTURES, MixtureRequest};

use super::device::Predicted;
use super::drift::Drift;
use super::elsewhere::RuntimeScores;
use super::gates::AtWork;
use super::request::Budget;
use super::search::Search;
use super::space::Space;
use super::verdict::Verdict;
use crate::catalog;
use crate::certificate::Certificate;
use crate::evaluate::Evaluation;
use crate::quantize::float_view;
use crate::recipe::Recipe;

/// Version of the document's layout.
pub(super) const SCHEMA: &str = "gravure.report/1";
/// Sizes for which the best plan is predicted.
const FRONTIER: u32 = 24;

/// Seconds of one stage, and memory up to its end.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Stage {
    /// What was done.
    pub name: &'static str,
    /// How long.
    pub seconds: f64,
    /// The most memory that the process has had by its end, where the system tells.
    pub peak_resident_bytes: Option<u64>,
}

/// The original.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct OriginalFacts {
    /// Its path as it was given.
    pub path: PathBuf,
    /// Its architecture in its own spelling.
    pub architecture: Option<String>,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of its tensors.
    pub tensor_bytes: u64,
    /// Bits for each weight.
    pub bits_per_weight: f64,
}

/// One tensor of the artifact.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ChosenTensor {
    /// Its name.
    pub tensor: String,
    /// Its name without the layer: tensors with the same job share it.
    pub family: String,
    /// Its layer, counted from zero.
    pub layer: Option<u32>,
    /// Its encoding.
    pub encoding: String,
    /// How its values were chosen.
    pub method: String,
    /// Bits for each of its weights.
    pub bits_per_weight: f64,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it was up for choice; vectors, norms and the like stay exact.
    pub chosen: bool,
    /// What its encoding is predicted to cost, in nats.
    pub predicted_kl_divergence: Option<f64>,
}

/// The best plan of one size.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FrontierPoint {
    /// Bytes of all tensors.
    pub tensor_bytes: u64,
    /// Predicted divergence, in nats.
    pub kl_divergence: f64,
}

/// What a fixed mixture would be.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FixedMixture {
    /// Its name.
    pub mixture: String,
    /// Bytes of all tensors.
    pub tensor_bytes: u64,
    /// Predicted divergence, in nats.
    pub predicted_kl_divergence: f64,
    /// What is predicted of the best plan with no more bytes, in nats.
    pub best_kl_divergence: Option<f64>,
}

/// The result with its evidence.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Optimized {
    /// Name and version of this document's layout.
    pub schema: &'static str,
    /// Version of the program.
    pub gravure: &'static str,
    /// The command as it was typed, where there was one.
    pub command: Vec<String>,
    /// The recipe of the run, where it was asked for by one or by options that make one.
    pub recipe: Option<Recipe>,
    /// The original.
    pub model: OriginalFacts,
    /// What had to hold.
    pub budget: Budget,
    /// What of it holds.
    pub promises: Vec<Verdict>,
    /// What the field expects, and what of it holds.
    pub gates: Vec<Verdict>,
    /// The files.
    pub artifact: Artifact,
    /// Bytes of all files together.
    pub file_bytes: u64,
    /// The plan's file.
    pub plan: PathBuf,
    /// The importance matrix's file.
    pub importance: PathBuf,
    /// Divergence that was predicted.
    pub predicted_kl_divergence: f64,
    /// What the artifact is predicted to need where it is to run.
    pub predicted: Predicted,
    /// What was measured on the evaluation text.
    pub evaluation: Evaluation,
    /// What the artifact is worth in each runtime that reads it.
    pub runtimes: Vec<RuntimeScores>,
    /// The original at work on this machine, where gates are judged.
    pub baseline: Option<AtWork>,
    /// The artifact at work on this machine.
    pub at_work: Option<AtWork>,
    /// What each step changes, where gates are judged.
    pub drift: Vec<Drift>,
    /// How many tensors have which encoding.
    pub encodings: Vec<(String, usize)>,
    /// Every tensor.
    pub tensors: Vec<ChosenTensor>,
    /// What the allocation predicts for other sizes.
    pub frontier: Vec<FrontierPoint>,
    /// What is predicted of the fixed mixtures.
    pub mixtures: Vec<FixedMixture>,
    /// What each tensor costs in each encoding.
    pub sensitivity: Sensitivity,
    /// The certificate that the artifact carries.
    pub certificate: Certificate,
    /// The machine: names and what was found.
    pub environment: Vec<(String, String)>,
    /// What took how long.
    pub stages: Vec<Stage>,
}

/// The original's facts.
pub(super) fn original(model: &Model) -> Result<OriginalFacts> {
    let tensor_bytes = model.tensors.iter().map(gravure_core::Tensor::stored_bytes).sum::<Result<u64>>()?;
    let parameters = model.parameters();
    Ok(OriginalFacts {
        path: model.source.path.clone(),
        architecture: model.architecture_id.clone(),
        parameters,
        tensor_bytes,
        bits_per_weight: tensor_bytes as f64 * 8.0 / parameters.max(1) as f64,
    })
}

/// How many tensors have which encoding.
pub(super) fn count(plan: &Plan) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for entry in &plan.tensors {
        match counts.iter_mut().find(|(e, _)| *e == entry.encoding) {
            Some((_, n)) => *n += 1,
            None => counts.push((entry.encoding.clone(), 1)),
        }
    }
    counts
}

/// Every tensor of a plan.
pub(super) fn tensors(space: &Space<'_>, plan: &Plan, sensitivity: &Sensitivity) -> Result<Vec<ChosenTensor>> {
    let stored = space.stored(plan)?;
    let cost = |tensor: &str, encoding: &str| {
        let entry = sensitivity.tensors.iter().find(|t| t.tensor == tensor)?;
        let losses = entry.candidates.iter().filter(|c| c.encoding == encoding).map(|c| c.error * entry.constant);
        losses.reduce(f64::min)
    };
    let one = |entry: &gravure_core::PlanEntry| {
        let (encoding, bytes) = stored.get(&entry.tensor).copied()?;
        let tensor = space.neutral.tensor(&entry.tensor)?;
        Some(ChosenTensor {
            tensor: entry.tensor.clone(),
            family: family(&entry.tensor),
            layer: tensor.id.and_then(|id| id.layer),
            encoding: entry.encoding.clone(),
            method: entry.method.clone(),
            bits_per_weight: encoding.bits_per_weight(),
            bytes,
            chosen: space.choices.iter().any(|(t, _)| t.name == entry.tensor),
            predicted_kl_divergence: cost(&entry.tensor, &entry.encoding),
        })
    };
    Ok(plan.tensors.iter().filter_map(one).collect())
}

/// A tensor's name without its layer and without the ending that nearly all share.
pub(crate) fn family(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let number = parts.iter().position(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let rest = number.map_or(&parts[..], |at| &parts[at + 1..]);
    let joined = rest.join(".");
    joined.strip_suffix(".weight").map_or_else(|| joined.clone(), str::to_owned)
}

/// The best plans from the smallest to the largest.
pub(super) fn frontier(search: &Search<'_>) -> Result<Vec<FrontierPoint>> {
    let points = search.frontier(FRONTIER)?;
    Ok(points.into_iter().map(|(tensor_bytes, kl_divergence)| FrontierPoint { tensor_bytes, kl_divergence }).collect())
}

/// What the same sensitivities predict of the fixed mixtures that suit the model; those with encodings that
/// were not measured are left out. `naming` is the source's own.
pub(super) fn mixtures(naming: Naming, space: &Space<'_>, search: &Search<'_>, importance: &ImportanceMatrix) -> Result<Vec<FixedMixture>> {
    let view = float_view(naming, space.neutral)?;
    let mut all: Vec<FixedMixture> = Vec::new();
    for mixture in MIXTURES {
        let Ok(plan) = MixtureRequest::new(mixture).plan(&view, catalog(), Some(importance)) else { continue };
        let encoding = |name: &str| plan.tensors.iter().find(|e| e.tensor == name).map(|e| e.encoding.clone());
        let (Some(loss), Ok(stored)) = (search.loss_of(encoding), space.stored(&plan)) else { continue };
        let tensor_bytes = stored.values().map(|(_, bytes)| bytes).sum();
        let best_kl_divergence = search.loss_within(tensor_bytes);
        let point = FixedMixture { mixture: mixture.id.to_owned(), tensor_bytes, predicted_kl_divergence: loss, best_kl_divergence };
        if !all.iter().any(|m| m.tensor_bytes == point.tensor_bytes && m.predicted_kl_divergence == point.predicted_kl_divergence) {
            all.push(point);
        }
    }
    Ok(all)
}

/// The machine, for the report.
pub(crate) fn environment(threads: usize) -> Vec<(String, String)> {
    let memory = crate::doctor::memory_bytes().map_or_else(|| "unknown".into(), |(total, _)| format!("{} MiB", total >> 20));
    let vectors: Vec<_> = gravure_simd::Isa::available().iter().map(|isa| isa.name()).collect();
    [
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("processor", processor()),
        ("vector instructions", vectors.join(", ")),
        ("threads", threads.to_string()),
        ("memory", memory),
    ]
    .into_iter()
    .map(|(name, found)| (name.to_owned(), found))
    .collect()
}

/// The processor as the system names it.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|l| l.starts_with("model name"));
    line.and_then(|l| l.split_once(':')).map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_no_layer() {
        assert_eq!(family("blk.12.attn_q.weight"), "attn_q");
        assert_eq!(family("token_embd.weight"), "token_embd");
        assert_eq!(family("blk.0.ffn_gate.3.weight"), "ffn_gate.3");
        assert_eq!(family(""), "");
    }
}
