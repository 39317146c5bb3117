//! BERT's word pieces: the longest token that a word starts with, then the longest that the rest
//! starts with; a word that cannot be spelled is unknown as a whole.

use crate::vocabulary::Vocabulary;

/// The parameters.
#[derive(Debug, Clone)]
pub(crate) struct WordPiece {
    pub(crate) unknown: Option<u32>,
    /// Stands before the first piece in the vocabulary.
    pub(crate) first: String,
    /// Stands before the others.
    pub(crate) rest: String,
    /// A word of more characters is unknown.
    pub(crate) longest_word: usize,
    /// Bytes of the longest token.
    pub(crate) longest_token: usize,
}

impl WordPiece {
    pub(super) fn encode(&self, vocabulary: &Vocabulary, word: &str, out: &mut Vec<u32>) {
        let before = out.len();
        if word.chars().nth(self.longest_word).is_some() || !self.pieces(vocabulary, word, out) {
            out.truncate(before);
            out.extend(self.unknown);
        }
    }

    fn pieces(&self, vocabulary: &Vocabulary, word: &str, out: &mut Vec<u32>) -> bool {
        let mut piece = String::with_capacity(self.longest_token + 4);
        let mut start = 0;
        while start < word.len() {
            let prefix = if start == 0 { &self.first } else { &self.rest };
            let furthest = word.len().min(start + self.longest_token);
            let found = (start + 1..=furthest).rev().filter(|&end| word.is_char_boundary(end)).find_map(|end| {
                piece.clear();
                piece.push_str(prefix);
                piece.push_str(&word[start..end]);
                vocabulary.find(&piece).map(|id| (id, end))
            });
            let Some((id, end)) = found else { return false };
            out.push(id);
            start = end;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TokenKind;

    #[test]
    fn longest_first_or_unknown() {
        let mut vocabulary = Vocabulary::default();
        for text in ["[UNK]", "un", "##aff", "##able", "##a", "unaf"] {
            vocabulary.push(text, 0.0, TokenKind::Normal).unwrap();
        }
        let pieces = WordPiece { unknown: Some(0), first: String::new(), rest: "##".to_owned(), longest_word: 8, longest_token: 6 };
        let encode = |word| {
            let mut out = Vec::new();
            pieces.encode(&vocabulary, word, &mut out);
            out
        };
        assert_eq!(encode("unable"), [1, 3]);
        assert_eq!(encode("unaff"), [0]);
        assert_eq!(encode("una"), [1, 4]);
        assert_eq!(encode("unableable"), [0]);
    }
}
