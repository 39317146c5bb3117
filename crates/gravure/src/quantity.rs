//! Sizes and shares as people write them.

use std::fmt;

use gravure_base::{Error, Result};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, with the words that it was asked for in: `123456B`, `400MB`, `1.5GiB`. In a recipe a
/// plain whole number is of bytes, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    bytes: u64,
    text: String,
}

impl Size {
    /// Reads one. `M` and `G` are powers of 1000, as in llama.cpp's split options.
    ///
    /// # Errors
    /// `Request` where it is none, or less than a byte.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::request(format!("`{text}` is not a size")).help("write 123456B, 400MB, 1.5GiB or 2G");
        let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let factor: f64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1_048_576.0,
            "gib" => 1_073_741_824.0,
            _ => return Err(wrong()),
        };
        let bytes = number.parse::<f64>().map_err(|_| wrong())? * factor;
        if !(1.0..9e18).contains(&bytes) {
            return Err(wrong());
        }
        Ok(Self { bytes: bytes as u64, text: text.to_owned() })
    }

    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"400MB\", or a number of bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Size, E> {
                Size::parse(text).map_err(|e| E::custom(e.message()))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> std::result::Result<Size, E> {
                self.visit_str(&format!("{bytes}B"))
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> std::result::Result<Size, E> {
                self.visit_str(&format!("{bytes}B"))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A share between 0 and 1, with the words that it was asked for in: `0.95`, `95%`.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    value: f64,
    text: String,
}

impl Share {
    /// Reads one.
    ///
    /// # Errors
    /// `Request` where it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
        let value = number.trim_end().parse::<f64>().ok().map(|v| v / scale).filter(|v| (0.0..=1.0).contains(v));
        let value = value.ok_or_else(|| Error::request(format!("`{text}` is not a share")).help("write 0.95 or 95%"))?;
        Ok(Self { value, text: text.to_owned() })
    }

    /// The share.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.text.ends_with('%') { serializer.serialize_str(&self.text) } else { serializer.serialize_f64(self.value) }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as 0.95 or \"95%\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Share, E> {
                Share::parse(text).map_err(|e| E::custom(e.message()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Share, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Share, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_usual_spelling() {
        for (text, bytes) in [("123456B", 123_456), ("400MB", 400_000_000), ("1.5GiB", 1_610_612_736), ("2G", 2_000_000_000), ("7", 7)] {
            assert_eq!(Size::parse(text).unwrap().bytes(), bytes, "{text}");
        }
        for text in ["", "MB", "12XB", "-3MB", "1e400", "nan"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_read_as_fractions_and_in_percent() {
        for (text, value) in [("0.95", 0.95), ("95%", 0.95), ("95 %", 0.95), ("1", 1.0), ("0", 0.0)] {
            assert!((Share::parse(text).unwrap().value() - value).abs() < 1e-12, "{text}");
        }
        for text in ["", "95", "-1%", "101%", "nan", "x"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }
}
