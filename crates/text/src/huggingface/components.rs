//! The steps of a `tokenizer.json`: normalizers, pre-tokenizers, post-processors.
//!
//! Each component type that the `tokenizers` library has is either read here with all its
//! attributes, or an error that names it.

use gravure_base::{Error, Result};
use serde_json::Value;

use super::fields::Fields;
use crate::decode::Step;
use crate::normalize;
use crate::pipeline::{Behavior, BertNormalizer, Normalizer, Pattern, PrependScheme, Splitter};
use crate::pretokenizers::GPT_2;
use crate::regex::{Flavor, Regex};

/// Reads a normalizer and what is nested in it, in order.
pub(crate) fn normalizers(value: &Value) -> Result<Vec<Normalizer>> {
    let mut out = Vec::new();
    flatten(value, "the normalizer", "normalizers", &mut |value, kind| {
        out.push(normalizer(value, kind)?);
        Ok(())
    })?;
    Ok(out)
}

/// Reads a pre-tokenizer and what is nested in it, in order.
pub(crate) fn splitters(value: &Value) -> Result<Vec<Splitter>> {
    let mut out = Vec::new();
    flatten(value, "the pre-tokenizer", "pretokenizers", &mut |value, kind| {
        out.push(splitter(value, kind)?);
        Ok(())
    })?;
    Ok(out)
}

/// What a post-processor puts around a text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// Tokens before a single text.
    pub(crate) prefix: Vec<u32>,
    /// Tokens after a single text.
    pub(crate) suffix: Vec<u32>,
    /// Tokens between the two texts of a pair.
    pub(crate) between: Vec<u32>,
    /// Whether the post-processor is of the kind that marks sequences with classes and separators.
    pub(crate) roberta: bool,
    /// Whether a byte-level post-processor stands in it.
    pub(crate) byte_level: bool,
}

/// Reads a post-processor and what is nested in it.
pub(crate) fn template(value: &Value) -> Result<Template> {
    let mut out = Template::default();
    flatten(value, "the post-processor", "processors", &mut |value, kind| post_processor(value, kind, &mut out))?;
    Ok(out)
}

/// Calls `each` with every component of a possibly nested sequence, and its type.
pub(crate) fn flatten<'a>(
    value: &'a Value,
    what: &'a str,
    list: &'static str,
    each: &mut dyn FnMut(&'a Value, &'a str) -> Result<()>,
) -> Result<()> {
    if value.is_null() {
        return Ok(());
    }
    let mut fields = Fields::new(what, value)?;
    let kind = fields.text("type")?;
    if kind != "Sequence" {
        return each(value, kind);
    }
    // The depth of `value` is bounded by the parser.
    for inner in fields.list(list)? {
        flatten(inner, what, list, each)?;
    }
    fields.done()
}

fn normalizer(value: &Value, kind: &str) -> Result<Normalizer> {
    let what = format!("the normalizer {kind}");
    let mut fields = Fields::new(&what, value)?;
    fields.ignore("type");
    let new = match kind {
        "Prepend" => Normalizer::Prepend(fields.text("prepend")?.to_owned()),
        "Replace" => Normalizer::Replace { pattern: pattern(fields.need("pattern")?)?, content: fields.text("content")?.to_owned() },
        "Lowercase" => Normalizer::Lowercase,
        "NFC" => Normalizer::Nfc,
        "NFD" => Normalizer::Nfd,
        "NFKC" => Normalizer::Nfkc,
        "NFKD" => Normalizer::Nfkd,
        "StripAccents" => Normalizer::StripAccents,
        "Strip" => Normalizer::Strip { left: fields.flag_or("strip_left", true)?, right: fields.flag_or("strip_right", true)? },
        "BertNormalizer" => {
            let lowercase = fields.flag_or("lowercase", true)?;
            Normalizer::Bert(BertNormalizer {
                clean_text: fields.flag_or("clean_text", true)?,
                handle_chinese_chars: fields.flag_or("handle_chinese_chars", true)?,
                strip_accents: fields.flag_or("strip_accents", lowercase)?,
                lowercase,
            })
        }
        "Precompiled" => normalize::charsmap(&base64(fields.text("precompiled_charsmap")?)?)?,
        other => return Err(unknown("normalizer", other)),
    };
    fields.done()?;
    Ok(new)
}

