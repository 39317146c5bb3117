//! One conversation with a model: a sequence of its decoder, continued turn by turn.
//!
//! A turn brings the whole text so far. What its tokens have in common with those that the sequence holds
//! is not computed again.

use std::io::{Read, Write};
use std::time::Instant;

use gravure_base::{Error, ErrorKind, Result};
use gravure_core::contracts::{Chunk, Decoder, Phase, SequenceId, Step, Wanted};
use gravure_text::Tokenizer;

use crate::constraint::Constraint;
use crate::sampling::Sampler;
use crate::speculation::Speculator;
use crate::stops::Stops;
use crate::text_stream::TextStream;

/// Tokens of a prompt that one step takes: enough for full speed, few enough to stop soon.
const PREFILL: usize = 512;

/// What happens when the context is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The reply ends; a prompt that does not fit is an error.
    #[default]
    Stop,
    /// The older half of what follows the first `keep` tokens is forgotten, and the rest is computed
    /// anew: the same as a shorter prompt would have been.
    Shift {
        /// Tokens at the beginning that stay.
        keep: usize,
    },
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model said so, by this token.
    Ending(u32),
    /// A stop string came; its index.
    StopString(usize),
    /// As many tokens as were asked for.
    MaxTokens,
    /// The context is full.
    Context,
    /// The constraint is fulfilled.
    Constraint,
    /// The user asked to stop.
    Cancelled,
}

impl StopReason {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ending(_) => "end",
            Self::StopString(_) => "stop_string",
            Self::MaxTokens => "max_tokens",
            Self::Context => "context",
            Self::Constraint => "constraint",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// This many tokens of a prompt are computed.
    Prefill {
        /// Computed in this turn.
        done: usize,
        /// To be computed in this turn.
        total: usize,
    },
    /// A token was chosen.
    Token(u32),
    /// Text that is part of the reply for certain.
    Text(&'a str),
    /// The context was full: this many tokens were forgotten.
    Shifted(usize),
}

/// A turn.
pub struct Turn<'a> {
    /// The whole text so far, at least one token.
    pub prompt: &'a [u32],
    /// Chooses the tokens.
    pub sampler: &'a mut Sampler,
    /// Tokens to generate at most.
    pub max_tokens: usize,
    /// Tokens that end the reply.
    pub endings: &'a [u32],
    /// Texts that end the reply.
    pub stops: &'a [String],
    /// When the context is full.
    pub overflow: Overflow,
    /// What the reply may consist of.
    pub constraint: Option<&'a mut dyn Constraint>,
    /// Guesses tokens.
    pub speculator: Option<&'a mut dyn Speculator>,
    /// Whether to stop; asked between and within steps.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("prompt", &self.prompt.len()).field("max_tokens", &self.max_tokens).finish_non_exhaustive()
    }
}

/// How long a turn took. Times are seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timings {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, how many were held from before.
    pub reused_tokens: usize,
    /// Computing the others.
    pub prefill: f64,
    /// From the beginning to the first chosen token.
    pub first_token: f64,
    /// Tokens that were chosen.
    pub tokens: usize,
    /// From the first chosen token to the last.
    pub decode: f64,
    /// Tokens that were guessed.
    pub guessed: usize,
    /// Of these, how many were right.
    pub accepted: usize,
}

/// What a turn gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The tokens, with the one that ended it.
    pub tokens: Vec<u32>,
    /// The text.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// How long it took.
    pub timings: Timings,
}

