//! The contract of an operation, and the checks that all of them share.

use gravure_base::{Error, Result};

use crate::{Array, AttributeRule, Attributes};

/// An input of an operation.
#[derive(Debug, Clone, Copy)]
pub struct InputRule {
    /// Its name, for messages and docs.
    pub name: &'static str,
    /// Whether it may be left away; optional inputs come last.
    pub optional: bool,
}

impl InputRule {
    /// An input that must be there.
    pub const fn required(name: &'static str) -> Self {
        Self { name, optional: false }
    }

    /// An input that may be left away.
    pub const fn optional(name: &'static str) -> Self {
        Self { name, optional: true }
    }
}

/// An operation with one output.
pub trait Op: Send + Sync + std::fmt::Debug {
    /// Lower-case name, for example `rms_norm`.
    fn id(&self) -> &'static str;

    /// One line for tables.
    fn doc(&self) -> &'static str;

    /// Its inputs in order.
    fn inputs(&self) -> &'static [InputRule];

    /// Its attributes; an attribute that is not among them is an error.
    fn attributes(&self) -> &'static [AttributeRule] {
        &[]
    }

    /// The shape of the output, outermost dimension first.
    ///
    /// # Errors
    /// `Input` where the shapes do not fit each other or an attribute is out of range.
    fn shape(&self, inputs: &[&[usize]], attributes: &Attributes) -> Result<Vec<usize>>;

    /// The output's values. Called with inputs whose shapes [`Op::shape`] has accepted.
    ///
    /// # Errors
    /// `Input` where a value is out of range, such as a row number beyond a table.
    fn evaluate(&self, inputs: &[&Array], attributes: &Attributes) -> Result<Array>;
}

/// Checks the number of inputs, and names and types of attributes.
pub(crate) fn check(op: &dyn Op, inputs: usize, attributes: &Attributes) -> Result<()> {
    let rules = op.inputs();
    let least = rules.iter().filter(|r| !r.optional).count();
    if inputs < least || inputs > rules.len() {
        return Err(Error::input(format!("{inputs} inputs, and {least} to {} are expected", rules.len())).at_item(op.id()));
    }
    for (name, value) in attributes {
        let rule = op.attributes().iter().find(|r| r.name == *name);
        let rule = rule.ok_or_else(|| Error::unsupported(format!("attribute `{name}` is not known")).at_item(op.id()))?;
        if rule.kind != value.kind() {
            return Err(Error::input(format!("attribute `{name}` is {value:?} and should be {:?}", rule.kind)).at_item(op.id()));
        }
    }
    match op.attributes().iter().find(|r| r.required && !attributes.contains_key(r.name)) {
        Some(missing) => Err(Error::input(format!("attribute `{}` is missing", missing.name)).at_item(op.id())),
        None => Ok(()),
    }
}

/// Refuses shapes that do not fit.
pub(crate) fn misfit(what: &str, shapes: &[&[usize]]) -> Error {
    Error::input(format!("{what}: shapes {shapes:?}"))
}
