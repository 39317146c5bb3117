//! Successive halving: many points are measured cheaply, the better third of them more thoroughly, and so on (Jamieson
//! and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016). Promotions
//! do not wait for a whole rung, as in Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys
//! 2020), so that many trials can be out at once; once all points are drawn every rung is brought to its end.
//! Of several objectives, fronts and then crowding say what is better (Schmucker et al., "Multi-objective
//! Asynchronous Successive Halving", 2021).

use std::collections::{BTreeMap, BTreeSet};

use gravure_core::Result;

use super::ledger::Ledger;
use super::pareto::standings;
use super::sampler::{Ask, Outcome, Sampler, SamplerKind, Settings, Trial};
use super::space::Space;

/// One of this many is promoted, and measured this many times as thoroughly.
const REDUCTION: u64 = 3;

/// The kind.
#[derive(Debug)]
pub struct Halving;

impl SamplerKind for Halving {
    fn id(&self) -> &'static str {
        "halving"
    }

    fn doc(&self) -> &'static str {
        "many points on little text, the better third on three times as much, and so on"
    }

    fn start(&self, space: &Space, settings: &Settings) -> Result<Box<dyn Sampler>> {
        let mut fidelities = rungs(settings.fidelity.least, settings.fidelity.most);
        // Whatever little may be tried, something is measured in full.
        let needless = fidelities.len().saturating_sub(settings.trials.max(1));
        fidelities.drain(..needless);
        let arms = (1..=settings.trials).rev().find(|&arms| trials(arms, fidelities.len()) <= settings.trials).unwrap_or(1);
        let rungs = fidelities.iter().map(|_| Rung::default()).collect();
        Ok(Box::new(Ladder { ledger: Ledger::new(space, settings.seed), fidelities, rungs, arms, exhausted: false }))
    }
}

/// Trials of some points on all rungs.
fn trials(arms: usize, rungs: usize) -> usize {
    std::iter::successors(Some(arms), |n| Some((n / REDUCTION as usize).max(1))).take(rungs).sum()
}

/// Fidelities from the cheapest to the full one.
fn rungs(least: u64, most: u64) -> Vec<u64> {
    let mut all = vec![most];
    let mut next = most / REDUCTION;
    while next >= least.max(1) {
        all.push(next);
        next /= REDUCTION;
    }
    all.reverse();
    all
}

/// One fidelity.
#[derive(Debug, Default)]
struct Rung {
    /// Its trials, each with the trial at the lowest rung that its point came from.
    trials: BTreeMap<u64, u64>,
    outcomes: BTreeMap<u64, Outcome>,
    promoted: BTreeSet<u64>,
}

impl Rung {
    fn is_whole(&self) -> bool {
        self.trials.len() == self.outcomes.len()
    }

    /// The best trial that is good enough for the next rung and not there; `last` where no more will come.
    fn promotable(&self, last: bool) -> Option<u64> {
        let allowed = self.outcomes.len() / REDUCTION as usize;
        let allowed = if last { allowed.max(1) } else { allowed };
        let ids: Vec<u64> = self.outcomes.keys().copied().collect();
        let outcomes: Vec<&Outcome> = self.outcomes.values().collect();
        let standings = standings(&outcomes);
        let mut order: Vec<usize> = (0..ids.len()).filter(|&i| matches!(outcomes[i], Outcome::Measured(_))).collect();
        order.sort_by(|&a, &b| standings[a].compare(&standings[b]).then(ids[a].cmp(&ids[b])));
        if self.promoted.len() >= allowed {
            return None;
        }
        order.into_iter().take(allowed).map(|i| ids[i]).find(|id| !self.promoted.contains(id))
    }
}

#[derive(Debug)]
struct Ladder {
    ledger: Ledger,
    fidelities: Vec<u64>,
    rungs: Vec<Rung>,
    arms: usize,
    /// Whether the space has no more points.
    exhausted: bool,
}

impl Ladder {
    fn all_drawn(&self) -> bool {
        self.exhausted || self.ledger.asked() >= self.arms
    }
}

impl Sampler for Ladder {
    fn ask(&mut self, id: u64) -> Ask {
        // From the top: what is nearly finished is finished first.
        for level in (0..self.rungs.len().saturating_sub(1)).rev() {
            let last = self.all_drawn() && self.rungs[..=level].iter().all(Rung::is_whole);
            let Some(parent) = self.rungs[level].promotable(last) else { continue };
            let Some(arm) = self.rungs[level].trials.get(&parent).copied() else { continue };
            let Some(point) = self.ledger.point(arm).cloned() else { continue };
            self.rungs[level].promoted.insert(parent);
            self.rungs[level + 1].trials.insert(id, arm);
            let fidelity = self.fidelities[level + 1];
            return Ask::Trial(Trial { id, point, fidelity, rung: level as u32 + 1, parent: Some(parent) });
        }
        if !self.all_drawn() {
            if let Some(point) = self.ledger.fresh() {
                self.rungs[0].trials.insert(id, id);
                return Ask::Trial(self.ledger.ask(id, point, self.fidelities[0]));
            }
            self.exhausted = true;
            return self.ask(id);
        }
        if self.rungs.iter().all(Rung::is_whole) { Ask::Done } else { Ask::Wait }
    }

    fn tell(&mut self, id: u64, outcome: &Outcome) {
        if let Some(rung) = self.rungs.iter_mut().find(|r| r.trials.contains_key(&id)) {
            rung.outcomes.insert(id, outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fidelities_are_thirds() {
        assert_eq!(rungs(1, 27), [1, 3, 9, 27]);
        assert_eq!(rungs(2, 16), [5, 16]);
        assert_eq!(rungs(8, 8), [8]);
        assert_eq!(rungs(0, 1), [1]);
        assert_eq!([trials(27, 3), trials(1, 3), trials(4, 2), trials(9, 1)], [39, 3, 5, 9]);
    }
}
