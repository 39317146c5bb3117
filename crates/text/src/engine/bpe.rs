//! Byte-pair encoding: of all neighbours that a rule joins, the ones of the lowest rank become one,
//! the leftmost first, until no rule applies. Sennrich et al., <https://arxiv.org/abs/1508.07909>.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::byte_level;
use crate::merges::Merges;
use crate::vocabulary::{TokenKind, Vocabulary};

/// Past this many symbols a heap beats looking at all pairs each time. Words have under ten; the
/// whole texts that SentencePiece's descendants merge have thousands.
const FEW: usize = 48;
/// A symbol that nothing joins.
const BARRIER: u32 = u32::MAX;

/// What a word is made of at first.
#[derive(Debug, Clone)]
pub(crate) enum Symbols {
    /// Its bytes; the symbol of each.
    Bytes(Box<[u32; 256]>),
    /// Its characters.
    Chars,
}

/// What becomes of a symbol that the vocabulary does not have, where nothing stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// It is dropped at once, and its neighbours touch (Hugging Face).
    Dropped,
    /// It keeps its neighbours apart, and is dropped in the end (llama.cpp).
    Barrier,
}

/// The parameters.
#[derive(Debug, Clone)]
pub(crate) struct Bpe {
    pub(crate) symbols: Symbols,
    /// A word that is a token is taken whole.
    pub(crate) ignore_merges: bool,
    /// A word of line feeds that is a token is taken whole.
    pub(crate) whole_line_feeds: bool,
    pub(crate) unknown: Option<u32>,
    /// Neighbouring unknown symbols are one.
    pub(crate) fuse_unknown: bool,
    /// Tokens of the bytes of an unknown symbol.
    pub(crate) fallback: Option<Box<[u32; 256]>>,
    pub(crate) unmatched: Unmatched,
}

impl Bpe {
    /// The symbols of all bytes.
    pub(crate) fn bytes(vocabulary: &Vocabulary, merges: &Merges) -> Symbols {
        let mut out = Box::new([BARRIER; 256]);
        for (byte, id) in out.iter_mut().enumerate() {
            let spelled = byte_level::char_of(byte as u8);
            *id = merges.find_symbol(vocabulary, spelled.encode_utf8(&mut [0; 4])).unwrap_or(BARRIER);
        }
        Symbols::Bytes(out)
    }

    pub(super) fn encode(&self, vocabulary: &Vocabulary, merges: &Merges, word: &str, spelled: bool, out: &mut Vec<u32>) {
        let whole = self.ignore_merges || self.whole_line_feeds && word.bytes().all(|b| b == b'\n');
        if whole && let Some(id) = self.whole_word(vocabulary, word, spelled) {
            out.push(id);
            return;
        }
        let mut ids = Vec::with_capacity(word.len());
        self.first_symbols(vocabulary, merges, word, spelled, &mut ids);
        if ids.len() <= FEW {
            merge_few(merges, &mut ids)
        } else {
            merge_many(merges, &mut ids)
        }
        for id in ids {
            if merges.is_token(id) && id != BARRIER {
                out.push(id);
            } else {
                self.rest(vocabulary, merges, id, out);
            }
        }
    }

    fn whole_word(&self, vocabulary: &Vocabulary, word: &str, spelled: bool) -> Option<u32> {
        let found = match self.symbols {
            Symbols::Bytes(_) if !spelled => {
                let mut text = String::with_capacity(word.len() * 2);
                byte_level::spell(word, &mut text);
                vocabulary.find(&text)
            }
            _ => vocabulary.find(word),
        };
        found.filter(|&id| vocabulary.kind(id) != Some(TokenKind::Unused))
    }

    fn first_symbols(&self, vocabulary: &Vocabulary, merges: &Merges, word: &str, spelled: bool, ids: &mut Vec<u32>) {
        let mut unknown_before = false;
        let mut add = |found: Option<u32>, bytes: &[u8]| {
            if let Some(id) = found {
                ids.push(id);
                unknown_before = false;
                return;
            }
            if let Some(tokens) = self.fallback.as_ref().filter(|_| self.unmatched == Unmatched::Dropped) {
                ids.extend(bytes.iter().map(|&b| tokens[usize::from(b)]));
                unknown_before = false;
                return;
            }
            match self.unknown {
                Some(_) if self.fuse_unknown && unknown_before => {}
                Some(id) => ids.push(id),
                None if self.unmatched == Unmatched::Barrier => ids.push(BARRIER),
                None => {}
            }
            unknown_before = true;
        };
        match &self.symbols {
            Symbols::Bytes(symbols) if !spelled => {
                for byte in word.bytes() {
                    add(Some(symbols[usize::from(byte)]).filter(|&id| id != BARRIER), &[byte]);
                }
            }
            _ => {
                for (at, c) in word.char_indices() {
                    let text = &word[at..at + c.len_utf8()];
                    match merges.find_symbol(vocabulary, text) {
                        // llama.cpp spells what is left of a word in bytes, after the merging.
                        None if self.unmatched == Unmatched::Barrier && self.fallback.is_some() => {
                            add(Some(self.fallback_start(text)), text.as_bytes());
                            for &byte in &text.as_bytes()[1..] {
                                add(Some(self.fallback_of(byte)), &[byte]);
                            }
                        }
                        found => add(found, text.as_bytes()),
                    }
                }
            }
        }
    }

