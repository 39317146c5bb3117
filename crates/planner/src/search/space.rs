//! What is searched: named parameters, each with its domain, some of which only count where an earlier one has
//! a certain value.
//!
//! Every domain is laid out on the interval from 0 to 1, a *gene*: choices, integers and steps as cells of equal
//! width, logarithmic domains by their logarithm. Samplers work on genes alone and know no domain.

use std::collections::BTreeMap;
use std::fmt;

use gravure_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most points that are ever listed.
pub(super) const LISTED: usize = 1 << 20;

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Of [`Domain::Integer`].
    Integer(i64),
    /// Of [`Domain::Real`].
    Real(f64),
    /// Of [`Domain::Choice`].
    Choice(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Choice(value) => f.write_str(value),
        }
    }
}

/// How a range is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Equal differences are equally far.
    #[default]
    Linear,
    /// Equal ratios are equally far; the range must be positive.
    Log,
}

/// The values that a parameter can have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Domain {
    /// One of some names, in no order.
    Choice {
        /// The names, at least one.
        of: Vec<String>,
    },
    /// A whole number.
    Integer {
        /// The least.
        low: i64,
        /// The largest.
        high: i64,
        /// How the range is laid out.
        scale: Scale,
    },
    /// A number.
    Real {
        /// The least.
        low: f64,
        /// The largest.
        high: f64,
        /// How the range is laid out.
        scale: Scale,
        /// Distance of the values that are told apart, counted from `low`; `None` for all of them.
        step: Option<f64>,
    },
}

impl Domain {
    /// Names to choose from.
    pub fn choice<T: Into<String>>(of: impl IntoIterator<Item = T>) -> Self {
        Self::Choice { of: of.into_iter().map(Into::into).collect() }
    }

    /// Numbers between two, all of them.
    pub fn real(low: f64, high: f64) -> Self {
        Self::Real { low, high, scale: Scale::Linear, step: None }
    }

