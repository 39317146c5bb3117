//! JSON as untrusted files may write it: bounded in depth and in values, without duplicate keys.
//!
//! `serde_json` keeps the last of two equal keys; other readers keep the first. Two readers that see two
//! models in one file is how backdoors hide, so a duplicate is an error here. So is a document of more
//! values than memory should be given to: two bytes of it can become seventy.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{Error, Limits, Result};

/// A whole JSON document.
///
/// # Errors
/// `Input` for what is not JSON, nests past `limits.depth`, or has a key twice; `Limit` for too many values.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value> {
    let budget = Budget::default();
    read(bytes, Strict::new(limits, &budget)).map_err(|e| budget.explain(e))
}

/// A whole JSON document through a seed.
///
/// # Errors
/// `Input` for what is not JSON or what the seed refuses.
pub fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut deserializer).map_err(to_error)?;
    deserializer.end().map_err(to_error)?;
    Ok(value)
}

/// What the parser found wrong, as an `Input` error.
pub fn to_error(error: serde_json::Error) -> Error {
    Error::input(format!("is not valid JSON: {error}"))
}

/// What the values of one document may cost: half a million numbers or short texts, or a seventh of that
/// in objects. The largest real file, an index of 140,000 tensors, needs a quarter.
#[derive(Debug)]
pub struct Budget {
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
        if left.is_some() { Ok(()) } else { Err(E::custom("there are too many values")) }
    }

    /// An error of the parser, which knows no kinds, with the right one.
    pub fn explain(&self, error: Error) -> Error {
        if self.spent.get() { Error::limit(error.message()) } else { error }
    }
}

/// A seed for a [`Value`] of bounded depth and cost without repeated keys.
#[derive(Debug, Clone, Copy)]
pub struct Strict<'a> {
    depth: u32,
    budget: &'a Budget,
}

impl<'a> Strict<'a> {
    /// A seed that nests at most `limits.depth` deep and takes what it makes from `budget`.
    pub fn new(limits: &Limits, budget: &'a Budget) -> Self {
        Self { depth: limits.depth, budget }
    }

    fn deeper<E: de::Error>(self) -> std::result::Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("values are nested too deeply"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        self.budget.take(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let deeper = self.deeper()?;
        self.budget.take(4)?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let deeper = self.deeper()?;
        self.budget.take(6)?;
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(deeper)?;
            if out.contains_key(&key) {
                return Err(de::Error::custom(format!("the key `{key}` is there twice")));
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
    fn values_come_through_unchanged() {
        let text = r#"{"b": [1, -2, 0.5, null, true, "x\u00e9"], "a": {"c": 18446744073709551615}}"#;
        let strict = parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(strict, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(strict.as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "a"], "order is kept");
    }

    #[test]
    fn ambiguity_depth_and_garbage_are_refused() {
        let cases = [
            (r#"{"a": 1, "a": 1}"#.to_owned(), "`a` is there twice"),
            (r#"{"x": [{"a": 1, "b": 2, "a": 3}]}"#.to_owned(), "`a` is there twice"),
            ("[".repeat(65) + &"]".repeat(65), "nested too deep"),
            ("[".repeat(100_000), "recursion limit"),
            ("{} {}".to_owned(), "trailing"),
            ("[1e999]".to_owned(), "out of range"),
            ("[NaN]".to_owned(), "expected"),
            (String::new(), "EOF"),
            ("\u{feff}{}".to_owned(), "expected value"),
        ];
        for (text, expected) in cases {
            let error = parse(text.as_bytes(), &Limits::default()).unwrap_err();
            let shown: String = text.chars().take(40).collect();
            // The depth check of ours and the one of serde_json may each come first.
            let depth = expected == "recursion limit" && error.message().contains("nested too deep");
            assert!(depth || error.message().contains(expected), "{shown}: {error}");
        }
        assert!(parse(("[".repeat(64) + &"]".repeat(64)).as_bytes(), &Limits::default()).is_ok());
    }

    #[test]
    fn refuses_repeated_keys_depth_and_rubbish() {
        let limits = Limits::default();
        assert_eq!(parse(br#"{"a":[1,-2,2.5,null,true,"x"]}"#, &limits).unwrap(), serde_json::json!({"a":[1,-2,2.5,null,true,"x"]}));
        assert!(parse(br#"{"a":1,"a":2}"#, &limits).unwrap_err().to_string().contains("`a` is there twice"));
        let deep = [vec![b'['; 100], vec![b']'; 100]].concat();
        assert!(parse(&deep, &limits).unwrap_err().to_string().contains("nested too deeply"));
        let many = [&b"[0"[..], &b",0".repeat(1 << 20), b"]"].concat();
        assert_eq!(parse(&many, &limits).unwrap_err().kind(), crate::ErrorKind::Limit);
        assert!(parse(b"{} x", &limits).is_err());
        assert!(parse(b"", &limits).is_err());
        assert!(parse(b"\xff", &limits).is_err());
    }
}
