//! A search in progress: a sampler, and the record of all that was asked and told. The record is the whole state.

use std::collections::BTreeMap;

use gravure_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::pareto;
use super::registry::sampler;
use super::sampler::{Ask, Outcome, Sampler, Settings, Trial};
use super::space::Space;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A trial was given out.
    Asked(Trial),
    /// Somebody told what became of one.
    Told {
        /// Of which.
        id: u64,
        /// What.
        outcome: Outcome,
    },
}

/// All that a search is. It can be written, read and gone on from anywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The sampler's id.
    pub sampler: String,
    /// What is searched.
    pub space: Space,
    /// How.
    pub settings: Settings,
    /// All that happened, in order.
    pub events: Vec<Event>,
}

/// A search in progress.
#[derive(Debug)]
pub struct Study {
    state: State,
    sampler: Box<dyn Sampler>,
    trials: Vec<Trial>,
    outcomes: BTreeMap<u64, Outcome>,
}

impl Study {
    /// A search at its beginning.
    ///
    /// # Errors
    /// `Request` for an unknown sampler, a space that does not suit it, and settings that make no sense.
    pub fn new(id: &str, space: Space, settings: Settings) -> Result<Self> {
        if settings.objectives == 0 || settings.fidelity.most == 0 || settings.fidelity.least > settings.fidelity.most {
            return Err(Error::request("a search needs an objective, and a full fidelity that is not below the least"));
        }
        space.check()?;
        let kind = sampler(id)?;
        let sampler = kind.start(&space, &settings)?;
        let state = State { sampler: kind.id().to_owned(), space, settings, events: Vec::new() };
        Ok(Self { state, sampler, trials: Vec::new(), outcomes: BTreeMap::new() })
    }

    /// The search that left `state`: what was asked and told is asked and told again.
    ///
    /// # Errors
    /// Those of [`Study::new`]; `Input` where the state is not one that this sampler leaves: of another version,
    /// or altered.
    pub fn restore(state: State) -> Result<Self> {
        let State { sampler, space, settings, events } = state;
        let mut study = Self::new(&sampler, space, settings)?;
        for event in events {
            match event {
                Event::Asked(trial) => {
                    if study.ask() != Ask::Trial(trial.clone()) {
                        return Err(Error::input(format!("trial {} is not what this search asks for", trial.id))
                            .help("the state was made by another version, or altered: begin anew"));
                    }
                }
                Event::Told { id, outcome } => study.tell(id, outcome)?,
            }
        }
        Ok(study)
    }

    /// All that the search is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The next trial to be measured. More may be asked for before it is told.
    pub fn ask(&mut self) -> Ask {
        if self.trials.len() >= self.state.settings.trials {
            return Ask::Done;
        }
        let answer = self.sampler.ask(self.trials.len() as u64);
        match answer {
            Ask::Trial(trial) => {
                self.state.events.push(Event::Asked(trial.clone()));
                self.trials.push(trial.clone());
                Ask::Trial(trial)
            }
            // Nothing is out that could be waited for.
            Ask::Wait if self.outstanding().next().is_none() => Ask::Done,
            other => other,
        }
    }

    /// What became of a trial that is out.
    ///
    /// # Errors
    /// `Request` for a trial that was never asked for or was told already, and for figures that are not finite
    /// or not as many as there are objectives.
    pub fn tell(&mut self, id: u64, outcome: Outcome) -> Result<()> {
        if id >= self.trials.len() as u64 || self.outcomes.contains_key(&id) {
            return Err(Error::request(format!("trial {id} is not out")));
        }
        let sound = match &outcome {
            Outcome::Measured(figures) => figures.len() == self.state.settings.objectives && figures.iter().all(|f| f.is_finite()),
            Outcome::Refused { by } => by.is_finite() && *by >= 0.0,
            Outcome::Failed { .. } => true,
        };
        if !sound {
            return Err(Error::request(format!("the figures of trial {id} are not finite, or not one for each objective")));
        }
        self.sampler.tell(id, &outcome);
        self.state.events.push(Event::Told { id, outcome: outcome.clone() });
        self.outcomes.insert(id, outcome);
        Ok(())
    }

    /// Trials that were given out and not told.
    pub fn outstanding(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|t| !self.outcomes.contains_key(&t.id))
    }

    /// All trials in the order of asking, with what became of them.
    pub fn trials(&self) -> impl Iterator<Item = (&Trial, Option<&Outcome>)> {
        self.trials.iter().map(|t| (t, self.outcomes.get(&t.id)))
    }

    /// The trials at full fidelity that none dominates, in the order of asking.
    pub fn front(&self) -> Vec<&Trial> {
        let full = self.state.settings.fidelity.most;
        let measured: Vec<(&Trial, &[f64])> = self
            .trials()
            .filter_map(|(trial, outcome)| match outcome {
                Some(Outcome::Measured(figures)) if trial.fidelity == full => Some((trial, figures.as_slice())),
                _ => None,
            })
            .collect();
        let figures: Vec<&[f64]> = measured.iter().map(|(_, f)| *f).collect();
        pareto::front(&figures).into_iter().map(|i| measured[i].0).collect()
    }
}
