//! Tree-structured Parzen estimators: points that are likely among the good trials and unlikely among the others
//! (Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter Optimization", NIPS 2011). The kernels span
//! all parameters at once, as in Falkner, Klein and Hutter, "BOHB" (ICML 2018). Of several objectives, trials are
//! good by their front and, on the last front that has room, by crowding: the split of Ozaki et al.,
//! "Multiobjective Tree-Structured Parzen Estimator" (JAIR 73, 2022), with crowding in place of its subset
//! selection by hypervolume.
//!
//! Trials that are out count among those that are not good: many machines do not all try the same corner.

use gravure_core::Result;

use super::chance::Chance;
use super::ledger::Ledger;
use super::sampler::{Ask, Outcome, Sampler, SamplerKind, Settings};
use super::space::{Point, Space};

/// Share of the trials that counts as good, and the most that do.
const GOOD: (f64, usize) = (0.2, 25);
/// Points that are drawn from the good ones to choose from.
const CANDIDATES: usize = 32;
/// Width of a kernel of a single trial, as a share of the range.
const WIDTH: f64 = 0.2;
/// The narrowest kernel.
const NARROWEST: f64 = 0.01;

/// The kind.
#[derive(Debug)]
pub struct Tpe;

impl SamplerKind for Tpe {
    fn id(&self) -> &'static str {
        "tpe"
    }

    fn doc(&self) -> &'static str {
        "tree-structured Parzen estimators: where good trials are dense and others are not"
    }

    fn start(&self, space: &Space, settings: &Settings) -> Result<Box<dyn Sampler>> {
        let drawn = (settings.trials / 5).clamp(5, 20);
        Ok(Box::new(Estimated { ledger: Ledger::new(space, settings.seed), settings: settings.clone(), drawn }))
    }
}

#[derive(Debug)]
struct Estimated {
    ledger: Ledger,
    settings: Settings,
    /// Trials drawn evenly at the beginning.
    drawn: usize,
}

type Genes = Vec<Option<f64>>;

/// A density over the space: one kernel for each trial, and an even one.
struct Density<'a> {
    space: &'a Space,
    trials: Vec<Genes>,
    width: f64,
    /// Probability that a kernel of names gives another name than its trial's.
    other: f64,
}

impl<'a> Density<'a> {
    fn new(space: &'a Space, trials: Vec<Genes>) -> Self {
        let (n, dimensions) = (trials.len() as f64, space.parameters().len() as f64);
        // Scott's rule, from a width that a single trial has.
        let width = (WIDTH * (n + 1.0).powf(-1.0 / (dimensions + 4.0))).max(NARROWEST);
        Self { space, trials, width, other: 1.0 / (1.0 + n.sqrt()) }
    }

    /// Width along one parameter: neighbouring cells of a coarse range are within reach.
    fn width_of(&self, parameter: usize) -> f64 {
        let count = self.space.parameters()[parameter].domain.count();
        count.map_or(self.width, |c| self.width.max(0.5 / c as f64))
    }

    fn draw(&self, chance: &mut Chance) -> Vec<f64> {
        let kernel = self.trials.get(chance.below(self.trials.len() + 1));
        let parameters = self.space.parameters();
        let mut genes = Vec::with_capacity(parameters.len());
        for (index, parameter) in parameters.iter().enumerate() {
            let gene = match kernel.and_then(|k| k[index]) {
                None => chance.unit(),
                Some(_) if parameter.domain.is_choice() && chance.happens(self.other) => chance.unit(),
                Some(middle) if parameter.domain.is_choice() => middle,
                Some(middle) => {
                    let drawn = (0..16).map(|_| middle + self.width_of(index) * chance.normal());
                    drawn.into_iter().find(|g| (0.0..=1.0).contains(g)).unwrap_or(middle)
                }
            };
            genes.push(gene);
        }
        genes
    }

    /// The logarithm of the density at a point.
    fn at(&self, point: &Genes) -> f64 {
        let kernels = self.trials.iter().map(|trial| self.kernel(trial, point));
        // The even kernel has density 1 everywhere.
        let sum: f64 = kernels.map(f64::exp).sum::<f64>() + 1.0;
        (sum / (self.trials.len() as f64 + 1.0)).ln()
    }

