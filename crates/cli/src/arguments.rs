//! Values that need more than a number: sizes, metadata overrides.

use gravure::{Error, Result, Size, Value};

/// A time as people write it: `90`, `90s`, `5m`, `1.5h`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration> {
    let wrong = || Error::request(format!("`{text}` is no time")).help("write 90s, 5m or 1.5h");
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit.trim() {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * factor;
    std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// A size such as `123456B`, `400MB`, `1.5GiB`, in bytes.
pub(crate) fn size(text: &str) -> Result<u64> {
    Size::parse(text).map(|size| size.bytes())
}

/// `KEY=TYPE:VALUE` with a type of `int`, `float`, `bool` or `str`. Whole numbers are stored as `u32` and floats
/// as `f32`, as llama-quantize does.
pub(crate) fn override_kv(text: &str) -> Result<(String, Value)> {
    let wrong = |what: &str| {
        Error::request(format!("`{text}`: {what}")).help("write --override-kv KEY=TYPE:VALUE with a type of int, float, bool or str")
    };
    let (key, rest) = text.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
    let (kind, value) = rest.split_once(':').ok_or_else(|| wrong("there is no type"))?;
    let value = match kind {
        "int" => {
            let number: i64 = value.parse().map_err(|_| wrong("the value is not a whole number"))?;
            Value::U32(u32::try_from(number.unsigned_abs()).map_err(|_| wrong("the value does not fit in 32 bits"))?)
        }
        "float" => Value::F32(value.parse::<f64>().map_err(|_| wrong("the value is not a number"))? as f32),
        "bool" => Value::Bool(value.parse().map_err(|_| wrong("the value is neither true nor false"))?),
        "str" => Value::String(value.to_owned()),
        _ => return Err(wrong("the type is unknown")),
    };
    if key.is_empty() {
        return Err(wrong("the key is empty"));
    }
    Ok((key.to_owned(), value))
}

/// `TOKEN+N` or `TOKEN-N`: the token as it is written, and what is added to its logit. `N` may be `inf`.
pub(crate) fn logit_bias(text: &str) -> Result<(&str, f32)> {
    let wrong = || Error::request(format!("`{text}` is no logit bias")).help("write --logit-bias 15043+1, 15043-0.5 or 15043-inf");
    let at = text.rfind(['+', '-']).filter(|at| *at > 0).ok_or_else(wrong)?;
    let (token, bias) = text.split_at(at);
    let bias: f32 = bias.parse().map_err(|_| wrong())?;
    if bias.is_nan() || bias == f32::INFINITY { Err(wrong()) } else { Ok((token, bias)) }
}

/// A text in which `\n`, `\r`, `\t`, `\\`, `\'`, `\"` and `\xNN` stand for what they do in most languages;
/// other backslashes stand for themselves.
pub(crate) fn unescaped(text: &str) -> Result<String> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend(before.as_bytes());
        let hex = after.strip_prefix('x').and_then(|h| h.get(..2)).and_then(|h| u8::from_str_radix(h, 16).ok());
        let plain = match after.chars().next() {
            Some('n') => Some(b'\n'),
            Some('r') => Some(b'\r'),
            Some('t') => Some(b'\t'),
            Some(sign @ ('\\' | '\'' | '"')) => Some(sign as u8),
            _ => None,
        };
        let (byte, taken) = match (plain, hex) {
            (Some(byte), _) => (byte, 1),
            (None, Some(byte)) => (byte, 3),
            (None, None) => (b'\\', 0),
        };
        out.push(byte);
        rest = after.get(taken..).unwrap_or_default();
    }
    out.extend(rest.as_bytes());
    String::from_utf8(out).map_err(|_| Error::request("the escapes of a text are no UTF-8").help("see --no-escape"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, seconds) in [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0), ("0.5 s", 0.5)] {
            assert!((duration(text).unwrap().as_secs_f64() - seconds).abs() < 1e-9, "{text}");
        }
        for text in ["", "s", "5d", "-1s", "1e9", "9999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn overrides_are_typed() {
        assert_eq!(override_kv("a.b=int:7").unwrap(), ("a.b".into(), Value::U32(7)));
        assert_eq!(override_kv("a=str:x=y:z").unwrap(), ("a".into(), Value::String("x=y:z".into())));
        assert!(override_kv("a=int:x").is_err());
        assert!(override_kv("a").is_err());
    }

    #[test]
    fn biases_name_a_token_and_a_number() {
        assert_eq!(logit_bias("15043+1").unwrap(), ("15043", 1.0));
        assert_eq!(logit_bias("7-0.5").unwrap(), ("7", -0.5));
        assert_eq!(logit_bias("a-b-inf").unwrap(), ("a-b", f32::NEG_INFINITY));
        for text in ["", "12", "+1", "12+", "12+x", "12+inf", "12-nan"] {
            assert!(logit_bias(text).is_err(), "{text}");
        }
    }

    #[test]
    fn escapes_are_those_of_most_languages() {
        let cases = [(r"a\nb", "a\nb"), (r"\t\\n", "\t\\n"), (r"\xC3\xA9", "é"), (r"C:\dir\", r"C:\dir\"), (r#"\"\'"#, "\"'"), ("", "")];
        for (text, expected) in cases {
            assert_eq!(unescaped(text).unwrap(), expected, "{text}");
        }
        assert!(unescaped(r"\xFF").is_err());
    }
}
