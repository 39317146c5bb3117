//! SentencePiece's byte-pair encoding: of all neighbours whose text is a token, those of the best
//! score become one, the leftmost first. Kudo and Richardson, <https://arxiv.org/abs/1808.06226>.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use gravure_base::{Error, Result};

use crate::vocabulary::{Vocabulary, shown};

/// The parameters.
#[derive(Debug, Clone)]
pub(crate) struct Scored {
    /// Tokens of the bytes of a character that is no token.
    pub(crate) fallback: Option<Box<[u32; 256]>>,
    pub(crate) unknown: Option<u32>,
}

/// Neighbours that may become one.
struct Pair {
    score: f32,
    left: usize,
    /// Bytes of both, by which a pair that has changed since is recognised.
    bytes: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        // Adding zero makes the two zeros one.
        (self.score + 0.0).total_cmp(&(other.score + 0.0)).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    /// Zero where it has become part of another.
    bytes: usize,
    previous: usize,
    next: usize,
}

const NONE: usize = usize::MAX;

impl Scored {
    pub(super) fn encode(&self, vocabulary: &Vocabulary, word: &str, out: &mut Vec<u32>) -> Result<()> {
        let mut symbols: Vec<Symbol> = word
            .char_indices()
            .enumerate()
            .map(|(at, (start, c))| Symbol { start, bytes: c.len_utf8(), previous: at.checked_sub(1).unwrap_or(NONE), next: at + 1 })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let mut heap = BinaryHeap::new();
        for right in 1..symbols.len() {
            add(vocabulary, word, &symbols, right - 1, right, &mut heap);
        }
        while let Some(pair) = heap.pop() {
            let left = symbols[pair.left];
            if left.bytes == 0 || left.next == NONE {
                continue;
            }
            let right = symbols[left.next];
            if right.bytes == 0 || left.bytes + right.bytes != pair.bytes {
                continue;
            }
            symbols[left.next].bytes = 0;
            symbols[pair.left].bytes = pair.bytes;
            symbols[pair.left].next = right.next;
            if right.next != NONE {
                symbols[right.next].previous = pair.left;
                add(vocabulary, word, &symbols, pair.left, right.next, &mut heap);
            }
            if left.previous != NONE {
                add(vocabulary, word, &symbols, left.previous, pair.left, &mut heap);
            }
        }
        symbols.iter().filter(|symbol| symbol.bytes > 0).try_for_each(|symbol| {
            let text = &word[symbol.start..symbol.start + symbol.bytes];
            match (vocabulary.find(text), &self.fallback, self.unknown) {
                (Some(id), ..) => out.push(id),
                (None, Some(tokens), _) => out.extend(text.bytes().map(|b| tokens[usize::from(b)])),
                (None, None, Some(id)) => out.push(id),
                (None, None, None) => return Err(Error::input(format!("the vocabulary has neither {} nor an unknown token", shown(text)))),
            }
            Ok(())
        })
    }
}

fn add(vocabulary: &Vocabulary, word: &str, symbols: &[Symbol], left: usize, right: usize, heap: &mut BinaryHeap<Pair>) {
    let start = symbols[left].start;
    let bytes = symbols[left].bytes + symbols[right].bytes;
    let found = vocabulary.find(&word[start..start + bytes]);
    if let Some(score) = found.and_then(|id| vocabulary.score(id)) {
        heap.push(Pair { score, left, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TokenKind;

    #[test]
    fn the_best_score_first_then_the_leftmost() {
        let mut vocabulary = Vocabulary::default();
        for (text, score) in [("a", -9.0), ("b", -9.0), ("ab", -2.0), ("ba", -1.0), ("aba", -3.0), ("<unk>", 0.0)] {
            vocabulary.push(text, score, TokenKind::Normal).unwrap();
        }
        let scored = Scored { fallback: None, unknown: Some(5) };
        let encode = |word| {
            let mut out = Vec::new();
            scored.encode(&vocabulary, word, &mut out).unwrap();
            out
        };
        assert_eq!(encode("aba"), [4]);
        assert_eq!(encode("abab"), [4, 1]);
        assert_eq!(encode("abxbaab"), [2, 5, 3, 2]);
        assert!(encode("").is_empty());
        assert!(Scored { fallback: None, unknown: None }.encode(&vocabulary, "x", &mut Vec::new()).is_err());
    }
}