    fn check(&self) -> std::result::Result<(), &'static str> {
        let fits = match self {
            Self::Choice { of } => !of.is_empty() && of.iter().enumerate().all(|(i, name)| !of[..i].contains(name)) && of.len() < LISTED,
            Self::Integer { low, high, scale } => low <= high && high.checked_sub(*low).is_some() && (*scale == Scale::Linear || *low > 0),
            Self::Real { low, high, scale, step } => {
                let range = low.is_finite() && high.is_finite() && low <= high && (high - low).is_finite();
                range && (*scale == Scale::Linear || *low > 0.0) && step.is_none_or(|s| s.is_finite() && s > 0.0)
            }
        };
        if fits { Ok(()) } else { Err("its domain is empty, names a value twice or is no range") }
    }

    /// How many values there are; `None` for all numbers of a range.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Choice { of } => Some(of.len() as u64),
            Self::Integer { low, high, .. } => Some(high.abs_diff(*low).saturating_add(1)),
            Self::Real { low, high, step: Some(step), .. } => Some(steps(*low, *high, *step).saturating_add(1)),
            Self::Real { low, high, step: None, .. } => (low == high).then_some(1),
        }
    }

    /// Whether its values are in no order.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self, Self::Choice { .. })
    }

    /// The value at a gene.
    pub(super) fn value(&self, gene: f64) -> Value {
        let gene = gene.clamp(0.0, 1.0);
        match self {
            Self::Choice { of } => {
                let at = ((gene * of.len() as f64) as usize).min(of.len().saturating_sub(1));
                Value::Choice(of.get(at).cloned().unwrap_or_default())
            }
            Self::Integer { low, high, scale: Scale::Linear } => {
                let cell = (gene * (high.abs_diff(*low) as f64 + 1.0)) as i64;
                Value::Integer(low.saturating_add(cell).clamp(*low, *high))
            }
            Self::Integer { low, high, scale: Scale::Log } => {
                // Cells reach half a step beyond the ends, as they do between whole numbers.
                let (from, to) = ((*low as f64 - 0.5).ln(), (*high as f64 + 0.5).ln());
                Value::Integer(((from + gene * (to - from)).exp().round() as i64).clamp(*low, *high))
            }
            Self::Real { low, high, step: Some(step), scale: Scale::Linear } => {
                let count = steps(*low, *high, *step) as f64 + 1.0;
                Value::Real(stepped(*low, *high, *step, (gene * count).floor().min(count - 1.0)))
            }
            Self::Real { low, high, step, scale } => {
                let raw = match scale {
                    Scale::Linear => low + gene * (high - low),
                    Scale::Log => (low.ln() + gene * (high.ln() - low.ln())).exp(),
                };
                let value = step.map_or_else(|| spelled(raw), |step| stepped(*low, *high, step, ((raw - low) / step).round()));
                Value::Real(value.clamp(*low, *high))
            }
        }
    }

    /// The gene of a value: the middle of its cell. `None` where it is none of the domain's.
    pub(super) fn gene(&self, value: &Value) -> Option<f64> {
        let gene = match (self, value) {
            (Self::Choice { of }, Value::Choice(name)) => (of.iter().position(|n| n == name)? as f64 + 0.5) / of.len() as f64,
            (Self::Integer { low, high, scale }, Value::Integer(value)) if value >= low && value <= high => match scale {
                Scale::Linear => (value.abs_diff(*low) as f64 + 0.5) / (high.abs_diff(*low) as f64 + 1.0),
                Scale::Log => {
                    let (from, to) = ((*low as f64 - 0.5).ln(), (*high as f64 + 0.5).ln());
                    ((*value as f64).ln() - from) / (to - from)
                }
            },
            (Self::Real { low, high, step: Some(step), scale: Scale::Linear }, Value::Real(value)) if value >= low && value <= high => {
                (((value - low) / step).round() + 0.5) / (steps(*low, *high, *step) as f64 + 1.0)
            }
            (Self::Real { low, high, scale, .. }, Value::Real(value)) if value >= low && value <= high => match scale {
                _ if low == high => 0.5,
                Scale::Linear => (value - low) / (high - low),
                Scale::Log => (value.ln() - low.ln()) / (high.ln() - low.ln()),
            },
            _ => return None,
        };
        Some(gene.clamp(0.0, 1.0))
    }

    /// All values where there are at most `most`, or as many that are evenly spaced; names are all taken.
    fn levels(&self, most: usize) -> Vec<Value> {
        let most = most.max(1);
        let mut all: Vec<Value> = match self {
            Self::Choice { of } => of.iter().cloned().map(Value::Choice).collect(),
            _ => {
                let count = self.count().and_then(|c| usize::try_from(c).ok());
                let n = count.map_or(most, |c| c.min(most));
                let all = count.is_some_and(|c| c == n);
                // Of a part, the ends are taken; of all, every cell by its middle.
                let place = |i: usize| if all { (i as f64 + 0.5) / n as f64 } else { i as f64 / (n.max(2) - 1) as f64 };
                match self {
                    Self::Integer { low, scale: Scale::Log, .. } if all => (0..n as i64).map(|i| Value::Integer(low + i)).collect(),
                    Self::Real { low, high, step: Some(step), .. } if all => {
                        (0..n).map(|i| Value::Real(stepped(*low, *high, *step, i as f64))).collect()
                    }
                    _ => (0..n).map(|i| self.value(place(i))).collect(),
                }
            }
        };
        all.dedup();
        all
    }
}

/// Whole steps from `low` to `high`.
fn steps(low: f64, high: f64, step: f64) -> u64 {
    // A range of 0.3 in steps of 0.1 has three of them, whatever binary fractions make of it.
    ((high - low) / step + 1e-9).floor().max(0.0) as u64
}

/// The nearest number of twelve digits: it comes back from every file as it was, and nobody can tell it apart.
fn spelled(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

/// A value some steps above `low`, in as many digits as the step has: 4.35, not 4.3500000000000005.
fn stepped(low: f64, high: f64, step: f64, count: f64) -> f64 {
    let raw = (low + count * step).clamp(low, high);
    let short = (raw * 1e9).round() / 1e9;
    if (short - raw).abs() < step * 1e-6 { short.clamp(low, high) } else { raw }
}

/// When a parameter counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// An earlier parameter.
    pub parameter: String,
    /// Its values with which the other one counts.
    pub among: Vec<Value>,
}

/// A named parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its values.
    pub domain: Domain,
    /// When it counts; always where there is no condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
}

/// Values of the parameters that count.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Point(pub BTreeMap<String, Value>);

impl Point {
    /// The value of a parameter, where it counts.
    pub fn get(&self, parameter: &str) -> Option<&Value> {
        self.0.get(parameter)
    }

    /// The same of a choice.
    pub fn choice(&self, parameter: &str) -> Option<&str> {
        match self.get(parameter) {
            Some(Value::Choice(name)) => Some(name),
            _ => None,
        }
    }

