//! Hostile safetensors files and folders of them.

use gravure_core::ErrorKind::{self, Input, Limit, NotFound, Unsupported};

use super::{Class, Sample, lfs_pointer, tiny_folder, with};

/// A file of this header and so many bytes behind it.
pub(super) fn file(header: &str, data: usize) -> Vec<u8> {
    raw(header.len() as u64, header.as_bytes(), data)
}

fn raw(length: u64, header: &[u8], data: usize) -> Vec<u8> {
    let mut out = length.to_le_bytes().to_vec();
    out.extend(header);
    out.resize(out.len() + data, 0);
    out
}

/// A header with one tensor `a` of these fields.
fn tensor(fields: &str) -> String {
    format!(r#"{{"a":{{{fields}}}}}"#)
}

fn one(name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>) -> Sample {
    Sample::file(&format!("safetensors: {name}"), "safetensors", class, kind, bytes)
}

pub(super) fn samples() -> Vec<Sample> {
    [lengths(), headers(), offsets(), indices()].into_iter().flatten().collect()
}

const GOOD: &str = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;

fn lengths() -> Vec<Sample> {
    vec![
        one("empty", Class::Truncated, Input, vec![]),
        one("seven bytes", Class::Truncated, Input, vec![0; 7]),
        one("header of no bytes", Class::Syntax, Input, raw(0, b"", 0)),
        one("header past the end", Class::BeyondFile, Input, raw(4096, GOOD.as_bytes(), 16)),
        one("header of 2^63 bytes", Class::Overflow, Limit, raw(1 << 63, GOOD.as_bytes(), 16)),
        one("header of 2^64-1 bytes", Class::Overflow, Limit, raw(u64::MAX, GOOD.as_bytes(), 16)),
        one("header of 2^64-8 bytes", Class::Overflow, Limit, raw(u64::MAX - 7, GOOD.as_bytes(), 16)),
        one("header of 100 MB and one byte", Class::HugeWork, Limit, raw(100_000_001, GOOD.as_bytes(), 16)),
        one("header of 99 MB in no bytes", Class::BeyondFile, Input, raw(99_000_000, GOOD.as_bytes(), 16)),
        one("pointer", Class::Pointer, Input, lfs_pointer()),
        one("cut within the header", Class::Truncated, Input, file(GOOD, 16)[..40].to_vec()),
        one("cut within the weights", Class::Truncated, Input, file(GOOD, 15)),
    ]
}

fn headers() -> Vec<Sample> {
    let head = |name: &str, class: Class, header: &str| one(name, class, Input, file(header, 16));
    let deep = |n: usize| {
        format!(r#"{{"__metadata__":{}{},"a":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}}}"#, "[".repeat(n), "]".repeat(n))
    };
    let string_bomb = format!(r#"{{"__metadata__":{{"x":{}}}}}"#, "{\"y\":".repeat(50_000));
    vec![
        head("a list", Class::Syntax, "[1,2,3]"),
        head("no JSON", Class::Syntax, "{a: 1}"),
        head("two documents", Class::Syntax, &format!("{GOOD}{GOOD}")),
        head("rubbish behind the JSON", Class::Polyglot, &format!("{GOOD}<script>")),
        head("byte order mark", Class::Syntax, &format!("\u{feff}{GOOD}")),
        one(
            "header that is not UTF-8",
            Class::Text,
            Input,
            raw(
                GOOD.len() as u64,
                &GOOD.replace('a', "\u{0}").into_bytes().iter().map(|b| if *b == 0 { 0xff } else { *b }).collect::<Vec<_>>(),
                16,
            ),
        ),
        head("metadata 100 deep", Class::Recursion, &deep(100)),
        head("metadata 100000 deep", Class::Recursion, &deep(100_000)),
        head("metadata of objects 50000 deep", Class::Recursion, &string_bomb),
        head("metadata that is a number", Class::Contradiction, r#"{"__metadata__":{"x":1}}"#),
        head("metadata twice", Class::Duplicate, r#"{"__metadata__":{},"__metadata__":{}}"#),
        head("metadata key twice", Class::Duplicate, r#"{"__metadata__":{"k":"1","k":"2"}}"#),
        head("tensor twice", Class::Duplicate, &format!("{},{}", &GOOD[..GOOD.len() - 1], &GOOD[1..])),
        head("shape twice", Class::Duplicate, &tensor(r#""dtype":"F32","shape":[4],"shape":[2,2],"data_offsets":[0,16]"#)),
        head("offsets twice", Class::Duplicate, &tensor(r#""dtype":"F32","shape":[4],"data_offsets":[0,16],"data_offsets":[0,8]"#)),
        head("no type", Class::Syntax, &tensor(r#""shape":[4],"data_offsets":[0,16]"#)),
        head("no shape", Class::Syntax, &tensor(r#""dtype":"F32","data_offsets":[0,16]"#)),
        head("no offsets", Class::Syntax, &tensor(r#""dtype":"F32","shape":[4]"#)),
        head("type that does not exist", Class::Syntax, &tensor(r#""dtype":"F13","shape":[4],"data_offsets":[0,16]"#)),
        head("negative dimension", Class::Syntax, &tensor(r#""dtype":"F32","shape":[-4],"data_offsets":[0,16]"#)),
        head("dimension of 4.5", Class::Syntax, &tensor(r#""dtype":"F32","shape":[4.5],"data_offsets":[0,16]"#)),
        head("dimension of 2^64", Class::Overflow, &tensor(r#""dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,16]"#)),
        head("dimension that is text", Class::Syntax, &tensor(r#""dtype":"F32","shape":["4"],"data_offsets":[0,16]"#)),
        head("three offsets", Class::Syntax, &tensor(r#""dtype":"F32","shape":[4],"data_offsets":[0,16,32]"#)),
        one(
            "9 dimensions",
            Class::HugeWork,
            Limit,
            file(&tensor(r#""dtype":"F32","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16]"#), 16),
        ),
        one("a million dimensions", Class::HugeWork, Limit, {
            let ones = "1,".repeat(1 << 20);
            file(&tensor(&format!(r#""dtype":"F32","shape":[{ones}4],"data_offsets":[0,16]"#)), 16)
        }),
        head("control characters raw in a name", Class::Text, "{\"a\u{1b}[2J\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}"),
        head("half of a surrogate pair in a name", Class::Text, r#"{"\ud800":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#),
    ]
}

fn offsets() -> Vec<Sample> {
    let case = |name: &str, class: Class, shape: &str, offsets: &str| {
        let header = tensor(&format!(r#""dtype":"F32","shape":{shape},"data_offsets":{offsets}"#));
        one(name, class, Input, file(&header, 16))
    };
    let two = |name: &str, class: Class, a: &str, b: &str| {
        let of = |n: &str, o: &str| format!(r#""{n}":{{"dtype":"F32","shape":[2],"data_offsets":{o}}}"#);
        one(name, class, Input, file(&format!("{{{},{}}}", of("a", a), of("b", b)), 16))
    };
    let polyglot = [file(GOOD, 16), b"PK\x05\x06".to_vec(), vec![0; 18]].concat();
    vec![
        case("product of 2^64", Class::Overflow, "[4294967296,4294967296]", "[0,16]"),
        case("product of 2^64 and empty", Class::Overflow, "[4294967296,4294967296]", "[0,0]"),
        case("product that wraps to 4", Class::Overflow, "[9223372036854775810,2]", "[0,16]"),
        case("bits that wrap", Class::Overflow, "[1152921504606846976]", "[0,16]"),
        case("shape larger than its bytes", Class::Contradiction, "[5]", "[0,16]"),
        case("shape smaller than its bytes", Class::Contradiction, "[3]", "[0,16]"),
        case("offsets in reverse", Class::Contradiction, "[4]", "[16,0]"),
        case("end past the file", Class::BeyondFile, "[8]", "[0,32]"),
        case("start at 2^64-16", Class::Overflow, "[4]", "[18446744073709551600,18446744073709551615]"),
        case("hole before the first", Class::Overlap, "[2]", "[8,16]"),
        case("bytes behind the last", Class::Overlap, "[2]", "[0,8]"),
        two("two on one place", Class::Overlap, "[0,8]", "[0,8]"),
        two("two that overlap", Class::Overlap, "[0,8]", "[4,12]"),
        two("hole between two", Class::Overlap, "[0,8]", "[12,20]"),
        one(
            "four bits that are no whole byte",
            Class::Contradiction,
            Input,
            file(&tensor(r#""dtype":"F4","shape":[3],"data_offsets":[0,2]"#), 2),
        ),
        one("zip archive behind it", Class::Polyglot, Input, polyglot),
        one("script behind it", Class::Polyglot, Input, [file(GOOD, 16), b"\n#!/bin/sh\n".to_vec()].concat()),
        one("page of the web before its weights", Class::Polyglot, Input, file(r#"<html>{"a":1}</html>"#, 16)),
    ]
}

/// The tiny folder with its weights under an index instead.
fn indexed(index: &str, shards: &[(&str, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let mut files = tiny_folder();
    files.retain(|(name, _)| name != "model.safetensors");
    files.extend(shards.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())));
    with(files, "model.safetensors.index.json", index.as_bytes().to_vec())
}

fn indices() -> Vec<Sample> {
    let case = |name: &str, class: Class, kind: ErrorKind, index: &str| {
        let shard = file(GOOD, 16);
        let shards = [("m-1.safetensors", shard.clone()), ("m-2.safetensors", shard)];
        Sample::folder(&format!("safetensors: index: {name}"), class, kind, indexed(index, &shards))
    };
    let leads = |to: &str| case(&format!("leads to {to}"), Class::Traversal, Input, &format!(r#"{{"weight_map":{{"a":"{to}"}}}}"#));
    let mut out: Vec<Sample> = [
        "../m-1.safetensors",
        "/etc/passwd",
        "/etc/x.safetensors",
        "sub/m-1.safetensors",
        "..\\\\m-1.safetensors",
        "C:m-1.safetensors",
        "file:m-1.safetensors",
        "..",
        "",
        ".m-1.safetensors",
        "m-1.safetensors\\u0000",
        "m-1.safetensors\\n",
        "config.json",
    ]
    .into_iter()
    .map(leads)
    .collect();
    let both = with(indexed(r#"{"weight_map":{"a":"m-1.safetensors"}}"#, &[]), "model.safetensors", file(GOOD, 16));
    out.extend([
        case("one tensor in two files", Class::Duplicate, Input, r#"{"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#),
        case(
            "one tensor under two names of files",
            Class::Duplicate,
            Input,
            r#"{"weight_map":{"a":"m-1.safetensors","a":"m-2.safetensors"}}"#,
        ),
        case("the wrong file", Class::Contradiction, Input, r#"{"weight_map":{"a":"m-1.safetensors","x":"m-1.safetensors"}}"#),
        case("a file that is not there", Class::Truncated, NotFound, r#"{"weight_map":{"a":"m-9.safetensors"}}"#),
        case("no map", Class::Syntax, Input, r#"{"metadata":{}}"#),
        case("a map that is a list", Class::Syntax, Input, r#"{"weight_map":["a"]}"#),
        case("an empty map", Class::Contradiction, Input, r#"{"weight_map":{}}"#),
        case("a number for a file", Class::Syntax, Input, r#"{"weight_map":{"a":1}}"#),
        case("100000 deep", Class::Recursion, Input, &"[".repeat(100_000)),
        case("4 million numbers", Class::HugeWork, Limit, &format!(r#"{{"x":[0{}]}}"#, ",0".repeat(4 << 20))),
        case("pointer", Class::Pointer, Input, &String::from_utf8_lossy(&lfs_pointer())),
        Sample::folder("safetensors: index: and a single file", Class::Contradiction, Input, both),
        Sample::folder(
            "safetensors: tensors of another architecture",
            Class::Contradiction,
            Unsupported,
            with(tiny_folder(), "model.safetensors", file(GOOD, 16)),
        ),
        Sample::folder(
            "safetensors: no tensors at all",
            Class::Contradiction,
            Input,
            with(tiny_folder(), "model.safetensors", file("{}", 0)),
        ),
    ]);
    out
}
