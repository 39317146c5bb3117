//! What is asked of an optimization.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gravure_base::{Disk, Error, Result, Storage};
use gravure_core::values::{Order, Target};

use super::gates::Gates;
use crate::engine::LoadOptions;
use crate::evaluate::EvaluateRequest;
use crate::hessians::CalibrationText;
use crate::recipe::Recipe;
use crate::texts::BuiltInText;

/// Windows of the calibration text where the request does not say.
const WINDOWS: usize = 128;
/// The same for large models, whose every token costs seconds.
const WINDOWS_OF_LARGE: usize = 32;

/// What must hold of the artifact. Any may be asked for together.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Budget {
    /// Bytes of all files together, at most.
    pub max_size: Option<u64>,
    /// Bytes of all tensors together, at most.
    pub max_tensor_bytes: Option<u64>,
    /// Bits for each weight, at most.
    pub bits_per_weight: Option<f64>,
    /// Bytes of weights, of keys and values at [`OptimizeRequest::positions`], and, where there is a target,
    /// of its runtime: at most.
    pub max_memory: Option<u64>,
    /// Tokens that the target decodes in a second at least, by the roofline.
    pub min_tokens_per_second: Option<f64>,
    /// Mean divergence from the original on the evaluation text, in nats, at most.
    pub max_kl_divergence: Option<f64>,
    /// Share of positions of the evaluation text with the original's most likely token, at least.
    pub min_top1_agreement: Option<f64>,
}

impl Budget {
    /// Whether anything is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether bytes or seconds are bounded, so that the loss is what is left to be made small.
    pub(crate) fn limits_resources(&self) -> bool {
        self.limits_bytes() || self.min_tokens_per_second.is_some()
    }

    fn limits_bytes(&self) -> bool {
        self.max_size.is_some() || self.max_tensor_bytes.is_some() || self.bits_per_weight.is_some() || self.max_memory.is_some()
    }

    /// Refuses figures that nobody can mean.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_empty() {
            return Err(Error::request("there is no budget")
                .help("ask for a size, memory, bits for each weight, a speed, a divergence or an agreement"));
        }
        let positive = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v > 0.0);
        if !positive(self.bits_per_weight) || !positive(self.max_kl_divergence) || !positive(self.min_tokens_per_second) {
            return Err(Error::request("bits for each weight, divergence and speed must be positive"));
        }
        if self.min_top1_agreement.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
            return Err(Error::request("the least agreement must lie between 0 and 1").help("write 0.95 for 95 %"));
        }
        Ok(())
    }
}

/// Whether the artifact is measured in other runtimes than the native one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Elsewhere {
    /// In those that will execute it and are installed here.
    #[default]
    WhereInstalled,
    /// In none.
    Nowhere,
}

/// What to optimize, for what, and where to.
#[derive(Debug, Clone)]
pub struct OptimizeRequest {
    /// The original.
    pub source: LoadOptions,
    /// Folder for the artifact, the plan, the importance matrix and the report.
    pub output: PathBuf,
    /// What must hold.
    pub budget: Budget,
    /// Format of the artifact; `None` for the one that the target's runtimes prefer of those in which the limits can be
    /// met, and the registry's first without a target.
    pub format: Option<String>,
    /// The device: its runtime's encodings are the ones to choose from, and its figures predict speed and
    /// memory. Without one every encoding of the format is a candidate.
    pub target: Option<Target>,
    /// Positions that memory and speed are planned for; `None` for the model's own, at most 4096.
    pub positions: Option<u64>,
    /// Texts that come with the program, which are written into the output folder first.
    pub built_in: Vec<BuiltInText>,
    /// Text that importance and sensitivity are measured on.
    pub calibration_data: PathBuf,
    /// Another text, that the result is measured on.
    pub evaluation_data: PathBuf,
    /// Tokens in a window.
    pub context: usize,
    /// At most this many windows of the calibration text for importance; `None` for as many as the model's size suggests.
    pub calibration_windows: Option<usize>,
    /// At most this many windows for the sensitivity of each tensor; `None` for as many as the model's size suggests.
    pub sensitivity_windows: Option<usize>,
    /// At most this many windows of the evaluation text.
    pub evaluation_windows: Option<usize>,
    /// Encodings to choose from; all that the format and the target hold and that can be written where empty.
    pub candidates: Vec<String>,
    /// Method; where there is none, the one that loses least for small models, and the encodings' own search,
    /// weighted by importance, for those of more than a hundred million weights.
    pub method: Option<String>,
    /// Passes over the weights before they are rounded, in their order. The plan is made for the weights as they were.
    pub passes: Vec<String>,
    /// In which order tensors are rounded by a method that sees the inputs of matrices.
    pub order: Order,
    /// What the field expects, and whether missing it fails.
    pub gates: Gates,
    /// Whether the artifact is measured in other runtimes, too.
    pub elsewhere: Elsewhere,
    /// Stops between two measurements after this long; what was measured is kept.
    pub time_limit: Option<Duration>,
    /// The command as it was typed, for the report.
    pub command: Vec<String>,
    /// The recipe of the run, for the report.
    pub recipe: Option<Recipe>,
    /// Where the output goes.
    pub storage: Arc<dyn Storage>,
}

impl OptimizeRequest {
    /// The calibration text as methods are told of it.
    pub(crate) fn calibration_text(&self) -> CalibrationText {
        CalibrationText { data: self.calibration_data.clone(), context: self.context, windows: self.calibration_windows }
    }

    /// How the artifact is measured, in any runtime, listing this many of the worst tokens.
    pub(super) fn evaluation(&self, worst: usize) -> EvaluateRequest {
        EvaluateRequest {
            context: self.context,
            windows: self.evaluation_windows,
            worst,
            ..EvaluateRequest::new(self.source.clone(), &self.evaluation_data)
        }
    }

    /// The same with the usual number of windows for importance where it says none.
    pub(super) fn with_windows(&self, large: bool) -> Self {
        let usual = if large { WINDOWS_OF_LARGE } else { WINDOWS };
        Self { calibration_windows: self.calibration_windows.or(Some(usual)), ..self.clone() }
    }

    /// Windows of 512 tokens: 128 for importance and 4 for sensitivity (32 and 2 for models of more than a hundred million
    /// weights), all for evaluation.
    pub fn new(source: LoadOptions, output: impl Into<PathBuf>, calibration: impl Into<PathBuf>, evaluation: impl Into<PathBuf>) -> Self {
        Self {
            source,
            output: output.into(),
            budget: Budget::default(),
            format: None,
            target: None,
            positions: None,
            built_in: Vec::new(),
            calibration_data: calibration.into(),
            evaluation_data: evaluation.into(),
            context: 512,
            calibration_windows: None,
            sensitivity_windows: None,
            evaluation_windows: None,
            candidates: Vec::new(),
            method: None,
            passes: Vec::new(),
            order: Order::Apart,
            gates: Gates::default(),
            elsewhere: Elsewhere::default(),
            time_limit: None,
            command: Vec::new(),
            recipe: None,
            storage: Arc::new(Disk),
        }
    }
}