    /// The same of an integer.
    pub fn integer(&self, parameter: &str) -> Option<i64> {
        match self.get(parameter) {
            Some(Value::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// The same of a number.
    pub fn real(&self, parameter: &str) -> Option<f64> {
        match self.get(parameter) {
            Some(Value::Real(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text that no other point has: what digests are made of.
    pub fn key(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name:?}={value:?}")).collect();
        pairs.join(" ")
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name} {value}")).collect();
        f.write_str(&pairs.join(", "))
    }
}

/// All parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Space {
    parameters: Vec<Parameter>,
}

impl Space {
    /// A space; conditions look at earlier parameters only.
    ///
    /// # Errors
    /// `Request` for no parameters, a name that is given twice, a domain without values, and a condition
    /// that no earlier parameter can meet.
    pub fn new(parameters: Vec<Parameter>) -> Result<Self> {
        let space = Self { parameters };
        space.check().map(|()| space)
    }

    /// What [`Space::new`] checks, for a space that came out of a file.
    pub(super) fn check(&self) -> Result<()> {
        if self.parameters.is_empty() {
            return Err(Error::request("there is nothing to search: the space has no parameters"));
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            let refuse = |what: &str| Err(Error::request(format!("a parameter is wrong: {what}")).at_item(&*parameter.name));
            let before = &self.parameters[..index];
            if before.iter().any(|p| p.name == parameter.name) {
                return refuse("its name is given twice");
            }
            if let Err(what) = parameter.domain.check() {
                return refuse(what);
            }
            let Some(condition) = &parameter.when else { continue };
            let Some(other) = before.iter().find(|p| p.name == condition.parameter) else {
                return refuse("its condition looks at no earlier parameter");
            };
            if condition.among.is_empty() || condition.among.iter().any(|v| other.domain.gene(v).is_none()) {
                return refuse("its condition names a value that the other parameter never has");
            }
        }
        Ok(())
    }

    /// The parameters in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn counts(parameter: &Parameter, point: &Point) -> bool {
        parameter.when.as_ref().is_none_or(|c| point.get(&c.parameter).is_some_and(|v| c.among.contains(v)))
    }

    /// The point of some genes, one for each parameter.
    pub(super) fn point(&self, genes: &[f64]) -> Point {
        let mut point = Point::default();
        for (parameter, gene) in self.parameters.iter().zip(genes) {
            if Self::counts(parameter, &point) {
                point.0.insert(parameter.name.clone(), parameter.domain.value(*gene));
            }
        }
        point
    }

    /// The genes of a point; `None` for parameters that do not count in it.
    pub(super) fn genes(&self, point: &Point) -> Vec<Option<f64>> {
        self.parameters.iter().map(|p| point.get(&p.name).and_then(|v| p.domain.gene(v))).collect()
    }

    /// Every point once, ranges in at most `levels` values each: what a grid goes through.
    ///
    /// # Errors
    /// `Request` where these are more than a million.
    pub fn points(&self, levels: usize) -> Result<Vec<Point>> {
        let mut points = vec![Point::default()];
        for parameter in &self.parameters {
            let values = parameter.domain.levels(levels);
            let mut next = Vec::new();
            for point in points {
                if !Self::counts(parameter, &point) {
                    next.push(point);
                    continue;
                }
                for value in &values {
                    let mut longer = point.clone();
                    longer.0.insert(parameter.name.clone(), value.clone());
                    next.push(longer);
                }
                if next.len() > LISTED {
                    return Err(Error::request(format!("the grid has more than {LISTED} points"))
                        .help("search it by another sampler, or leave parameters out"));
                }
            }
            points = next;
        }
        Ok(points)
    }

    /// How many different points there are; `None` where there are too many to list.
    pub fn size(&self) -> Option<usize> {
        let finite = self.parameters.iter().all(|p| p.domain.count().is_some_and(|c| c <= LISTED as u64));
        if !finite {
            return None;
        }
        self.points(LISTED).ok().map(|points| points.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, domain: Domain) -> Parameter {
        Parameter { name: name.into(), domain, when: None }
    }

    #[test]
    fn genes_and_values_are_each_others_inverse() {
        let domains = [
            Domain::choice(["a", "b", "c"]),
            Domain::Integer { low: -2, high: 5, scale: Scale::Linear },
            Domain::Integer { low: 1, high: 64, scale: Scale::Log },
            Domain::Real { low: 2.0, high: 4.35, scale: Scale::Linear, step: Some(0.05) },
            Domain::real(-1.0, 3.0),
            Domain::Real { low: 1e-4, high: 1.0, scale: Scale::Log, step: None },
        ];
        for domain in domains {
            domain.check().unwrap();
            for i in 0..=100 {
                let value = domain.value(f64::from(i) / 100.0);
                let gene = domain.gene(&value).unwrap_or_else(|| panic!("{domain:?} has not its own {value:?}"));
                let again = domain.value(gene);
                match (&value, &again) {
                    (Value::Real(a), Value::Real(b)) => assert!((a - b).abs() < 1e-9, "{domain:?}: {a} {b}"),
                    _ => assert_eq!(value, again, "{domain:?}"),
                }
            }
        }
        assert_eq!(Domain::choice(["a"]).gene(&Value::Choice("b".into())), None);
        assert_eq!(Domain::Integer { low: 0, high: 3, scale: Scale::Linear }.gene(&Value::Integer(4)), None);
    }

    #[test]
    fn steps_are_decimal() {
        let domain = Domain::Real { low: 2.0, high: 3.0, scale: Scale::Linear, step: Some(0.1) };
        assert_eq!(domain.count(), Some(11));
        let all: Vec<String> = domain.levels(100).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["2", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "2.9", "3"]);
    }

    #[test]
    fn conditions_decide_what_counts() {
        let when = |value: &str| Some(Condition { parameter: "kind".into(), among: vec![Value::Choice(value.into())] });
        let space = Space::new(vec![
            parameter("kind", Domain::choice(["x", "y"])),
            Parameter { when: when("x"), ..parameter("depth", Domain::Integer { low: 1, high: 3, scale: Scale::Linear }) },
            Parameter { when: when("y"), ..parameter("name", Domain::choice(["a", "b"])) },
        ])
        .unwrap();
        let points: Vec<String> = space.points(9).unwrap().iter().map(ToString::to_string).collect();
        let expected = ["depth 1, kind x", "depth 2, kind x", "depth 3, kind x", "kind y, name a", "kind y, name b"];
        assert_eq!(points, expected);
        assert_eq!(space.size(), Some(5));
        let point = space.point(&[0.9, 0.5, 0.1]);
        assert_eq!((point.integer("depth"), point.choice("name")), (None, Some("a")));
        assert_eq!(space.genes(&point), [Some(0.75), None, Some(0.25)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let one = |domain| Space::new(vec![parameter("a", domain)]);
        for domain in [
            Domain::Choice { of: Vec::new() },
            Domain::choice(["a", "a"]),
            Domain::Integer { low: 2, high: 1, scale: Scale::Linear },
            Domain::Integer { low: 0, high: 1, scale: Scale::Log },
            Domain::real(0.0, f64::NAN),
            Domain::Real { low: 0.0, high: 1.0, scale: Scale::Linear, step: Some(0.0) },
        ] {
            assert!(one(domain.clone()).is_err(), "{domain:?}");
        }
        assert!(Space::new(Vec::new()).is_err());
        let twice = vec![parameter("a", Domain::real(0.0, 1.0)), parameter("a", Domain::real(0.0, 1.0))];
        assert!(Space::new(twice).is_err());
        let ahead = Parameter {
            when: Some(Condition { parameter: "b".into(), among: vec![Value::Real(0.0)] }),
            ..parameter("a", Domain::real(0.0, 1.0))
        };
        assert!(Space::new(vec![ahead, parameter("b", Domain::real(0.0, 1.0))]).is_err());
        let wide = Domain::Integer { low: 0, high: 2000, scale: Scale::Linear };
        let wide = Space::new(vec![parameter("a", wide.clone()), parameter("b", wide)]).unwrap();
        assert!(wide.points(5000).is_err() && wide.size().is_none());
        assert_eq!(wide.points(5).unwrap().len(), 25);
    }

    #[test]
    fn points_survive_being_written() {
        let mut point = Point::default();
        point.0.insert("a".into(), Value::Real(4.0));
        point.0.insert("b".into(), Value::Integer(4));
        point.0.insert("c".into(), Value::Choice("4".into()));
        let text = serde_json::to_string(&point).unwrap();
        assert_eq!(text, r#"{"a":4.0,"b":4,"c":"4"}"#);
        assert_eq!(serde_json::from_str::<Point>(&text).unwrap(), point);
    }
}
