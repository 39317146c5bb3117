//! Mirostat: choices whose surprise stays at a target (Basu et al., "Mirostat: A Neural Text Decoding
//! Algorithm that Directly Controls Perplexity", 2021).

use super::candidates::{Candidate, Candidates};
use crate::math::{exp, ln};

/// Tokens from which version 1 estimates how fast probabilities fall.
const ESTIMATED_FROM: usize = 100;

/// Which version, and its target.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Mirostat {
    /// Neither.
    #[default]
    Off,
    /// A limit of tokens by Zipf's law.
    V1(Target),
    /// A limit of surprise.
    V2(Target),
}

/// A surprise and how fast it is steered to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Surprise of a token in bits (`tau`).
    pub surprise: f32,
    /// Learning rate (`eta`).
    pub rate: f32,
}

impl Default for Target {
    fn default() -> Self {
        Self { surprise: 5.0, rate: 0.1 }
    }
}

/// Keeps the tokens that the limit `mu` allows under version 1; candidates are in order afterwards.
pub(super) fn limit_v1(candidates: &mut Candidates, mu: f64, vocabulary: usize) {
    candidates.order_all();
    candidates.normalize();
    candidates.retain(|c| c.probability > 0.0);
    let (mut products, mut squares) = (0.0, 0.0);
    for (at, pair) in candidates.list.windows(2).take(ESTIMATED_FROM - 1).enumerate() {
        let [more, less] = pair else { continue };
        let rank = ln((at + 2) as f64 / (at + 1) as f64);
        products += rank * ln(more.probability / less.probability);
        squares += rank * rank;
    }
    // The exponent of Zipf's law, by least squares.
    let exponent = products / squares;
    let excess = exponent - 1.0;
    let power = |base: f64, exponent: f64| exp(exponent * ln(base));
    let count = power((excess * power(2.0, mu)) / (1.0 - power(vocabulary as f64, -excess)), 1.0 / exponent);
    candidates.keep_first(if count >= 1.0 { count as usize } else { 1 });
}

/// Keeps the tokens of at most `mu` bits of surprise, and always the most likely; candidates are in
/// order afterwards.
pub(super) fn limit_v2(candidates: &mut Candidates, mu: f64) {
    candidates.order_all();
    candidates.normalize();
    let within = candidates.list.iter().take_while(|c| bits(c) <= mu).count();
    candidates.keep_first(within.max(1));
}

/// The limit after a choice.
pub(super) fn steer(mu: f64, chosen: &Candidate, target: Target) -> f64 {
    mu - f64::from(target.rate) * (bits(chosen) - f64::from(target.surprise))
}

fn bits(candidate: &Candidate) -> f64 {
    -ln(candidate.probability) / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{of, tokens};
    use super::*;

    #[test]
    fn version_two_cuts_at_the_surprise() {
        // Surprises of 1, 2, 3 and 3 bits.
        for (mu, expected) in [(3.5, vec![0, 1, 2, 3]), (2.5, vec![0, 1]), (1.5, vec![0]), (0.5, vec![0])] {
            let mut candidates = of(&[0.5, 0.25, 0.125, 0.125]);
            limit_v2(&mut candidates, mu);
            assert_eq!(tokens(&candidates), expected, "mu = {mu}");
        }
    }

    #[test]
    fn version_one_finds_the_exponent_of_zipf() {
        // Probabilities fall with rank to the power -2: k = ((1 * 2^mu) / (1 - 1/n))^(1/2).
        let weights: Vec<f64> = (1..=1000).map(|rank| f64::from(rank).powi(-2)).collect();
        let sum: f64 = weights.iter().sum();
        for (mu, expected) in [(4.0, 4), (8.0, 16), (10.1, 33)] {
            let mut candidates = of(&weights.iter().map(|w| w / sum).collect::<Vec<_>>());
            limit_v1(&mut candidates, mu, 1000);
            assert_eq!(candidates.list.len(), expected, "mu = {mu}");
        }
        let mut alone = of(&[1.0]);
        limit_v1(&mut alone, 5.0, 1000);
        assert_eq!(tokens(&alone), [0]);
    }

    #[test]
    fn the_limit_moves_against_the_error() {
        let chosen = Candidate { token: 0, logit: 0.0, probability: 0.125 };
        assert!((steer(10.0, &chosen, Target { surprise: 5.0, rate: 0.1 }) - 10.2).abs() < 1e-6);
        assert!((steer(10.0, &chosen, Target { surprise: 1.0, rate: 0.5 }) - 9.0).abs() < 1e-6);
    }
}