    fn kernel(&self, trial: &Genes, point: &Genes) -> f64 {
        let mut log = 0.0;
        for (index, parameter) in self.space.parameters().iter().enumerate() {
            // What does not count in one of them says nothing of the other.
            let (Some(middle), Some(gene)) = (trial[index], point[index]) else { continue };
            log += match parameter.domain.count() {
                Some(count) if parameter.domain.is_choice() => {
                    let same = (middle - gene).abs() < 1e-9;
                    let share = self.other / count as f64 + if same { 1.0 - self.other } else { 0.0 };
                    (share * count as f64).ln()
                }
                _ => {
                    let width = self.width_of(index);
                    let inside = phi((1.0 - middle) / width) - phi(-middle / width);
                    let z = (gene - middle) / width;
                    -0.5 * z * z - (width * std::f64::consts::TAU.sqrt() * inside).ln()
                }
            };
        }
        log
    }
}

/// The share of a normal distribution below `x` (Abramowitz and Stegun 1964, 26.2.17; off by 7.5e-8 at most).
fn phi(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = series.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    let tail = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt() * sum;
    if x >= 0.0 { 1.0 - tail } else { tail }
}

impl Estimated {
    fn likely(&mut self) -> Option<Point> {
        let ranked = self.ledger.ranked();
        let most = ((ranked.len() as f64 * GOOD.0).ceil() as usize).clamp(1, GOOD.1);
        // Trials that failed are never good, however few there are.
        let measured = ranked.len().min(most);
        let genes = |id: u64| self.ledger.point(id).map(|p| self.ledger.space().genes(p));
        let good = ranked.iter().take(measured).filter_map(|(id, _)| genes(*id)).collect();
        let others = ranked.iter().skip(measured).map(|(id, _)| *id).chain(self.ledger.out());
        let others = others.filter_map(genes).collect();
        let space = self.ledger.space().clone();
        let (good, others) = (Density::new(&space, good), Density::new(&space, others));
        let mut best: Option<(f64, Point)> = None;
        for _ in 0..CANDIDATES {
            let genes = good.draw(&mut self.ledger.chance);
            let Some(point) = self.ledger.unseen(&genes) else { continue };
            let place = space.genes(&point);
            let score = good.at(&place) - others.at(&place);
            if best.as_ref().is_none_or(|(s, _)| score > *s) {
                best = Some((score, point));
            }
        }
        best.map(|(_, point)| point)
    }
}

impl Sampler for Estimated {
    fn ask(&mut self, id: u64) -> Ask {
        let estimated = if self.ledger.told() == 0 || self.ledger.asked() < self.drawn { None } else { self.likely() };
        match estimated.or_else(|| self.ledger.fresh()) {
            Some(point) => Ask::Trial(self.ledger.ask_full(id, point, self.settings.fidelity)),
            None => Ask::Done,
        }
    }

    fn tell(&mut self, id: u64, outcome: &Outcome) {
        self.ledger.tell(id, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::super::space::{Domain, Parameter};
    use super::*;

    #[test]
    fn the_share_below_is_the_tables() {
        for (x, share) in [(0.0, 0.5), (1.0, 0.841_344_746), (-1.96, 0.024_997_895), (4.0, 0.999_968_329)] {
            assert!((phi(x) - share).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn a_density_has_a_volume_of_one() {
        let parameter = |name: &str, domain| Parameter { name: name.into(), domain, when: None };
        let names = Domain::choice(["a", "b", "c"]);
        let space = Space::new(vec![parameter("x", Domain::real(0.0, 1.0)), parameter("c", names)]).unwrap();
        let density = Density::new(&space, vec![vec![Some(0.05), Some(0.5 / 3.0)], vec![Some(0.7), Some(2.5 / 3.0)]]);
        let mut volume = 0.0;
        for x in 0..1000 {
            for c in 0..3 {
                let at = vec![Some((f64::from(x) + 0.5) / 1000.0), Some((f64::from(c) + 0.5) / 3.0)];
                volume += density.at(&at).exp() / 3000.0;
            }
        }
        assert!((volume - 1.0).abs() < 1e-3, "{volume}");
    }
}
