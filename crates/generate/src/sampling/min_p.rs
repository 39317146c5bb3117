//! Tokens stay that are at least a share as likely as the most likely one (Nguyen et al., "Turning Up
//! the Heat: Min-p Sampling for Creative and Coherent LLM Outputs", 2024).

use super::candidates::Candidates;
use crate::math::ln;

/// Keeps tokens of at least `p` times the largest probability; 0 keeps all.
pub(super) fn apply(candidates: &mut Candidates, p: f32) {
    if p <= 0.0 {
        return;
    }
    let largest = candidates.largest();
    let least = largest + ln(f64::from(p)) as f32;
    candidates.retain(|c| c.logit >= least || c.logit == largest);
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{of, tokens};
    use super::*;

    #[test]
    fn keeps_what_is_near_the_most_likely() {
        let cases: &[(f32, &[u32])] =
            &[(0.0, &[0, 1, 2, 3]), (0.24, &[0, 1, 2, 3]), (0.26, &[1, 2, 3]), (0.51, &[2, 3]), (0.76, &[3]), (2.0, &[3])];
        for (p, expected) in cases {
            let mut candidates = of(&[0.1, 0.2, 0.3, 0.4]);
            apply(&mut candidates, *p);
            assert_eq!(tokens(&candidates), *expected, "p = {p}");
        }
    }
}
