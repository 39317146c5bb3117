//! Texts that grammars allow, and texts that they do not.

use std::path::Path;
use std::sync::OnceLock;

use gravure_base::{ErrorKind, Limits};
use gravure_text::grammar::{GrammarSource, Grammars};
use gravure_text::{Tokenizer, huggingface};
use serde_json::json;

fn bundled() -> &'static (Tokenizer, Grammars) {
    static ONCE: OnceLock<(Tokenizer, Grammars)> = OnceLock::new();
    ONCE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/gravure-tiny");
        let tokenizer = huggingface::read_folder(&folder, &Limits::default()).unwrap().unwrap();
        let grammars = Grammars::new(&tokenizer, tokenizer.vocabulary().len(), &tokenizer.endings()).unwrap();
        (tokenizer, grammars)
    })
}

/// Whether the grammar allows each token of the text, and the end after it. Every token is checked in
/// the mask too.
fn allows(source: &GrammarSource, text: &str, letters: bool) -> bool {
    let (tokenizer, grammars) = bundled();
    let mut grammar = grammars.compile(source).unwrap_or_else(|e| panic!("{e}"));
    let tokens = if letters {
        text.bytes().map(|b| (0..).find(|id| tokenizer.token_bytes(*id) == [b]).unwrap()).collect()
    } else {
        tokenizer.encode(text).unwrap()
    };
    for token in tokens {
        let mut logits = vec![0.0; tokenizer.vocabulary().len()];
        grammar.mask(&mut logits).unwrap();
        let allowed = logits[token as usize] == 0.0;
        if !allowed {
            return false;
        }
        grammar.accept(token).unwrap();
    }
    let mut logits = vec![0.0; tokenizer.vocabulary().len()];
    grammar.mask(&mut logits).unwrap();
    let ends = tokenizer.endings().iter().any(|end| logits[*end as usize] == 0.0);
    assert_eq!(ends, grammar.may_end());
    ends
}

fn check(source: &GrammarSource, good: &[&str], bad: &[&str]) {
    for letters in [false, true] {
        for text in good {
            assert!(allows(source, text, letters), "{source:?} should allow {text:?}");
        }
        for text in bad {
            assert!(!allows(source, text, letters), "{source:?} should not allow {text:?}");
        }
    }
}

