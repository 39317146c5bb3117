//! JSON from untrusted files: bounded depth, no key twice.
//!
//! `serde_json` keeps the last of two equal keys; two readers of one file could then see two
//! tokenizers. Here that is an error. So is a document of more values than memory should be given
//! to: two bytes of it can become seventy.

use std::cell::Cell;
use std::fmt;

use gravure_base::{Error, Limits, Result};
use serde_json::{Map, Value};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// A whole JSON document.
///
/// # Errors
/// `Input` for what is not JSON, nests past `limits.depth`, or has a key twice, `Limit` for too many
/// values.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Value> {
    let budget = Budget::default();
    read(bytes, Strict::new(limits, &budget)).map_err(|e| budget.explain(e))
}

/// What the values of one document may cost: half a million numbers, or a seventh of that in objects,
/// which is several times what the largest real file has.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u32>,
    spent: Cell<bool>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Cell::new(1 << 19), spent: Cell::new(false) }
    }
}

impl Budget {
    fn take<E: de::Error>(&self, units: u32) -> std::result::Result<(), E> {
        let left = self.left.get().checked_sub(units);
        self.spent.set(left.is_none());
        self.left.set(left.unwrap_or(0));
        if left.is_some() { Ok(()) } else { Err(E::custom("it has too many values")) }
    }

    /// An error of the parser, which knows no kinds, with the right one.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if self.spent.get() { Error::limit(error.message()) } else { error }
    }
}

/// A whole JSON document through a seed.
pub(crate) fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut deserializer).map_err(error)?;
    deserializer.end().map_err(error)?;
    Ok(value)
}

fn error(e: serde_json::Error) -> Error {
    Error::input(format!("this is not the JSON that it should be: {e}"))
}

/// A seed for a value of bounded depth without repeated keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strict<'a> {
    depth: u32,
    budget: &'a Budget,
}

impl<'a> Strict<'a> {
    pub(crate) fn new(limits: &Limits, budget: &'a Budget) -> Self {
        Self { depth: limits.depth, budget }
    }

    fn deeper<E: de::Error>(self) -> std::result::Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(E::custom("it is nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        self.budget.take(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let inner = self.deeper()?;
        self.budget.take(4)?;
        let mut out = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let inner = self.deeper()?;
        self.budget.take(6)?;
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            if out.contains_key(&key) {
                return Err(de::Error::custom(format!("the key {key:?} stands twice")));
            }
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_repeated_keys_depth_and_rubbish() {
        let limits = Limits::default();
        assert_eq!(parse(br#"{"a":[1,-2,2.5,null,true,"x"]}"#, &limits).unwrap(), serde_json::json!({"a":[1,-2,2.5,null,true,"x"]}));
        assert!(parse(br#"{"a":1,"a":2}"#, &limits).unwrap_err().to_string().contains("\"a\" stands twice"));
        let deep = [vec![b'['; 100], vec![b']'; 100]].concat();
        assert!(parse(&deep, &limits).unwrap_err().to_string().contains("nested too deeply"));
        let many = [&b"[0"[..], &b",0".repeat(1 << 20), b"]"].concat();
        assert_eq!(parse(&many, &limits).unwrap_err().kind(), gravure_base::ErrorKind::Limit);
        assert!(parse(b"{} x", &limits).is_err());
        assert!(parse(b"", &limits).is_err());
        assert!(parse(b"\xff", &limits).is_err());
    }
}
