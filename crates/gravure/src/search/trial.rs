//! One trial: a plan, its artifact, and what that is worth. Everything is kept under a digest of all that it depends
//! on, so that no trial is ever run twice: not after a kill, not with another sampler, not on another machine that
//! shares the folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gravure_base::{Error, ErrorKind, Result, ResultExt, Storage};
use gravure_core::Plan;
use gravure_planner::search::{Outcome, Point};
use serde::{Deserialize, Serialize};

use super::request::{Keep, Objective, SearchRequest};
use super::settings;
use crate::Observer;
use crate::certificate::file_digest;
use crate::engine::Engine;
use crate::evaluate::Evaluation;
use crate::optimize::ground::{Ground, Setup};
use crate::optimize::{Work, plan_text, write};

/// Folder of the trials in the output folder.
pub(super) const FOLDER: &str = ".trials";
/// Folder of the front in it.
pub(super) const FRONT: &str = "front";
/// How names of files of the front begin.
const PREFIX: &str = "trial-";
/// Times and energies that differ by less than this share are one: machines do not repeat them more exactly.
const ALIKE: f64 = 0.05;

/// What was measured of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Windows of the evaluation text.
    pub windows: usize,
    /// Mean divergence from the original, in nats.
    pub kl_divergence: f64,
    /// Its standard error.
    pub kl_divergence_stderr: f64,
    /// Share of positions with the original's most likely token.
    pub top1_agreement: f64,
    /// Perplexity.
    pub perplexity: f64,
    /// The original's on the same windows.
    pub reference_perplexity: f64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the tensors.
    pub tensor_bytes: u64,
    /// Bits for each weight.
    pub bits_per_weight: f64,
    /// Bytes of weights, and of keys and values at the positions that are planned for.
    pub memory_bytes: u64,
    /// Median time of a decoded token on this machine, where it was asked for.
    pub token_milliseconds: Option<f64>,
    /// Energy of one, where it was asked for and the machine tells it.
    pub joules_per_token: Option<f64>,
    /// How long all of it took.
    pub seconds: f64,
}

impl Figures {
    /// The figure of an objective.
    fn of(&self, objective: Objective) -> Option<f64> {
        let timed = |value: Option<f64>| value.filter(|v| *v > 0.0).map(|v| (v.ln() / ALIKE).round() * ALIKE);
        match objective {
            Objective::Kld => Some(self.kl_divergence),
            Objective::Size => Some(self.file_bytes as f64),
            Objective::Memory => Some(self.memory_bytes as f64),
            Objective::Speed => timed(self.token_milliseconds),
            Objective::Energy => timed(self.joules_per_token),
        }
    }
}

/// A file of the front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its name in the folder of the front.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A trial as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Kept {
    Measured(Figures),
    Failed(String),
}

impl Kept {
    /// What a sampler is told.
    pub(super) fn outcome(&self, objectives: &[Objective]) -> Outcome {
        match self {
            Self::Failed(why) => Outcome::Failed { why: why.clone() },
            Self::Measured(figures) => {
                let values: Option<Vec<f64>> = objectives.iter().map(|o| figures.of(*o).filter(|v| v.is_finite())).collect();
                values.map_or_else(|| Outcome::Failed { why: "a figure is missing or no number".into() }, Outcome::Measured)
            }
        }
    }
}

/// What is kept of a member of the front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Proof {
    pub(super) figures: Figures,
    pub(super) files: Vec<KeptFile>,
}

/// Where trials are run.
pub(super) struct Bench<'a> {
    ground: &'a Ground<'a>,
    request: &'a SearchRequest,
    work: Work,
    is_timed: bool,
    evaluation_sha256: String,
    positions: u64,
}

impl<'a> Bench<'a> {
    pub(super) fn new(ground: &'a Ground<'a>, request: &'a SearchRequest, positions: u64) -> Result<Self> {
        let work = Work::new(&request.output, FOLDER, &ground.inputs, Arc::clone(&request.storage))?;
        let is_timed = request.objectives.iter().any(|o| o.is_timed());
        let evaluation_sha256 = file_digest(&request.evaluation_data)?;
        Ok(Self { ground, request, work, is_timed, evaluation_sha256, positions })
    }

    /// All that a trial depends on beside what the whole search does.
    fn inputs(&self, point: &Point, windows: Option<usize>) -> Vec<String> {
        let request = self.request;
        let timed = if self.is_timed { crate::quantize::threads(request.source.threads) } else { 0 };
        vec![
            point.key(),
            format!("{windows:?}"),
            self.evaluation_sha256.clone(),
            self.positions.to_string(),
            timed.to_string(),
            format!("{:?} {:?}", request.candidates, request.target.as_ref().map(|t| &t.id)),
            format!("{:?} {:?}", request.max_size, request.sensitivity_windows),
        ]
    }

    /// The address of a trial.
    pub(super) fn key(&self, point: &Point, windows: usize) -> String {
        self.work.key("trial", &self.inputs(point, Some(windows)))
    }

    /// Runs a trial, or finds what it gave.
    ///
    /// # Errors
    /// `Interrupted`; of the machine and of ours. What is wrong with the trial itself is an outcome.
    pub(super) fn trial(&self, point: &Point, windows: usize, observer: &dyn Observer) -> Result<Kept> {
        self.work.once("trial", &self.inputs(point, Some(windows)), || {
            let measured = settings::setup(point).and_then(|setup| {
                let (plan, bytes) = self.ground.plan(&setup)?;
                let path = self.work.folder().join("trial.gguf");
                self.measured(&setup, &plan, bytes, Some(windows), &path, observer).map(|(figures, ..)| figures)
            });
            match measured {
                Ok(figures) => Ok(Kept::Measured(figures)),
                Err(e) if matches!(e.kind(), ErrorKind::Request | ErrorKind::Input | ErrorKind::Unsupported) => {
                    Ok(Kept::Failed(e.to_string()))
                }
                Err(e) => Err(e),
            }
        })
    }

