//! llama.cpp's grammar notation, rewritten as Lark.
//!
//! ```text
//! root  ::= item ("," ws item)*      # a comment
//! item  ::= "word" | [0-9a-f]{1,4} | "(" root ")"
//! ```
//!
//! GBNF knows single characters alone; llguidance is fast where it has words (terminals, which are regular)
//! between which rules stand, but takes for a word the longest text that it can. So only what cannot be
//! taken for longer than it is becomes a terminal: no text of it is the beginning of another, as with a
//! quoted string. Everything else is written character by character, which is always exact. A grammar in
//! which no rule leads back to itself is one terminal.

use std::collections::HashMap;
use std::fmt::Write;

use gravure_base::{Error, Result};

use super::facts::{Characters, Facts};

/// Deepest nesting of groups.
const DEEPEST: usize = 200;
/// Largest count of a repetition.
const MOST: u32 = 10_000;

/// What a rule may be.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Literal(String),
    /// One character of a set.
    Class(Characters),
    Rule(usize),
    Sequence(Vec<Expression>),
    Choice(Vec<Expression>),
    Repeat(Box<Expression>, u32, Option<u32>),
}

/// The grammar in Lark.
///
/// # Errors
/// `Request` that names the line and what is wrong there.
pub(super) fn to_lark(text: &str) -> Result<String> {
    let mut parser = Parser { text, at: 0, names: HashMap::new(), rules: Vec::new(), order: Vec::new() };
    parser.grammar()?;
    let Some(&root) = parser.names.get("root") else {
        return Err(Error::request("the grammar has no rule `root`"));
    };
    let mut rules = Vec::with_capacity(parser.rules.len());
    for (name, rule) in parser.order.iter().zip(parser.rules) {
        rules.push(rule.ok_or_else(|| Error::request(format!("the grammar uses the rule `{name}`, which it does not define")))?);
    }
    Writer::new(&rules).write(root)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    names: HashMap<&'a str, usize>,
    order: Vec<&'a str>,
    rules: Vec<Option<Expression>>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, what: &str) -> Error {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let shown: String = self.rest().chars().take_while(|c| *c != '\n').take(30).collect();
        Error::request(format!("the grammar, line {line}: {what} at {shown:?}"))
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    /// Skips spaces and comments, and line breaks where a rule cannot end.
    fn space(&mut self, lines: bool) {
        loop {
            let rest = self.rest();
            let skipped = rest.find(|c: char| !(c == ' ' || c == '\t' || (lines && matches!(c, '\n' | '\r')))).unwrap_or(rest.len());
            self.at += skipped;
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).filter(|name| !name.is_empty())
    }

    fn rule(&mut self, name: &'a str) -> usize {
        let next = self.rules.len();
        let index = *self.names.entry(name).or_insert(next);
        if index == next {
            self.rules.push(None);
            self.order.push(name);
        }
        index
    }

    fn grammar(&mut self) -> Result<()> {
        self.space(true);
        while !self.rest().is_empty() {
            let name = self.name().ok_or_else(|| self.wrong("there should be the name of a rule"))?;
            self.space(false);
            if !self.eat("::=") {
                return Err(self.wrong("there should be `::=`"));
            }
            self.space(true);
            let body = self.choice(false, 0)?;
            let index = self.rule(name);
            let place = self.rules.get_mut(index).ok_or_else(|| Error::bug("a rule without a place"))?;
            if place.replace(body).is_some() {
                return Err(self.wrong(&format!("the rule `{name}` is defined twice, the second time before")));
            }
            self.space(false);
            if !self.rest().is_empty() && !self.rest().starts_with(['\n', '\r']) {
                return Err(self.wrong("a rule does not go on like this"));
            }
            self.space(true);
        }
        Ok(())
    }

    fn choice(&mut self, nested: bool, depth: usize) -> Result<Expression> {
        if depth > DEEPEST {
            return Err(self.wrong("groups are nested too deeply"));
        }
        let mut choices = vec![self.sequence(nested, depth)?];
        loop {
            self.space(nested);
            if !self.eat("|") {
                break;
            }
            self.space(true);
            choices.push(self.sequence(nested, depth)?);
        }
        Ok(if choices.len() == 1 { choices.remove(0) } else { Expression::Choice(choices) })
    }

    fn sequence(&mut self, nested: bool, depth: usize) -> Result<Expression> {
        let mut items = Vec::new();
        loop {
            self.space(nested);
            let Some(item) = self.item(depth)? else { break };
            self.space(nested);
            items.push(self.repeated(item, nested)?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Expression::Sequence(items) })
    }

    fn item(&mut self, depth: usize) -> Result<Option<Expression>> {
        let Some(first) = self.rest().chars().next() else { return Ok(None) };
        Ok(Some(match first {
            '"' => self.literal()?,
            '[' => self.class()?,
            '(' => {
                self.at += 1;
                self.space(true);
                let inner = self.choice(true, depth + 1)?;
                self.space(true);
                if !self.eat(")") {
                    return Err(self.wrong("there should be `)`"));
                }
                inner
            }
            '.' => {
                self.at += 1;
                Expression::Class(Characters::all())
            }
            '<' | '!' => return Err(self.wrong("tokens in a grammar are not known")),
            _ => {
                let Some(name) = self.name() else { return Ok(None) };
                Expression::Rule(self.rule(name))
            }
        }))
    }

    fn repeated(&mut self, mut item: Expression, nested: bool) -> Result<Expression> {
        loop {
            let (least, most) = match self.rest().chars().next() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    let body = self.rest().get(1..).and_then(|r| r.split_once('}')).map(|(body, _)| body);
                    let Some(body) = body else { return Err(self.wrong("there should be `}`")) };
                    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n <= MOST);
                    let range = match body.split_once(',') {
                        None => number(body).map(|n| (n, Some(n))),
                        Some((least, "")) => number(least).map(|n| (n, None)),
                        Some((least, most)) => {
                            let least = if least.trim().is_empty() { Some(0) } else { number(least) };
                            least.zip(number(most)).filter(|(l, m)| l <= m).map(|(l, m)| (l, Some(m)))
                        }
                    };
                    let range = range.ok_or_else(|| self.wrong("these are no counts of a repetition"))?;
                    self.at += body.len() + 1;
                    range
                }
                _ => return Ok(item),
            };
            self.at += 1;
            item = Expression::Repeat(Box::new(item), least, most);
            self.space(nested);
        }
    }

    /// A character, or an escaped one.
    fn character(&mut self) -> Result<char> {
        let mut letters = self.rest().chars();
        let first = letters.next().ok_or_else(|| self.wrong("the grammar ends too early"))?;
        if first != '\\' {
            self.at += first.len_utf8();
            return Ok(first);
        }
        let sign = letters.next().ok_or_else(|| self.wrong("the grammar ends too early"))?;
        let digits = match sign {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let code = self.rest().get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
            let code = code.ok_or_else(|| self.wrong("this is no code of a character"))?;
            self.at += 2 + digits;
            return Ok(code);
        }
        let plain = match sign {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '"' | '\\' | '[' | ']' | '-' | '^' => sign,
            _ => return Err(self.wrong("this escape is not known")),
        };
        self.at += 2;
        Ok(plain)
    }

    fn literal(&mut self) -> Result<Expression> {
        self.at += 1;
        let mut out = String::new();
        while !self.eat("\"") {
            out.push(self.character()?);
        }
        Ok(Expression::Literal(out))
    }

    fn class(&mut self) -> Result<Expression> {
        self.at += 1;
        let negated = self.eat("^");
        let mut ranges = Vec::new();
        while !self.eat("]") {
            let from = self.character()?;
            let range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
            let to = if range {
                self.at += 1;
                self.character()?
            } else {
                from
            };
            if to < from {
                return Err(self.wrong("this range of characters ends before it begins"));
            }
            ranges.push((u32::from(from), u32::from(to)));
        }
        if ranges.is_empty() {
            return Err(self.wrong("a class without characters before"));
        }
        let set = Characters::new(ranges);
        Ok(Expression::Class(if negated { set.others() } else { set }))
    }
}

