//! Running a program over a text.

use super::{Instruction, Regex, WORD};
use crate::unicode::{self, Table};

/// The bound on steps was reached.
#[derive(Debug)]
pub(super) struct TooManySteps;

/// One attempt to match.
pub(super) struct Run<'a> {
    regex: &'a Regex,
    text: &'a [u8],
    steps: usize,
    stack: Vec<Frame>,
}

/// A place to go back to.
enum Frame {
    /// Another way.
    Way { at: usize, position: usize },
    /// A run that may be shorter: it may end anywhere from `least` to before `position`.
    Shorter { next: usize, least: usize, position: usize },
}

impl<'a> Run<'a> {
    pub(super) fn new(regex: &'a Regex, text: &'a [u8], start: usize) -> Self {
        // What these patterns need is a few steps for each character of a run, twice where they
        // look ahead. The constant is for patterns of many alternatives on short texts.
        let steps = 20_000 + 50 * text.len().saturating_sub(start);
        Self { regex, text, steps, stack: Vec::new() }
    }

    /// Runs from instruction `at` to the next `Accept`: where the match ends.
    pub(super) fn from(&mut self, at: usize, position: usize) -> Result<Option<usize>, TooManySteps> {
        let bottom = self.stack.len();
        let out = self.attempt(at, position, bottom);
        self.stack.truncate(bottom);
        out
    }

    fn attempt(&mut self, mut at: usize, mut position: usize, bottom: usize) -> Result<Option<usize>, TooManySteps> {
        loop {
            self.steps = self.steps.checked_sub(1).ok_or(TooManySteps)?;
            let goes_on = match self.regex.program[at] {
                Instruction::Accept => return Ok(Some(position)),
                Instruction::One(set) => match self.char_at(position) {
                    Some((c, width)) if self.regex.sets[set].contains(c) => {
                        position += width;
                        at += 1;
                        true
                    }
                    _ => false,
                },
                Instruction::Run { set, min, max, possessive } => {
                    let set = &self.regex.sets[set];
                    let mut count = 0;
                    let mut end = position;
                    let mut least = position;
                    while count < max {
                        match self.char_at(end) {
                            Some((c, width)) if set.contains(c) => end += width,
                            _ => break,
                        }
                        count += 1;
                        if count == min {
                            least = end;
                        }
                    }
                    self.steps = self.steps.checked_sub(count as usize / 8).ok_or(TooManySteps)?;
                    if count < min {
                        false
                    } else {
                        at += 1;
                        if !possessive && end > least {
                            self.stack.push(Frame::Shorter { next: at, least, position: end });
                        }
                        position = end;
                        true
                    }
                }
                Instruction::Split(first, second) => {
                    self.stack.push(Frame::Way { at: second, position });
                    at = first;
                    true
                }
                Instruction::Jump(to) => {
                    at = to;
                    true
                }
                Instruction::Look { negative, end } => {
                    let found = self.from(at + 1, position)?.is_some();
                    at = end;
                    found != negative
                }
                Instruction::Atomic { end } => match self.from(at + 1, position)? {
                    Some(to) => {
                        position = to;
                        at = end;
                        true
                    }
                    None => false,
                },
                Instruction::Start { lines } => {
                    at += 1;
                    position == 0 || lines && self.text[position - 1] == b'\n'
                }
                Instruction::End { lines } => {
                    at += 1;
                    position == self.text.len() || lines && self.text[position] == b'\n'
                }
                Instruction::WordBoundary { negative } => {
                    at += 1;
                    let word = |c: Option<(char, usize)>| c.is_some_and(|(c, _)| unicode::traits(c, Table::Oniguruma) & WORD != 0);
                    (word(self.char_before(position)) != word(self.char_at(position))) != negative
                }
            };
            if goes_on {
                continue;
            }
            if self.stack.len() == bottom {
                return Ok(None);
            }
            match self.stack.pop() {
                None => return Ok(None),
                Some(Frame::Way { at: way, position: place }) => (at, position) = (way, place),
                Some(Frame::Shorter { next, least, position: end }) => {
                    let width = self.char_before(end).map_or(1, |(_, width)| width);
                    let shorter = end.saturating_sub(width).max(least);
                    if shorter > least {
                        self.stack.push(Frame::Shorter { next, least, position: shorter });
                    }
                    (at, position) = (next, shorter);
                }
            }
        }
    }

    /// The character that starts here, and its bytes. The text is UTF-8.
    fn char_at(&self, position: usize) -> Option<(char, usize)> {
        let first = *self.text.get(position)?;
        if first < 0x80 {
            return Some((first.into(), 1));
        }
        let more = |at: usize| u32::from(self.text.get(position + at).copied().unwrap_or(0) & 0x3f);
        let (code, width) = match first {
            0x80..0xe0 => (u32::from(first & 0x1f) << 6 | more(1), 2),
            0xe0..0xf0 => (u32::from(first & 0xf) << 12 | more(1) << 6 | more(2), 3),
            _ => (u32::from(first & 7) << 18 | more(1) << 12 | more(2) << 6 | more(3), 4),
        };
        Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), width))
    }

    fn char_before(&self, position: usize) -> Option<(char, usize)> {
        let start = (1..=4).find_map(|back| {
            let at = position.checked_sub(back)?;
            self.text.get(at).filter(|&&b| b & 0xc0 != 0x80).map(|_| at)
        })?;
        self.char_at(start)
    }
}
