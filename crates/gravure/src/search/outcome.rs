//! What a search hands back; the same document is `report.json`.

use std::fmt;
use std::path::PathBuf;

use gravure_planner::search::{Domain, Outcome, Point, Settings, Space, Trial};

use super::request::{Objective, SearchRequest};
use super::trial::{Figures, KeptFile};
use crate::optimize::{OriginalFacts, Stage, environment};

/// Version of the document's layout.
const SCHEMA: &str = "gravure.search/1";

/// A search before its first trial.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SearchPlan {
    /// The sampler's id.
    pub sampler: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// What is made small.
    pub objectives: Vec<Objective>,
    /// Different points of the space; `None` where there are too many to list.
    pub points: Option<usize>,
    /// What is searched.
    pub space: Space,
    /// How; fidelities are windows of the evaluation text.
    pub settings: Settings,
    /// The original.
    pub model: OriginalFacts,
    /// Positions that memory is counted for.
    pub positions: u64,
    /// Whether this machine tells the energy that it takes.
    pub energy: bool,
}

impl SearchPlan {
    /// Name, values and condition of each parameter, for people.
    pub fn parameters(&self) -> impl Iterator<Item = (String, String, String)> {
        self.space.parameters().iter().map(|parameter| {
            let values = match &parameter.domain {
                Domain::Choice { of } => of.join(", "),
                Domain::Integer { low, high, .. } => format!("{low} to {high}"),
                Domain::Real { low, high, step, .. } => {
                    let step = step.map_or_else(String::new, |s| format!(" in steps of {s}"));
                    format!("{low} to {high}{step}")
                }
            };
            let condition = parameter.when.as_ref().map(|c| {
                let among: Vec<String> = c.among.iter().map(ToString::to_string).collect();
                format!("{} is {}", c.parameter, among.join(" or "))
            });
            (parameter.name.clone(), values, condition.unwrap_or_default())
        })
    }
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// All trials were run, or there were no more points.
    Done,
    /// The time limit was over.
    TimeLimit,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TrialLine {
    /// Its number.
    pub id: u64,
    /// The point.
    pub point: Point,
    /// Windows of the evaluation text that it was to be measured on.
    pub windows: u64,
    /// How often its point was promoted before.
    pub rung: u32,
    /// Digest of all that it depends on: the name of what is kept of it.
    pub sha256: String,
    /// `measured`, `refused` or `failed`.
    pub outcome: &'static str,
    /// Why, where it was not measured.
    pub why: Option<String>,
    /// What was measured.
    pub figures: Option<Figures>,
    /// Whether nothing beats it.
    pub on_front: bool,
}

impl TrialLine {
    pub(super) fn new(trial: &Trial, sha256: String, outcome: &Outcome, figures: Option<Figures>) -> Self {
        let (outcome, why) = match outcome {
            Outcome::Measured(_) => ("measured", None),
            Outcome::Refused { by } => ("refused", Some(format!("the file would be {:.1} % too large", by * 100.0))),
            Outcome::Failed { why } => ("failed", Some(why.clone())),
        };
        Self {
            id: trial.id,
            point: trial.point.clone(),
            windows: trial.fidelity,
            rung: trial.rung,
            sha256,
            outcome,
            why,
            figures,
            on_front: false,
        }
    }
}

impl fmt::Display for TrialLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trial {}: {}: ", self.id, self.point)?;
        match (&self.figures, &self.why) {
            (Some(figures), _) => {
                write!(f, "{:.5} nats on {} windows, {} bytes", figures.kl_divergence, figures.windows, figures.file_bytes)?;
                figures.token_milliseconds.map_or(Ok(()), |t| write!(f, ", {:.1} tokens/s", 1e3 / t.max(f64::MIN_POSITIVE)))
            }
            (None, why) => f.write_str(why.as_deref().unwrap_or(self.outcome)),
        }
    }
}

/// A trial that nothing beats.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FrontMember {
    /// The trial's number.
    pub trial: u64,
    /// The name of its files.
    pub name: String,
    /// The point.
    pub point: Point,
    /// What the trial measured.
    pub figures: Figures,
    /// The plan's file.
    pub plan: Option<PathBuf>,
    /// The same on all of the evaluation text; `None` where the time was over.
    pub proof: Option<Figures>,
    /// Its artifact, where it is kept.
    pub files: Vec<KeptFile>,
}

impl FrontMember {
    /// The figures on the most text.
    pub fn best_known(&self) -> &Figures {
        self.proof.as_ref().unwrap_or(&self.figures)
    }
}

/// The result with its evidence.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Searched {
    /// Name and version of this document's layout.
    pub schema: &'static str,
    /// Version of the program.
    pub gravure: &'static str,
    /// The command as it was typed, where there was one.
    pub command: Vec<String>,
    /// What was searched, and how.
    #[serde(flatten)]
    pub plan: SearchPlan,
    /// Bytes of a file at most.
    pub max_size: Option<u64>,
    /// Why it ended.
    pub stopped: Stopped,
    /// All trials in the order of asking.
    pub trials: Vec<TrialLine>,
    /// What nothing beats, the smallest file first.
    pub front: Vec<FrontMember>,
    /// The machine: names and what was found.
    pub environment: Vec<(String, String)>,
    /// What took how long.
    pub stages: Vec<Stage>,
    /// The folder of all of it.
    pub output: PathBuf,
}

impl Searched {
    pub(super) fn new(
        request: &SearchRequest,
        plan: SearchPlan,
        trials: Vec<TrialLine>,
        front: Vec<FrontMember>,
        stopped: Stopped,
        stages: Vec<Stage>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            gravure: env!("CARGO_PKG_VERSION"),
            command: request.command.clone(),
            plan,
            max_size: request.max_size,
            stopped,
            trials,
            front,
            environment: environment(crate::quantize::threads(request.source.threads)),
            stages,
            output: request.output.clone(),
        }
    }
}
