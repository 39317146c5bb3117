//! SentencePiece's unigram model: the segmentation whose tokens have the largest sum of log
//! probabilities, by Viterbi. Kudo, <https://arxiv.org/abs/1804.10959>.

use gravure_base::{Error, Result};

use crate::vocabulary::{TokenKind, Vocabulary, shown};

/// What an unknown character costs more than the worst token.
const PENALTY: f64 = 10.0;

/// The parameters.
#[derive(Debug, Clone)]
pub(crate) struct Unigram {
    pub(super) unknown: Option<u32>,
    /// Tokens of the bytes of what is unknown.
    fallback: Option<Box<[u32; 256]>>,
    /// Bytes of the longest token.
    longest: usize,
    unknown_score: f64,
    /// A token that the user defined always wins.
    user_defined_is_free: bool,
}

impl Unigram {
    pub(crate) fn new(
        vocabulary: &Vocabulary,
        unknown: Option<u32>,
        fallback: Option<Box<[u32; 256]>>,
        user_defined_is_free: bool,
    ) -> Self {
        let normal = |id: &usize| vocabulary.kinds()[*id] == TokenKind::Normal || !user_defined_is_free;
        let lowest = (0..vocabulary.len()).filter(normal).map(|id| f64::from(vocabulary.scores()[id])).fold(f64::INFINITY, f64::min);
        let longest = vocabulary.texts().map(str::len).max().unwrap_or(0);
        let unknown_score = if lowest.is_finite() { lowest - PENALTY } else { -PENALTY };
        Self { unknown, fallback, longest, unknown_score, user_defined_is_free }
    }

    fn score(&self, vocabulary: &Vocabulary, id: u32) -> Option<f64> {
        match (vocabulary.kind(id)?, self.user_defined_is_free) {
            (TokenKind::UserDefined, true) => Some(0.0),
            // Control tokens are no text there; holes in the numbering are none here.
            (TokenKind::Control | TokenKind::Unknown | TokenKind::Byte, true) | (TokenKind::Unused, false) => None,
            _ => vocabulary.score(id).map(f64::from),
        }
    }

    pub(super) fn encode(&self, vocabulary: &Vocabulary, word: &str, out: &mut Vec<u32>) -> Result<()> {
        #[derive(Clone, Copy)]
        struct Best {
            score: f64,
            start: usize,
            id: Option<u32>,
        }
        let mut best = vec![Best { score: f64::NEG_INFINITY, start: 0, id: None }; word.len() + 1];
        best[0].score = 0.0;
        for (start, c) in word.char_indices() {
            let before = best[start].score;
            let width = c.len_utf8();
            let mut known = false;
            let furthest = word.len().min(start + self.longest);
            let ends = (start + 1..=furthest).filter(|&end| word.is_char_boundary(end));
            for end in ends {
                let Some(id) = vocabulary.find(&word[start..end]) else { continue };
                let Some(score) = self.score(vocabulary, id) else { continue };
                known |= end == start + width;
                if before + score > best[end].score {
                    best[end] = Best { score: before + score, start, id: Some(id) };
                }
            }
            let end = start + width;
            if !known && before + self.unknown_score > best[end].score {
                best[end] = Best { score: before + self.unknown_score, start, id: None };
            }
        }
        let mut found = Vec::new();
        let mut end = word.len();
        while end > 0 {
            let Best { start, id, .. } = best[end];
            match found.last_mut() {
                // Neighbouring unknown characters are one.
                Some((None, from, _)) if id.is_none() => *from = start,
                _ => found.push((id, start, end)),
            }
            end = start;
        }
        for &(id, start, end) in found.iter().rev() {
            match (id, &self.fallback, self.unknown) {
                (Some(id), ..) => out.push(id),
                (None, Some(tokens), _) => out.extend(word[start..end].bytes().map(|b| tokens[usize::from(b)])),
                (None, None, Some(id)) => out.push(id),
                (None, None, None) => {
                    return Err(Error::input(format!("the vocabulary has neither {} nor an unknown token", shown(&word[start..end]))));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_sum_wins_and_unknowns_are_one() {
        let mut vocabulary = Vocabulary::default();
        for (text, score) in [("<unk>", 0.0), ("a", -1.0), ("b", -1.5), ("ab", -2.0), ("abc", -9.0), ("c", -1.0)] {
            vocabulary.push(text, score, TokenKind::Normal).unwrap();
        }
        let unigram = Unigram::new(&vocabulary, Some(0), None, false);
        let encode = |word| {
            let mut out = Vec::new();
            unigram.encode(&vocabulary, word, &mut out).unwrap();
            out
        };
        assert_eq!(encode("abc"), [3, 5]);
        assert_eq!(encode("axyb"), [1, 0, 2]);
        assert_eq!(encode("é"), [0]);
        assert!(encode("").is_empty());
    }
}
