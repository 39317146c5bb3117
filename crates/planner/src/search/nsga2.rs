//! NSGA-II: the best that was found is crossed and mutated (Deb, Pratap, Agarwal and Meyarivan, IEEE Transactions on
//! Evolutionary Computation 6, 2002). Parents are won in tournaments by front and crowding; numbers are crossed by
//! simulated binary crossover (Deb and Agrawal 1995) and mutated by polynomials (Deb and Goyal 1996), choices are
//! swapped and drawn anew.
//!
//! There are no generations to wait for: every child has the best of *all* that were told for parents, the steady
//! state of Durillo et al., "On the Effect of the Steady-State Selection Scheme in Multi-Objective Genetic
//! Algorithms" (EMO 2009). That is the better half of two generations, one child at a time.

use gravure_core::Result;

use super::ledger::Ledger;
use super::pareto::Standing;
use super::sampler::{Ask, Outcome, Sampler, SamplerKind, Settings};
use super::space::{Point, Space};

/// Share of the pairs that are crossed.
const CROSSED: f64 = 0.9;
/// How near children of a crossing stay to their parents: 2 to 20 in the literature, low where trials are few.
const CROSSING: f64 = 5.0;
/// How near a mutated number stays to what it was.
const MUTATION: f64 = 10.0;
/// Children of one pair that are looked at where the first was asked for already.
const SIBLINGS: usize = 32;

/// The kind.
#[derive(Debug)]
pub struct Nsga2;

impl SamplerKind for Nsga2 {
    fn id(&self) -> &'static str {
        "nsga2"
    }

    fn doc(&self) -> &'static str {
        "NSGA-II: crosses and mutates the best that was found"
    }

    fn start(&self, space: &Space, settings: &Settings) -> Result<Box<dyn Sampler>> {
        let population = (settings.trials / 5).clamp(6, 48);
        Ok(Box::new(Breed { ledger: Ledger::new(space, settings.seed), settings: settings.clone(), population }))
    }
}

#[derive(Debug)]
struct Breed {
    ledger: Ledger,
    settings: Settings,
    /// Points drawn evenly at the beginning, and parents later.
    population: usize,
}

impl Breed {
    fn child(&mut self) -> Option<Point> {
        let mut parents = self.ledger.ranked();
        parents.truncate(self.population);
        if parents.is_empty() {
            return None;
        }
        for _ in 0..SIBLINGS {
            let (a, b) = (self.winner(&parents)?, self.winner(&parents)?);
            let genes = self.cross(&a, &b);
            if let Some(point) = self.ledger.unseen(&genes) {
                return Some(point);
            }
        }
        None
    }

    /// The genes of the better of two that are drawn.
    fn winner(&mut self, parents: &[(u64, Standing)]) -> Option<Vec<Option<f64>>> {
        let (a, b) = (self.ledger.chance.below(parents.len()), self.ledger.chance.below(parents.len()));
        // Parents are in order.
        let (id, _) = parents.get(a.min(b))?;
        self.ledger.point(*id).map(|point| self.ledger.space().genes(point))
    }

    fn cross(&mut self, a: &[Option<f64>], b: &[Option<f64>]) -> Vec<f64> {
        let choices: Vec<bool> = self.ledger.space().parameters().iter().map(|p| p.domain.is_choice()).collect();
        let chance = &mut self.ledger.chance;
        let crossed = chance.happens(CROSSED);
        let rate = 1.0 / choices.len() as f64;
        let mut genes = Vec::with_capacity(choices.len());
        for (index, choice) in choices.into_iter().enumerate() {
            // What does not count in a parent is drawn: it may count in the child.
            let first = a[index].unwrap_or_else(|| chance.unit());
            let second = b[index].unwrap_or(first);
            let mut gene = first;
            if crossed && chance.happens(0.5) {
                gene = if choice { second } else { blended(first, second, chance.unit(), chance.happens(0.5)) };
            }
            if chance.happens(rate) {
                gene = if choice { chance.unit() } else { mutated(gene, chance.unit()) };
            }
            genes.push(gene);
        }
        genes
    }
}

/// One of the two children of a simulated binary crossover.
fn blended(a: f64, b: f64, u: f64, upper: bool) -> f64 {
    let power = 1.0 / (CROSSING + 1.0);
    let beta = if u <= 0.5 { (2.0 * u).powf(power) } else { (0.5 / (1.0 - u)).powf(power) };
    let (middle, half) = ((a + b) / 2.0, (a - b).abs() / 2.0 * beta);
    (if upper { middle + half } else { middle - half }).clamp(0.0, 1.0)
}

/// A polynomial mutation.
fn mutated(gene: f64, u: f64) -> f64 {
    let power = 1.0 / (MUTATION + 1.0);
    let delta = if u < 0.5 {
        (2.0 * u + (1.0 - 2.0 * u) * (1.0 - gene).powf(MUTATION + 1.0)).powf(power) - 1.0
    } else {
        1.0 - (2.0 * (1.0 - u) + (2.0 * u - 1.0) * gene.powf(MUTATION + 1.0)).powf(power)
    };
    (gene + delta).clamp(0.0, 1.0)
}

impl Sampler for Breed {
    fn ask(&mut self, id: u64) -> Ask {
        let bred = if self.ledger.asked() < self.population { None } else { self.child() };
        match bred.or_else(|| self.ledger.fresh()) {
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
    use super::*;

    #[test]
    fn children_stay_inside_and_near() {
        for step in 0..=100 {
            let u = f64::from(step) / 101.0;
            for (a, b) in [(0.0, 1.0), (0.3, 0.4), (0.5, 0.5)] {
                let (low, high) = (blended(a, b, u, false), blended(a, b, u, true));
                assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
                assert!((a - b).abs() > 0.0 || (low - a).abs() < 1e-12);
                assert!((0.0..=1.0).contains(&mutated(a, u)));
            }
        }
        assert!((mutated(0.4, 0.5) - 0.4).abs() < 1e-12, "the middle of the mutations changes nothing");
    }
}
