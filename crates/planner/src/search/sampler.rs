//! What every sampler is: a chooser of points that is asked and told.

use std::fmt::Debug;

use gravure_core::Result;
use serde::{Deserialize, Serialize};

use super::space::{Point, Space};

/// How thoroughly a trial is measured, in units of the measurer's own: windows of a text, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fidelity {
    /// The cheapest measurement that says anything.
    pub least: u64,
    /// The full one. Samplers that know no other ask for it alone.
    pub most: u64,
}

/// What all samplers are told at the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Decides all that chance decides.
    pub seed: u64,
    /// Figures that each trial is measured by, at least one; all are made small.
    pub objectives: usize,
    /// Trials in all, at most; cheap ones count like full ones.
    pub trials: usize,
    /// How thoroughly trials are measured.
    pub fidelity: Fidelity,
    /// Values that a grid takes of a range.
    pub levels: usize,
}

/// A point to be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number, counted from zero in the order of asking.
    pub id: u64,
    /// The point.
    pub point: Point,
    /// How thoroughly it is to be measured.
    pub fidelity: u64,
    /// How often its point was found worth measuring more thoroughly.
    pub rung: u32,
    /// The trial of the same point one rung below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
}

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The figures, one for each objective, finite.
    Measured(Vec<f64>),
    /// It breaks a limit and was not measured.
    Refused {
        /// By how much, at least 0: of two refused the one with less is the better.
        by: f64,
    },
    /// It could not be measured.
    Failed {
        /// Why.
        why: String,
    },
}

/// The answer to a question for a trial.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Measure this.
    Trial(Trial),
    /// Tell something of what is out first.
    Wait,
    /// The search is over once all that is out has been told.
    Done,
}

/// A chooser of points. [`super::Study`] holds it to its contract: ids are given out in order, each is told once
/// and with as many finite figures as there are objectives.
pub trait Sampler: Send + Debug {
    /// The next trial; its id is `id`.
    fn ask(&mut self, id: u64) -> Ask;

    /// What became of one.
    fn tell(&mut self, id: u64, outcome: &Outcome);
}

/// A member of the registry.
pub trait SamplerKind: Send + Sync + Debug {
    /// Lower-case name as users spell it.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// A sampler at its beginning.
    ///
    /// # Errors
    /// `Request` where the space does not suit it.
    fn start(&self, space: &Space, settings: &Settings) -> Result<Box<dyn Sampler>>;
}
