//! Hostile `tokenizer.json` and `tokenizer.model` files, in the folder of a tiny Llama.

use gravure_core::ErrorKind::{self, Input, Limit, Unsupported};
use serde_json::{Value, json};

use super::{Class, Sample, lfs_pointer, tiny_folder, with};

fn raw(name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>) -> Sample {
    Sample::folder(&format!("tokenizer: {name}"), class, kind, with(tiny_folder(), "tokenizer.json", bytes))
}

/// The tokenizer of the tiny Llama.
fn honest() -> Value {
    let files = tiny_folder();
    let bytes = files.iter().find(|(name, _)| name == "tokenizer.json").map_or(&b"null"[..], |(_, bytes)| bytes);
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// The honest one with the value at a pointer replaced.
fn at(name: &str, class: Class, kind: ErrorKind, pointer: &str, value: Value) -> Sample {
    let mut tokenizer = honest();
    if let Some(place) = tokenizer.pointer_mut(pointer) {
        *place = value;
    }
    raw(name, class, kind, tokenizer.to_string().into_bytes())
}

/// The honest one with entries of its vocabulary added.
fn vocab(name: &str, class: Class, kind: ErrorKind, entries: &[(&str, Value)]) -> Sample {
    let mut tokenizer = honest();
    if let Some(vocab) = tokenizer.pointer_mut("/model/vocab").and_then(Value::as_object_mut) {
        vocab.extend(entries.iter().map(|(text, id)| ((*text).to_owned(), id.clone())));
    }
    raw(name, class, kind, tokenizer.to_string().into_bytes())
}

/// The honest one with a rule in front of its merges.
fn merge(name: &str, class: Class, rule: Value) -> Sample {
    let mut tokenizer = honest();
    if let Some(merges) = tokenizer.pointer_mut("/model/merges").and_then(Value::as_array_mut) {
        merges.insert(0, rule);
    }
    raw(name, class, Input, tokenizer.to_string().into_bytes())
}

fn added(name: &str, class: Class, kind: ErrorKind, token: Value) -> Sample {
    let mut tokenizer = honest();
    if let Some(tokens) = tokenizer.pointer_mut("/added_tokens").and_then(Value::as_array_mut) {
        tokens.push(token);
    }
    raw(name, class, kind, tokenizer.to_string().into_bytes())
}

fn splitting(name: &str, class: Class, kind: ErrorKind, regex: &str) -> Sample {
    let splitter = json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    at(&format!("regex: {name}"), class, kind, "/pre_tokenizer", splitter)
}

fn template(ids: Value) -> Value {
    json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": ids})
}

fn unigram(pieces: Value, unknown: Value) -> Value {
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": false}})
}

fn sequences(depth: usize) -> Vec<u8> {
    let open = r#"{"type":"Sequence","normalizers":["#.repeat(depth);
    format!(r#"{{"model":{{"type":"BPE","vocab":{{}},"merges":[]}},"normalizer":{open}{}}}"#, "]}".repeat(depth)).into_bytes()
}

pub(super) fn samples() -> Vec<Sample> {
    [documents(), vocabularies(), components(), sides(), pieces()].into_iter().flatten().collect()
}

fn documents() -> Vec<Sample> {
    let text = honest().to_string();
    let twice = format!(r#"{{"decoder":null,{}"#, &text[1..]);
    let model_twice = format!(r#"{},"model":{{"type":"BPE","vocab":{{}},"merges":[]}}}}"#, &text[..text.len() - 1]);
    vec![
        raw("empty", Class::Truncated, Input, vec![]),
        raw("half of it", Class::Truncated, Input, text.as_bytes()[..text.len() / 2].to_vec()),
        raw("pointer", Class::Pointer, Input, lfs_pointer()),
        raw("a list", Class::Syntax, Input, b"[]".to_vec()),
        raw("no model", Class::Syntax, Input, b"{}".to_vec()),
        raw("100000 deep", Class::Recursion, Input, b"[".repeat(100_000)),
        raw("normalizers 100 deep", Class::Recursion, Input, sequences(100)),
        raw("normalizers 50000 deep", Class::Recursion, Input, sequences(50_000)),
        raw(
            "bytes that are not UTF-8",
            Class::Text,
            Input,
            text.replacen("begin_of", "\u{1}", 1).into_bytes().iter().map(|b| if *b == 1 { 0xff } else { *b }).collect(),
        ),
        raw("a part twice", Class::Duplicate, Input, twice.into_bytes()),
        raw("model twice", Class::Duplicate, Input, model_twice.into_bytes()),
        raw("an unknown part", Class::Unknown, Input, format!(r#"{{"backdoor":1,{}"#, &text[1..]).into_bytes()),
        raw(
            "a padding of 16 million numbers",
            Class::HugeWork,
            Limit,
            format!(r#"{{"padding":[0{}],{}"#, ",0".repeat(16 << 20), &text[1..]).into_bytes(),
        ),
        raw("rubbish behind it", Class::Polyglot, Input, format!("{text}PK").into_bytes()),
    ]
}

fn vocabularies() -> Vec<Sample> {
    let text = honest().to_string();
    let token_twice = text.replacen("\"vocab\":{", "\"vocab\":{\"zz\":320,\"zz\":321,", 1);
    vec![
        vocab("id of 2^32-1", Class::HugeWork, Input, &[("zz", json!(u32::MAX))]),
        vocab("id of 2^32", Class::Overflow, Input, &[("zz", json!(1u64 << 32))]),
        vocab("id of 16 million", Class::HugeWork, Input, &[("zz", json!(16_000_000))]),
        vocab("negative id", Class::Vocabulary, Input, &[("zz", json!(-1))]),
        vocab("id of 1.5", Class::Vocabulary, Input, &[("zz", json!(1.5))]),
        vocab("id that is text", Class::Vocabulary, Input, &[("zz", json!("1"))]),
        vocab("two tokens of one id", Class::Duplicate, Input, &[("zz", json!(5))]),
        raw("token twice", Class::Duplicate, Input, token_twice.into_bytes()),
        merge("merge of a token that is not there", Class::Vocabulary, json!(["\u{1f600}", "a"])),
        merge("merge into a token that is not there", Class::Vocabulary, json!(["z", "q"])),
        merge("merge of three", Class::Vocabulary, json!(["a", "b", "c"])),
        merge("merge of one", Class::Vocabulary, json!(["a"])),
        merge("merge without a space", Class::Vocabulary, json!("ab")),
        merge("merge of numbers", Class::Vocabulary, json!([1, 2])),
        merge("merge that is null", Class::Vocabulary, json!(null)),
        added("added token of 2^32-1", Class::HugeWork, Input, json!({"id": u32::MAX, "content": "zz", "special": true})),
        added("added token without content", Class::Vocabulary, Input, json!({"id": 7, "content": "", "special": true})),
        added("added token over another", Class::Duplicate, Input, json!({"id": 7, "content": "zz", "special": true})),
        added("added token with an unknown field", Class::Unknown, Unsupported, json!({"id": 320, "content": "zz", "hidden": true})),
        added("added token that is text", Class::Syntax, Input, json!("zz")),
        raw(
            "unigram: unknown token past the end",
            Class::Vocabulary,
            Input,
            unigram(json!([["a", -1.0]]), json!(999)).to_string().into_bytes(),
        ),
        raw("unigram: piece of three", Class::Syntax, Input, unigram(json!([["a", -1.0, 1]]), json!(0)).to_string().into_bytes()),
        raw("unigram: score of text", Class::Syntax, Input, unigram(json!([["a", "x"]]), json!(0)).to_string().into_bytes()),
        raw("unigram: piece twice", Class::Duplicate, Input, unigram(json!([["a", -1.0], ["a", -2.0]]), json!(0)).to_string().into_bytes()),
        raw(
            "unigram: score that is infinite",
            Class::Number,
            Input,
            unigram(json!([["a", -1.0]]), json!(0)).to_string().replacen("-1.0", "-1e999", 1).into_bytes(),
        ),
    ]
}

fn components() -> Vec<Sample> {
    let charsmap = |text: &str| json!({"type": "Precompiled", "precompiled_charsmap": text});
    let nothing = json!({"x": {"id": "x", "ids": [999_999], "tokens": ["x"]}});
    vec![
        at("unknown model", Class::Unknown, Unsupported, "/model/type", json!("Magic")),
        at("model that is a number", Class::Syntax, Unsupported, "/model/type", json!(1)),
        at("merge dropout", Class::Unknown, Unsupported, "/model/dropout", json!(0.5)),
        at("unknown token past the vocabulary", Class::Vocabulary, Input, "/model/unk_token", json!("\u{1f600}")),
        at("unknown normalizer", Class::Unknown, Unsupported, "/normalizer", json!({"type": "Nonsense"})),
        at("normalizer without a type", Class::Syntax, Input, "/normalizer", json!({})),
        at("normalizer that is text", Class::Syntax, Input, "/normalizer", json!("NFC")),
        at("unknown splitter", Class::Unknown, Unsupported, "/pre_tokenizer", json!({"type": "Nonsense"})),
        at("unknown decoder", Class::Unknown, Unsupported, "/decoder", json!({"type": "Nonsense"})),
        at("unknown post-processor", Class::Unknown, Unsupported, "/post_processor", json!({"type": "Nonsense"})),
        at("replacement of two characters", Class::Syntax, Input, "/pre_tokenizer", json!({"type": "Metaspace", "replacement": "ab"})),
        at("template token past the vocabulary", Class::Vocabulary, Input, "/post_processor", template(nothing)),
        at("template token that is not defined", Class::Vocabulary, Input, "/post_processor", template(json!({}))),
        at(
            "template token of minus one",
            Class::Vocabulary,
            Input,
            "/post_processor",
            template(json!({"x": {"id": "x", "ids": [-1], "tokens": ["x"]}})),
        ),
        at("charsmap that is not base 64", Class::Syntax, Input, "/normalizer", charsmap("****")),
        at("charsmap of three bytes", Class::Truncated, Input, "/normalizer", charsmap("AAAA")),
        at("charsmap that claims 4 GiB", Class::BeyondFile, Input, "/normalizer", charsmap("/P///wAAAAA=")),
        splitting("that does not end", Class::Syntax, Input, "("),
        splitting("10000 groups deep", Class::Recursion, Unsupported, &format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000))),
        splitting("a million million repetitions", Class::HugeWork, Limit, "((((a{1000}){1000}){1000}){1000})"),
        splitting("repetitions past all numbers", Class::Overflow, Input, "a{99999999999999999999}"),
        splitting("repetitions in reverse", Class::Syntax, Unsupported, "a{5,2}"),
        splitting("a class in reverse", Class::Syntax, Input, "[z-a]"),
        splitting("a reference back", Class::Unknown, Unsupported, r"(a)\1"),
        splitting("a call of itself", Class::Recursion, Unsupported, r"(?<x>a\g<x>?)"),
    ]
}

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u32;
    let varint = [length as u8 & 0x7f | 0x80, (length >> 7) as u8 & 0x7f | 0x80, (length >> 14) as u8 & 0x7f];
    [&[number << 3 | 2][..], &varint, bytes].concat()
}

fn piece(text: &[u8], score: f32, kind: u8) -> Vec<u8> {
    field(1, &[field(1, text), vec![0x15], score.to_le_bytes().to_vec(), vec![0x18, kind]].concat())
}

/// SentencePiece models, in a folder without `tokenizer.json`.
fn pieces() -> Vec<Sample> {
    let mut files = tiny_folder();
    files.retain(|(name, _)| name != "tokenizer.json");
    let case = |name: &str, class: Class, kind: ErrorKind, parts: &[Vec<u8>]| {
        let files = with(files.clone(), "tokenizer.model", parts.concat());
        Sample::folder(&format!("tokenizer: pieces: {name}"), class, kind, files)
    };
    let good = || piece(b"<unk>", 0.0, 2);
    let bpe = || field(2, &[0x18, 2]);
    vec![
        case("empty", Class::Truncated, Input, &[]),
        case("pointer", Class::Pointer, Input, &[lfs_pointer()]),
        case("cut", Class::Truncated, Input, &[good()[..12].to_vec()]),
        case("a length of 2^64-1", Class::Overflow, Input, &[good(), vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]),
        case("a length past the end", Class::BeyondFile, Input, &[good(), vec![0x0a, 0xff, 0x7f]]),
        case("a number without end", Class::Syntax, Input, &[vec![0xff; 64]]),
        case("groups within groups", Class::Recursion, Input, &[vec![0x0b; 100_000]]),
        case("a piece that is not UTF-8", Class::Text, Input, &[good(), piece(b"\xff\xfe", -1.0, 1)]),
        case("a piece twice", Class::Duplicate, Input, &[good(), piece(b"a", -1.0, 1), piece(b"a", -2.0, 1), bpe()]),
        case("a piece of an unknown type", Class::Unknown, Input, &[good(), piece(b"a", -1.0, 99)]),
        case("a score that is not a number", Class::Number, Input, &[good(), piece(b"a", f32::NAN, 1), bpe()]),
        case("an infinite score", Class::Number, Input, &[good(), piece(b"a", f32::INFINITY, 1), bpe()]),
        case("an unknown algorithm", Class::Unknown, Unsupported, &[good(), field(2, &[0x18, 3])]),
        case("a charsmap of three bytes", Class::Truncated, Input, &[good(), bpe(), field(3, &field(2, &[1, 2, 3]))]),
        case("a charsmap that claims 4 GiB", Class::BeyondFile, Input, &[good(), bpe(), field(3, &field(2, &[0xfc, 0xff, 0xff, 0xff, 0]))]),
    ]
}

/// A folder of the older kind whose tokens were all added: pairs of them must not be compared.
fn many_added_tokens() -> Vec<(String, Vec<u8>)> {
    let mut files = tiny_folder();
    files.retain(|(name, _)| name != "tokenizer.json");
    let list = |one: &dyn Fn(u32) -> String| (0..40_000).map(one).collect::<Vec<_>>().join(",");
    let added = format!("{{{}}}", list(&|i| format!(r#""<t{i}>":{}"#, 320 + i)));
    let decoder = list(&|i| format!(r#""{}":{{"content":"<t{i}>"}}"#, 320 + i));
    let config = format!(r#"{{"tokenizer_class":"GPT2Tokenizer","added_tokens_decoder":{{{decoder}}}}}"#);
    files.push(("vocab.json".to_owned(), br#"{"a":0,"b":1,"ab":2}"#.to_vec()));
    files.push(("merges.txt".to_owned(), b"#version: 0.2\na b\n".to_vec()));
    files.push(("added_tokens.json".to_owned(), added.into_bytes()));
    with(files, "tokenizer_config.json", config.into_bytes())
}

/// The files beside the tokenizer.
fn sides() -> Vec<Sample> {
    let side = |name: &str, class: Class, kind: ErrorKind, file: &str, bytes: &[u8]| {
        Sample::folder(&format!("tokenizer: {file}: {name}"), class, kind, with(tiny_folder(), file, bytes.to_vec()))
    };
    vec![
        side("a list", Class::Syntax, Input, "tokenizer_config.json", b"[]"),
        side("a key twice", Class::Duplicate, Input, "tokenizer_config.json", br#"{"bos_token":"a","bos_token":"b"}"#),
        side("100000 deep", Class::Recursion, Input, "tokenizer_config.json", &b"[".repeat(100_000)),
        side("a template that is a number", Class::Syntax, Input, "tokenizer_config.json", br#"{"chat_template":1}"#),
        side("a template without a name", Class::Syntax, Input, "tokenizer_config.json", br#"{"chat_template":[{"template":"x"}]}"#),
        side("not UTF-8", Class::Text, Input, "chat_template.jinja", b"{{ \xff }}"),
        side("pointer", Class::Pointer, Input, "special_tokens_map.json", &lfs_pointer()),
        side("half of it", Class::Truncated, Input, "added_tokens.json", b"{\"a\":"),
        side("no JSON", Class::Syntax, Input, "chat_template.json", b"template"),
        Sample::folder("tokenizer: 40000 added tokens over three", Class::HugeWork, Input, many_added_tokens()),
    ]
}
