//! What a comparison hands back. The same document is `report.json`, and what the page is drawn from.

use std::path::{Path, PathBuf};

use gravure_base::Result;
use gravure_core::{Model, Tensor};

use crate::certificate::CertifiedText;
use crate::evaluate::Evaluation;
use crate::optimize::{AtWork, Stage, family};
use crate::{catalog, translate};

/// Version of the document's layout.
pub(super) const SCHEMA: &str = "gravure.comparison/1";

/// One tensor of an artifact.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ComparedTensor {
    /// Its neutral name, where the architecture is known, else that of the file.
    pub tensor: String,
    /// Its name without the layer: tensors with the same job share it.
    pub family: String,
    /// Its layer, counted from zero.
    pub layer: Option<u32>,
    /// Its encoding.
    pub encoding: String,
    /// Bits for each of its weights.
    pub bits_per_weight: f64,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it is a matrix that is usually quantized.
    pub matrix: bool,
}

/// One artifact with what was found.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ComparedArtifact {
    /// The end of its path by which it differs from the others.
    pub name: String,
    /// Its path as it was given.
    pub path: PathBuf,
    /// Format id.
    pub format: &'static str,
    /// Its architecture in its own spelling.
    pub architecture: Option<String>,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of all its files.
    pub file_bytes: u64,
    /// Bytes of its tensors.
    pub tensor_bytes: u64,
    /// Bits for each weight.
    pub bits_per_weight: f64,
    /// How many tensors have which encoding, in the order of the bytes that they take.
    pub encodings: Vec<(String, usize)>,
    /// Digest of its tensors.
    pub tensors_sha256: String,
    /// Whether the seal of its certificate holds and its tensors are those certified; `None` where it carries none.
    pub certificate_holds: Option<bool>,
    /// What was measured on the text, against the reference where the tokens are the same.
    pub evaluation: Option<Evaluation>,
    /// Positions that its memory is stated for.
    pub positions: Option<u64>,
    /// It at work on this machine.
    pub at_work: Option<AtWork>,
    /// Whether no other is both smaller and nearer to the reference.
    pub on_front: bool,
    /// Why something was not measured.
    pub problem: Option<String>,
    /// Every tensor.
    pub tensors: Vec<ComparedTensor>,
}

impl ComparedArtifact {
    /// Mean divergence from the reference in nats, where it was measured.
    pub fn kl_divergence(&self) -> Option<gravure_eval::Measurement> {
        Some(self.evaluation.as_ref()?.comparison.as_ref()?.kl_divergence)
    }

    /// Median tokens in a second of prefill and of decode, where they were timed.
    pub fn speeds(&self) -> (Option<f64>, Option<f64>) {
        let speed = self.at_work.as_ref().map(|w| &w.speed);
        let median = |phase: Option<&gravure_eval::speed::PhaseSpeed>| phase.map(|p| p.tokens_per_second.median);
        (median(speed.and_then(|s| s.prefill.as_ref())), median(speed.and_then(|s| s.decode.as_ref())))
    }
}

/// What the others are measured against.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ComparisonReference {
    /// Why it is the reference.
    pub chosen: &'static str,
    /// It.
    #[serde(flatten)]
    pub artifact: ComparedArtifact,
}

/// The text that was measured on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MeasuredText {
    /// Name of its file.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Windows of it that were run.
    pub windows: u64,
    /// Tokens in a window.
    pub context: u64,
}

impl MeasuredText {
    pub(super) fn new(text: &CertifiedText) -> Self {
        Self { name: text.name.clone(), sha256: text.sha256.clone(), windows: text.windows, context: text.context }
    }
}

/// The comparison with its evidence.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Compared {
    /// Name and version of this document's layout.
    pub schema: &'static str,
    /// Version of the program.
    pub gravure: &'static str,
    /// The command as it was typed, where there was one.
    pub command: Vec<String>,
    /// What all are measured against.
    pub reference: ComparisonReference,
    /// The others, in the order in which they were named.
    pub artifacts: Vec<ComparedArtifact>,
    /// The text.
    pub data: MeasuredText,
    /// The machine: names and what was found.
    pub environment: Vec<(String, String)>,
    /// What took how long.
    pub stages: Vec<Stage>,
}

impl Compared {
    /// The reference and the others.
    pub fn all(&self) -> impl Iterator<Item = &ComparedArtifact> {
        std::iter::once(&self.reference.artifact).chain(&self.artifacts)
    }
}

