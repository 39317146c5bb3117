//! What can be known of a grammar's rules without running them: whether they lead back to themselves, may
//! be empty, with which characters their texts begin, and with which a whole text of theirs could go on.

use super::gbnf::Expression;

const LAST: u32 = char::MAX as u32;

/// A set of characters: ranges in order that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Characters(Vec<(u32, u32)>);

impl Characters {
    pub(super) fn new(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut out: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match out.last_mut() {
                Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
                _ => out.push((from, to)),
            }
        }
        Self(out)
    }

    pub(super) fn all() -> Self {
        Self(vec![(0, LAST)])
    }

    /// All characters that are not in it.
    pub(super) fn others(&self) -> Self {
        let mut out = Vec::new();
        let mut next = 0;
        for (from, to) in &self.0 {
            if *from > next {
                out.push((next, from - 1));
            }
            next = to + 1;
        }
        if next <= LAST {
            out.push((next, LAST));
        }
        Self(out)
    }

    fn add(&mut self, other: &Self) {
        *self = Self::new([self.0.as_slice(), &other.0].concat());
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().any(|(from, to)| other.0.iter().any(|(a, b)| from <= b && a <= to))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a regular expression between slashes.
    pub(super) fn regex(&self) -> String {
        if self.0 == [(0, LAST)] {
            return "/(?s:.)/".into();
        }
        let ranges: Vec<String> = self.0.iter().map(|(from, to)| format!("\\x{{{from:X}}}-\\x{{{to:X}}}")).collect();
        format!("/[{}]/", ranges.concat())
    }
}

/// Of one rule. All are found by going over the rules until nothing changes.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rule {
    /// Does not lead back to itself, nor to a rule that does.
    regular: bool,
    may_be_empty: bool,
    first: Characters,
    /// Characters with which a text of the rule can go on to another text of it. Only for regular rules.
    extension: Characters,
}

/// Of all rules.
#[derive(Debug)]
pub(super) struct Facts(Vec<Rule>);

impl Facts {
    pub(super) fn new(rules: &[Expression]) -> Self {
        let mut facts = Self(vec![Rule::default(); rules.len()]);
        loop {
            let next: Vec<Rule> = rules
                .iter()
                .map(|rule| {
                    let regular = facts.is_regular(rule);
                    Rule {
                        regular,
                        may_be_empty: facts.may_be_empty(rule),
                        first: facts.first(rule),
                        extension: if regular { facts.extension(rule) } else { Characters::default() },
                    }
                })
                .collect();
            if next == facts.0 {
                return facts;
            }
            facts.0 = next;
        }
    }

    /// Whether no text of the sequence is the beginning of another. Not every sequence of which this holds
    /// is found.
    pub(super) fn is_closed(&self, items: &[Expression]) -> bool {
        items.iter().all(|item| self.is_regular(item))
            && !items.iter().all(|item| self.may_be_empty(item))
            && self.extension_of_sequence(items).is_empty()
    }

