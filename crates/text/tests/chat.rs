//! Chat templates against transformers: `scripts/chat_templates.py` made the expectations.

#![allow(clippy::print_stderr)]

use gravure_base::Sha256;
use gravure_text::chat::{ChatInput, ChatRenderer};
use serde_json::{Map, Value};

/// What is known to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    /// Renders where transformers refuses: Python cannot iterate over the `None` that stands for no tools,
    /// or write a generator as JSON.
    Renders,
    /// Another text: Python's `safe` strings escape for HTML what is added to them, which the template's
    /// author did not mean.
    Text,
}

const DIFFERENT: &[(&str, Difference)] = &[
    ("CohereForAI-c4ai-command-r-plus-tool_use", Difference::Renders),
    ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", Difference::Renders),
    ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", Difference::Renders),
    ("llama-cpp-deepseek-r1", Difference::Renders),
    ("meetkai-functionary-medium-v3.1", Difference::Text),
];

fn digest(text: &str) -> String {
    let mut sha = Sha256::new();
    sha.update(text.as_bytes());
    sha.finish()[..16].to_owned()
}

fn render(renderer: &ChatRenderer, fixture: &Value, case: &Value) -> gravure_base::Result<String> {
    let mut variables: Map<String, Value> = case.as_object().unwrap().clone();
    let messages = variables.remove("messages").unwrap();
    let tools = variables.remove("tools");
    let add = variables.remove("add_generation_prompt").unwrap();
    renderer.render(&ChatInput {
        messages: &messages,
        tools: tools.as_ref(),
        add_generation_prompt: add.as_bool().unwrap(),
        bos_token: fixture["tokens"]["bos_token"].as_str(),
        eos_token: fixture["tokens"]["eos_token"].as_str(),
        variables: &variables,
        now: fixture["now"].as_i64().unwrap(),
    })
}

#[test]
fn renderings_are_those_of_transformers() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/chat.json")).unwrap();
    let Some(folder) = gravure_testing::test_data("chat-templates") else { return };
    let cases = fixture["cases"].as_object().unwrap();
    let show = std::env::var("GRAVURE_SHOW_CHAT").ok();
    let (mut wrong, mut agree, mut compared) = (Vec::new(), 0, 0);
    for (name, expected) in fixture["templates"].as_object().unwrap() {
        let source = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let expected: Vec<&str> = expected.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        assert_eq!(digest(&source), expected[0], "{name} is another template than the fixture was made from");
        let renderer = ChatRenderer::new(&source);
        let known = DIFFERENT.iter().find(|(different, _)| different == name).map(|(_, how)| *how);
        let mut differs = false;
        for ((case, input), expected) in cases.iter().zip(&expected[1..]) {
            let rendered =
                renderer.as_ref().map_err(ToString::to_string).and_then(|r| render(r, &fixture, input).map_err(|e| e.to_string()));
            let same = match &rendered {
                Ok(text) => digest(text) == *expected,
                Err(_) => *expected == "error",
            };
            if show.as_deref() == Some(&format!("{name}/{case}")) {
                eprintln!("{}", rendered.clone().unwrap_or_else(|e| e));
            }
            compared += 1;
            differs |= !same;
            let allowed = match known {
                None => false,
                Some(Difference::Renders) => *expected == "error",
                Some(Difference::Text) => rendered.is_ok() && *expected != "error" && input.get("tools").is_some(),
            };
            if !same && !allowed {
                wrong.push(format!("{name}, {case}: {}", rendered.err().unwrap_or_else(|| "another text".into())));
            }
        }
        assert!(known.is_none() || differs, "{name} no longer differs");
        agree += usize::from(!differs);
    }
    eprintln!("{agree} templates agree in all of their cases, {compared} renderings compared");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

mod damaged {
    use super::*;
    use proptest::prelude::*;

    const TEMPLATE: &str = "{%- macro show(m, n=2) -%}{{ m.role | upper ~ ':' ~ (m['content'] | trim)[:n] }}{%- endmacro -%}
{% set ns = namespace(seen=0, names=[]) %}{% for message in messages if message.content is string %}
  {%- set ns.seen = ns.seen + loop.index0 * 3 // 2 %}{% if loop.last and not loop.first %}{% break %}{% endif %}
  {{- show(message, ns.seen) }}{{ message | tojson(indent=2) }}{{ '%05.2f' | format(ns.seen) }}{% generation %}{{ eos_token }}{% endgeneration %}
{% endfor %}{{ messages | map(attribute='role') | join(', ') | replace('s', 'é') }}{{ strftime_now('%d %b') }}
{{ messages[0].content.split(' ')[-1].strip().startswith('x') }}{{ range(3) | list | sum }}{{ {'a': 1}.items() | list }}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn damaged_templates_are_errors_or_texts(at in 0..TEMPLATE.len(), length in 0usize..9, with in "[ -~é\n]{0,5}") {
            let end = (at + length).min(TEMPLATE.len());
            let (Some(before), Some(after)) = (TEMPLATE.get(..at), TEMPLATE.get(end..)) else { return Ok(()) };
            let source = [before, &with, after].concat();
            let messages = serde_json::json!([{"role": "system", "content": "one two"}, {"role": "user", "content": " é x "}]);
            if let Ok(renderer) = ChatRenderer::new(&source) {
                let input = ChatInput { messages: &messages, tools: None, add_generation_prompt: true, bos_token: None, eos_token: Some("</s>"), variables: &Map::new(), now: 0 };
                let _ = renderer.render(&input);
            }
        }
    }
}
