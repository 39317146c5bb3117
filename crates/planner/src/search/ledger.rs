//! What samplers keep: which points were asked for, and what became of them.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::Chance;
use super::pareto::{Standing, standings};
use super::sampler::{Fidelity, Outcome, Trial};
use super::space::{Point, Space};

/// Times that a point is drawn again where it was asked for already.
const REDRAWN: usize = 64;
/// Points of a space that is searched for the ones that were never asked for.
const SEARCHED: usize = 1 << 16;

/// All points of one search at full fidelity, or at the lowest rung.
#[derive(Debug)]
pub(super) struct Ledger {
    space: Space,
    pub(super) chance: Chance,
    points: BTreeMap<u64, Point>,
    outcomes: BTreeMap<u64, Outcome>,
    seen: BTreeSet<String>,
    /// The points in order, once the space has turned out to be nearly used up.
    left: Option<Vec<Point>>,
}

impl Ledger {
    pub(super) fn new(space: &Space, seed: u64) -> Self {
        Self {
            space: space.clone(),
            chance: Chance::new(seed),
            points: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            seen: BTreeSet::new(),
            left: None,
        }
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    /// Number of outcomes.
    pub(super) fn told(&self) -> usize {
        self.outcomes.len()
    }

    pub(super) fn asked(&self) -> usize {
        self.points.len()
    }

    pub(super) fn point(&self, id: u64) -> Option<&Point> {
        self.points.get(&id)
    }

    /// Ids that were asked for and not told.
    pub(super) fn out(&self) -> impl Iterator<Item = u64> {
        self.points.keys().copied().filter(|id| !self.outcomes.contains_key(id))
    }

    /// Genes drawn evenly.
    pub(super) fn anywhere(&mut self) -> Vec<f64> {
        (0..self.space.parameters().len()).map(|_| self.chance.unit()).collect()
    }

    /// The point of some genes, unless it was asked for already.
    pub(super) fn unseen(&self, genes: &[f64]) -> Option<Point> {
        Some(self.space.point(genes)).filter(|p| !self.seen.contains(&p.key()))
    }

    /// A point that was never asked for, drawn evenly; `None` where none is left.
    pub(super) fn fresh(&mut self) -> Option<Point> {
        for _ in 0..REDRAWN {
            let genes = self.anywhere();
            if let Some(point) = self.unseen(&genes) {
                return Some(point);
            }
        }
        let space = &self.space;
        let left = self.left.get_or_insert_with(|| {
            let few = space.size().is_some_and(|n| n <= SEARCHED);
            if few { space.points(SEARCHED).unwrap_or_default() } else { Vec::new() }
        });
        left.retain(|p| !self.seen.contains(&p.key()));
        left.get(self.chance.below(left.len())).cloned()
    }

    /// A trial of a point.
    pub(super) fn ask(&mut self, id: u64, point: Point, fidelity: u64) -> Trial {
        self.seen.insert(point.key());
        self.points.insert(id, point.clone());
        Trial { id, point, fidelity, rung: 0, parent: None }
    }

    /// The same at full fidelity.
    pub(super) fn ask_full(&mut self, id: u64, point: Point, fidelity: Fidelity) -> Trial {
        self.ask(id, point, fidelity.most)
    }

    pub(super) fn tell(&mut self, id: u64, outcome: &Outcome) {
        self.outcomes.insert(id, outcome.clone());
    }

    /// All that were told, the best first.
    pub(super) fn ranked(&self) -> Vec<(u64, Standing)> {
        let outcomes: Vec<&Outcome> = self.outcomes.values().collect();
        let mut all: Vec<(u64, Standing)> = self.outcomes.keys().copied().zip(standings(&outcomes)).collect();
        all.sort_by(|a, b| a.1.compare(&b.1).then(a.0.cmp(&b.0)));
        all
    }
}
