//! A small regex engine for the patterns that tokenizers split text by.
//!
//! Why an own one: the same pattern means slightly different things to Oniguruma (Hugging Face) and
//! to llama.cpp, in Unicode tables, in case folding, in `\s`. Here these are parameters. The dialect
//! is what the tokenizers in use need: classes with nesting and intersection, properties, groups,
//! alternatives, greedy, lazy and possessive repetition, lookahead, `(?i)`, anchors. Anything else
//! is an error that names it.
//!
//! Matching backtracks, as in both originals, with a bound on the steps: a hostile pattern is an
//! error, not a hang. Repetition of one set of characters, which is nearly all that these patterns
//! do, is one instruction and one frame on the stack.

use gravure_base::{Error, Result};

use crate::unicode::{self, LETTER, MARK, Mask, NUMBER, Table, WHITESPACE};
use crate::vocabulary::shown;

mod parse;
mod run;

/// Whose reading of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// Hugging Face's: Oniguruma.
    Oniguruma,
    /// llama.cpp's: `std::regex` over classes, or matchers by hand.
    LlamaCpp,
}

impl Flavor {
    fn table(self) -> Table {
        match self {
            Self::Oniguruma => Table::Oniguruma,
            Self::LlamaCpp => Table::LlamaCpp,
        }
    }
}

/// A compiled pattern. Two are equal where their texts and flavors are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Regex {
    source: String,
    program: Vec<Instruction>,
    sets: Vec<Set>,
}

#[derive(Debug, Clone, PartialEq)]
enum Instruction {
    /// One character of a set.
    One(usize),
    /// A character of a set, repeated; as many as possible first.
    Run {
        set: usize,
        min: u32,
        max: u32,
        possessive: bool,
    },
    /// The first way, or else the second.
    Split(usize, usize),
    Jump(usize),
    /// The instructions up to `end` match here, or do not; nothing is consumed.
    Look {
        negative: bool,
        end: usize,
    },
    /// The instructions up to `end` match, without a second try.
    Atomic {
        end: usize,
    },
    /// The start of the text, or of a line.
    Start {
        lines: bool,
    },
    /// The end of the text, or of a line.
    End {
        lines: bool,
    },
    WordBoundary {
        negative: bool,
    },
    Accept,
}

/// A set of characters.
#[derive(Debug, Clone, Default, PartialEq)]
struct Set {
    /// Membership of the first 128, with everything below taken into account.
    ascii: [u64; 2],
    negated: bool,
    /// In the set: what has one of these traits.
    with: Mask,
    /// In the set: for each mask, what has none of its traits.
    without: Vec<Mask>,
    ranges: Vec<(char, char)>,
    nested: Vec<Set>,
    /// What must hold as well.
    and: Option<Box<Set>>,
    table: Option<Table>,
}

impl Set {
    fn contains(&self, c: char) -> bool {
        let code = c as u32;
        if code < 128 {
            return self.ascii[(code >> 6) as usize] >> (code & 63) & 1 != 0;
        }
        // llama.cpp shows its matcher a vertical tab for every whitespace outside ASCII.
        if self.table == Some(Table::LlamaCpp) && c.is_whitespace() {
            return self.contains('\x0b');
        }
        self.holds(c)
    }

    fn holds(&self, c: char) -> bool {
        let traits = || unicode::traits(c, self.table.unwrap_or(Table::Oniguruma));
        let within = self.ranges.iter().any(|&(first, last)| first <= c && c <= last)
            || self.with != 0 && traits() & self.with != 0
            || self.without.iter().any(|mask| traits() & mask == 0)
            || self.nested.iter().any(|set| set.holds(c));
        let also = self.and.as_ref().is_none_or(|set| set.holds(c));
        (within && also) != self.negated
    }

    /// Fills in the first 128 characters.
    fn finish(mut self) -> Self {
        for code in 0..128u8 {
            if self.holds(code.into()) {
                self.ascii[usize::from(code >> 6)] |= 1 << (code & 63);
            }
        }
        self
    }
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `Unsupported` for syntax outside the dialect, `Input` for what is no pattern.
    pub(crate) fn new(source: &str, flavor: Flavor) -> Result<Self> {
        let node = parse::parse(source, flavor).map_err(|problem| {
            let text = format!("the regex {} cannot be read: {}", shown(source), problem.text);
            if problem.unsupported { Error::unsupported(text) } else { Error::input(text) }
        })?;
        let mut new = Self { source: source.to_owned(), program: Vec::new(), sets: Vec::new() };
        new.emit(&node)?;
        new.program.push(Instruction::Accept);
        Ok(new)
    }