#[test]
fn schemas_expressions_and_lark() {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"], "additionalProperties": false});
    check(
        &GrammarSource::JsonSchema(schema),
        &[r#"{"name": "Ann", "age": 7}"#, r#"{"name":"","age":0}"#, "{\n  \"name\": \"x\",\n\t\"age\": 1\n}"],
        &["{\n\n}", "{   \"name\"", r#"{"name": "Ann"}"#, r#"{"name": "Ann", "age": -1}"#, r#"{"name": "Ann", "age": 7"#, "hello"],
    );
    let referring = json!({"$defs": {"n": {"enum": ["a", "b"]}}, "type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 2});
    check(&GrammarSource::JsonSchema(referring), &["[]", r#"["a", "b"]"#], &[r#"["c"]"#, r#"["a","b","a"]"#]);
    check(&GrammarSource::Regex("(yes|no)[!.]?".into()), &["yes", "no!", "no."], &["maybe", "yes?", "", "yes!!"]);
    check(&GrammarSource::Lark("start: \"a\" /[0-9]+/".into()), &["a1", "a123"], &["a", "b1"]);
}

#[test]
fn gbnf_means_what_llama_cpp_means() {
    let gbnf = |text: &str| GrammarSource::Gbnf(text.into());
    check(&gbnf("root ::= \"yes\" | \"no\""), &["yes", "no"], &["", "yesno", "n"]);
    check(&gbnf("root ::= [a-c]+ ws \"x\"? # end\nws ::= [ \\t\\n]*\n"), &["abc", "a x", "cb \n x", "ax"], &["", "d", "a y", "axx"]);
    check(&gbnf("root ::= [^a-z\"\\\\]{2,3} .{0,1}"), &["AB", "ABC", "ABCd", "é9", "AB\n"], &["A", "ab", "ABCde", "A\""]);
    check(&gbnf("root ::= \"\\\"\" \"\\x41\\u00e9\\U0001F600\" \"\\n\""), &["\"Aé😀\n"], &["\"A"]);
    check(&gbnf("root ::= item (\",\" \" \"? item)*\nitem ::= \"a\" |\n  \"b\"\n"), &["a", "a,b", "a, b,a"], &["a,", "a b", ""]);
    check(&gbnf("root ::= (\n \"a\"\n | \"b\"\n)"), &["a", "b"], &["ab"]);
    check(&gbnf("root ::= \"a\" \"bc\" | \"ab\" \"d\""), &["abc", "abd"], &["ab", "abcd"]);
    // Rules that lead back to themselves.
    check(&gbnf("root ::= \"(\" root \")\" | \"x\""), &["x", "(x)", "(((x)))"], &["(x", "x)", "()"]);
    let sums = "root ::= (expression \"=\" term \"\\n\")+
expression ::= term ([-+*/] term)*
term ::= identity | number | \"(\" ws expression \")\" ws
identity ::= [a-z] [a-z0-9_]* ws
number ::= [0-9]+ ws
ws ::= [ \\t\\n]*";
    check(&gbnf(sums), &["a=1\n", "(a +1) *b =12\n", "x=1\ny=2\n"], &["a=1", "a+=1\n", "(a=1\n", "a= 1\n"]);
    let value = "root ::= object
value ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws
object ::= \"{\" ws ( string \":\" ws value (\",\" ws string \":\" ws value)* )? \"}\" ws
array ::= \"[\" ws ( value (\",\" ws value)* )? \"]\" ws
string ::= \"\\\"\" ( [^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}) )* \"\\\"\" ws
number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [1-9] [0-9]{0,15})? ws
ws ::= | \" \" | \"\\n\" [ \\t]{0,20}";
    check(
        &gbnf(value),
        &["{}", r#"{"a": [1, -2.5e3, {"b": "é\n\u00e9"}], "c": null}"#, "{\n  \"k\": true\n}"],
        &["[]", r#"{"a": 01x}"#, r#"{"a" 1}"#, r#"{"a": "x}"#, "{,}"],
    );
    // Texts that a longest word would swallow.
    check(&gbnf("root ::= (\"(\" root \")\" | word word)\nword ::= [a-z]* \"a\""), &["aa", "(baa)", "((xaya))"], &["(a)", "ab"]);
    check(&gbnf("root ::= a root \"b\" | \"ab\"\na ::= \"a\"+"), &["ab", "aabb", "aaaabb", "aaabbb"], &["abb", "b"]);
    // Empty texts, and rules that may be empty between others.
    check(&gbnf("root ::= \"\" | \"a\""), &["", "a"], &["aa"]);
    check(&gbnf("root ::= s root s | \"x\"\ns ::= \" \"?"), &["x", " x", "  x "], &["", " "]);
}

#[test]
fn a_finished_grammar_allows_the_end_alone() {
    let (tokenizer, grammars) = bundled();
    let mut grammar = grammars.compile(&GrammarSource::Regex("no".into())).unwrap();
    assert!(!grammar.finished() && !grammar.may_end());
    for token in tokenizer.encode("no").unwrap() {
        grammar.accept(token).unwrap();
    }
    assert!(grammar.finished());
    assert_eq!(grammar.accept(5).unwrap_err().kind(), ErrorKind::Request);
    // A vocabulary without an ending can be constrained too.
    let without = Grammars::new(tokenizer, tokenizer.vocabulary().len(), &[]).unwrap();
    let mut grammar = without.compile(&GrammarSource::Regex("no".into())).unwrap();
    for token in tokenizer.encode("no").unwrap() {
        grammar.accept(token).unwrap();
    }
    assert!(grammar.finished());
}

#[test]
fn what_is_no_grammar_is_a_request_that_cannot_be_meant() {
    let (_, grammars) = bundled();
    let deep = "(".repeat(5000);
    let cases = [
        GrammarSource::Regex("(".into()),
        GrammarSource::Regex(deep.clone()),
        GrammarSource::Lark("start: nothing".into()),
        GrammarSource::Lark(format!("start: {deep}")),
        GrammarSource::Gbnf("root ::= x".into()),
        GrammarSource::JsonSchema(json!({"type": "nothing"})),
        GrammarSource::JsonSchema(json!({"$ref": "http://example.com/x"})),
    ];
    for source in cases {
        let error = grammars.compile(&source).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Request | ErrorKind::Limit), "{error}");
    }
    // Terminals that double sixty times would be longer than the universe.
    let laughs: String = (0..60).map(|i| format!("r{i} ::= r{} r{}\n", i + 1, i + 1)).collect();
    let laughs = format!("root ::= r0\n{laughs}r60 ::= \"ha\"");
    let _ = grammars.compile(&GrammarSource::Gbnf(laughs));
}

mod damaged {
    use super::*;
    use proptest::prelude::*;

    const GBNF: &str = "root ::= item (\",\" ws item){0,3} # list\nitem ::= [a-z]+ | \"(\" root \")\" | \"\\u00e9\" .?\nws ::= [ \\t]*";
    const LARK: &str = "start: item (\",\" item)*\nitem: WORD | \"(\" start \")\"\nWORD: /[a-z]+(é|\\x41{2,3})/ & /.*a.*/\n%ignore / +/";
    const REGEX: &str = "([a-z]+|\\d{2,4}(?:x|é)?)*[^\\n]$";
    const SCHEMA: &str = r##"{"type": "object", "properties": {"a": {"type": ["string", "null"], "pattern": "^x+$", "minLength": 2},
        "b": {"anyOf": [{"const": 3}, {"$ref": "#/$defs/c"}]}}, "$defs": {"c": {"type": "array", "items": {"type": "number", "multipleOf": 0.5}}}}"##;

    fn changed(text: &str, at: usize, length: usize, with: &str) -> Option<String> {
        let at = at % text.len();
        let end = (at + length).min(text.len());
        Some([text.get(..at)?, with, text.get(end..)?].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn damaged_grammars_are_errors_or_grammars(at in any::<usize>(), length in 0usize..6, with in "[ -~é]{0,4}", kind in 0..4) {
            let (_, grammars) = bundled();
            let original = [GBNF, LARK, REGEX, SCHEMA][kind as usize];
            let Some(text) = changed(original, at, length, &with) else { return Ok(()) };
            let source = match kind {
                0 => GrammarSource::Gbnf(text),
                1 => GrammarSource::Lark(text),
                2 => GrammarSource::Regex(text),
                _ => match serde_json::from_str(&text) {
                    Ok(schema) => GrammarSource::JsonSchema(schema),
                    Err(_) => return Ok(()),
                },
            };
            if let Ok(mut grammar) = grammars.compile(&source) {
                let mut logits = vec![0.0; 4096];
                if grammar.mask(&mut logits).is_ok()
                    && let Some(token) = logits.iter().position(|l| *l == 0.0)
                {
                    prop_assert!(grammar.accept(token as u32).is_ok());
                }
            }
        }
    }
}
