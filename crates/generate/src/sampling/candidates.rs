//! The tokens that may come next.

use crate::math::exp;

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) token: u32,
    pub(crate) logit: f32,
    /// Its probability among the candidates, after [`Candidates::normalize`].
    pub(crate) probability: f64,
}

/// Candidates, of which the first may be in order: the most likely first, of equal ones the lower id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    pub(crate) list: Vec<Candidate>,
    /// How many at the beginning are in order, and above all others.
    ordered: usize,
}

impl Candidates {
    /// Every token with a logit above minus infinity.
    pub(crate) fn fill(&mut self, logits: &[f32]) {
        self.list.clear();
        let possible = logits.iter().enumerate().filter(|(_, l)| **l > f32::NEG_INFINITY);
        self.list.extend(possible.map(|(token, logit)| Candidate { token: token as u32, logit: *logit, probability: 0.0 }));
        self.ordered = 0;
    }

    /// The `count` most likely tokens, in order: one pass over the logits, of which few are looked at twice.
    pub(crate) fn fill_largest(&mut self, logits: &[f32], count: usize) {
        self.list.clear();
        self.ordered = 0;
        let enough = count.saturating_mul(2);
        let mut floor = f32::NEG_INFINITY;
        for (token, logit) in logits.iter().enumerate() {
            // One that equals the floor has a higher id than those that are there.
            if *logit > floor {
                self.list.push(Candidate { token: token as u32, logit: *logit, probability: 0.0 });
                if self.list.len() == enough {
                    self.order(count);
                    self.keep_first(count);
                    floor = self.list.last().map_or(floor, |c| c.logit);
                    self.ordered = 0;
                }
            }
        }
        self.order(count);
        self.keep_first(count);
    }

    /// Puts the first `count` in order.
    pub(crate) fn order(&mut self, count: usize) {
        let count = count.min(self.list.len());
        if count <= self.ordered {
            return;
        }
        let compare = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token));
        if count < self.list.len() {
            self.list.select_nth_unstable_by(count, compare);
        }
        if let Some(first) = self.list.get_mut(..count) {
            first.sort_unstable_by(compare);
        }
        self.ordered = count;
    }

    /// Puts all in order.
    pub(crate) fn order_all(&mut self) {
        self.order(self.list.len());
    }

    /// Keeps the first `count`.
    pub(crate) fn keep_first(&mut self, count: usize) {
        self.list.truncate(count);
        self.ordered = self.ordered.min(self.list.len());
    }

    /// Keeps those that `keep` says; the order stays.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Candidate) -> bool) {
        let (mut at, mut ordered) = (0, 0);
        self.list.retain(|candidate| {
            let kept = keep(candidate);
            ordered += usize::from(kept && at < self.ordered);
            at += 1;
            kept
        });
        self.ordered = ordered;
    }

    /// Replaces all by a list in no order.
    pub(crate) fn replace(&mut self, list: Vec<Candidate>) {
        self.list = list;
        self.ordered = 0;
    }

    /// The largest logit.
    pub(crate) fn largest(&self) -> f32 {
        self.list.iter().fold(f32::NEG_INFINITY, |largest, c| largest.max(c.logit))
    }

    /// Computes probabilities: the softmax of the logits.
    pub(crate) fn normalize(&mut self) {
        let largest = f64::from(self.largest());
        let mut sum = 0.0;
        for candidate in &mut self.list {
            candidate.probability = exp(f64::from(candidate.logit) - largest);
            sum += candidate.probability;
        }
        self.list.iter_mut().for_each(|c| c.probability /= sum);
    }
}

#[cfg(test)]
pub(crate) fn of(probabilities: &[f64]) -> Candidates {
    let mut candidates = Candidates::default();
    candidates.fill(&probabilities.iter().map(|p| p.ln() as f32).collect::<Vec<_>>());
    candidates
}

#[cfg(test)]
pub(crate) fn tokens(candidates: &Candidates) -> Vec<u32> {
    candidates.list.iter().map(|c| c.token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_what_is_asked_and_breaks_ties_by_id() {
        let mut candidates = Candidates::default();
        candidates.fill(&[1.0, 3.0, f32::NEG_INFINITY, 3.0, 2.0, -1.0]);
        assert_eq!(candidates.list.len(), 5);
        candidates.order(2);
        assert_eq!(tokens(&candidates)[..2], [1, 3]);
        candidates.order_all();
        assert_eq!(tokens(&candidates), [1, 3, 4, 0, 5]);
        candidates.normalize();
        assert!((candidates.list.iter().map(|c| c.probability).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
