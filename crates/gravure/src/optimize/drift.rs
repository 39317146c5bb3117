//! What each step on the way from the original to the artifact changes, measured one by one on some windows
//! of the evaluation text, always against the original in 32-bit arithmetic.

use std::path::Path;

use gravure_base::{Result, ResultExt, remove_all};
use gravure_core::contracts::Activations;
use gravure_core::{Model, Plan};

use super::sensitivity::{is_large, sensitivity_windows};
use super::space::{self, Space};
use crate::Observer;
use crate::engine::{Engine, LoadOptions, load};
use crate::evaluate::{EvaluateRequest, evaluate_loaded};
use crate::quantize::quantize;

/// One step.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Drift {
    /// Its name: `baseline`, `conversion`, `quantization`, `acceleration`.
    pub stage: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Mean divergence from the original, in nats; `None` where it was not measured.
    pub kl_divergence: Option<f64>,
    /// Share of positions with the original's most likely token.
    pub top1_agreement: Option<f64>,
    /// Perplexity.
    pub perplexity: Option<f64>,
    /// Windows that were run.
    pub windows: usize,
    /// Why it was not measured, or need not be.
    pub note: Option<String>,
}

const BASELINE: (&str, &str) = ("baseline", "the original on fast kernels");
const CONVERSION: (&str, &str) = ("conversion", "in the output's format, nothing quantized");
const QUANTIZATION: (&str, &str) = ("quantization", "quantized weights, 32-bit arithmetic");
const ACCELERATION: (&str, &str) = ("acceleration", "quantized weights on fast kernels");

/// Measures all steps. The first two are the original, as others are held against it and as it runs; `artifact` is the quantized
/// file.
pub(super) fn measure(
    space: &Space<'_>,
    [original, working]: [&Engine; 2],
    artifact: &Engine,
    work: &Path,
    observer: &dyn Observer,
) -> Result<Vec<Drift>> {
    let request = space.request;
    // Of larger models rounding of weights and fast kernels are not told apart.
    let exact = !is_large(space.neutral);
    let options = |path: &Path, activations| LoadOptions {
        positions: request.context,
        format: None,
        path: path.to_path_buf(),
        activations,
        ..request.source.clone()
    };
    let own;
    let reference = if exact {
        own = load(&LoadOptions { format: request.source.format.clone(), ..options(&request.source.path, Activations::F32) }, observer)?;
        &own
    } else {
        original
    };
    let run = |step: (&'static str, &'static str), engine: &Engine| -> Result<Drift> {
        let what = EvaluateRequest {
            context: request.context,
            windows: Some(sensitivity_windows(request, space.neutral)),
            worst: 0,
            ..EvaluateRequest::new(request.source.clone(), &request.evaluation_data)
        };
        let found = evaluate_loaded(&what, engine, Some(reference), observer)?;
        Ok(Drift {
            stage: step.0,
            doc: step.1,
            kl_divergence: found.comparison.as_ref().map(|c| c.kl_divergence.value),
            top1_agreement: found.comparison.as_ref().map(|c| c.top1_agreement.value),
            perplexity: Some(found.perplexity.value),
            windows: found.windows,
            note: None,
        })
    };
    let unmeasured = |step: (&'static str, &'static str), note: &str| Drift {
        stage: step.0,
        doc: step.1,
        kl_divergence: None,
        top1_agreement: None,
        perplexity: None,
        windows: 0,
        note: Some(note.to_owned()),
    };
    let mut all = vec![run(BASELINE, working)?];
    all.push(if is_lossless(space.neutral, space.base) {
        unmeasured(CONVERSION, "every tensor keeps its values to the last bit: nothing to measure")
    } else if exact {
        let path = work.join(space::file_name("converted", space.format));
        let plan = Plan { name: "converted".to_owned(), ..space.base.clone() };
        quantize(&space.quantize(&plan, path.clone(), space.placeholder()), observer)?;
        let measured = load(&options(&path, Activations::F32), observer).and_then(|engine| run(CONVERSION, &engine));
        remove_all(request.storage.as_ref(), &path).in_file(&path)?;
        measured?
    } else {
        unmeasured(CONVERSION, "not told apart from quantization for a model of this size")
    });
    all.push(if exact {
        run(QUANTIZATION, &load(&options(&artifact.model.source.path, Activations::F32), observer)?)?
    } else {
        unmeasured(QUANTIZATION, "not told apart from fast kernels for a model of this size")
    });
    all.push(run(ACCELERATION, artifact)?);
    Ok(all)
}

/// Whether a conversion by `base` changes no value: each tensor keeps its encoding, or gets 32 bits.
fn is_lossless(neutral: &Model, base: &Plan) -> bool {
    base.tensors.iter().all(|e| neutral.tensor(&e.tensor).is_some_and(|t| t.encoding.id() == e.encoding || e.encoding == "f32"))
}
