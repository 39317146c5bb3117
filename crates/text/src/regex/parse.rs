//! From the text of a pattern to a tree.

use super::{DIGIT, Flavor, SPACE, Set, WORD};
use crate::unicode;

/// A pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Empty,
    Set(Set),
    Sequence(Vec<Node>),
    Alternatives(Vec<Node>),
    Repeat { node: Box<Node>, min: u32, max: u32, kind: Kind },
    Look { node: Box<Node>, negative: bool },
    Atomic(Box<Node>),
    Start { lines: bool },
    End { lines: bool },
    WordBoundary { negative: bool },
}

/// How a repetition chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

impl Node {
    pub(super) fn can_be_empty(&self) -> bool {
        match self {
            Self::Set(_) => false,
            Self::Empty | Self::Look { .. } | Self::Start { .. } | Self::End { .. } | Self::WordBoundary { .. } => true,
            Self::Sequence(nodes) => nodes.iter().all(Self::can_be_empty),
            Self::Alternatives(nodes) => nodes.iter().any(Self::can_be_empty),
            Self::Repeat { node, min, .. } => *min == 0 || node.can_be_empty(),
            Self::Atomic(node) => node.can_be_empty(),
        }
    }
}

/// Why a pattern cannot be read.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) text: String,
    pub(super) unsupported: bool,
}

fn wrong<T>(text: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { text: text.into(), unsupported: false })
}

fn unsupported<T>(text: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { text: text.into(), unsupported: true })
}

const DEEPEST: u32 = 40;
const MOST_REPETITIONS: u32 = 1000;

