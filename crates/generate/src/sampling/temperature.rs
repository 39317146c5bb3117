//! How bold a choice is: logits are divided by a temperature.

use super::candidates::Candidates;

/// Divides logits by `temperature`; at 0 or below only the most likely token stays.
pub(super) fn apply(candidates: &mut Candidates, temperature: f32) {
    if temperature > 0.0 {
        candidates.list.iter_mut().for_each(|c| c.logit /= temperature);
    } else {
        candidates.order(1);
        candidates.keep_first(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{of, tokens};
    use super::*;

    #[test]
    fn cold_is_greedy_and_hot_is_flat() {
        let mut candidates = of(&[0.1, 0.2, 0.3, 0.4]);
        apply(&mut candidates, 0.0);
        assert_eq!(tokens(&candidates), [3]);
        // At temperature 0.5 probabilities are squared.
        let mut candidates = of(&[0.1, 0.2, 0.3, 0.4]);
        apply(&mut candidates, 0.5);
        candidates.normalize();
        for (candidate, expected) in candidates.list.iter().zip([0.01, 0.04, 0.09, 0.16]) {
            assert!((candidate.probability - expected / 0.3).abs() < 1e-6);
        }
    }
}
