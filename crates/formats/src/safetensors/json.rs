//! JSON as untrusted files may write it: bounded in size and depth, and without duplicate keys.
//!
//! `serde_json` keeps the last of two equal keys; other readers keep the first. Two readers that see
//! two models in one file is how backdoors hide, so a duplicate is an error here.

use std::cell::Cell;
use std::path::Path;

use gravure_base::{Error, FileReader, Limits, ReadAt, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Bytes of a configuration file; the largest real ones (with inlined label tables) have 2 MB.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// What the values of one document may cost: half a million numbers or names of files, or a seventh of
/// that in objects. Two bytes can become seventy in memory. The largest real index names 140,000 tensors.
const MAX_UNITS: u32 = 1 << 19;

/// Reads a whole JSON file of configuration size.
pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Value> {
    let bytes = read_small(path, limits.header_bytes.min(MAX_CONFIG_BYTES), "a configuration file")?;
    parse(&bytes, limits).map_err(|e| e.in_file(path))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: u64, what: &str) -> Result<Vec<u8>> {
    let file = FileReader::open(path)?;
    Limits::check(file.len(), limit, &format!("bytes of {what}")).map_err(|e| e.in_file(path))?;
    let mut bytes = vec![0; usize::try_from(file.len()).map_err(|_| Error::limit("does not fit in memory").in_file(path))?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Parses one JSON document.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Value> {
    if super::folder::is_lfs_pointer(bytes) {
        return Err(super::folder::lfs_error());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let (units, spent) = (Cell::new(MAX_UNITS), Cell::new(false));
    let seed = Strict { depth: limits.depth, units: &units, spent: &spent };
    let value = seed.deserialize(&mut deserializer).map_err(to_error);
    let value = value.map_err(|e| if spent.get() { Error::limit(e.message()) } else { e })?;
    deserializer.end().map_err(to_error)?;
    Ok(value)
}

pub(crate) fn to_error(error: serde_json::Error) -> Error {
    Error::input(format!("is not valid JSON: {error}"))
}

/// A seed that makes a [`Value`] and refuses duplicate keys and nesting past `depth`.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: u32,
    /// What may still be spent on values.
    units: &'a Cell<u32>,
    /// Whether more was asked for.
    spent: &'a Cell<bool>,
}

impl Strict<'_> {
    fn take<E: serde::de::Error>(self, units: u32) -> std::result::Result<(), E> {
        let left = self.units.get().checked_sub(units);
        self.spent.set(left.is_none());
        self.units.set(left.unwrap_or(0));
        if left.is_some() { Ok(()) } else { Err(E::custom("there are too many values")) }
    }

    fn deeper<E: serde::de::Error>(self) -> std::result::Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("values are nested too deep"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        self.take(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Value, E> {
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
        self.take(4)?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(deeper)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let deeper = self.deeper()?;
        self.take(6)?;
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(deeper)?;
            if out.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` is there twice")));
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
}
