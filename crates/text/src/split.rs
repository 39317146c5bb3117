//! Splitters: from a normalized text to words.

use std::ops::Range;

use gravure_base::Result;

use crate::byte_level;
use crate::pipeline::{Behavior, Pattern, PrependScheme, Splitter};
use crate::regex::Regex;
use crate::unicode::{self, NUMBER, PUNCTUATION, Table};

/// A text and the words in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) text: String,
    pub(crate) ranges: Vec<Range<usize>>,
    /// Whether the words are spelled in bytes already.
    pub(crate) spelled: bool,
}

impl Words {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|range| &self.text[range.clone()])
    }

    /// Replaces each word by what `change` appends.
    fn rewrite(&mut self, mut change: impl FnMut(usize, &str, &mut String)) {
        let mut text = String::with_capacity(self.text.len() + 16);
        for (at, range) in self.ranges.iter_mut().enumerate() {
            let start = text.len();
            change(at, &self.text[range.clone()], &mut text);
            *range = start..text.len();
        }
        self.text = text;
    }

    /// Splits each word by what `matches` finds in it.
    fn split(
        &mut self,
        behavior: Behavior,
        invert: bool,
        mut matches: impl FnMut(&str, &mut Vec<(Range<usize>, bool)>) -> Result<()>,
    ) -> Result<()> {
        let mut out = Vec::with_capacity(self.ranges.len() * 2);
        let mut found = Vec::new();
        for range in &self.ranges {
            found.clear();
            matches(&self.text[range.clone()], &mut found)?;
            if invert {
                found.iter_mut().for_each(|(_, matched)| *matched = !*matched);
            }
            join(behavior, &mut found);
            out.extend(found.iter().filter(|(part, _)| !part.is_empty()).map(|(part, _)| range.start + part.start..range.start + part.end));
        }
        self.ranges = out;
        Ok(())
    }
}

/// Splits a text. `first` says whether it is the start of what was given to be encoded.
pub(crate) fn split(splitters: &[Splitter], text: String, first: bool) -> Result<Words> {
    let whole = 0..text.len();
    let mut words = Words { text, ranges: vec![whole], spelled: false };
    for (at, splitter) in splitters.iter().enumerate() {
        apply(splitter, at + 1 == splitters.len(), first, &mut words)?;
    }
    words.ranges.retain(|range| !range.is_empty());
    Ok(words)
}

fn apply(splitter: &Splitter, last: bool, first: bool, words: &mut Words) -> Result<()> {
    match splitter {
        Splitter::Split { pattern, behavior, invert } => match pattern {
            Pattern::Text(text) => words.split(*behavior, *invert, |word, out| {
                by_text(text, word, out);
                Ok(())
            }),
            Pattern::Regex(regex) => words.split(*behavior, *invert, |word, out| by_regex(regex, word, out)),
        },
        Splitter::ByteLevel { add_prefix_space, regex } => {
            if *add_prefix_space && words.iter().any(|word| !word.starts_with(' ')) {
                words.rewrite(|_, word, out| {
                    if !word.starts_with(' ') {
                        out.push(' ');
                    }
                    out.push_str(word);
                });
            }
            if let Some(regex) = regex {
                words.split(Behavior::Isolated, false, |word, out| by_regex(regex, word, out))?;
            }
            // The engine reads bytes; only a later splitter sees how they are spelled.
            if !last {
                words.rewrite(|_, word, out| byte_level::spell(word, out));
                words.spelled = true;
            }
            Ok(())
        }
        Splitter::Metaspace { replacement, scheme, split } => {
            let prepends = |at: usize| match scheme {
                PrependScheme::Always => true,
                PrependScheme::First => first && at == 0,
                PrependScheme::Never => false,
            };
            words.rewrite(|at, word, out| {
                let start = out.len();
                out.extend(word.chars().map(|c| if c == ' ' { *replacement } else { c }));
                if prepends(at) && !out[start..].starts_with(*replacement) {
                    out.insert(start, *replacement);
                }
            });
            if *split {
                words.split(Behavior::MergedWithNext, false, |word, out| {
                    by_char(word, out, |c| c == *replacement);
                    Ok(())
                })?;
            }
            Ok(())
        }
        Splitter::Digits { individual } => {
            let behavior = if *individual { Behavior::Isolated } else { Behavior::Contiguous };
            words.split(behavior, false, |word, out| {
                by_char(word, out, |c| unicode::traits(c, Table::Oniguruma) & NUMBER != 0);
                Ok(())
            })
        }
        Splitter::Punctuation(behavior) => words.split(*behavior, false, |word, out| {
            by_char(word, out, is_punctuation);
            Ok(())
        }),
        Splitter::Whitespace(regex) => words.split(Behavior::Removed, true, |word, out| by_regex(regex, word, out)),
        Splitter::WhitespaceSplit => words.split(Behavior::Removed, false, |word, out| {
            by_char(word, out, char::is_whitespace);
            Ok(())
        }),
        Splitter::Bert => {
            words.split(Behavior::Removed, false, |word, out| {
                by_char(word, out, char::is_whitespace);
                Ok(())
            })?;
            words.split(Behavior::Isolated, false, |word, out| {
                by_char(word, out, is_punctuation);
                Ok(())
            })
        }
        Splitter::CharDelimiter(delimiter) => words.split(Behavior::Removed, false, |word, out| {
            by_char(word, out, |c| c == *delimiter);
            Ok(())
        }),
    }
}

