//! Guesses by a smaller model with the same vocabulary.

use gravure_base::{ErrorKind, Result};
use gravure_core::contracts::{Chunk, Decoder, Phase, SequenceId, Step, Wanted};

use super::Speculator;
use crate::math::exp;

/// A smaller model and its sequence.
pub struct Draft<'a> {
    decoder: &'a dyn Decoder,
    sequence: SequenceId,
    /// Tokens whose keys and values the sequence holds.
    held: Vec<u32>,
    /// Tokens of a guess, at most.
    most: usize,
    /// A token that is less probable ends the guess.
    least: f64,
}

impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("held", &self.held.len()).field("most", &self.most).field("least", &self.least).finish()
    }
}

impl<'a> Draft<'a> {
    /// Guesses at most `most` tokens at a time, each with a probability of at least `least`.
    ///
    /// # Errors
    /// `Limit` where the model takes no more sequences.
    pub fn new(decoder: &'a dyn Decoder, most: usize, least: f64) -> Result<Self> {
        Ok(Self { decoder, sequence: decoder.open()?, held: Vec::new(), most, least })
    }

    /// Feeds tokens and gives the most likely next one with its probability.
    fn feed(&mut self, tokens: &[u32]) -> Result<Option<(u32, f64)>> {
        let phase = if tokens.len() > 1 { Phase::Prefill } else { Phase::Decode };
        let chunks = [Chunk { sequence: self.sequence, tokens, phase, wanted: Wanted::Last }];
        let mut best = None;
        self.decoder.step(Step::new(&chunks), &mut |row| {
            best = most_likely(row.values);
            Ok(())
        })?;
        self.held.extend_from_slice(tokens);
        Ok(best)
    }

    fn guess(&mut self, tokens: &[u32], most: usize, out: &mut Vec<u32>) -> Result<()> {
        let same = self.held.iter().zip(tokens).take_while(|(a, b)| a == b).count().min(tokens.len().saturating_sub(1));
        if same < self.held.len() {
            self.decoder.truncate(self.sequence, same)?;
            self.held.truncate(same);
        }
        let mut next = self.feed(tokens.get(same..).unwrap_or_default())?;
        while let Some((token, probability)) = next
            && probability >= self.least
        {
            out.push(token);
            if out.len() == most {
                break;
            }
            next = self.feed(&[token])?;
        }
        Ok(())
    }
}

impl Speculator for Draft<'_> {
    fn propose(&mut self, tokens: &[u32], most: usize) -> Result<Vec<u32>> {
        let mut out = Vec::new();
        let most = most.min(self.most);
        if most == 0 || tokens.is_empty() {
            return Ok(out);
        }
        match self.guess(tokens, most, &mut out) {
            // A model of a shorter context has no more guesses.
            Err(error) if error.kind() == ErrorKind::Limit => Ok(out),
            Err(error) => Err(error),
            Ok(()) => Ok(out),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // A sequence that cannot be closed goes with its decoder.
        let _ = self.decoder.close(self.sequence);
    }
}

fn most_likely(logits: &[f32]) -> Option<(u32, f64)> {
    let (token, largest) = logits.iter().enumerate().fold(None, |best: Option<(usize, f32)>, (token, logit)| match best {
        Some((_, largest)) if *logit <= largest => best,
        _ => Some((token, *logit)),
    })?;
    let sum: f64 = logits.iter().map(|l| exp(f64::from(*l) - f64::from(largest))).sum();
    Some((token as u32, 1.0 / sum))
}