/// Writes rules as Lark.
struct Writer<'r> {
    rules: &'r [Expression],
    facts: Facts,
    /// Definitions of terminals, and how many there are.
    terminals: String,
    count: usize,
}

impl<'r> Writer<'r> {
    fn new(rules: &'r [Expression]) -> Self {
        Self { rules, facts: Facts::new(rules), terminals: String::new(), count: 0 }
    }

    fn write(mut self, root: usize) -> Result<String> {
        let root = Expression::Rule(root);
        if self.facts.is_regular(&root) {
            let whole = self.terminal(std::slice::from_ref(&root));
            let start = if self.facts.may_be_empty(&root) { format!("({whole})?") } else { whole };
            return Ok(format!("start: {start}\n{}{}", self.regular_rules(), self.terminals));
        }
        let mut out = format!("start: {}\n", self.body(&root));
        for (index, rule) in self.rules.iter().enumerate() {
            let _ = writeln!(out, "r{index}: {}", self.body(rule));
        }
        out += &self.regular_rules();
        Ok(out + &self.terminals)
    }

    /// Regular rules as terminals, for terminals to refer to.
    fn regular_rules(&self) -> String {
        let regular = self.rules.iter().enumerate().filter(|(index, _)| self.facts.is_regular(&Expression::Rule(*index)));
        regular.fold(String::new(), |mut out, (index, rule)| {
            let _ = writeln!(out, "T{index}: {}", Self::terminal_body(rule));
            out
        })
    }

