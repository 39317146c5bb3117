//! Chat templates: Jinja programs that come with models and turn messages into text.
//!
//! They are written for transformers, which renders them by Python's Jinja2: `trim_blocks`,
//! `lstrip_blocks`, loop controls, `{% generation %}`, methods of Python's strings and dictionaries, and a
//! `tojson` that is `json.dumps`. A template is untrusted code; here it can compute within a budget of
//! time and memory, and touch nothing else.

mod clock;
mod json;
mod python;

use gravure_base::{Error, Limits, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind};
use serde_json::{Map, Value};

/// Instructions, and 64-byte pieces of memory, that one rendering may take: 128 MB at most. The longest
/// template of those at large takes a thousandth of it for a conversation of ten messages.
const FUEL: u64 = 2_000_000;
/// Largest source of a template, in bytes: ten times that of the longest one at large.
const LONGEST: u64 = 1 << 20;
const NAME: &str = "chat_template";

/// A compiled template.
#[derive(Debug)]
pub struct ChatRenderer {
    environment: Environment<'static>,
}

/// What a template is given.
#[derive(Debug, Clone, Copy)]
pub struct ChatInput<'a> {
    /// A list of objects with `role` and `content`, and whatever else a template may read.
    pub messages: &'a Value,
    /// A list of descriptions of functions, as JSON schemas.
    pub tools: Option<&'a Value>,
    /// Whether the beginning of the assistant's next message ends the text.
    pub add_generation_prompt: bool,
    /// Text of the token that begins a sequence.
    pub bos_token: Option<&'a str>,
    /// Text of the token that ends one.
    pub eos_token: Option<&'a str>,
    /// Other variables, such as `enable_thinking`.
    pub variables: &'a Map<String, Value>,
    /// Seconds since 1970 in the user's time: what the template takes for now.
    pub now: i64,
}

impl ChatRenderer {
    /// Compiles a template.
    ///
    /// # Errors
    /// `Input` for what is no template, with its line; `Limit` for one that is too long.
    pub fn new(source: &str) -> Result<Self> {
        Limits::check(source.len() as u64, LONGEST, "bytes of a chat template")?;
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| Error::bug("the syntax of templates cannot be set").caused_by(e))?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(python::method);
        environment.add_filter("tojson", json::to_json);
        environment.add_test("iterable", python::is_iterable);
        environment.add_function("raise_exception", |message: String| -> std::result::Result<(), minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
        });
        environment.add_template_owned(NAME, with_generation_blocks(source)).map_err(|e| explain(&e))?;
        Ok(Self { environment })
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// `Request` where the template refuses the messages, with its own words; `Input` where it fails;
    /// `Limit` where it takes too much.
    pub fn render(&self, input: &ChatInput<'_>) -> Result<String> {
        let mut context = input.variables.clone();
        context.insert("messages".into(), with_reasoning(input.messages));
        // Templates ask whether there are tools by name; transformers always gives it.
        context.insert("tools".into(), input.tools.cloned().unwrap_or(Value::Null));
        context.entry("documents").or_insert(Value::Null);
        context.insert("add_generation_prompt".into(), input.add_generation_prompt.into());
        for (name, text) in [("bos_token", input.bos_token), ("eos_token", input.eos_token)] {
            if let Some(text) = text {
                context.insert(name.into(), text.into());
            }
        }
        let now = input.now;
        let strftime = minijinja::Value::from_function(move |format: String| clock::format(now, &format));
        let variables = context.iter().map(|(name, value)| (name.clone(), json::value(value)));
        let context = minijinja::Value::from_pairs(variables.chain([("strftime_now".to_owned(), strftime)]));
        let template = self.environment.get_template(NAME).map_err(|e| explain(&e))?;
        template.render(context).map_err(|e| explain(&e))
    }
}

/// Marks an error that a template raised itself.
#[derive(Debug)]
struct Raised;

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("raised by the template")
    }
}

impl std::error::Error for Raised {}

fn explain(error: &minijinja::Error) -> Error {
    let place = error.line().map(|line| format!("line {line} of the chat template"));
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let raised = std::error::Error::source(error).is_some_and(|source| source.is::<Raised>());
    let out = match error.kind() {
        ErrorKind::OutOfFuel => Error::limit("the chat template computes too long"),
        _ if raised => Error::request(format!("the chat template refuses the messages: {text}")),
        ErrorKind::SyntaxError => Error::input(format!("the chat template cannot be read: {text}")),
        _ => Error::input(format!("the chat template fails: {text}")),
    };
    match place {
        Some(place) => out.at_item(place),
        None => out,
    }
}

