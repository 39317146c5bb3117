//! What is asked of a search.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gravure_base::{Disk, Error, Result, Storage};
use gravure_core::values::Target;

use crate::engine::LoadOptions;
use crate::optimize::Budget;
use crate::texts::BuiltInText;
use crate::{OptimizeRequest, catalog};

/// A figure that is made small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Mean divergence from the original.
    Kld,
    /// Bytes of the file.
    Size,
    /// Time of a decoded token on this machine.
    Speed,
    /// Bytes of weights, and of keys and values at the positions that are planned for.
    Memory,
    /// Energy of a decoded token on this machine.
    Energy,
}

impl Objective {
    /// All of them with the names that users type.
    pub const ALL: [(&'static str, Self); 5] =
        [("kld", Self::Kld), ("size", Self::Size), ("speed", Self::Speed), ("memory", Self::Memory), ("energy", Self::Energy)];

    /// The objective that users call `name`.
    ///
    /// # Errors
    /// `Request` where there is none.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, objective)| *objective).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            Error::request(format!("there is no objective `{name}`")).help(format!("objectives: {}", names.join(", ")))
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, o)| *o == self).map_or("", |(name, _)| name)
    }

    /// Whether the machine has to be timed for it.
    pub(super) fn is_timed(self) -> bool {
        matches!(self, Self::Speed | Self::Energy)
    }
}

/// Whose artifacts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Nobody's: plans and figures are.
    #[default]
    Nothing,
    /// Those of the front, each with its certificate.
    Front,
}

/// What to search, by what, and where to.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The original.
    pub source: LoadOptions,
    /// Folder for the front, the report and what every trial gave.
    pub output: PathBuf,
    /// Texts that come with the program, which are written into the output folder first.
    pub built_in: Vec<BuiltInText>,
    /// Text that importance and sensitivity are measured on.
    pub calibration_data: PathBuf,
    /// Another text, that trials are measured on.
    pub evaluation_data: PathBuf,
    /// Who chooses the trials: an id of [`crate::samplers`].
    pub sampler: String,
    /// Trials at most.
    pub trials: usize,
    /// Decides all that chance decides.
    pub seed: u64,
    /// What is made small, at least one.
    pub objectives: Vec<Objective>,
    /// Bytes of a file at most.
    pub max_size: Option<u64>,
    /// The device, whose runtime's encodings are chosen from.
    pub target: Option<Target>,
    /// Positions that memory is counted for; `None` for the model's own, at most 4096.
    pub positions: Option<u64>,
    /// Tokens in a window of the texts.
    pub context: usize,
    /// At most this many windows of the calibration text for importance; `None` for as many as the model's size suggests.
    pub calibration_windows: Option<usize>,
    /// At most this many windows for the sensitivity of each tensor; `None` for as many as the model's size suggests.
    pub sensitivity_windows: Option<usize>,
    /// Windows of the evaluation text that a full trial is measured on.
    pub trial_windows: usize,
    /// At most this many windows that the front is measured on in the end.
    pub evaluation_windows: Option<usize>,
    /// Encodings to choose from; all that the format and the target hold and that can be written where empty.
    pub candidates: Vec<String>,
    /// Methods to choose from; all of the registry where empty.
    pub methods: Vec<String>,
    /// Passes over the weights to choose from: `none`, or ids joined by `+` in their order; none at all where empty.
    pub passes: Vec<String>,
    /// Whose artifacts are kept.
    pub keep: Keep,
    /// Ends the search after this long, with what there is by then.
    pub time_limit: Option<Duration>,
    /// The command as it was typed, for the report.
    pub command: Vec<String>,
    /// Where the output goes.
    pub storage: Arc<dyn Storage>,
}

impl SearchRequest {
    /// Forty trials of the first sampler of the registry by divergence, size, speed and memory, on eight windows of
    /// 512 tokens.
    pub fn new(source: LoadOptions, output: impl Into<PathBuf>, calibration: impl Into<PathBuf>, evaluation: impl Into<PathBuf>) -> Self {
        Self {
            source,
            output: output.into(),
            built_in: Vec::new(),
            calibration_data: calibration.into(),
            evaluation_data: evaluation.into(),
            sampler: gravure_planner::search::SAMPLERS.first().map_or_else(String::new, |s| s.id().to_owned()),
            trials: 40,
            seed: 0,
            objectives: vec![Objective::Kld, Objective::Size, Objective::Speed, Objective::Memory],
            max_size: None,
            target: None,
            positions: None,
            context: 512,
            calibration_windows: None,
            sensitivity_windows: None,
            trial_windows: 8,
            evaluation_windows: None,
            candidates: Vec::new(),
            methods: Vec::new(),
            passes: Vec::new(),
            keep: Keep::default(),
            time_limit: None,
            command: Vec::new(),
            storage: Arc::new(Disk),
        }
    }

    /// What is found out before the first trial, as an optimization is asked for it.
    pub(super) fn ground(&self) -> OptimizeRequest {
        OptimizeRequest {
            budget: Budget { max_size: self.max_size, ..Budget::default() },
            format: catalog().formats.first().map(|f| f.id().to_owned()),
            target: self.target.clone(),
            positions: self.positions,
            built_in: self.built_in.clone(),
            context: self.context,
            calibration_windows: self.calibration_windows,
            sensitivity_windows: self.sensitivity_windows,
            evaluation_windows: self.evaluation_windows,
            candidates: self.candidates.clone(),
            storage: Arc::clone(&self.storage),
            ..OptimizeRequest::new(self.source.clone(), &self.output, &self.calibration_data, &self.evaluation_data)
        }
    }

    /// Writes the built-in texts to where they are read.
    pub(super) fn write_texts(&self) -> Result<()> {
        BuiltInText::write_all(&self.built_in, &self.output, &self.storage)
    }

    /// Refuses what nobody can mean.
    pub(super) fn check(&self) -> Result<()> {
        if self.objectives.is_empty() || self.objectives.iter().enumerate().any(|(i, o)| self.objectives[..i].contains(o)) {
            return Err(Error::request("there is no objective, or one is named twice").help("write --objectives kld,size"));
        }
        if self.trials == 0 || self.trial_windows == 0 {
            return Err(Error::request("a search without trials, or trials without a text, find nothing"));
        }
        if self.objectives.contains(&Objective::Energy) && gravure_eval::energy::EnergyMeter::start().is_none() {
            return Err(Error::unsupported("this machine does not tell the energy that it takes")
                .help("leave `energy` out, or allow the counters under /sys/class/powercap to be read"));
        }
        crate::optimize::two_texts(&self.calibration_data, &self.evaluation_data)
    }
}