/// What is known without reading a weight.
pub(super) fn facts(model: &Model) -> Result<ComparedArtifact> {
    // A model whose architecture no file knows keeps the names of its files.
    let neutral = translate::to_neutral(model, catalog(), gravure_formats::neutral_name).ok();
    let tensors = neutral.as_ref().unwrap_or(model).tensors.iter().map(tensor).collect::<Result<Vec<_>>>()?;
    let tensor_bytes = model.tensors.iter().map(Tensor::stored_bytes).sum::<Result<u64>>()?;
    let parameters = model.parameters();
    Ok(ComparedArtifact {
        name: String::new(),
        path: model.source.path.clone(),
        format: model.source.format,
        architecture: model.architecture_id.clone(),
        parameters,
        file_bytes: model.source.files.iter().filter_map(|f| std::fs::metadata(f).ok()).map(|m| m.len()).sum(),
        tensor_bytes,
        bits_per_weight: tensor_bytes as f64 * 8.0 / parameters.max(1) as f64,
        encodings: count(&tensors),
        tensors_sha256: String::new(),
        certificate_holds: None,
        evaluation: None,
        positions: None,
        at_work: None,
        on_front: false,
        problem: None,
        tensors,
    })
}

fn tensor(t: &Tensor) -> Result<ComparedTensor> {
    let (bytes, dimensions) = (t.stored_bytes()?, t.shape.dimensions().len());
    Ok(ComparedTensor {
        tensor: t.name.clone(),
        family: family(&t.name),
        layer: t.id.and_then(|id| id.layer),
        encoding: t.stored_as(),
        bits_per_weight: bytes as f64 * 8.0 / t.shape.elements().max(1) as f64,
        bytes,
        matrix: dimensions >= 2 && t.id.is_none_or(|id| !id.keeps_full_precision(dimensions)),
    })
}

fn count(tensors: &[ComparedTensor]) -> Vec<(String, usize)> {
    let mut counts: Vec<(&str, usize, u64)> = Vec::new();
    for t in tensors {
        match counts.iter_mut().find(|(e, ..)| *e == t.encoding) {
            Some((_, n, bytes)) => (*n, *bytes) = (*n + 1, *bytes + t.bytes),
            None => counts.push((&t.encoding, 1, t.bytes)),
        }
    }
    counts.sort_by_key(|(.., bytes)| std::cmp::Reverse(*bytes));
    counts.into_iter().map(|(encoding, n, _)| (encoding.to_owned(), n)).collect()
}

/// For each path the fewest of its last parts that no other path ends with.
pub(super) fn names(paths: &[&Path]) -> Vec<String> {
    let tail = |path: &Path, parts: usize| {
        let all: Vec<_> = path.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        all[all.len().saturating_sub(parts)..].join("/")
    };
    let one = |path: &&Path| {
        let most = path.components().count().max(1);
        let clear = |parts: &usize| paths.iter().filter(|other| tail(other, *parts) == tail(path, *parts)).count() == 1;
        let parts = (1..=most).find(clear).unwrap_or(most);
        tail(path, parts)
    };
    paths.iter().map(one).collect()
}

/// Marks those that no other beats in size and divergence together; the reference diverges by nothing.
pub(super) fn mark_front(reference: &mut ComparedArtifact, artifacts: &mut [ComparedArtifact]) {
    let place = |a: &ComparedArtifact| Some((a.tensor_bytes, a.kl_divergence()?.value));
    let mut places = vec![Some((reference.tensor_bytes, 0.0))];
    places.extend(artifacts.iter().map(place));
    let known: Vec<(u64, f64)> = places.iter().copied().flatten().collect();
    let beaten = |(bytes, loss): (u64, f64)| known.iter().any(|(b, l)| *b <= bytes && *l <= loss && (*b < bytes || *l < loss));
    for (artifact, place) in std::iter::once(reference).chain(artifacts).zip(places) {
        artifact.on_front = place.is_some_and(|p| !beaten(p));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_where_paths_do() {
        let paths = ["a/model.gguf", "b/model.gguf", "c", "x/a/model.gguf"].map(Path::new);
        assert_eq!(names(&paths), ["a/model.gguf", "b/model.gguf", "c", "x/a/model.gguf"]);
        assert_eq!(names(&["m/q4.gguf", "/n/q8.gguf"].map(Path::new)), ["q4.gguf", "q8.gguf"]);
        assert_eq!(names(&["same", "same", ".."].map(Path::new)), ["same", "same", ".."]);
    }
}