/// A conversation.
pub struct Session<'a> {
    decoder: &'a dyn Decoder,
    sequence: SequenceId,
    /// Tokens whose keys and values the sequence holds.
    held: Vec<u32>,
    context: usize,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("held", &self.held.len()).field("context", &self.context).finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// A new conversation of at most `context` tokens.
    ///
    /// # Errors
    /// `Limit` where the decoder takes no more sequences.
    pub fn new(decoder: &'a dyn Decoder, context: usize) -> Result<Self> {
        Ok(Self { decoder, sequence: decoder.open()?, held: Vec::new(), context })
    }

    /// A conversation that [`Session::save`] wrote for the same model.
    ///
    /// # Errors
    /// `Input` where it is none, or of another model.
    pub fn restore(decoder: &'a dyn Decoder, context: usize, input: &mut dyn Read) -> Result<Self> {
        let sequence = decoder.restore(input)?;
        Ok(Self { decoder, sequence, held: decoder.tokens(sequence)?, context })
    }

    /// Writes the tokens with their keys and values.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&self, out: &mut dyn Write) -> Result<()> {
        self.decoder.save(self.sequence, out)
    }

    /// The tokens that are computed.
    pub fn tokens(&self) -> &[u32] {
        &self.held
    }

    /// Continues `turn.prompt`, telling `events` as it goes.
    ///
    /// # Errors
    /// `Request` for an empty prompt; `Limit` for one that is longer than the context; those of the
    /// decoder, the sampler, the constraint and `events`. That it was cancelled is no error.
    pub fn reply(&mut self, tokenizer: &Tokenizer, turn: Turn<'_>, events: &mut dyn FnMut(Event<'_>) -> Result<()>) -> Result<Reply> {
        let began = Instant::now();
        let text = Writer { tokenizer, stream: TextStream::default(), stops: Stops::new(turn.stops), text: String::new() };
        let mut run = Run { session: self, turn, events, text, tokens: Vec::new(), timings: Timings::default(), logits: Vec::new() };
        let stop = match run.prefill(began) {
            Ok(()) => run.generate(began),
            Err(error) => Err(error),
        };
        let stop = match stop {
            Err(error) if error.kind() == ErrorKind::Interrupted => StopReason::Cancelled,
            other => other?,
        };
        if !matches!(stop, StopReason::StopString(_)) {
            let rest = run.text.finish();
            if !rest.is_empty() {
                (run.events)(Event::Text(&rest))?;
            }
        }
        Ok(Reply { tokens: run.tokens, text: run.text.text, stop, timings: run.timings })
    }

    fn forget_after(&mut self, positions: usize) -> Result<()> {
        self.decoder.truncate(self.sequence, positions)?;
        self.held.truncate(positions);
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // A sequence that cannot be closed goes with its decoder.
        let _ = self.decoder.close(self.sequence);
    }
}

/// The text of a reply, as far as it is certain.
struct Writer<'t> {
    tokenizer: &'t Tokenizer,
    stream: TextStream,
    stops: Stops,
    text: String,
}

impl Writer<'_> {
    fn push(&mut self, token: u32) -> crate::stops::Passed {
        let text = self.stream.push(&self.tokenizer.token_bytes(token));
        let passed = self.stops.push(&text);
        self.text += &passed.text;
        passed
    }

    fn finish(&mut self) -> String {
        let last = self.stream.finish();
        let passed = self.stops.push(&last);
        let rest = passed.text + &self.stops.finish();
        self.text += &rest;
        rest
    }
}

/// A turn on its way.
struct Run<'r, 'a, 't> {
    session: &'r mut Session<'a>,
    turn: Turn<'t>,
    events: &'r mut dyn FnMut(Event<'_>) -> Result<()>,
    text: Writer<'r>,
    tokens: Vec<u32>,
    timings: Timings,
    /// Rows of logits of the last step; those of a vocabulary are large, so their memory is kept.
    logits: Vec<Vec<f32>>,
}

