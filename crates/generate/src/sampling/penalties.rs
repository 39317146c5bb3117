//! Tokens of the last positions become less likely: the repetition penalty of Keskar et al. ("CTRL",
//! 2019), and the frequency and presence penalties of OpenAI's interface.

use std::collections::{HashMap, VecDeque};

/// By how much tokens are held back that were there before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// Positions that are looked back on: 0 for none, [`usize::MAX`] for all.
    pub last: usize,
    /// Logits above 0 are divided by this and others multiplied: 1 changes nothing.
    pub repeat: f32,
    /// Taken from a logit for each occurrence.
    pub frequency: f32,
    /// Taken from the logit of each token that occurred.
    pub presence: f32,
}

impl Default for Penalties {
    fn default() -> Self {
        Self { last: 64, repeat: 1.0, frequency: 0.0, presence: 0.0 }
    }
}

impl Penalties {
    fn change_nothing(&self) -> bool {
        self.last == 0 || (self.repeat == 1.0 && self.frequency == 0.0 && self.presence == 0.0)
    }
}

/// The tokens of the last positions, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    order: VecDeque<u32>,
    counts: HashMap<u32, u32>,
}

impl Recent {
    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.counts.clear();
    }

    /// Takes a token in and forgets the oldest.
    pub(super) fn push(&mut self, token: u32, penalties: &Penalties) {
        if penalties.change_nothing() {
            return;
        }
        if self.order.len() >= penalties.last
            && let Some(old) = self.order.pop_front()
            && let Some(count) = self.counts.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&old);
            }
        }
        self.order.push_back(token);
        *self.counts.entry(token).or_default() += 1;
    }

    /// Changes logits, one for each token of the vocabulary.
    pub(super) fn apply(&self, logits: &mut [f32], penalties: &Penalties) {
        for (token, count) in &self.counts {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = if *logit <= 0.0 { *logit * penalties.repeat } else { *logit / penalties.repeat };
                *logit -= *count as f32 * penalties.frequency + penalties.presence;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_penalty_does_what_it_says() {
        let cases = [
            (Penalties { repeat: 2.0, ..Penalties::default() }, [1.0, -4.0, 3.0]),
            (Penalties { frequency: 0.5, ..Penalties::default() }, [1.0, -2.5, 3.0]),
            (Penalties { presence: 0.5, ..Penalties::default() }, [1.5, -2.5, 3.0]),
            (Penalties { last: 1, presence: 1.0, ..Penalties::default() }, [1.0, -2.0, 3.0]),
            (Penalties { last: 0, repeat: 2.0, ..Penalties::default() }, [2.0, -2.0, 3.0]),
        ];
        for (penalties, expected) in cases {
            let mut recent = Recent::default();
            for token in [0, 1, 0] {
                recent.push(token, &penalties);
            }
            let mut logits = [2.0, -2.0, 3.0];
            recent.apply(&mut logits, &penalties);
            assert_eq!(logits, expected, "{penalties:?}");
        }
    }
}
