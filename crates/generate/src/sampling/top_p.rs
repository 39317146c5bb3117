//! The most likely tokens stay that together reach a probability (Holtzman et al., "The Curious Case
//! of Neural Text Degeneration", 2020).

use super::candidates::Candidates;

/// Keeps the fewest most likely tokens whose probabilities sum to at least `p`; 1 keeps all.
pub(super) fn apply(candidates: &mut Candidates, p: f32) {
    if p >= 1.0 || candidates.list.is_empty() {
        return;
    }
    candidates.normalize();
    // A whole vocabulary is seldom needed in order.
    let mut ordered = 0;
    let mut sum = 0.0;
    for count in 1..=candidates.list.len() {
        if count > ordered {
            ordered = (ordered * 8).max(256);
            candidates.order(ordered);
        }
        sum += candidates.list.get(count - 1).map_or(0.0, |c| c.probability);
        // The settings have 32 bits, and so do the probabilities that they speak of.
        if sum as f32 >= p {
            candidates.keep_first(count);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{of, tokens};
    use super::*;

    #[test]
    fn keeps_the_nucleus() {
        // The cases of llama.cpp's own tests of its samplers.
        let cases: &[(f32, &[u32])] = &[(0.0, &[3]), (0.7, &[3, 2]), (0.8, &[3, 2, 1]), (1.0, &[0, 1, 2, 3])];
        for (p, expected) in cases {
            let mut candidates = of(&[0.1, 0.2, 0.3, 0.4]);
            apply(&mut candidates, *p);
            assert_eq!(tokens(&candidates), *expected, "p = {p}");
        }
    }

    #[test]
    fn a_flat_distribution_is_cut_where_it_should_be() {
        let mut candidates = Candidates::default();
        candidates.fill(&vec![0.5; 10_000]);
        apply(&mut candidates, 0.6);
        let expected: Vec<u32> = (0..candidates.list.len() as u32).collect();
        assert!(candidates.list.len().abs_diff(6000) <= 1);
        assert_eq!(tokens(&candidates), expected, "ties are in order of id");
    }
}