impl Run<'_, '_, '_> {
    /// Computes the prompt, and the logits after its last token.
    fn prefill(&mut self, began: Instant) -> Result<()> {
        let prompt = self.turn.prompt;
        if prompt.is_empty() {
            return Err(Error::request("there is no token to begin with"));
        }
        let keep = match self.turn.overflow {
            Overflow::Shift { keep } if prompt.len() >= self.session.context => Some(keep),
            _ if prompt.len() > self.session.context => {
                return Err(Error::limit(format!("the prompt has {} tokens, but the context {}", prompt.len(), self.session.context))
                    .help("give a longer context, or allow it to shift"));
            }
            _ => None,
        };
        let shortened = keep.map(|keep| shifted(prompt, keep, self.session.context.saturating_sub(1)));
        if let Some(shortened) = &shortened {
            (self.events)(Event::Shifted(prompt.len() - shortened.len()))?;
        }
        let prompt = shortened.as_deref().unwrap_or(prompt);
        // The logits after the last token are wanted, so it is always computed.
        let same = self.session.held.iter().zip(prompt).take_while(|(a, b)| a == b).count().min(prompt.len() - 1);
        self.session.forget_after(same)?;
        self.timings.prompt_tokens = prompt.len();
        self.timings.reused_tokens = same;
        self.turn.sampler.forget();
        self.turn.sampler.observe(prompt);
        let result = self.feed(prompt.get(same..).unwrap_or_default(), Wanted::Last);
        self.timings.prefill = began.elapsed().as_secs_f64();
        result
    }

    /// Computes tokens that are known, in pieces.
    fn feed(&mut self, tokens: &[u32], wanted: Wanted) -> Result<()> {
        let mut done = 0;
        for piece in tokens.chunks(PREFILL) {
            done += piece.len();
            let wanted = if done == tokens.len() { wanted } else { Wanted::Nothing };
            self.step(piece, Phase::Prefill, wanted)?;
            (self.events)(Event::Prefill { done, total: tokens.len() })?;
        }
        Ok(())
    }

    fn step(&mut self, tokens: &[u32], phase: Phase, wanted: Wanted) -> Result<()> {
        let chunks = [Chunk { sequence: self.session.sequence, tokens, phase, wanted }];
        let step = Step { chunks: &chunks, taps: None, cancelled: self.turn.cancelled };
        let mut rows = 0;
        let logits = &mut self.logits;
        self.session.decoder.step(step, &mut |row| {
            if logits.len() == rows {
                logits.push(Vec::new());
            }
            if let Some(place) = logits.get_mut(rows) {
                place.clear();
                place.extend_from_slice(row.values);
            }
            rows += 1;
            Ok(())
        })?;
        self.session.held.extend_from_slice(tokens);
        Ok(())
    }

    /// Chooses tokens until something ends the reply.
    fn generate(&mut self, began: Instant) -> Result<StopReason> {
        if self.turn.max_tokens == 0 {
            return Ok(StopReason::MaxTokens);
        }
        // Guesses that the decoder holds, and how many of them were right so far. The logits after a
        // right guess are there already.
        let mut guesses: Vec<u32> = Vec::new();
        let mut right = 0;
        let outcome = loop {
            if (self.turn.cancelled)() {
                break Ok(StopReason::Cancelled);
            }
            let token = match self.choose(right) {
                Ok(token) => token,
                Err(error) => break Err(error),
            };
            if self.tokens.len() == 1 {
                self.timings.first_token = began.elapsed().as_secs_f64();
            }
            self.timings.tokens = self.tokens.len();
            self.timings.decode = began.elapsed().as_secs_f64() - self.timings.first_token;
            match self.ends(token) {
                Ok(None) => {}
                Ok(Some(stop)) => break Ok(stop),
                Err(error) => break Err(error),
            }
            if guesses.get(right) == Some(&token) {
                right += 1;
                self.timings.accepted += 1;
                continue;
            }
            let next = self.advance(token, guesses.len() - right);
            right = 0;
            match next {
                Ok(Some(next)) => guesses = next,
                Ok(None) => {
                    guesses.clear();
                    break Ok(StopReason::Context);
                }
                Err(error) => {
                    guesses.clear();
                    break Err(error);
                }
            }
        };
        // Wrong guesses are no part of the conversation.
        let wrong = guesses.len() - right;
        if wrong > 0 {
            self.session.forget_after(self.session.held.len() - wrong)?;
        }
        outcome
    }

    /// Chooses a token by a row of logits.
    fn choose(&mut self, row: usize) -> Result<u32> {
        let logits = self.logits.get(row).ok_or_else(|| Error::bug("the decoder gave fewer logits than were wanted"))?;
        let constraint = &mut self.turn.constraint;
        let token = self.turn.sampler.choose(logits, &mut |logits| match constraint {
            Some(constraint) => constraint.mask(logits),
            None => Ok(()),
        })?;
        self.turn.sampler.observe(&[token]);
        if let Some(constraint) = constraint {
            constraint.accept(token)?;
        }
        self.tokens.push(token);
        (self.events)(Event::Token(token))?;
        Ok(token)
    }

    /// Whether the reply ends with this token.
    fn ends(&mut self, token: u32) -> Result<Option<StopReason>> {
        if self.turn.endings.contains(&token) {
            return Ok(Some(StopReason::Ending(token)));
        }
        let passed = self.text.push(token);
        if !passed.text.is_empty() {
            (self.events)(Event::Text(&passed.text))?;
        }
        if let Some(index) = passed.stopped_by {
            return Ok(Some(StopReason::StopString(index)));
        }
        if self.turn.constraint.as_mut().is_some_and(|c| c.finished()) {
            return Ok(Some(StopReason::Constraint));
        }
        Ok((self.tokens.len() >= self.turn.max_tokens).then_some(StopReason::MaxTokens))
    }

    /// Computes a chosen token and guesses of those after it. `wrong` guesses at the end of the sequence
    /// are forgotten before. The new guesses; `None` where the context is full.
    fn advance(&mut self, token: u32, wrong: usize) -> Result<Option<Vec<u32>>> {
        if wrong > 0 {
            self.session.forget_after(self.session.held.len() - wrong)?;
        }
        if self.session.held.len() >= self.session.context {
            let Overflow::Shift { keep } = self.turn.overflow else { return Ok(None) };
            self.shift(keep)?;
        }
        let room = self.session.context - self.session.held.len() - 1;
        let most = room.min(self.turn.max_tokens - self.tokens.len()).saturating_sub(1);
        let mut chunk = vec![token];
        if let Some(speculator) = self.turn.speculator.as_mut().filter(|_| most > 0) {
            let all: Vec<u32> = self.session.held.iter().copied().chain([token]).collect();
            chunk.extend(speculator.propose(&all, most)?.into_iter().take(most));
        }
        self.timings.guessed += chunk.len() - 1;
        self.step(&chunk, Phase::Decode, Wanted::From(0))?;
        chunk.remove(0);
        Ok(Some(chunk))
    }

    /// Makes room: forgets the older half of what follows the first `keep` tokens.
    fn shift(&mut self, keep: usize) -> Result<()> {
        let before = std::mem::take(&mut self.session.held);
        let after = shifted(&before, keep, self.session.context.saturating_sub(1));
        let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        self.session.held = before;
        (self.events)(Event::Shifted(self.session.held.len() - after.len()))?;
        self.session.forget_after(same)?;
        self.feed(after.get(same..).unwrap_or_default(), Wanted::Nothing)
    }
}

/// The first `keep` tokens and the newer half of the others, halved again until there are at most `most`.
fn shifted(tokens: &[u32], keep: usize, most: usize) -> Vec<u32> {
    let keep = keep.min(most / 2).min(tokens.len());
    let mut from = keep;
    while keep + (tokens.len() - from) > most.max(1) {
        from += (tokens.len() - from).div_ceil(2);
    }
    tokens.iter().take(keep).chain(tokens.get(from..).unwrap_or_default()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_keeps_the_beginning_and_the_newer_half() {
        let tokens: Vec<u32> = (0..10).collect();
        assert_eq!(shifted(&tokens, 2, 9), [0, 1, 6, 7, 8, 9]);
        assert_eq!(shifted(&tokens, 0, 9), [5, 6, 7, 8, 9]);
        assert_eq!(shifted(&tokens, 8, 9), [0, 1, 2, 3, 7, 8, 9]);
        assert_eq!(shifted(&tokens, 0, 10), tokens);
        assert_eq!(shifted(&tokens, 0, 1), [9]);
    }
}
