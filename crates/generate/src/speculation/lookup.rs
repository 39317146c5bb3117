//! Guesses from the text itself: what followed the last time that the last tokens stood there (Saxena,
//! "Prompt Lookup Decoding", 2023). Pays where a reply quotes its prompt.

use gravure_base::Result;

use super::Speculator;

/// Looks the last tokens up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Tokens that have to be the same, at most.
    pub longest: usize,
    /// Tokens that have to be the same, at least.
    pub shortest: usize,
    /// Tokens of a guess, at most.
    pub most: usize,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { longest: 4, shortest: 2, most: 8 }
    }
}

impl Speculator for Lookup {
    fn propose(&mut self, tokens: &[u32], most: usize) -> Result<Vec<u32>> {
        let most = most.min(self.most);
        for length in (self.shortest.max(1)..=self.longest.min(tokens.len().saturating_sub(1))).rev() {
            let (before, wanted) = tokens.split_at(tokens.len() - length);
            // A match may overlap its own end: that is how a loop goes on.
            let found = (0..before.len()).rev().find(|at| tokens.get(*at..*at + length) == Some(wanted));
            if let Some(at) = found {
                return Ok(tokens.iter().skip(at + length).take(most).copied().collect());
            }
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_followed_last_time() {
        let mut lookup = Lookup { longest: 3, shortest: 2, most: 4 };
        let cases: &[(&[u32], &[u32])] = &[
            (&[1, 2, 3, 4, 5, 1, 2], &[3, 4, 5, 1]),
            // Three that are the same tell more than two that are nearer.
            (&[9, 1, 2, 7, 7, 1, 2, 8, 9, 1, 2], &[7, 7, 1, 2]),
            // The nearest of equal ones.
            (&[1, 2, 3, 1, 2, 4, 1, 2], &[4, 1, 2]),
            (&[5, 6, 6, 6, 6], &[6]),
            (&[1, 2, 3], &[]),
            (&[1], &[]),
            (&[], &[]),
        ];
        for (tokens, expected) in cases {
            assert_eq!(lookup.propose(tokens, 9).unwrap(), *expected, "{tokens:?}");
        }
        assert_eq!(lookup.propose(&[1, 2, 3, 4, 1, 2], 1).unwrap(), [3]);
    }
}
