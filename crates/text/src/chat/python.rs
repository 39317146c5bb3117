//! Python's view of values, where it differs from the template engine's.

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Called for a method that the engine does not know.
pub(super) fn method(state: &mut State<'_, '_>, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    match (value.kind(), name, arguments) {
        (ValueKind::String, "removeprefix", [prefix]) => Ok(cut(value, |text| text.strip_prefix(prefix.as_str()?))),
        (ValueKind::String, "removesuffix", [suffix]) => Ok(cut(value, |text| text.strip_suffix(suffix.as_str()?))),
        _ => unknown_method_callback(state, value, name, arguments),
    }
}

/// Whether Python can iterate over a value: not over `None`, over which the engine can.
pub(super) fn is_iterable(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number)
}

fn cut(value: &Value, rest: impl Fn(&str) -> Option<&str>) -> Value {
    value.as_str().and_then(rest).map_or_else(|| value.clone(), Value::from)
}