    /// The text of the pattern.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The end of the match that starts at `at`, if there is one.
    ///
    /// # Errors
    /// `Limit` where that takes too many steps.
    pub(crate) fn match_at(&self, text: &str, at: usize) -> Result<Option<usize>> {
        run::Run::new(self, text.as_bytes(), at)
            .from(0, at)
            .map_err(|run::TooManySteps| Error::limit(format!("the regex {} takes too many steps on this text", shown(&self.source))))
    }

    /// The next match that is not empty, from `at` on: start and end.
    ///
    /// # Errors
    /// `Limit` where that takes too many steps.
    pub(crate) fn find_at(&self, text: &str, at: usize) -> Result<Option<(usize, usize)>> {
        let mut start = at;
        while let Some(c) = text.get(start..).and_then(|rest| rest.chars().next()) {
            if let Some(end) = self.match_at(text, start)?.filter(|&end| end > start) {
                return Ok(Some((start, end)));
            }
            start += c.len_utf8();
        }
        Ok(None)
    }

    fn set(&mut self, set: &Set) -> usize {
        self.sets.iter().position(|known| known == set).unwrap_or_else(|| {
            self.sets.push(set.clone());
            self.sets.len() - 1
        })
    }

    fn push(&mut self, instruction: Instruction) -> Result<usize> {
        const LONGEST: usize = 1 << 14;
        if self.program.len() >= LONGEST {
            return Err(Error::limit(format!("the regex {} is too large", shown(&self.source))));
        }
        self.program.push(instruction);
        Ok(self.program.len() - 1)
    }

    fn emit(&mut self, node: &parse::Node) -> Result<()> {
        use parse::{Kind, Node};
        match node {
            Node::Empty => {}
            Node::Set(set) => {
                let set = self.set(set);
                self.push(Instruction::One(set))?;
            }
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.emit(node))?,
            Node::Alternatives(nodes) => {
                let mut ends = Vec::new();
                for (at, node) in nodes.iter().enumerate() {
                    if at + 1 == nodes.len() {
                        self.emit(node)?;
                    } else {
                        let split = self.push(Instruction::Accept)?;
                        self.emit(node)?;
                        ends.push(self.push(Instruction::Accept)?);
                        self.program[split] = Instruction::Split(split + 1, self.program.len());
                    }
                }
                let end = self.program.len();
                for at in ends {
                    self.program[at] = Instruction::Jump(end);
                }
            }
            Node::Repeat { node, min, max, kind } => match (&**node, kind) {
                (Node::Set(set), Kind::Greedy | Kind::Possessive) => {
                    let set = self.set(set);
                    self.push(Instruction::Run { set, min: *min, max: *max, possessive: *kind == Kind::Possessive })?;
                }
                (node, Kind::Possessive) => {
                    let at = self.push(Instruction::Accept)?;
                    self.emit_repeat(node, *min, *max, Kind::Greedy)?;
                    self.push(Instruction::Accept)?;
                    self.program[at] = Instruction::Atomic { end: self.program.len() };
                }
                (node, kind) => self.emit_repeat(node, *min, *max, *kind)?,
            },
            Node::Look { node, negative } => {
                let at = self.push(Instruction::Accept)?;
                self.emit(node)?;
                self.push(Instruction::Accept)?;
                self.program[at] = Instruction::Look { negative: *negative, end: self.program.len() };
            }
            Node::Atomic(node) => {
                let at = self.push(Instruction::Accept)?;
                self.emit(node)?;
                self.push(Instruction::Accept)?;
                self.program[at] = Instruction::Atomic { end: self.program.len() };
            }
            Node::Start { lines } => drop(self.push(Instruction::Start { lines: *lines })?),
            Node::End { lines } => drop(self.push(Instruction::End { lines: *lines })?),
            Node::WordBoundary { negative } => drop(self.push(Instruction::WordBoundary { negative: *negative })?),
        }
        Ok(())
    }

    fn emit_repeat(&mut self, node: &parse::Node, min: u32, max: u32, kind: parse::Kind) -> Result<()> {
        if max == u32::MAX && node.can_be_empty() {
            return Err(Error::unsupported(format!("the regex {} repeats something that can be empty", shown(&self.source))));
        }
        let way =
            |first, second| if kind == parse::Kind::Lazy { Instruction::Split(second, first) } else { Instruction::Split(first, second) };
        for _ in 0..min {
            self.emit(node)?;
        }
        if max == u32::MAX {
            let split = self.push(Instruction::Accept)?;
            self.emit(node)?;
            self.push(Instruction::Jump(split))?;
            self.program[split] = way(split + 1, self.program.len());
            return Ok(());
        }
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.push(Instruction::Accept)?);
            self.emit(node)?;
        }
        let end = self.program.len();
        for split in splits {
            self.program[split] = way(split + 1, end);
        }
        Ok(())
    }
}

