//! The `k` most likely tokens stay (Fan et al., "Hierarchical Neural Story Generation", 2018).

use super::candidates::Candidates;

/// Makes the `k` most likely tokens the candidates; 0 makes it all.
pub(super) fn fill(candidates: &mut Candidates, logits: &[f32], k: usize) {
    if k == 0 {
        candidates.fill(logits);
    } else {
        candidates.fill_largest(logits, k);
    }
}

#[cfg(test)]
mod tests {
    use super::super::candidates::tokens;
    use super::*;
    use crate::Random;

    #[test]
    fn keeps_the_most_likely() {
        let cases: &[(usize, &[u32])] = &[(1, &[3]), (3, &[3, 2, 1]), (0, &[0, 1, 2, 3]), (9, &[3, 2, 1, 0])];
        for (k, expected) in cases {
            let mut candidates = Candidates::default();
            fill(&mut candidates, &[0.1, 0.2, 0.3, 0.4], *k);
            assert_eq!(tokens(&candidates), *expected, "k = {k}");
        }
    }

    #[test]
    fn equal_logits_are_kept_in_order_of_id() {
        let mut random = Random::new(3);
        for k in [1, 2, 7, 40, 999] {
            let logits: Vec<f32> =
                (0..1000).map(|_| if random.bits().is_multiple_of(9) { f32::NEG_INFINITY } else { (random.bits() % 50) as f32 }).collect();
            let mut expected: Vec<u32> = (0..1000).filter(|t| logits[*t as usize] > f32::NEG_INFINITY).collect();
            expected.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
            expected.truncate(k);
            let mut candidates = Candidates::default();
            fill(&mut candidates, &logits, k);
            assert_eq!(tokens(&candidates), expected, "k = {k}");
        }
    }
}
