//! The `k` most likely tokens stay (Fan et al., "Hierarchical Neural Story Generation", 2018).

use super::candidates::Candidates;

/// Keeps the first `k`; 0 keeps all.
pub(super) fn apply(candidates: &mut Candidates, k: usize) {
    if k == 0 {
        return;
    }
    candidates.order(k);
    candidates.keep_first(k);
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{of, tokens};
    use super::*;

    #[test]
    fn keeps_the_most_likely() {
        let cases: &[(usize, &[u32])] = &[(1, &[3]), (3, &[3, 2, 1]), (0, &[0, 1, 2, 3]), (9, &[3, 2, 1, 0])];
        for (k, expected) in cases {
            let mut candidates = of(&[0.1, 0.2, 0.3, 0.4]);
            apply(&mut candidates, *k);
            assert_eq!(tokens(&candidates), *expected, "k = {k}");
        }
    }
}
