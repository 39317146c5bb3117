//! The merge rules of a byte-pair encoding: an ordered list of pairs, with an index from pair to
//! rank.
//!
//! Each rule is three ids (left, right, what they become): 12 bytes, and 8 to 16 of index. A rule
//! may name a text that is no token (some files have such rules, and the merging goes on through
//! it); those texts are [`Merges::extra`] and have ids from the vocabulary's length on.

use std::hash::{BuildHasher, RandomState};

use gravure_base::{Error, Result};

use crate::vocabulary::{TokenKind, Vocabulary, shown};

const EMPTY: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Rule {
    left: u32,
    right: u32,
    merged: u32,
}

/// Whether a rule may name a text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownParts {
    Refuse,
    Keep,
}

/// Which rule counts of a pair that stands twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    FirstCounts,
    LastCounts,
}

/// Merge rules in order of rank.
#[derive(Debug, Clone, Default)]
pub struct Merges {
    rules: Vec<Rule>,
    index: Vec<u32>,
    seed: u64,
    /// Texts of rules that are no tokens; the first has the id `base`.
    extra: Vocabulary,
    base: u32,
}

impl Merges {
    /// Resolves pairs of texts against a vocabulary.
    ///
    /// # Errors
    /// `Input` where a text is no token and `unknown` refuses that.
    pub(crate) fn new<'a>(
        vocabulary: &Vocabulary,
        pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
        unknown: UnknownParts,
        repeated: Repeated,
    ) -> Result<Self> {
        let mut new = Self {
            rules: Vec::with_capacity(pairs.len()),
            base: vocabulary.len() as u32,
            seed: RandomState::new().hash_one(0),
            ..Self::default()
        };
        let mut joined = String::new();
        for (rank, (left, right)) in pairs.enumerate() {
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let resolved = [left, right, joined.as_str()].map(|text| new.resolve(vocabulary, text, unknown));
            let [left, right, merged] = resolved;
            let at = |e: Error| e.at_item(format!("merge rule {rank}"));
            new.rules.push(Rule { left: left.map_err(at)?, right: right.map_err(at)?, merged: merged.map_err(at)? });
        }
        new.build_index(repeated);
        Ok(new)
    }

    fn resolve(&mut self, vocabulary: &Vocabulary, text: &str, unknown: UnknownParts) -> Result<u32> {
        if let Some(id) = vocabulary.find(text) {
            return Ok(id);
        }
        if unknown == UnknownParts::Refuse {
            return Err(Error::input(format!("the merge rules use {}, which is not in the vocabulary", shown(text))));
        }
        let extra = match self.extra.find(text) {
            Some(id) => id,
            None => self.extra.push(text, 0.0, TokenKind::Undefined)?,
        };
        self.base.checked_add(extra).ok_or_else(|| Error::limit("too many merge rules"))
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules in order of rank, as ids: left, right and what they become.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32, u32)> {
        self.rules.iter().map(|rule| (rule.left, rule.right, rule.merged))
    }

    /// The text behind an id of a rule.
    pub fn text<'a>(&'a self, vocabulary: &'a Vocabulary, id: u32) -> Option<&'a str> {
        match id.checked_sub(self.base) {
            Some(extra) => self.extra.text(extra),
            None => vocabulary.text(id),
        }
    }

    /// Texts that rules use and that are no tokens.
    pub fn extra(&self) -> &Vocabulary {
        &self.extra
    }

    /// The id of a text that rules use, token or not.
    pub(crate) fn find_symbol(&self, vocabulary: &Vocabulary, text: &str) -> Option<u32> {
        vocabulary.find(text).or_else(|| self.extra.find(text).map(|extra| self.base + extra))
    }

    /// Whether an id of a rule is a token.
    pub(crate) fn is_token(&self, id: u32) -> bool {
        id < self.base
    }

    /// The rank of a pair and what it becomes.
    pub(crate) fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        if self.index.is_empty() {
            return None;
        }
        let mask = self.index.len() - 1;
        let mut slot = self.hash(left, right) & mask;
        loop {
            let rank = self.index[slot];
            if rank == EMPTY {
                return None;
            }
            let rule = self.rules[rank as usize];
            if rule.left == left && rule.right == right {
                return Some((rank, rule.merged));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Bytes held on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.rules.capacity() * size_of::<Rule>() + self.index.capacity() * 4 + self.extra.heap_bytes()
    }

    /// Multiply and fold, keyed at random: a pair is looked up for every two neighbours of every
    /// word, so the hash has to be a few instructions.
    fn hash(&self, left: u32, right: u32) -> usize {
        let key = (u64::from(left) << 32 | u64::from(right)) ^ self.seed;
        let wide = u128::from(key) * 0x9E37_79B9_7F4A_7C15;
        (wide ^ (wide >> 64)) as usize
    }

    fn build_index(&mut self, repeated: Repeated) {
        self.index = vec![EMPTY; (self.rules.len().max(8) * 2).next_power_of_two()];
        let mask = self.index.len() - 1;
        for rank in 0..self.rules.len() {
            let rule = self.rules[rank];
            let mut slot = self.hash(rule.left, rule.right) & mask;
            let same = |other: u32| {
                let other = self.rules[other as usize];
                (other.left, other.right) == (rule.left, rule.right)
            };
            while self.index[slot] != EMPTY && !same(self.index[slot]) {
                slot = (slot + 1) & mask;
            }
            if self.index[slot] == EMPTY || repeated == Repeated::LastCounts {
                self.index[slot] = rank as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(texts: &[&str]) -> Vocabulary {
        let mut new = Vocabulary::default();
        for text in texts {
            new.push(text, 0.0, TokenKind::Normal).unwrap();
        }
        new
    }

    #[test]
    fn finds_rules_by_pair() {
        let vocabulary = vocabulary(&["a", "b", "c", "ab", "abc"]);
        let merges =
            Merges::new(&vocabulary, [("a", "b"), ("ab", "c"), ("a", "b")].into_iter(), UnknownParts::Refuse, Repeated::FirstCounts)
                .unwrap();
        assert_eq!(merges.find(0, 1), Some((0, 3)));
        assert_eq!(merges.find(3, 2), Some((1, 4)));
        assert_eq!(merges.find(1, 0), None);
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused_or_kept() {
        let vocabulary = vocabulary(&["a", "b", "c", "abc"]);
        let pairs = [("a", "b"), ("ab", "c")];
        let error = Merges::new(&vocabulary, pairs.into_iter(), UnknownParts::Refuse, Repeated::FirstCounts).unwrap_err();
        assert_eq!(error.item(), Some("merge rule 0"));
        let merges = Merges::new(&vocabulary, pairs.into_iter(), UnknownParts::Keep, Repeated::LastCounts).unwrap();
        assert_eq!(merges.find(0, 1), Some((0, 4)));
        assert_eq!(merges.find(4, 2), Some((1, 3)));
        assert_eq!(merges.text(&vocabulary, 4), Some("ab"));
        assert!(!merges.is_token(4));
    }
}
