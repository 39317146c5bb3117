//! The front matter of a model card (`README.md`): license, language, base model and the like.
//!
//! A small subset of YAML is read: `key: scalar`, `key: [a, b]`, and `key:` over lines of `- item`.
//! Nested maps (evaluation results, widget examples) describe nothing that a converted model carries;
//! their keys are reported by name, not read.

use gravure_core::{Metadata, Value};

/// What the front matter holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Card {
    /// Scalars as [`Value::String`], lists as [`Value::Strings`].
    pub(crate) metadata: Metadata,
    /// Top-level keys whose values are not of the subset.
    pub(crate) unread: Vec<String>,
}

/// Most keys that are kept; real cards have up to 30.
const MAX_KEYS: usize = 200;

/// Reads the front matter between the first two `---` lines; empty where there is none.
pub(crate) fn parse(text: &str) -> Card {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Card::default();
    }
    let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim_end() != "---").collect();
    let mut card = Card::default();
    let mut at = 0;
    while at < body.len() {
        let line = body[at];
        at += 1;
        if line.trim().is_empty() || line.starts_with([' ', '\t', '#', '-']) {
            continue;
        }
        let start = at;
        while at < body.len() && is_continuation(body[at]) {
            at += 1;
        }
        let Some((key, rest)) = line.split_once(':') else {
            continue;
        };
        let key = unquote(key.trim());
        if key.is_empty() || card.metadata.len() + card.unread.len() >= MAX_KEYS {
            continue;
        }
        match value(rest.trim(), &body[start..at]) {
            Some(Some(value)) => card.metadata.set(key, value),
            Some(None) => {}
            None => card.unread.push(key),
        }
    }
    card
}

/// Lines below a key that belong to its value.
fn is_continuation(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with([' ', '\t']) || line == "-" || line.starts_with("- ")
}

/// `Some(None)` for an empty value, `None` for one outside the subset.
fn value(inline: &str, below: &[&str]) -> Option<Option<Value>> {
    let inline = without_comment(inline);
    let below: Vec<&str> = below.iter().map(|l| l.trim()).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    if inline.is_empty() {
        if below.is_empty() {
            return Some(None);
        }
        let items: Option<Vec<String>> = below.iter().map(|line| scalar(without_comment(line.strip_prefix("- ")?.trim()))).collect();
        return Some(Some(Value::Strings(items?.into())));
    }
    if !below.is_empty() || inline.starts_with(['|', '>', '{', '&', '*', '!']) {
        return None;
    }
    if let Some(list) = inline.strip_prefix('[') {
        let list = list.strip_suffix(']')?.trim();
        if list.is_empty() {
            return Some(None);
        }
        let items: Option<Vec<String>> = list.trim_end_matches(',').split(',').map(|item| scalar(item.trim())).collect();
        return Some(Some(Value::Strings(items?.into())));
    }
    Some(Some(Value::String(scalar(inline)?)))
}

/// A scalar; `None` where it is the start of a map or of another structure.
fn scalar(text: &str) -> Option<String> {
    let quoted = text.starts_with(['"', '\'']);
    if !quoted && (text.contains(": ") || text.ends_with(':') || text.starts_with(['{', '[', '|', '>']) || text.starts_with("- ")) {
        return None;
    }
    Some(unquote(text))
}

fn unquote(text: &str) -> String {
    for quote in ['"', '\''] {
        if text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote) {
            let inner = &text[1..text.len() - 1];
            return if quote == '\'' { inner.replace("''", "'") } else { inner.replace("\\\"", "\"").replace("\\\\", "\\") };
        }
    }
    text.to_owned()
}

/// Cuts ` # comment` off an unquoted value.
fn without_comment(text: &str) -> &str {
    if text.starts_with(['"', '\'']) {
        return text;
    }
    if text.starts_with('#') {
        return "";
    }
    text.find(" #").map_or(text, |at| text[..at].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subset_is_read_and_the_rest_is_named() {
        let text = "---\nlicense: apache-2.0 # ok\nlanguage:\n- en\n  - 'de'\n\ntags: [chat, \"edge\"]\nbase_model: \"org/base\"\nempty:\nmodel-index:\n- name: x\n  results: []\nwidget:\n  - text: hello\nabout: |\n  long\n  text\ndatasets:\n  - a/b\n---\n# Title\nlicense: other\n";
        let card = parse(text);
        let strings = |items: &[&str]| Value::Strings(items.iter().collect());
        let expected = [
            ("license", Value::String("apache-2.0".into())),
            ("language", strings(&["en", "de"])),
            ("tags", strings(&["chat", "edge"])),
            ("base_model", Value::String("org/base".into())),
            ("datasets", strings(&["a/b"])),
        ];
        let got: Vec<_> = card.metadata.iter().map(|(k, v)| (k, v.clone())).collect();
        assert_eq!(got, expected);
        assert_eq!(card.unread, ["model-index", "widget", "about"]);
    }

    #[test]
    fn no_front_matter_is_no_metadata() {
        for text in ["", "# Title\n---\nlicense: mit\n---\n", "---", "---\n---\n", " ---\na: b\n---"] {
            assert!(parse(text).metadata.is_empty(), "{text:?}");
        }
    }
}
