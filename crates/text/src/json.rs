//! JSON from untrusted files: bounded depth, no key twice.
//!
//! `serde_json` keeps the last of two equal keys; two readers of one file could then see two
//! tokenizers. Here that is an error.

use std::fmt;

use gravure_base::{Error, Limits, Result};
use serde_json::{Map, Value};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// A whole JSON document.
///
/// # Errors
/// `Input` for what is not JSON, nests past `limits.depth`, or has a key twice.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Value> {
    read(bytes, Strict::new(limits))
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
pub(crate) struct Strict {
    depth: u32,
}

impl Strict {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { depth: limits.depth }
    }

    fn deeper<E: de::Error>(self) -> std::result::Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom("it is nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
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
        let mut out = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let inner = self.deeper()?;
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
        assert!(parse(b"{} x", &limits).is_err());
        assert!(parse(b"", &limits).is_err());
        assert!(parse(b"\xff", &limits).is_err());
    }
}
