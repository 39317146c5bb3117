//! Constant properties of a node.

use std::collections::BTreeMap;

use gravure_base::{Error, Result};

/// A constant property of a node.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Attribute {
    Integer(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    Integers(Vec<i64>),
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AttributeKind {
    Integer,
    Float,
    Flag,
    Text,
    Integers,
}

impl Attribute {
    /// Its type.
    pub fn kind(&self) -> AttributeKind {
        match self {
            Self::Integer(_) => AttributeKind::Integer,
            Self::Float(_) => AttributeKind::Float,
            Self::Flag(_) => AttributeKind::Flag,
            Self::Text(_) => AttributeKind::Text,
            Self::Integers(_) => AttributeKind::Integers,
        }
    }
}

/// An attribute that an operation reads.
#[derive(Debug, Clone, Copy)]
pub struct AttributeRule {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: AttributeKind,
    /// Whether a node without it is wrong.
    pub required: bool,
    /// What it says, with its unit and, where it is optional, what its absence means.
    pub doc: &'static str,
}

/// The attributes of a node.
pub type Attributes = BTreeMap<&'static str, Attribute>;

/// Typed access, for operations that were checked against their rules before.
pub(crate) trait Get {
    fn integer(&self, name: &str) -> Result<Option<i64>>;
    fn float(&self, name: &str) -> Result<Option<f64>>;
    fn flag(&self, name: &str) -> bool;
    /// A count that must be there and be positive.
    fn count(&self, name: &str) -> Result<usize>;
    fn required_float(&self, name: &str) -> Result<f64>;
}

impl Get for Attributes {
    fn integer(&self, name: &str) -> Result<Option<i64>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Integer(value)) => Ok(Some(*value)),
            Some(other) => Err(Error::input(format!("attribute `{name}` is {other:?} and should be an integer"))),
        }
    }

    fn float(&self, name: &str) -> Result<Option<f64>> {
        match self.get(name) {
            None => Ok(None),
            Some(Attribute::Float(value)) if value.is_finite() => Ok(Some(*value)),
            Some(other) => Err(Error::input(format!("attribute `{name}` is {other:?} and should be a finite number"))),
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name) == Some(&Attribute::Flag(true))
    }

    fn count(&self, name: &str) -> Result<usize> {
        let value = self.integer(name)?.ok_or_else(|| Error::input(format!("attribute `{name}` is missing")))?;
        match usize::try_from(value) {
            Ok(value) if value > 0 => Ok(value),
            _ => Err(Error::input(format!("attribute `{name}` is {value} and should be positive"))),
        }
    }

    fn required_float(&self, name: &str) -> Result<f64> {
        self.float(name)?.ok_or_else(|| Error::input(format!("attribute `{name}` is missing")))
    }
}
