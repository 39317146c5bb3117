//! A JSON object read strictly: each key is asked for, and what was not asked for is an error.

use gravure_base::{Error, Result};
use serde_json::{Map, Value};

/// An object and which of its keys were read.
pub(crate) struct Fields<'a> {
    what: &'a str,
    map: &'a Map<String, Value>,
    read: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(what: &'a str, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { what, map, read: Vec::new() }),
            _ => Err(Error::input(format!("{what} should be a JSON object"))),
        }
    }

    pub(crate) fn of_map(what: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { what, map, read: Vec::new() }
    }

    /// The value under `key`; `None` where it is absent or null.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.read.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn need(&mut self, key: &'static str) -> Result<&'a Value> {
        let what = self.what;
        self.get(key).ok_or_else(|| Error::input(format!("{what} has no {key:?}")))
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<&'a str> {
        let value = self.need(key)?;
        value.as_str().ok_or_else(|| self.wrong(key, "a text"))
    }

    pub(crate) fn flag_or(&mut self, key: &'static str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    pub(crate) fn list(&mut self, key: &'static str) -> Result<&'a [Value]> {
        match self.need(key)? {
            Value::Array(list) => Ok(list),
            _ => Err(self.wrong(key, "a list")),
        }
    }

    pub(crate) fn id(&mut self, key: &'static str) -> Result<u32> {
        let value = self.need(key)?;
        value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| self.wrong(key, "a token id"))
    }

    /// A text of exactly one character.
    pub(crate) fn character(&mut self, key: &'static str) -> Result<char> {
        let text = self.text(key)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(c),
            _ => Err(self.wrong(key, "one character")),
        }
    }

    /// Marks a key as one that has no influence here.
    pub(crate) fn ignore(&mut self, key: &'static str) {
        self.read.push(key);
    }

    pub(crate) fn wrong(&self, key: &str, expected: &str) -> Error {
        Error::input(format!("{key:?} of {} should be {expected}", self.what))
    }

    /// Refuses keys that nobody read.
    pub(crate) fn done(self) -> Result<()> {
        match self.map.keys().find(|key| !self.read.contains(&key.as_str())) {
            Some(key) => Err(Error::unsupported(format!("{key:?} of {} is not known", self.what))),
            None => Ok(()),
        }
    }
}