    pub(super) fn is_regular(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Literal(_) | Expression::Class(_) => true,
            Expression::Rule(index) => self.0.get(*index).is_some_and(|rule| rule.regular),
            Expression::Sequence(items) | Expression::Choice(items) => items.iter().all(|item| self.is_regular(item)),
            Expression::Repeat(inner, ..) => self.is_regular(inner),
        }
    }

    pub(super) fn may_be_empty(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Literal(text) => text.is_empty(),
            Expression::Class(_) => false,
            Expression::Rule(index) => self.0.get(*index).is_some_and(|rule| rule.may_be_empty),
            Expression::Sequence(items) => items.iter().all(|item| self.may_be_empty(item)),
            Expression::Choice(items) => items.iter().any(|item| self.may_be_empty(item)),
            Expression::Repeat(inner, least, _) => *least == 0 || self.may_be_empty(inner),
        }
    }

    /// Whether it repeats something, itself or in a rule that it names.
    pub(super) fn repeats(&self, rules: &[Expression], expression: &Expression, depth: usize) -> bool {
        match expression {
            Expression::Literal(_) | Expression::Class(_) => false,
            // Deeper than this a terminal may be left out: it is only faster.
            Expression::Rule(index) => depth < 8 && rules.get(*index).is_some_and(|rule| self.repeats(rules, rule, depth + 1)),
            Expression::Sequence(items) | Expression::Choice(items) => items.iter().any(|item| self.repeats(rules, item, depth)),
            Expression::Repeat(_, _, most) => most.is_none_or(|most| most > 1),
        }
    }

    fn first(&self, expression: &Expression) -> Characters {
        match expression {
            Expression::Literal(text) => Characters(text.chars().next().map(|c| (c.into(), c.into())).into_iter().collect()),
            Expression::Class(set) => set.clone(),
            Expression::Rule(index) => self.0.get(*index).map(|rule| rule.first.clone()).unwrap_or_default(),
            Expression::Sequence(items) => self.first_of_sequence(items),
            Expression::Choice(items) => self.first_of_any(items),
            Expression::Repeat(inner, ..) => self.first(inner),
        }
    }

    fn first_of_any(&self, items: &[Expression]) -> Characters {
        items.iter().fold(Characters::default(), |mut out, item| {
            out.add(&self.first(item));
            out
        })
    }

    fn first_of_sequence(&self, items: &[Expression]) -> Characters {
        let mut out = Characters::default();
        for item in items {
            out.add(&self.first(item));
            if !self.may_be_empty(item) {
                break;
            }
        }
        out
    }

    /// Characters with which a text can go on to a longer one; all where that is not known.
    fn extension(&self, expression: &Expression) -> Characters {
        match expression {
            Expression::Literal(_) | Expression::Class(_) => Characters::default(),
            Expression::Rule(index) => self.0.get(*index).map(|rule| rule.extension.clone()).unwrap_or_default(),
            Expression::Sequence(items) => self.extension_of_sequence(items),
            Expression::Choice(items) => {
                let mut out = Characters::default();
                let mut begun = Characters::default();
                for item in items {
                    let first = self.first(item);
                    // Choices that begin alike may be each other's beginnings.
                    if begun.meets(&first) {
                        return Characters::all();
                    }
                    begun.add(&first);
                    out.add(&self.extension(item));
                }
                if items.iter().any(|item| self.may_be_empty(item)) {
                    out.add(&begun);
                }
                out
            }
            Expression::Repeat(inner, least, most) => {
                let (first, extension) = (self.first(inner), self.extension(inner));
                if *most == Some(1) {
                    let mut out = extension;
                    if *least == 0 {
                        out.add(&first);
                    }
                    return out;
                }
                // Where one may end in the middle of the next, nothing is known.
                if extension.meets(&first) || self.may_be_empty(inner) {
                    return Characters::all();
                }
                let mut out = extension;
                if most.is_none_or(|most| most > *least) {
                    out.add(&first);
                }
                out
            }
        }
    }

    fn extension_of_sequence(&self, items: &[Expression]) -> Characters {
        let mut out = Characters::default();
        let mut rest = items;
        while let Some((item, after)) = rest.split_first() {
            let extension = self.extension(item);
            if extension.meets(&self.first_of_sequence(after)) {
                return Characters::all();
            }
            // The text may end with this item where all that follows may be empty.
            if after.iter().all(|item| self.may_be_empty(item)) {
                out.add(&extension);
                out.add(&self.first_of_sequence(after));
            }
            rest = after;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_kept_in_order() {
        let set = Characters::new(vec![(5, 9), (1, 2), (10, 12), (3, 3)]);
        assert_eq!(set, Characters(vec![(1, 3), (5, 12)]));
        assert_eq!(set.others(), Characters(vec![(0, 0), (4, 4), (13, LAST)]));
        assert_eq!(set.others().others(), set);
        assert!(set.meets(&Characters(vec![(12, 20)])) && !set.meets(&Characters(vec![(4, 4)])));
        assert_eq!(Characters::all().others(), Characters::default());
    }

    #[test]
    fn a_quoted_string_is_closed_and_a_number_is_not() {
        let class = |from: char, to: char| Expression::Class(Characters(vec![(from.into(), to.into())]));
        let quote = || Expression::Literal("\"".into());
        let inner = Expression::Class(Characters(vec![('"'.into(), '"'.into())]).others());
        let any = |inner| Expression::Repeat(Box::new(inner), 0, None);
        let facts = Facts::new(&[]);
        assert!(facts.is_closed(&[quote(), any(inner), quote()]));
        assert!(!facts.is_closed(&[any(class('0', '9'))]));
        assert!(!facts.is_closed(&[class('a', 'z'), any(class('0', '9'))]));
        assert!(facts.is_closed(&[any(class('0', '9')), class('a', 'z')]));
        assert!(!facts.is_closed(&[any(class('a', 'z')), class('a', 'z')]), "the last may be part of the run");
        assert!(facts.is_closed(&[Expression::Repeat(Box::new(class('0', '9')), 3, Some(3))]));
        let choice = Expression::Choice(vec![Expression::Literal("a".into()), Expression::Literal("ab".into())]);
        assert!(!facts.is_closed(&[choice]));
    }
}
