//! Tokens that are cut out of a text before it is split.

use crate::pipeline::AddedToken;
use crate::unicode::{self, Table};

/// A part of a text: between tokens, or one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    Token(u32),
}

/// Texts to look for, by their bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Sorted by byte.
    children: Vec<(u8, u32)>,
    value: Option<u32>,
}

impl Trie {
    /// Adds a text; of two equal ones the first stays.
    pub(crate) fn insert(&mut self, text: &str, value: u32) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for byte in text.bytes() {
            at = match self.nodes[at].children.binary_search_by_key(&byte, |&(b, _)| b) {
                Ok(place) => self.nodes[at].children[place].1 as usize,
                Err(place) => {
                    let new = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.insert(place, (byte, new as u32));
                    new
                }
            };
        }
        self.nodes[at].value.get_or_insert(value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Calls `each` with the length and value of every text that `bytes` starts with, shortest
    /// first.
    pub(crate) fn prefixes(&self, bytes: &[u8], mut each: impl FnMut(usize, u32)) {
        let Some(mut node) = self.nodes.first() else { return };
        for (at, byte) in bytes.iter().enumerate() {
            let Ok(place) = node.children.binary_search_by_key(byte, |&(b, _)| b) else { return };
            node = &self.nodes[node.children[place].1 as usize];
            if let Some(value) = node.value {
                each(at + 1, value);
            }
        }
    }

    /// The longest text that `bytes` starts with: its length and value.
    pub(crate) fn longest(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        let mut out = None;
        self.prefixes(bytes, |length, value| out = Some((length, value)));
        out
    }
}

/// Added tokens of one pass, as Hugging Face cuts them out: leftmost first, of those the longest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leftmost {
    trie: Trie,
    tokens: Vec<AddedToken>,
}

impl Leftmost {
    /// Tokens with the text under which each is looked for.
    pub(crate) fn new<'a>(tokens: impl Iterator<Item = (&'a AddedToken, String)>) -> Self {
        let mut new = Self::default();
        for (token, text) in tokens {
            if !text.is_empty() {
                new.trie.insert(&text, new.tokens.len() as u32);
                new.tokens.push(token.clone());
            }
        }
        new
    }

    /// Cuts `text` into parts.
    pub(crate) fn cut<'a>(&self, text: &'a str, out: &mut Vec<Part<'a>>) {
        let mut done = 0;
        let mut at = 0;
        while !self.trie.is_empty() && at < text.len() {
            let Some((length, place)) = self.trie.longest(&text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            let token = &self.tokens[place as usize];
            let (mut start, mut end) = (at, at + length);
            at = end;
            if token.single_word
                && (text[..start].chars().next_back().is_some_and(is_word) || text[end..].chars().next().is_some_and(is_word))
            {
                continue;
            }
            if token.lstrip {
                start = text[..start].trim_end().len().max(done);
            }
            if token.rstrip {
                end = text.len() - text[end..].trim_start().len();
            }
            // Whitespace that the token before has taken.
            start = start.max(done);
            end = end.max(start);
            if done < start {
                out.push(Part::Text(&text[done..start]));
            }
            out.push(Part::Token(token.id));
            done = end;
            at = at.max(done);
        }
        if done < text.len() {
            out.push(Part::Text(&text[done..]));
        }
    }
}

fn is_word(c: char) -> bool {
    const WORD: unicode::Mask = unicode::LETTER | unicode::MARK | unicode::NUMBER | unicode::bit(unicode::Class::Pc);
    unicode::traits(c, Table::Oniguruma) & WORD != 0
}

/// Tokens as llama.cpp cuts them out: the longest token everywhere, then the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct LongestFirst {
    tokens: Vec<AddedToken>,
}

impl LongestFirst {
    pub(crate) fn new(mut tokens: Vec<AddedToken>) -> Self {
        tokens.retain(|token| !token.content.is_empty());
        tokens.sort_by_key(|token| std::cmp::Reverse(token.content.len()));
        Self { tokens }
    }

    /// Cuts `text` into parts. Control tokens are text where `special` is not set.
    pub(crate) fn cut<'a>(&self, text: &'a str, special: bool, out: &mut Vec<Part<'a>>) {
        let first = out.len();
        out.push(Part::Text(text));
        for token in self.tokens.iter().filter(|token| special || !token.special) {
            if !text.contains(&token.content) {
                continue;
            }
            let parts: Vec<Part<'a>> = out.drain(first..).collect();
            for part in parts {
                let Part::Text(mut rest) = part else {
                    out.push(part);
                    continue;
                };
                while let Some(at) = rest.find(&token.content) {
                    let space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
                    let left = if token.lstrip { rest[..at].trim_end_matches(space) } else { &rest[..at] };
                    if !left.is_empty() {
                        out.push(Part::Text(left));
                    }
                    out.push(Part::Token(token.id));
                    rest = &rest[at + token.content.len()..];
                    if token.rstrip {
                        rest = rest.trim_start_matches(space);
                    }
                }
                if !rest.is_empty() {
                    out.push(Part::Text(rest));
                }
            }
        }
        out.retain(|part| *part != Part::Text(""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str) -> AddedToken {
        AddedToken { id, content: content.to_owned(), special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }
    }

    fn leftmost(tokens: &[AddedToken]) -> Leftmost {
        Leftmost::new(tokens.iter().map(|token| (token, token.content.clone())))
    }

    fn cut<'a>(tokens: &[AddedToken], text: &'a str) -> Vec<Part<'a>> {
        let mut out = Vec::new();
        leftmost(tokens).cut(text, &mut out);
        out
    }

    #[test]
    fn leftmost_and_longest() {
        use Part::{Text, Token};
        let tokens = [token(0, "<a>"), token(1, "<a>b"), token(2, "b<")];
        assert_eq!(cut(&tokens, "x<a>b<a>"), [Text("x"), Token(1), Token(0)]);
        assert_eq!(cut(&tokens, "b<a>"), [Token(2), Text("a>")]);
        assert_eq!(cut(&tokens, ""), []);
    }

    #[test]
    fn whitespace_and_words() {
        use Part::{Text, Token};
        let strip = AddedToken { lstrip: true, rstrip: true, ..token(0, "<m>") };
        assert_eq!(cut(&[strip], "a  <m> \n<m>b"), [Text("a"), Token(0), Token(0), Text("b")]);
        let word = AddedToken { single_word: true, ..token(0, "cat") };
        assert_eq!(cut(&[word], "cat concat cat."), [Token(0), Text(" concat "), Token(0), Text(".")]);
    }

    #[test]
    fn the_longest_token_everywhere_first() {
        use Part::{Text, Token};
        let tokens = vec![token(0, "ab"), token(1, "bcd")];
        let mut out = Vec::new();
        LongestFirst::new(tokens).cut("abcdab", true, &mut out);
        assert_eq!(out, [Text("a"), Token(1), Token(0)]);
        let mut out = Vec::new();
        let user = AddedToken { special: false, ..token(0, "ab") };
        LongestFirst::new(vec![user, token(1, "x")]).cut("xabx", false, &mut out);
        assert_eq!(out, [Text("x"), Token(0), Text("x")]);
    }
}