    fn fallback_start(&self, text: &str) -> u32 {
        text.bytes().next().map_or(BARRIER, |byte| self.fallback_of(byte))
    }

    fn fallback_of(&self, byte: u8) -> u32 {
        self.fallback.as_ref().map_or(BARRIER, |tokens| tokens[usize::from(byte)])
    }

    /// A symbol that is no token in the end: what of its text is one.
    fn rest(&self, vocabulary: &Vocabulary, merges: &Merges, id: u32, out: &mut Vec<u32>) {
        let Some(text) = merges.text(vocabulary, id).filter(|_| id != BARRIER) else { return };
        match &self.fallback {
            Some(tokens) => out.extend(text.bytes().map(|b| tokens[usize::from(b)])),
            None => out.extend(text.chars().filter(char::is_ascii).filter_map(|c| vocabulary.find(c.encode_utf8(&mut [0; 4])))),
        }
    }
}

/// Merges by looking at all pairs each time.
fn merge_few(merges: &Merges, ids: &mut Vec<u32>) {
    let find = |left: u32, right: u32| merges.find(left, right).unwrap_or((u32::MAX, BARRIER));
    let mut pairs: Vec<(u32, u32)> = ids.windows(2).map(|pair| find(pair[0], pair[1])).collect();
    loop {
        let best = pairs.iter().enumerate().min_by_key(|(_, (rank, _))| *rank);
        let Some((at, &(_, merged))) = best.filter(|(_, (rank, _))| *rank != u32::MAX) else { return };
        ids[at] = merged;
        ids.remove(at + 1);
        pairs.remove(at);
        if at > 0 {
            pairs[at - 1] = find(ids[at - 1], merged);
        }
        if at < pairs.len() {
            pairs[at] = find(merged, ids[at + 1]);
        }
    }
}

/// Merges with a heap of pairs; symbols are a linked list.
fn merge_many(merges: &Merges, ids: &mut Vec<u32>) {
    const NONE: usize = usize::MAX;
    let count = ids.len();
    let mut next: Vec<usize> = (1..=count).map(|at| if at == count { NONE } else { at }).collect();
    let mut previous: Vec<usize> = (0..count).map(|at| at.checked_sub(1).unwrap_or(NONE)).collect();
    let mut alive = vec![true; count];
    let mut heap = BinaryHeap::new();
    for at in 0..count - 1 {
        if let Some((rank, _)) = merges.find(ids[at], ids[at + 1]) {
            heap.push(Reverse((rank, at)));
        }
    }
    while let Some(Reverse((rank, at))) = heap.pop() {
        let right = next[at];
        if !alive[at] || right == NONE {
            continue;
        }
        // Both may have changed since the pair was found.
        let Some((_, merged)) = merges.find(ids[at], ids[right]).filter(|(now, _)| *now == rank) else { continue };
        ids[at] = merged;
        alive[right] = false;
        next[at] = next[right];
        if next[at] != NONE {
            previous[next[at]] = at;
            if let Some((rank, _)) = merges.find(merged, ids[next[at]]) {
                heap.push(Reverse((rank, at)));
            }
        }
        if previous[at] != NONE
            && let Some((rank, _)) = merges.find(ids[previous[at]], merged)
        {
            heap.push(Reverse((rank, previous[at])));
        }
    }
    let mut at = 0;
    ids.retain(|_| {
        at += 1;
        alive[at - 1]
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merges::{Repeated, UnknownParts};

    #[test]
    fn both_ways_of_merging_agree() {
        let mut vocabulary = Vocabulary::default();
        for text in ["a", "b", "c", "ab", "bc", "abc", "aa", "aab", "ca", "cab"] {
            vocabulary.push(text, 0.0, TokenKind::Normal).unwrap();
        }
        let pairs = [("b", "c"), ("a", "b"), ("a", "a"), ("aa", "b"), ("c", "a"), ("ab", "c"), ("a", "bc"), ("c", "ab")];
        let merges = Merges::new(&vocabulary, pairs.into_iter(), UnknownParts::Refuse, Repeated::LastCounts).unwrap();
        let mut state = 1u32;
        for length in 2..300 {
            let ids: Vec<u32> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 16) % 3
                })
                .collect();
            let (mut few, mut many) = (ids.clone(), ids);
            merge_few(&merges, &mut few);
            merge_many(&merges, &mut many);
            assert_eq!(few, many);
        }
    }
}