fn splitter(value: &Value, kind: &str) -> Result<Splitter> {
    let what = format!("the pre-tokenizer {kind}");
    let mut fields = Fields::new(&what, value)?;
    fields.ignore("type");
    let new = match kind {
        "ByteLevel" => {
            fields.ignore("trim_offsets");
            let regex = if fields.flag_or("use_regex", true)? { Some(Regex::new(GPT_2, Flavor::Oniguruma)?) } else { None };
            Splitter::ByteLevel { add_prefix_space: fields.flag_or("add_prefix_space", true)?, regex }
        }
        "Split" => Splitter::Split {
            pattern: pattern(fields.need("pattern")?)?,
            behavior: behavior(fields.text("behavior")?)?,
            invert: fields.flag_or("invert", false)?,
        },
        "Metaspace" => {
            let replacement = fields.character("replacement")?;
            fields.ignore("str_rep");
            let add_prefix_space = fields.flag_or("add_prefix_space", true)?;
            let scheme = match fields.get("prepend_scheme").and_then(Value::as_str) {
                Some("always") => PrependScheme::Always,
                Some("first") => PrependScheme::First,
                Some("never") => PrependScheme::Never,
                None if add_prefix_space => PrependScheme::Always,
                None => PrependScheme::Never,
                Some(other) => return Err(unknown("prepend scheme", other)),
            };
            Splitter::Metaspace { replacement, scheme, split: fields.flag_or("split", true)? }
        }
        "Digits" => Splitter::Digits { individual: fields.flag_or("individual_digits", false)? },
        "Punctuation" => Splitter::Punctuation(match fields.get("behavior") {
            None => Behavior::Isolated,
            Some(value) => behavior(value.as_str().unwrap_or_default())?,
        }),
        "Whitespace" => Splitter::Whitespace(Regex::new(r"\w+|[^\w\s]+", Flavor::Oniguruma)?),
        "WhitespaceSplit" => Splitter::WhitespaceSplit,
        "BertPreTokenizer" => Splitter::Bert,
        "CharDelimiterSplit" => Splitter::CharDelimiter(fields.character("delimiter")?),
        other => return Err(unknown("pre-tokenizer", other)),
    };
    fields.done()?;
    Ok(new)
}

fn post_processor(value: &Value, kind: &str, out: &mut Template) -> Result<()> {
    let what = format!("the post-processor {kind}");
    let mut fields = Fields::new(&what, value)?;
    fields.ignore("type");
    match kind {
        "ByteLevel" => {
            for key in ["add_prefix_space", "trim_offsets", "use_regex"] {
                fields.ignore(key);
            }
            out.byte_level = true;
        }
        "BertProcessing" | "RobertaProcessing" => {
            let cls = named_token(fields.need("cls")?)?;
            let sep = named_token(fields.need("sep")?)?;
            fields.ignore("trim_offsets");
            fields.ignore("add_prefix_space");
            out.prefix.push(cls);
            out.suffix.push(sep);
            out.roberta = kind == "RobertaProcessing";
            out.between.extend(if out.roberta { vec![sep, sep] } else { vec![sep] });
        }
        "TemplateProcessing" => {
            let ids = fields.need("special_tokens")?;
            let single = pieces(fields.list("single")?, ids)?;
            let pair = pieces(fields.list("pair")?, ids)?;
            let sequences: Vec<usize> =
                single.iter().enumerate().filter(|(_, piece)| **piece == Piece::Sequence).map(|(at, _)| at).collect();
            let [text] = sequences[..] else {
                return Err(Error::unsupported("the template of a single text does not have the text exactly once"));
            };
            let tokens = |pieces: &[Piece]| -> Vec<u32> {
                pieces.iter().flat_map(|piece| if let Piece::Tokens(ids) = piece { ids.clone() } else { Vec::new() }).collect()
            };
            out.prefix.extend(tokens(&single[..text]));
            let mut suffix = tokens(&single[text + 1..]);
            suffix.append(&mut out.suffix);
            out.suffix = suffix;
            let texts: Vec<usize> = pair.iter().enumerate().filter(|(_, piece)| **piece == Piece::Sequence).map(|(at, _)| at).collect();
            if let [first, second] = texts[..] {
                out.between = tokens(&pair[first..second]);
            }
        }
        other => return Err(unknown("post-processor", other)),
    }
    fields.done()
}

/// Reads a decoder and what is nested in it, in order.
pub(crate) fn decoders(value: &Value) -> Result<Vec<Step>> {
    let mut out = Vec::new();
    flatten(value, "the decoder", "decoders", &mut |value, kind| {
        out.push(decoder(value, kind)?);
        Ok(())
    })?;
    Ok(out)
}