/// What `\w` is.
const WORD: Mask = LETTER | MARK | NUMBER | unicode::bit(unicode::Class::Pc);
/// What `\d` is.
const DIGIT: Mask = unicode::bit(unicode::Class::Nd);
/// What `\s` is.
const SPACE: Mask = WHITESPACE;

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(regex: &str, text: &str) -> Vec<String> {
        let regex = Regex::new(regex, Flavor::Oniguruma).unwrap();
        let mut out = Vec::new();
        let mut at = 0;
        while let Some((start, end)) = regex.find_at(text, at).unwrap() {
            out.push(text[start..end].to_owned());
            at = end;
        }
        out
    }

    #[test]
    fn finds_what_it_should() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("a|ab|abc", "abc", &["a"]),
            ("abc|ab|a", "abcab", &["abc", "ab"]),
            (r"\p{N}{1,3}", "12345 6", &["123", "45", "6"]),
            (r"\s+(?!\S)|\s+", "a   b  ", &["  ", " ", "  "]),
            (r"(?i:'s|'ll)", "'S 'Ll 's", &["'S", "'Ll", "'s"]),
            (r"[^\r\n\p{L}\p{N}]?\p{L}+", " Hello,world\nx", &[" Hello", ",world", "x"]),
            (r"x+?", "xxx", &["x", "x", "x"]),
            (r"x++x", "xxx", &[]),
            (r"(?>x+)y|xz", "xxyxz", &["xxy", "xz"]),
            (r"(?:ab){2,}", "ababab ab", &["ababab"]),
            (r"[\p{L}&&[^a-c]]+", "abcdef", &["def"]),
            (r"[^a-c]+", "abcdéf", &["déf"]),
            (r"\s*[\r\n]+", "a  \n \n b", &["  \n \n"]),
            (r"^a|a$", "aa\nba", &["a", "a", "a"]),
            (r"\bab\b", "ab abc ab", &["ab", "ab"]),
            (r"((?=[\p{L}])([^a-z]))+", "ABCdÉF", &["ABC", "ÉF"]),
            (r"[一-龥]+", "ab中文c", &["中文"]),
            (r"\d{1,3}(?=(?:\d{3})*\b)", "1234567", &["1", "234", "567"]),
            (r"[\]\-\\x]+", "a]-\\xb", &["]-\\x"]),
            (r"\u00e9\x41\x{1F600}", "éA😀", &["éA😀"]),
        ];
        for (regex, text, expected) in cases {
            assert_eq!(&pieces(regex, text), expected, "{regex} on {text:?}");
        }
    }

    #[test]
    fn the_flavors_differ() {
        let both = |regex: &str, text: &str| {
            [Flavor::Oniguruma, Flavor::LlamaCpp].map(|flavor| Regex::new(regex, flavor).unwrap().match_at(text, 0).unwrap())
        };
        assert_eq!(both(r"\p{Lu}", "a"), [None, Some(1)]);
        assert_eq!(both("[　-。]", "　"), [Some(3), None]);
        assert_eq!(both(r"\s", "　"), [Some(3), Some(3)]);
        assert_eq!(both(r"\d", "٣"), [Some(2), None]);
        assert_eq!(both(r"\p{L}", "\u{1c89}"), [Some(3), None]);
        assert_eq!(both("(?i:s)", "ſ"), [Some(2), None]);
        assert_eq!(both("$", "\n"), [Some(0), None]);
    }

    #[test]
    fn what_it_cannot_do_is_an_error() {
        for regex in [
            "(",
            ")",
            "a{2",
            "[a",
            "*a",
            r"\p{Nonsense}",
            "(?<=a)b",
            r"(a)\1",
            "(?P<x>a)",
            "(a*)*",
            "[[:alpha:]]",
            r"\",
            "a{9999999999}",
            "[z-a]",
        ] {
            assert!(Regex::new(regex, Flavor::Oniguruma).is_err(), "{regex}");
        }
        assert!(Regex::new(&"(".repeat(100_000), Flavor::Oniguruma).is_err());
        assert!(Regex::new("(((a{100}){100}){100}){100}", Flavor::Oniguruma).is_err());
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let regex = Regex::new("(?:(?:a|a)(?:a|a))+b", Flavor::Oniguruma).unwrap();
        assert!(regex.match_at(&"a".repeat(200), 0).is_err());
    }
}
