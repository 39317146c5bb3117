//! JSON into values of templates, and out of them: the filter `tojson` as transformers has it, Python's
//! `json.dumps` with nothing escaped for HTML.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// A value for a template.
pub(super) fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(whole)) => Value::from(whole),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(entries) => Value::from_pairs(entries.iter().map(|(key, entry)| (key.as_str(), value(entry)))),
    }
}

/// Layout of the text.
struct Layout {
    /// What a level is indented by; `None` for one line.
    indent: Option<String>,
    between: String,
    after_key: String,
    ascii: bool,
    sorted: bool,
}

/// `value | tojson(ensure_ascii, indent, separators, sort_keys)`.
pub(super) fn to_json(state: &State<'_, '_>, value: &Value, ascii: Option<Value>, options: Kwargs) -> Result<String, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = indent.filter(|v| !v.is_none()).map(|v| match v.as_usize() {
        Some(count) if count <= 64 => Ok(" ".repeat(count)),
        Some(_) => Err(Error::new(ErrorKind::InvalidOperation, "an indent of more than 64")),
        None => {
            v.as_str().map(str::to_owned).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the indent is neither number nor text"))
        }
    });
    let indent = indent.transpose()?;
    let separators: Option<Value> = options.get("separators")?;
    let part = |index: usize, usual: &str| -> Result<String, Error> {
        match separators.as_ref().filter(|v| !v.is_none()) {
            Some(pair) => Ok(pair.get_item_by_index(index)?.to_string()),
            None => Ok(usual.to_owned()),
        }
    };
    let named: Option<Value> = options.get("ensure_ascii")?;
    let sorted: Option<Value> = options.get("sort_keys")?;
    let layout = Layout {
        between: part(0, if indent.is_some() { "," } else { ", " })?,
        after_key: part(1, ": ")?,
        ascii: ascii.or(named).is_some_and(|v| v.is_true()),
        sorted: sorted.is_some_and(|v| v.is_true()),
        indent,
    };
    options.assert_all_used()?;
    let mut out = String::new();
    write(state, value, &layout, 0, &mut out)?;
    Ok(out)
}

fn write(state: &State<'_, '_>, value: &Value, layout: &Layout, depth: usize, out: &mut String) -> Result<(), Error> {
    let before = out.len();
    if depth > 100 {
        return Err(Error::new(ErrorKind::InvalidOperation, "values are nested too deeply"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => {
            let text = value.to_string();
            out.push_str(match text.as_str() {
                "inf" => "Infinity",
                "-inf" => "-Infinity",
                text => text,
            });
        }
        ValueKind::String => string(value.as_str().unwrap_or_default(), layout.ascii, out),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.collect::<Vec<_>>();
            write_list(items.len(), ['[', ']'], layout, depth, out, &mut |index, out| {
                items.get(index).map_or(Ok(()), |item| write(state, item, layout, depth + 1, out))
            })?;
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if layout.sorted {
                keys.sort();
            }
            write_list(keys.len(), ['{', '}'], layout, depth, out, &mut |index, out| {
                let Some(key) = keys.get(index) else { return Ok(()) };
                let text = match key.kind() {
                    ValueKind::None => "null".to_owned(),
                    ValueKind::Bool => key.is_true().to_string(),
                    _ => key.to_string(),
                };
                string(&text, layout.ascii, out);
                out.push_str(&layout.after_key);
                write(state, &value.get_item(key)?, layout, depth + 1, out)
            })?;
        }
        kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("a value of kind {kind} cannot be written as JSON"))),
    }
    state.consume_fuel(1 + (out.len() - before) as u64 / 64)
}

/// Writes the items of a list or object with what stands around and between them.
fn write_list(
    count: usize,
    [open, close]: [char; 2],
    layout: &Layout,
    depth: usize,
    out: &mut String,
    item: &mut dyn FnMut(usize, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = &layout.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push(open);
    for index in 0..count {
        if index > 0 {
            out.push_str(&layout.between);
        }
        line(depth + 1, out);
        item(index, out)?;
    }
    if count > 0 {
        line(depth, out);
    }
    out.push(close);
    Ok(())
}

fn string(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..=' ' if letter != ' ' => out.push_str(&format!("\\u{:04x}", letter as u32)),
            _ if ascii && !(' '..='~').contains(&letter) => {
                let mut units = [0; 2];
                letter.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}