pub(crate) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || unicode::traits(c, Table::Categories) & PUNCTUATION != 0
}

/// All of a word, in parts that match and parts that do not.
fn by_regex(regex: &Regex, word: &str, out: &mut Vec<(Range<usize>, bool)>) -> Result<()> {
    let mut done = 0;
    while let Some((start, end)) = regex.find_at(word, done)? {
        if start > done {
            out.push((done..start, false));
        }
        out.push((start..end, true));
        done = end;
    }
    if done < word.len() {
        out.push((done..word.len(), false));
    }
    Ok(())
}

fn by_text(text: &str, word: &str, out: &mut Vec<(Range<usize>, bool)>) {
    let mut done = 0;
    if !text.is_empty() {
        for (start, found) in word.match_indices(text) {
            if start > done {
                out.push((done..start, false));
            }
            done = start + found.len();
            out.push((start..done, true));
        }
    }
    if done < word.len() {
        out.push((done..word.len(), false));
    }
}

fn by_char(word: &str, out: &mut Vec<(Range<usize>, bool)>, mut matches: impl FnMut(char) -> bool) {
    let mut done = 0;
    for (at, c) in word.char_indices() {
        if matches(c) {
            if at > done {
                out.push((done..at, false));
            }
            done = at + c.len_utf8();
            out.push((at..done, true));
        }
    }
    if done < word.len() {
        out.push((done..word.len(), false));
    }
}

/// Does with the matches what the behavior says.
fn join(behavior: Behavior, parts: &mut Vec<(Range<usize>, bool)>) {
    let taken = std::mem::take(parts);
    match behavior {
        Behavior::Isolated => *parts = taken,
        Behavior::Removed => parts.extend(taken.into_iter().filter(|(_, matched)| !matched)),
        Behavior::Contiguous => {
            for (range, matched) in taken {
                match parts.last_mut().filter(|(_, before)| *before == matched) {
                    Some((last, _)) => last.end = range.end,
                    None => parts.push((range, matched)),
                }
            }
        }
        Behavior::MergedWithPrevious => {
            let mut previous = false;
            for (range, matched) in taken {
                match parts.last_mut().filter(|_| matched && !previous) {
                    Some((last, _)) => last.end = range.end,
                    None => parts.push((range, matched)),
                }
                previous = matched;
            }
        }
        Behavior::MergedWithNext => {
            let mut previous = false;
            for (range, matched) in taken.into_iter().rev() {
                match parts.last_mut().filter(|_| matched && !previous) {
                    Some((last, _)) => last.start = range.start,
                    None => parts.push((range, matched)),
                }
                previous = matched;
            }
            parts.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(splitters: &[Splitter], text: &str) -> Vec<String> {
        split(splitters, text.to_owned(), true).unwrap().iter().map(str::to_owned).collect()
    }

    #[test]
    fn behaviors() {
        let cases = [
            (Behavior::Isolated, vec!["the", "-", "final", "-", "-", "countdown"]),
            (Behavior::Removed, vec!["the", "final", "countdown"]),
            (Behavior::MergedWithPrevious, vec!["the-", "final-", "-", "countdown"]),
            (Behavior::MergedWithNext, vec!["the", "-final", "-", "-countdown"]),
            (Behavior::Contiguous, vec!["the", "-", "final", "--", "countdown"]),
        ];
        for (behavior, expected) in cases {
            let splitter = Splitter::Split { pattern: Pattern::Text("-".to_owned()), behavior, invert: false };
            assert_eq!(words(&[splitter], "the-final--countdown"), expected, "{behavior:?}");
        }
    }

    #[test]
    fn metaspace_and_bert() {
        let metaspace = |scheme, split| Splitter::Metaspace { replacement: '▁', scheme, split };
        assert_eq!(words(&[metaspace(PrependScheme::Always, true)], "Hey friend!"), ["▁Hey", "▁friend!"]);
        assert_eq!(words(&[metaspace(PrependScheme::Never, false)], "Hey friend!"), ["Hey▁friend!"]);
        assert_eq!(words(&[Splitter::Bert], "Hey, friend! $5"), ["Hey", ",", "friend", "!", "$", "5"]);
        assert_eq!(words(&[Splitter::Digits { individual: true }], "a12b"), ["a", "1", "2", "b"]);
    }
}
