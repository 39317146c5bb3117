//! Tokens stay whose surprise is near the expected one (Meister et al., "Locally Typical Sampling", 2022).

use super::candidates::Candidates;
use crate::math::ln;

/// Keeps the tokens whose surprise is nearest to the entropy, until their probabilities sum to more
/// than `p`; 1 keeps all.
pub(super) fn apply(candidates: &mut Candidates, p: f32) {
    if p >= 1.0 {
        return;
    }
    candidates.order_all();
    candidates.normalize();
    candidates.retain(|c| c.probability > 0.0);
    let entropy: f64 = candidates.list.iter().map(|c| -c.probability * ln(c.probability)).sum();
    let mut distances: Vec<(f64, _)> = candidates.list.iter().map(|c| ((-ln(c.probability) - entropy).abs(), *c)).collect();
    distances.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    let mut kept = distances.len();
    for (at, (_, candidate)) in distances.iter().enumerate() {
        sum += candidate.probability;
        if sum as f32 > p {
            kept = at + 1;
            break;
        }
    }
    candidates.replace(distances.into_iter().take(kept).map(|(_, c)| c).collect());
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{of, tokens};
    use super::*;

    #[test]
    fn keeps_the_typical() {
        // Entropy 0.5098: the likely token is 0.48 away, the others 3.0; of two even tokens both are typical.
        let mut candidates = of(&[0.97, 0.01, 0.01, 0.01]);
        apply(&mut candidates, 0.5);
        assert_eq!(tokens(&candidates), [0]);
        // Entropy 1.194: 0.2 is 0.415 away, 0.4 is 0.278 away.
        let mut candidates = of(&[0.4, 0.2, 0.2, 0.2]);
        apply(&mut candidates, 0.5);
        assert_eq!(tokens(&candidates), [1, 2, 3], "the most likely token is not the most typical");
        let mut candidates = of(&[0.4, 0.2, 0.2, 0.2]);
        apply(&mut candidates, 1.0);
        assert_eq!(candidates.list.len(), 4);
    }
}