fn decoder(value: &Value, kind: &str) -> Result<Step> {
    let what = format!("the decoder {kind}");
    let mut fields = Fields::new(&what, value)?;
    fields.ignore("type");
    let count = |value: Option<&Value>| value.and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let new = match kind {
        "ByteLevel" => {
            for key in ["add_prefix_space", "trim_offsets", "use_regex"] {
                fields.ignore(key);
            }
            Step::ByteLevel
        }
        "Replace" => Step::Replace { pattern: pattern(fields.need("pattern")?)?, content: fields.text("content")?.to_owned() },
        "ByteFallback" => Step::ByteFallback,
        "Fuse" => Step::Fuse,
        "Strip" => Step::Strip { what: fields.character("content")?, start: count(fields.get("start")), stop: count(fields.get("stop")) },
        "Metaspace" => {
            let replacement = fields.character("replacement")?;
            fields.ignore("str_rep");
            fields.ignore("split");
            let add = fields.flag_or("add_prefix_space", true)?;
            let scheme = fields.get("prepend_scheme").and_then(Value::as_str);
            Step::Metaspace { replacement, prefix: scheme.map_or(add, |scheme| scheme != "never") }
        }
        "WordPiece" => Step::WordPiece { prefix: fields.text("prefix")?.to_owned(), cleanup: fields.flag_or("cleanup", true)? },
        other => return Err(unknown("decoder", other)),
    };
    fields.done()?;
    Ok(new)
}

#[derive(PartialEq, Eq)]
enum Piece {
    Sequence,
    Tokens(Vec<u32>),
}

fn pieces(list: &[Value], special_tokens: &Value) -> Result<Vec<Piece>> {
    let one = |value: &Value| -> Result<Piece> {
        if value.get("Sequence").is_some() {
            return Ok(Piece::Sequence);
        }
        let name = value.get("SpecialToken").and_then(|token| token.get("id")).and_then(Value::as_str);
        let name = name.ok_or_else(|| Error::input("a piece of the template is neither a sequence nor a special token"))?;
        let ids = special_tokens.get(name).and_then(|token| token.get("ids")).and_then(Value::as_array);
        let ids = ids.ok_or_else(|| Error::input(format!("the template names the token {name:?}, which it does not define")))?;
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
        Ok(Piece::Tokens(ids.ok_or_else(|| Error::input(format!("the ids of the template's token {name:?} are no ids")))?))
    };
    list.iter().map(one).collect()
}

/// `["text", id]`; the id.
fn named_token(value: &Value) -> Result<u32> {
    let id = match value.as_array().map(Vec::as_slice) {
        Some([Value::String(_), id]) => id.as_u64().and_then(|id| u32::try_from(id).ok()),
        _ => None,
    };
    id.ok_or_else(|| Error::input("a token of the post-processor is not a text and an id"))
}

/// `{"String": ...}` or `{"Regex": ...}`.
pub(crate) fn pattern(value: &Value) -> Result<Pattern> {
    let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    match (text("String"), text("Regex")) {
        (Some(text), None) => Ok(Pattern::Text(text)),
        (None, Some(regex)) => Ok(Pattern::Regex(Regex::new(&regex, Flavor::Oniguruma)?)),
        _ => Err(Error::input("a pattern is neither a String nor a Regex")),
    }
}

fn behavior(name: &str) -> Result<Behavior> {
    match name {
        "Removed" => Ok(Behavior::Removed),
        "Isolated" => Ok(Behavior::Isolated),
        "MergedWithPrevious" => Ok(Behavior::MergedWithPrevious),
        "MergedWithNext" => Ok(Behavior::MergedWithNext),
        "Contiguous" => Ok(Behavior::Contiguous),
        other => Err(unknown("split behavior", other)),
    }
}

pub(crate) fn unknown(what: &str, name: &str) -> Error {
    Error::unsupported(format!("the {what} {name:?} is not known"))
}

/// Standard base 64 with padding.
fn base64(text: &str) -> Result<Vec<u8>> {
    let wrong = || Error::input("the compiled normalization rules are not base 64");
    let digit = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return Err(wrong());
    }
    let body = bytes.strip_suffix(b"==").or(bytes.strip_suffix(b"=")).unwrap_or(bytes);
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for group in body.chunks(4) {
        let mut bits = 0u32;
        for &b in group {
            bits = bits << 6 | u32::from(digit(b).ok_or_else(wrong)?);
        }
        match group.len() {
            4 => out.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => out.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => out.push((bits >> 4) as u8),
            _ => return Err(wrong()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_components_and_attributes_are_named() {
        let error = normalizers(&json!({"type": "Sequence", "normalizers": [{"type": "Nonsense"}]})).unwrap_err();
        assert_eq!(error.message(), "the normalizer \"Nonsense\" is not known");
        let error = splitters(&json!({"type": "Digits", "individual_digits": true, "extra": 1})).unwrap_err();
        assert_eq!(error.message(), "\"extra\" of the pre-tokenizer Digits is not known");
    }

    #[test]
    fn templates_say_what_stands_around_a_text() {
        let value = json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [102], "tokens": ["[SEP]"]}}});
        let template = template(&value).unwrap();
        assert_eq!((template.prefix, template.suffix, template.between), (vec![101], vec![102], vec![102]));
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(base64(text).unwrap(), plain.as_bytes());
        }
        assert!(base64("Zg=").is_err());
        assert!(base64("Z===").is_err());
        assert!(base64("Zm9*").is_err());
    }
}