    /// A regular expression out of literals, classes and terminals.
    fn terminal_body(expression: &Expression) -> String {
        let list = |items: &[Expression], between: &str| {
            let parts: Vec<String> = items.iter().map(Self::terminal_body).collect();
            if parts.is_empty() { "\"\"".to_owned() } else { format!("({})", parts.join(between)) }
        };
        match expression {
            Expression::Literal(text) => quoted(text),
            Expression::Class(set) => set.regex(),
            Expression::Rule(index) => format!("T{index}"),
            Expression::Sequence(items) => list(items, " "),
            Expression::Choice(items) => list(items, " | "),
            Expression::Repeat(inner, least, most) => format!("({}){}", Self::terminal_body(inner), counts(*least, *most)),
        }
    }

    /// What stands in a rule.
    fn body(&mut self, expression: &Expression) -> String {
        match expression {
            Expression::Rule(index) => format!("r{index}"),
            Expression::Class(set) => set.regex(),
            Expression::Literal(text) => {
                let letters: Vec<String> = text.chars().map(|c| quoted(c.encode_utf8(&mut [0; 4]))).collect();
                if letters.is_empty() { "\"\"".to_owned() } else { format!("({})", letters.join(" ")) }
            }
            Expression::Choice(items) => {
                let parts: Vec<String> = items.iter().map(|item| self.body(item)).collect();
                format!("({})", parts.join(" | "))
            }
            Expression::Sequence(items) => self.sequence(items),
            Expression::Repeat(inner, least, most) => format!("({}){}", self.body(inner), counts(*least, *most)),
        }
    }

    /// A sequence, in which the longest runs that can be terminals are.
    fn sequence(&mut self, items: &[Expression]) -> String {
        let mut parts = Vec::new();
        let mut rest = items;
        while let Some((first, after)) = rest.split_first() {
            // A terminal pays where it repeats something.
            let run = (1..=rest.len()).rev().find(|length| {
                let run = rest.get(..*length).unwrap_or_default();
                run.iter().any(|item| self.facts.repeats(self.rules, item, 0)) && self.facts.is_closed(run)
            });
            match run {
                Some(length) => {
                    parts.push(self.terminal(rest.get(..length).unwrap_or_default()));
                    rest = rest.get(length..).unwrap_or_default();
                }
                None => {
                    parts.push(self.body(first));
                    rest = after;
                }
            }
        }
        if parts.is_empty() { "\"\"".to_owned() } else { format!("({})", parts.join(" ")) }
    }

    /// A new terminal. A word of no letters is no word, so it has at least one.
    fn terminal(&mut self, items: &[Expression]) -> String {
        let whole = Expression::Sequence(items.to_vec());
        let body = Self::terminal_body(&whole);
        let index = self.count;
        self.count += 1;
        let filled = if self.facts.may_be_empty(&whole) { " & /(?s:.+)/" } else { "" };
        let _ = writeln!(self.terminals, "M{index}: {body}{filled}");
        format!("M{index}")
    }
}

fn counts(least: u32, most: Option<u32>) -> String {
    match (least, most) {
        (0, None) => "*".into(),
        (1, None) => "+".into(),
        (0, Some(1)) => "?".into(),
        (least, None) => format!("{{{least},}}"),
        (least, Some(most)) => format!("{{{least},{most}}}"),
    }
}

/// A text as a literal of Lark, which writes them as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_line() {
        let cases = [
            ("root ::= \"a\"\nroot ::= \"b\"", "line 2", "defined twice"),
            ("root ::= a", "`a`", "does not define"),
            ("a ::= \"x\"", "`root`", "no rule"),
            ("root ::= \"a", "line 1", "ends too early"),
            ("root ::= (\"a\"", "line 1", "`)`"),
            ("root ::= [b-a]", "line 1", "ends before"),
            ("root ::= []", "line 1", "without characters"),
            ("root ::= \"a\"{3,1}", "line 1", "counts"),
            ("root ::= \"a\"{99999999}", "line 1", "counts"),
            ("root : \"a\"", "line 1", "`::=`"),
            ("root ::= \"a\" )", "line 1", "does not go on"),
            ("root ::= \"\\q\"", "line 1", "escape"),
            ("root ::= <[12]>", "line 1", "tokens"),
            ("root ::= \"\\uD800\"", "line 1", "code of a character"),
        ];
        for (text, place, what) in cases {
            let error = to_lark(text).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(what), "{text}: {error}");
        }
        assert!(to_lark(&format!("root ::= {}", "(".repeat(100_000))).is_err());
        for end in 0..40 {
            let _ = to_lark(&"root ::= (\"é\" [^a-z\\]]{1,3} | x)* # c\nx ::= .".chars().take(end).collect::<String>());
        }
    }
}