pub(super) fn parse(source: &str, flavor: Flavor) -> Result<Node, Problem> {
    let mut parser = Parser { chars: source.chars().collect(), at: 0, flavor, fold: false, depth: 0 };
    let node = parser.alternatives()?;
    match parser.peek() {
        None => Ok(node),
        Some(c) => wrong(format!("{c:?} is not expected")),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    flavor: Flavor,
    fold: bool,
    depth: u32,
}

impl Parser {
    fn empty_set(&self) -> Set {
        Set { table: Some(self.flavor.table()), ..Set::default() }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn ahead(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c))
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.ahead(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn next(&mut self) -> Result<char, Problem> {
        match self.peek() {
            Some(c) => {
                self.at += 1;
                Ok(c)
            }
            None => wrong("it ends too early"),
        }
    }

    fn expect(&mut self, text: &str) -> Result<(), Problem> {
        if self.take(text) { Ok(()) } else { wrong(format!("{text:?} is missing")) }
    }

    fn deeper(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > DEEPEST { unsupported("it is nested too deeply") } else { Ok(()) }
    }

    fn alternatives(&mut self) -> Result<Node, Problem> {
        self.deeper()?;
        let fold = self.fold;
        let mut out = vec![self.sequence()?];
        while self.take("|") {
            out.push(self.sequence()?);
        }
        self.fold = fold;
        self.depth -= 1;
        Ok(if out.len() == 1 { out.remove(0) } else { Node::Alternatives(out) })
    }

    fn sequence(&mut self) -> Result<Node, Problem> {
        let mut out = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let node = self.atom()?;
            out.push(self.repeated(node)?);
        }
        Ok(match out.len() {
            0 => Node::Empty,
            1 => out.remove(0),
            _ => Node::Sequence(out),
        })
    }

    fn repeated(&mut self, mut node: Node) -> Result<Node, Problem> {
        loop {
            let (min, max) = match self.peek() {
                Some('*') => (0, u32::MAX),
                Some('+') => (1, u32::MAX),
                Some('?') => (0, 1),
                Some('{') => {
                    self.at += 1;
                    let bounds = self.bounds()?;
                    node = self.kind(node, bounds.0, bounds.1)?;
                    continue;
                }
                _ => return Ok(node),
            };
            self.at += 1;
            node = self.kind(node, min, max)?;
        }
    }

    fn kind(&mut self, node: Node, min: u32, max: u32) -> Result<Node, Problem> {
        self.deeper()?;
        self.depth -= 1;
        let kind = if self.take("?") {
            Kind::Lazy
        } else if self.take("+") {
            Kind::Possessive
        } else {
            Kind::Greedy
        };
        match node {
            Node::Start { .. } | Node::End { .. } | Node::WordBoundary { .. } | Node::Look { .. } => {
                wrong("something without a width is repeated")
            }
            node => Ok(Node::Repeat { node: Box::new(node), min, max, kind }),
        }
    }

    /// After the brace: `n}`, `n,}` or `n,m}`.
    fn bounds(&mut self) -> Result<(u32, u32), Problem> {
        let min = self.number()?;
        let max = if self.take(",") { if self.ahead("}") { u32::MAX } else { self.number()? } } else { min };
        self.expect("}")?;
        if max < min || (max != u32::MAX && max > MOST_REPETITIONS) || min > MOST_REPETITIONS {
            return unsupported(format!("the repetition {{{min},{max}}}"));
        }
        Ok((min, max))
    }

    fn number(&mut self) -> Result<u32, Problem> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        digits.parse().or_else(|_| wrong("a number of repetitions is expected"))
    }

    fn atom(&mut self) -> Result<Node, Problem> {
        match self.next()? {
            '(' => self.group(),
            '[' => Ok(Node::Set(self.class()?.finish())),
            '.' => Ok(Node::Set(Set { negated: true, ranges: vec![('\n', '\n')], ..self.empty_set() }.finish())),
            // Ruby's syntax, which Oniguruma has: lines, always.
            '^' => Ok(Node::Start { lines: self.flavor == Flavor::Oniguruma }),
            '$' => Ok(Node::End { lines: self.flavor == Flavor::Oniguruma }),
            '\\' => match self.peek() {
                Some('b') => {
                    self.at += 1;
                    Ok(Node::WordBoundary { negative: false })
                }
                Some('B') => {
                    self.at += 1;
                    Ok(Node::WordBoundary { negative: true })
                }
                Some('A') => {
                    self.at += 1;
                    Ok(Node::Start { lines: false })
                }
                _ => {
                    let mut set = self.empty_set();
                    self.escape(&mut set)?;
                    Ok(Node::Set(set.finish()))
                }
            },
            c @ ('*' | '+' | '?' | '{') => wrong(format!("{c:?} has nothing to repeat")),
            c => {
                let mut set = self.empty_set();
                self.add_range(&mut set, c, c);
                Ok(Node::Set(set.finish()))
            }
        }
    }

    fn group(&mut self) -> Result<Node, Problem> {
        let look = |node, negative| Node::Look { node: Box::new(node), negative };
        let fold = self.fold;
        let node = if self.take("?=") {
            look(self.alternatives()?, false)
        } else if self.take("?!") {
            look(self.alternatives()?, true)
        } else if self.take("?>") {
            Node::Atomic(Box::new(self.alternatives()?))
        } else if self.take("?:") {
            self.alternatives()?
        } else if self.take("?i:") {
            self.fold = true;
            self.alternatives()?
        } else if self.take("?i)") {
            // For the rest of the surrounding group.
            self.fold = true;
            return Ok(Node::Empty);
        } else if self.ahead("?") {
            let shown: String = self.chars[self.at..].iter().take(3).collect();
            return unsupported(format!("the group ({shown}"));
        } else {
            self.alternatives()?
        };
        self.fold = fold;
        self.expect(")")?;
        Ok(node)
    }

    /// After the backslash; adds what it stands for.
    fn escape(&mut self, set: &mut Set) -> Result<(), Problem> {
        match self.escaped()? {
            Escaped::Char(c) => self.add_range(set, c, c),
            Escaped::Traits { mask, negative } => {
                // `std::regex` has only digits of ASCII.
                if self.flavor == Flavor::LlamaCpp && mask == DIGIT {
                    let mut nested = Set { negated: negative, ..self.empty_set() };
                    nested.ranges.push(('0', '9'));
                    set.nested.push(nested);
                } else if negative {
                    set.without.push(mask);
                } else {
                    set.with |= mask;
                }
            }
        }
        Ok(())
    }

    fn escaped(&mut self) -> Result<Escaped, Problem> {
        let traits = |mask, negative| Ok(Escaped::Traits { mask, negative });
        match self.next()? {
            'n' => Ok(Escaped::Char('\n')),
            'r' => Ok(Escaped::Char('\r')),
            't' => Ok(Escaped::Char('\t')),
            'f' => Ok(Escaped::Char('\x0c')),
            'v' => Ok(Escaped::Char('\x0b')),
            '0' => Ok(Escaped::Char('\0')),
            's' => traits(SPACE, false),
            'S' => traits(SPACE, true),
            'd' => traits(DIGIT, false),
            'D' => traits(DIGIT, true),
            'w' => traits(WORD, false),
            'W' => traits(WORD, true),
            p @ ('p' | 'P') => {
                self.expect("{")?;
                let caret = self.take("^");
                let start = self.at;
                while self.peek().is_some_and(|c| c != '}') {
                    self.at += 1;
                }
                let name: String = self.chars[start..self.at].iter().collect();
                self.expect("}")?;
                let Some(mut mask) = unicode::property(&name) else { return unsupported(format!("the property {name:?}")) };
                // llama.cpp knows letters, but not their cases.
                if self.flavor == Flavor::LlamaCpp && mask & unicode::LETTER != 0 {
                    mask = unicode::LETTER;
                }
                traits(mask, (p == 'P') != caret)
            }
            'x' if self.take("{") => {
                let c = self.hex(8, false)?;
                self.expect("}")?;
                Ok(Escaped::Char(c))
            }
            'x' => Ok(Escaped::Char(self.hex(2, true)?)),
            'u' => Ok(Escaped::Char(self.hex(4, true)?)),
            c if !c.is_alphanumeric() => Ok(Escaped::Char(c)),
            c => unsupported(format!("the escape \\{c}")),
        }
    }

    fn hex(&mut self, most: usize, exactly: bool) -> Result<char, Problem> {
        let start = self.at;
        while self.at - start < most && self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| !exactly || digits.len() == most);
        code.and_then(char::from_u32).map_or_else(|| wrong(format!("{digits:?} is the number of no character")), Ok)
    }

    /// After the bracket.
    fn class(&mut self) -> Result<Set, Problem> {
        self.deeper()?;
        let negated = self.take("^");
        let mut set = self.empty_set();
        let mut first = true;
        loop {
            if self.ahead("[:") {
                return unsupported("a POSIX class");
            }
            match self.next()? {
                ']' if !first => break,
                '[' => {
                    let nested = self.class()?;
                    set.nested.push(nested);
                }
                '&' if self.ahead("&") => {
                    self.at += 1;
                    // What stands right of it is a class without brackets up to the end.
                    let rest = self.rest_of_class()?;
                    set.and = Some(Box::new(rest));
                    break;
                }
                '\\' => match self.escaped_or_range()? {
                    Some(first) => self.range_from(&mut set, first)?,
                    None => self.escape(&mut set)?,
                },
                c => self.range_from(&mut set, c)?,
            }
            first = false;
        }
        set.negated = negated;
        self.depth -= 1;
        Ok(set)
    }

    fn rest_of_class(&mut self) -> Result<Set, Problem> {
        let mut set = self.empty_set();
        loop {
            match self.next()? {
                ']' => return Ok(set),
                '[' => {
                    let nested = self.class()?;
                    set.nested.push(nested);
                }
                '&' if self.ahead("&") => return unsupported("a second && in a class"),
                '\\' => match self.escaped_or_range()? {
                    Some(first) => self.range_from(&mut set, first)?,
                    None => self.escape(&mut set)?,
                },
                c => self.range_from(&mut set, c)?,
            }
        }
    }

    /// After a backslash in a class: the character that it stands for, if it is one.
    fn escaped_or_range(&mut self) -> Result<Option<char>, Problem> {
        let start = self.at;
        match self.escaped()? {
            Escaped::Char(c) => Ok(Some(c)),
            Escaped::Traits { .. } => {
                self.at = start;
                Ok(None)
            }
        }
    }

    /// A character of a class, or a range that starts with it.
    fn range_from(&mut self, set: &mut Set, first: char) -> Result<(), Problem> {
        if !self.ahead("-") || self.ahead("-]") || self.ahead("-[") {
            self.add_range(set, first, first);
            return Ok(());
        }
        self.at += 1;
        let last = match self.next()? {
            '\\' => match self.escaped_or_range()? {
                Some(c) => c,
                None => return wrong("a range ends in a class"),
            },
            c => c,
        };
        if last < first {
            return wrong(format!("the range {first:?}-{last:?} is empty"));
        }
        self.add_range(set, first, last);
        Ok(())
    }

    fn add_range(&self, set: &mut Set, first: char, last: char) {
        set.ranges.push((first, last));
        if !self.fold {
            return;
        }
        for c in first..=last {
            if !c.is_ascii_alphabetic() {
                continue;
            }
            for other in [c.to_ascii_lowercase(), c.to_ascii_uppercase()] {
                set.ranges.push((other, other));
            }
            // The two characters outside ASCII whose lower case is in it.
            let special = match c.to_ascii_lowercase() {
                's' => 'ſ',
                'k' => '\u{212a}',
                _ => continue,
            };
            if self.flavor == Flavor::Oniguruma {
                set.ranges.push((special, special));
            }
        }
    }
}

enum Escaped {
    Char(char),
    /// Characters that have one of these traits, or none.
    Traits {
        mask: unicode::Mask,
        negative: bool,
    },
}
