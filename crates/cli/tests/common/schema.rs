//! The part of JSON Schema (draft 2020-12) that the project's own schemas use. It is stricter in two ways: an
//! unknown keyword is an error, and so is a property that an object's schema does not list, so that no
//! field is added without its line. A general validator reads the same documents in `tests/interop`.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

/// Schemas by file name.
#[derive(Default)]
pub(crate) struct Schemas(HashMap<String, Value>);

impl Schemas {
    /// All of a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let files = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        let schemas = files.filter(|p| p.to_string_lossy().ends_with(".schema.json"));
        Self(
            schemas
                .map(|p| {
                    (p.file_name().unwrap().to_string_lossy().into_owned(), serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap())
                })
                .collect(),
        )
    }

    /// What of `value` breaks the schema of this file name.
    pub(crate) fn faults(&self, file: &str, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(file, &self.0[file], value, "", &mut faults);
        faults
    }

    fn check(&self, file: &str, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let mut fault = |what: String| faults.push(format!("{at}: {what}"));
        let schema = schema.as_object().expect("schemas are objects");
        let count = |v: &Value| v.as_u64().expect("a count") as usize;
        let mut nested: Vec<String> = Vec::new();
        for (key, rule) in schema {
            match key.as_str() {
                "$schema" | "$id" | "title" | "description" | "$defs" => {}
                "$ref" => {
                    let (other, pointer) = rule.as_str().unwrap().split_once('#').unwrap_or((rule.as_str().unwrap(), ""));
                    let other = if other.is_empty() { file } else { other };
                    let target = self.0[other].pointer(pointer).unwrap_or_else(|| panic!("{rule} points nowhere"));
                    self.check(other, target, value, at, &mut nested);
                }
                "type" => {
                    let names: Vec<&str> =
                        rule.as_array().map_or_else(|| vec![rule.as_str().unwrap()], |a| a.iter().filter_map(Value::as_str).collect());
                    if !names.iter().any(|name| is_a(value, name)) {
                        fault(format!("is no {}", names.join(" or ")));
                    }
                }
                "const" if value != rule => fault(format!("is not {rule}")),
                "enum" if !rule.as_array().unwrap().contains(value) => fault(format!("{value} is none of {rule}")),
                "minimum" if value.as_f64().is_some_and(|v| v < rule.as_f64().unwrap()) => fault(format!("is below {rule}")),
                "maximum" if value.as_f64().is_some_and(|v| v > rule.as_f64().unwrap()) => fault(format!("is above {rule}")),
                "exclusiveMinimum" if value.as_f64().is_some_and(|v| v <= rule.as_f64().unwrap()) => fault(format!("is not above {rule}")),
                "exclusiveMaximum" if value.as_f64().is_some_and(|v| v >= rule.as_f64().unwrap()) => fault(format!("is not below {rule}")),
                "minItems" if value.as_array().is_some_and(|v| v.len() < count(rule)) => fault(format!("has fewer items than {rule}")),
                "maxItems" if value.as_array().is_some_and(|v| v.len() > count(rule)) => fault(format!("has more items than {rule}")),
                "required" => {
                    for name in rule.as_array().unwrap().iter().filter_map(Value::as_str) {
                        if value.as_object().is_some_and(|o| !o.contains_key(name)) {
                            fault(format!("`{name}` is missing"));
                        }
                    }
                }
                "dependentRequired" => {
                    for (name, others) in rule.as_object().unwrap() {
                        let Some(object) = value.as_object().filter(|o| o.contains_key(name)) else { continue };
                        for other in others.as_array().unwrap().iter().filter_map(Value::as_str).filter(|o| !object.contains_key(*o)) {
                            fault(format!("`{name}` is there without `{other}`"));
                        }
                    }
                }
                "properties" => {
                    for (name, inner) in value.as_object().into_iter().flatten() {
                        match rule.get(name) {
                            Some(rule) => self.check(file, rule, inner, &format!("{at}/{name}"), &mut nested),
                            None => fault(format!("`{name}` is not in the schema")),
                        }
                    }
                }
                "items" => value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .enumerate()
                    .for_each(|(i, inner)| self.check(file, rule, inner, &format!("{at}/{i}"), &mut nested)),
                "prefixItems" => rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .zip(value.as_array().into_iter().flatten())
                    .enumerate()
                    .for_each(|(i, (rule, inner))| self.check(file, rule, inner, &format!("{at}/{i}"), &mut nested)),
                "anyOf" | "oneOf" => {
                    let tried: Vec<Vec<String>> = rule
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|rule| {
                            let mut own = Vec::new();
                            self.check(file, rule, value, at, &mut own);
                            own
                        })
                        .collect();
                    let fit = tried.iter().filter(|own| own.is_empty()).count();
                    if fit == 0 || key == "oneOf" && fit > 1 {
                        fault(format!("fits {fit} of {}", tried.len()));
                        // The one that is nearest says most.
                        nested.extend(tried.into_iter().min_by_key(Vec::len).unwrap_or_default());
                    }
                }
                // Patterns are left to the general validator.
                "pattern"
                | "additionalProperties"
                | "const"
                | "enum"
                | "minimum"
                | "maximum"
                | "exclusiveMinimum"
                | "exclusiveMaximum"
                | "minItems"
                | "maxItems" => {}
                other => panic!("{at}: this reader of schemas does not know `{other}`"),
            }
        }
        faults.append(&mut nested);
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("no type `{other}`"),
    }
}