/// Blocks of what an assistant said have no meaning here but a scope of their own.
fn with_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let (tag, after) = tag.split_at(tag.find("%}").map_or(tag.len(), |end| end + 2));
        let inner = tag.trim_start_matches("{%").trim_end_matches("%}");
        let open = inner.get(..1).filter(|sign| matches!(*sign, "-" | "+")).unwrap_or_default();
        let close = inner.strip_suffix(['-', '+']).and_then(|head| inner.get(head.len()..)).unwrap_or_default();
        match inner.trim_matches(['-', '+']).trim() {
            "generation" => out.extend(["{%", open, " with ", close, "%}"]),
            "endgeneration" => out.extend(["{%", open, " endwith ", close, "%}"]),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Messages whose reasoning has all the names that templates ask for, as transformers has it.
fn with_reasoning(messages: &Value) -> Value {
    let mut messages = messages.clone();
    for message in messages.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        let names = ["reasoning_content", "thinking", "reasoning"];
        let Some(reasoning) = names.iter().find_map(|name| message.get(*name).filter(|v| !v.is_null()).cloned()) else { continue };
        let mut whole = Map::new();
        whole.insert("thinking".into(), reasoning.clone());
        whole.append(message);
        whole.insert("reasoning_content".into(), reasoning);
        *message = whole;
    }
    messages
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, messages: &Value) -> Result<String> {
        let input = ChatInput {
            messages,
            tools: None,
            add_generation_prompt: true,
            bos_token: Some("<s>"),
            eos_token: None,
            variables: &Map::new(),
            now: 1_785_412_862,
        };
        ChatRenderer::new(source)?.render(&input)
    }

    #[test]
    fn renders_as_transformers_does() {
        let messages = json!([{"role": "user", "content": "Hi & <b>"}, {"role": "assistant", "content": "Ho", "reasoning": "r"}]);
        let cases = [
            (
                "{{ bos_token }}{{ eos_token }}{% for m in messages %}\n  {% if true %}\n{{ m.role }};{% endif %}\n{% endfor %}",
                "<s>user;assistant;",
            ),
            (
                "{{ messages | tojson }}",
                r#"[{"role": "user", "content": "Hi & <b>"}, {"thinking": "r", "role": "assistant", "content": "Ho", "reasoning": "r", "reasoning_content": "r"}]"#,
            ),
            ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m['content'] }}{% break %}{% endfor %}", "Ho"),
            ("a {%- generation -%} b {% endgeneration %}\nc", "ab c"),
            ("{{ true }} {{ none }} {{ [1, 'a', none, 2.0] }} {{ {'k': false} }}", "True None [1, 'a', None, 2.0] {'k': False}"),
            ("{{ strftime_now('%d %b %Y') }}", "30 Jul 2026"),
            ("{{ ' x '.strip() }}{{ 'a-b'.split('-')[1] }}{{ messages[0].get('none', 'd') }}", "xbd"),
        ];
        for (source, expected) in cases {
            assert_eq!(render(source, &messages).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn failures_have_kinds_and_places() {
        use gravure_base::ErrorKind::{Input, Limit, Request};
        let none = json!([]);
        let deep = "[".repeat(100_000);
        let cases = [
            ("\n{{ raise_exception('only users') }}", Request, "only users\n  at: line 2"),
            ("{% for %}", Input, "cannot be read"),
            ("{{ messages.nothing.more }}", Input, "fails"),
            ("{% for a in range(1000) %}{% for b in range(100000) %}{{ a * b }}{% endfor %}{% endfor %}", Limit, "too long"),
            ("{% set ns = namespace(s='xxxxxxxx') %}{% for a in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", Limit, "too long"),
            ("{{ 'x' * 100000000000 }}", Limit, "too long"),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", Input, "fails"),
            (&format!("{{{{ {deep} }}}}"), Input, "cannot be read"),
            (&"x".repeat(2 << 20), Limit, "bytes of a chat template"),
            ("{% include '/etc/passwd' %}", Input, "unknown statement"),
            ("{{ messages.append(1) }}", Input, "fails"),
        ];
        for (source, kind, text) in cases {
            let error = render(source, &none).unwrap_err();
            let head: String = source.chars().take(60).collect();
            assert_eq!(error.kind(), kind, "{head}: {error}");
            assert!(error.to_string().contains(text), "{head}: {error}");
        }
    }
}
