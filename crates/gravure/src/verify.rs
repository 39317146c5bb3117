//! Does an artifact still keep what its certificate says? Everything that can be computed again is.

use std::path::PathBuf;

use gravure_base::{Error, Result};
use gravure_core::Model;
use serde::Serialize;

use crate::certificate::{Certificate, Score, file_digest, plan_digest, tensors_digest};
use crate::engine::{LoadOptions, load};
use crate::evaluate::{EvaluateRequest, evaluate_loaded};
use crate::{Observer, OpenRequest, open};

/// Standard errors that a score may be off when it is measured again. On one machine it comes back to the
/// last bit; another instruction set adds in another order.
const TOLERANCE: f64 = 0.1;

/// What to verify, and against what.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// The artifact.
    pub artifact: LoadOptions,
    /// The model that it was made from.
    pub reference: Option<LoadOptions>,
    /// The text that its scores were measured on.
    pub data: Option<PathBuf>,
    /// The text that importance and sensitivity were measured on.
    pub calibration_data: Option<PathBuf>,
}

/// How one statement of a certificate fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Computed again, and the same.
    Holds,
    /// Computed again, and different.
    Broken,
    /// What it takes was not given.
    NotChecked,
}

/// One statement of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// What is stated.
    pub subject: &'static str,
    /// How it fares.
    pub outcome: Outcome,
    /// What was stated and what was found, or what it would take.
    pub text: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// The artifact's path.
    pub artifact: PathBuf,
    /// Whether nothing is broken.
    pub holds: bool,
    /// Every statement.
    pub proofs: Vec<Proof>,
    /// The certificate.
    pub certificate: Certificate,
}

/// Holds an artifact against its certificate.
///
/// # Errors
/// Those of reading and running; `Input` where there is no certificate, or a malformed one; `Request` where
/// scores are to be measured again without the model that they are against; `Interrupted`. What does not
/// hold is no error: see [`Verification::holds`].
pub fn verify(request: &VerifyRequest, observer: &dyn Observer) -> Result<Verification> {
    let opened = |options: &LoadOptions| {
        open(&OpenRequest { path: &options.path, format: options.format.as_deref(), lenient: options.lenient, limits: options.limits })
    };
    let model = opened(&request.artifact)?;
    let Some((certificate, sealed)) = Certificate::of(&model)? else {
        return Err(Error::input("this artifact carries no certificate")
            .in_file(&request.artifact.path)
            .help("`gravure optimize` writes one into what it makes; `gravure eval --reference` measures any model"));
    };
    if request.data.is_some() && request.reference.is_none() {
        return Err(Error::request("scores are against the original").help("name the model that the artifact was made from, too"));
    }
    let mut proofs = vec![prove("seal", sealed, || {
        if sealed { "no byte of the certificate was changed".into() } else { "the certificate was altered after it was made".into() }
    })];
    let (digest, bytes) = tensors_digest(&model, observer)?;
    proofs.push(same("tensors", &certificate.tensors_sha256, &digest));
    proofs.push(same("tensor bytes", &certificate.tensor_bytes.to_string(), &bytes.to_string()));
    proofs.push(same("plan", &certificate.plan_sha256, &plan_of(&model)));
    let source = match &request.reference {
        None => not_checked("source", format!("made from {}: name the model to check it", certificate.source)),
        Some(reference) => same("source", &certificate.source_sha256, &tensors_digest(&opened(reference)?, observer)?.0),
    };
    proofs.push(source);
    for (subject, path, stated) in [
        ("calibration text", &request.calibration_data, &certificate.calibration),
        ("evaluation text", &request.data, &certificate.evaluation),
    ] {
        proofs.push(match path {
            None => not_checked(subject, format!("{}: name the file to check it", stated.name)),
            Some(path) => same(subject, &stated.sha256, &file_digest(path)?),
        });
    }
    match (&request.reference, &request.data) {
        (Some(reference), Some(data)) => proofs.extend(scores(request, reference, data, &certificate, observer)?),
        _ => proofs.push(not_checked("scores", "name the original and the evaluation text to measure them again".into())),
    }
    let holds = proofs.iter().all(|p| p.outcome != Outcome::Broken);
    Ok(Verification { artifact: request.artifact.path.clone(), holds, proofs, certificate })
}

fn prove(subject: &'static str, holds: bool, text: impl FnOnce() -> String) -> Proof {
    Proof { subject, outcome: if holds { Outcome::Holds } else { Outcome::Broken }, text: text() }
}

fn same(subject: &'static str, stated: &str, found: &str) -> Proof {
    let holds = stated == found;
    prove(subject, holds, || if holds { stated.to_owned() } else { format!("certified {stated}, found {found}") })
}

fn not_checked(subject: &'static str, text: String) -> Proof {
    Proof { subject, outcome: Outcome::NotChecked, text }
}

/// Digest of the encodings that the tensors really have.
fn plan_of(model: &Model) -> String {
    plan_digest(model.tensors.iter().map(|t| (t.name.as_str(), t.encoding.id())))
}

/// Measures again, in the windows of the certificate.
fn scores(
    request: &VerifyRequest,
    reference: &LoadOptions,
    data: &std::path::Path,
    certificate: &Certificate,
    observer: &dyn Observer,
) -> Result<Vec<Proof>> {
    let (windows, context) = (&certificate.evaluation.windows, &certificate.evaluation.context);
    let number = |n: u64| usize::try_from(n).map_err(|_| Error::input("the certificate states an impossible number of windows"));
    let context = number(*context)?;
    let with_room = |options: &LoadOptions| LoadOptions { positions: context, ..options.clone() };
    let original = load(&with_room(&reference.as_original()), observer)?;
    let engine = load(&with_room(&request.artifact), observer)?;
    let what = EvaluateRequest { context, windows: Some(number(*windows)?), ..EvaluateRequest::new(request.artifact.clone(), data) };
    let evaluation = evaluate_loaded(&what, &engine, Some(&original), observer)?;
    let found = crate::certificate::scores(&evaluation, &certificate.scores.runtime)?;
    let stated = &certificate.scores;
    let near = |subject, stated: Score, found: Score| {
        let allowed = TOLERANCE * stated.stderr.abs();
        let off = (stated.value - found.value).abs();
        prove(subject, off <= allowed, || format!("certified {:.6} ±{:.6}, measured {:.6}", stated.value, stated.stderr, found.value))
    };
    Ok(vec![
        same("tokens scored", &stated.tokens.to_string(), &found.tokens.to_string()),
        near("perplexity", stated.perplexity, found.perplexity),
        near("original's perplexity", stated.reference_perplexity, found.reference_perplexity),
        near("KL divergence", stated.kl_divergence, found.kl_divergence),
        near("top-1 agreement", stated.top1_agreement, found.top1_agreement),
    ])
}