    /// By how much the file of a point would be too large, where it would.
    pub(super) fn excess(&self, point: &Point) -> Option<f64> {
        let most = self.request.max_size?;
        let (_, bytes) = settings::setup(point).and_then(|setup| self.ground.plan(&setup)).ok()?;
        (bytes > most).then(|| (bytes - most) as f64 / most as f64)
    }

    fn measured(
        &self,
        setup: &Setup,
        plan: &Plan,
        file_bytes: u64,
        windows: Option<usize>,
        path: &Path,
        observer: &dyn Observer,
    ) -> Result<(Figures, Engine, Evaluation)> {
        let started = Instant::now();
        self.ground.write(plan, path.to_path_buf(), observer)?;
        let engine = self.ground.load(path, setup.cache, observer)?;
        let evaluation = self.ground.evaluate(&engine, windows, observer)?;
        let comparison = evaluation.comparison.as_ref().ok_or_else(|| Error::bug("nothing was compared"))?;
        let speed = if self.is_timed { Some(self.ground.at_work(&engine, observer)?.speed) } else { None };
        let figures = Figures {
            windows: evaluation.windows,
            kl_divergence: comparison.kl_divergence.value,
            kl_divergence_stderr: comparison.kl_divergence.stderr,
            top1_agreement: comparison.top1_agreement.value,
            perplexity: evaluation.perplexity.value,
            reference_perplexity: comparison.reference_perplexity.value,
            file_bytes,
            tensor_bytes: evaluation.tensor_bytes,
            bits_per_weight: evaluation.bits_per_weight,
            memory_bytes: self.ground.memory_bytes(&engine),
            token_milliseconds: speed.as_ref().and_then(|s| s.token_milliseconds.as_ref()).map(|t| t.median),
            joules_per_token: speed.as_ref().and_then(|s| s.joules_per_token),
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok((figures, engine, evaluation))
    }

    /// Writes the plan of a member of the front, and its path.
    pub(super) fn write_plan(&self, name: &str, point: &Point) -> Result<PathBuf> {
        let folder = self.request.output.join(FRONT);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("make the folder", &folder, e))?;
        let (plan, _) = self.ground.plan(&settings::setup(point)?)?;
        let path = folder.join(format!("{name}.toml"));
        write(&path, Arc::clone(&self.request.storage), plan_text(&plan)?.as_bytes())?;
        Ok(path)
    }

    /// Measures a member of the front on all of the evaluation text, and writes its artifact where that is kept.
    pub(super) fn prove(&self, name: &str, point: &Point, observer: &dyn Observer) -> Result<Proof> {
        let mut inputs = self.inputs(point, None);
        inputs.push(format!("{:?} {:?} {name}", self.request.evaluation_windows, self.request.keep));
        let make = || {
            let setup = settings::setup(point)?;
            let (plan, bytes) = self.ground.plan(&setup)?;
            let path = self.work.folder().join("front.gguf");
            let (figures, engine, evaluation) = self.measured(&setup, &plan, bytes, None, &path, observer)?;
            let mut files = Vec::new();
            if self.request.keep == Keep::Front {
                let target = self.request.output.join(FRONT).join(format!("{name}.gguf"));
                let artifact = self.ground.certified(&path, &target, &engine, &evaluation, observer)?;
                files.extend(artifact.files.iter().map(|f| KeptFile {
                    name: f.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                    bytes: f.bytes,
                    sha256: f.sha256.clone(),
                }));
            }
            Ok(Proof { figures, files })
        };
        let found = self.work.once("proof", &inputs, make)?;
        let folder = self.request.output.join(FRONT);
        let is_there = |file: &KeptFile| file_digest(&folder.join(&file.name)).is_ok_and(|sha256| sha256 == file.sha256);
        if found.files.iter().all(is_there) {
            return Ok(found);
        }
        self.work.forget("proof", &inputs);
        self.work.once("proof", &inputs, make)
    }

    /// Removes the last artifact of a trial.
    pub(super) fn clean_work(&self) -> Result<()> {
        ["trial.gguf", "front.gguf"].iter().try_for_each(|name| remove(self.request.storage.as_ref(), &self.work.folder().join(name)))
    }

    /// Removes that, and what is no longer on the front.
    pub(super) fn clean(&self, front: &[String]) -> Result<()> {
        self.clean_work()?;
        let Ok(entries) = std::fs::read_dir(self.request.output.join(FRONT)) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.strip_suffix(".gguf").or_else(|| name.strip_suffix(".toml")).filter(|n| n.starts_with(PREFIX));
            if ours.is_some_and(|n| !front.iter().any(|f| f == n)) {
                remove(self.request.storage.as_ref(), &entry.path())?;
            }
        }
        Ok(())
    }
}

/// The name of a trial's files.
pub(super) fn name_of(id: u64) -> String {
    format!("{PREFIX}{id:04}")
}

fn remove(storage: &dyn Storage, path: &Path) -> Result<()> {
    if path.exists() { storage.remove(path).in_file(path) } else { Ok(()) }
}
