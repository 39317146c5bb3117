//! A promise or a gate, held against what was measured: met or missed, by how much, and what would meet it.

use std::fmt;

use gravure_base::{Error, ErrorKind};

/// Which side of a limit is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The figure may be this large.
    AtMost,
    /// The figure must be this large.
    AtLeast,
}

/// What a limit that is missed means for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// The user asked for it: missing it is a failure.
    Binding,
    /// A default of the field: missing it is reported.
    Advisory,
}

/// One limit with its outcome.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// What is bounded, in the words of the report.
    pub subject: String,
    /// Which side is good.
    pub bound: Bound,
    /// The limit.
    pub limit: f64,
    /// The figure; `None` where it could not be had.
    pub found: Option<f64>,
    /// Its unit.
    pub unit: Unit,
    /// Whether missing it fails.
    pub force: Force,
    /// Whether it holds; a figure that could not be had does not hold a binding limit.
    pub met: bool,
    /// Where it does not: what would meet it.
    pub remedy: Option<String>,
}

/// How a figure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Whole bytes.
    Bytes,
    /// Bits for each weight.
    BitsPerWeight,
    /// Tokens in a second.
    TokensPerSecond,
    /// Natural units of divergence.
    Nats,
    /// A share between 0 and 1.
    Share,
    /// A factor.
    Times,
    /// Windows of a text.
    Windows,
}

impl Unit {
    /// A figure with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{value:.0} bytes"),
            Self::BitsPerWeight => format!("{value:.4} bits"),
            Self::TokensPerSecond => format!("{value:.1} tokens/s"),
            Self::Nats => format!("{value:.6} nats"),
            Self::Share => format!("{:.2} %", value * 100.0),
            Self::Times => format!("{value:.2} times"),
            Self::Windows => format!("{value:.0} windows"),
        }
    }
}

impl Verdict {
    /// Holds `found` against `limit`.
    pub(crate) fn new(subject: &str, bound: Bound, limit: f64, found: Option<f64>, unit: Unit, force: Force) -> Self {
        let met = match (found, bound) {
            (None, _) => force == Force::Advisory,
            (Some(found), Bound::AtMost) => found <= limit,
            (Some(found), Bound::AtLeast) => found >= limit,
        };
        Self { subject: subject.to_owned(), bound, limit, found, unit, force, met, remedy: None }
    }

    /// Adds what would meet it, where it is missed.
    pub(crate) fn or(mut self, remedy: impl FnOnce() -> Option<String>) -> Self {
        if !self.met {
            self.remedy = remedy();
        }
        self
    }

    /// By how much it is missed; 0 where it holds.
    pub fn miss(&self) -> f64 {
        match self.found {
            Some(found) if !self.met => (found - self.limit).abs(),
            _ => 0.0,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = if self.bound == Bound::AtMost { "at most" } else { "at least" };
        let found = self.found.map_or_else(|| "not measured".into(), |found| self.unit.show(found));
        write!(f, "{}: {found}, {bound} {}", self.subject, self.unit.show(self.limit))?;
        if !self.met {
            let way = if self.bound == Bound::AtMost { "too much" } else { "too little" };
            if self.found.is_some() {
                write!(f, ": {} {way}", self.unit.show(self.miss()))?;
            }
            if let Some(remedy) = &self.remedy {
                write!(f, "; {remedy}")?;
            }
        }
        Ok(())
    }
}

/// The failure that binding limits make which are missed, if any is.
pub fn failure<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Option<Error> {
    let missed: Vec<&Verdict> = verdicts.into_iter().filter(|v| !v.met && v.force == Force::Binding).collect();
    let first = missed.first()?;
    let all: Vec<String> = missed.iter().map(|v| v.to_string()).collect();
    let message = match missed.len() {
        1 => format!("a promise does not hold: {first}"),
        n => format!("{n} promises do not hold: {}", all.join("; ")),
    };
    Some(Error::new(ErrorKind::Gate, message).help("the artifact and its report are kept; change the limit or the budget"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_by_how_much_and_what_would_help() {
        let missed = Verdict::new("KL divergence", Bound::AtMost, 0.02, Some(0.03), Unit::Nats, Force::Binding);
        let missed = missed.or(|| Some("ask for 900B".into()));
        assert_eq!(missed.to_string(), "KL divergence: 0.030000 nats, at most 0.020000 nats: 0.010000 nats too much; ask for 900B");
        assert_eq!(failure(&[missed]).map(|e| e.kind()), Some(ErrorKind::Gate));
        let met = Verdict::new("top-1 agreement", Bound::AtLeast, 0.9, Some(0.9), Unit::Share, Force::Binding).or(|| Some("x".into()));
        assert_eq!((met.met, met.remedy.clone()), (true, None));
        assert!(failure(&[met]).is_none());
    }

    #[test]
    fn what_was_not_measured_fails_a_promise_and_no_default() {
        let make = |force| Verdict::new("speed", Bound::AtLeast, 2.0, None, Unit::Times, force);
        assert!(failure(&[make(Force::Advisory)]).is_none());
        assert!(failure(&[make(Force::Binding)]).is_some_and(|e| e.message().contains("not measured")));
    }
}
