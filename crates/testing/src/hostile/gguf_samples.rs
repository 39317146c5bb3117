//! Hostile GGUF files.

use gravure_core::ErrorKind::{self, Input, Limit, NotFound, Unsupported};

use super::gguf::{Gguf, array, floats, integers, number, string, strings, text, value};
use super::{Class, Sample, Verb, lfs_pointer};

const F32: u32 = 0;
const Q4_0: u32 = 2;
const Q4_K: u32 = 12;

fn one(name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>) -> Sample {
    Sample::file(&format!("gguf: {name}"), "gguf", class, kind, bytes)
}

pub(super) fn samples() -> Vec<Sample> {
    [header(), values(), tensors(), vocabulary(), shards(), weights(), holes()].into_iter().flatten().collect()
}

fn whole() -> Gguf {
    Gguf::new().pair("general.architecture", text("llama")).tensor("a", &[32, 2], F32, 256).tensor("b", &[32], F32, 128)
}

fn header() -> Vec<Sample> {
    let whole_bytes = whole().build();
    let cut = |n: usize| whole_bytes[..whole_bytes.len() - n].to_vec();
    let mut swapped = whole_bytes.clone();
    swapped[4..8].reverse();
    vec![
        one("empty", Class::Truncated, Input, vec![]),
        one("three bytes", Class::Truncated, Input, b"GGU".to_vec()),
        one("magic alone", Class::Truncated, Input, b"GGUF".to_vec()),
        one("magic of an older format", Class::Syntax, Input, [b"GGML", &whole_bytes[4..]].concat()),
        one("version 0", Class::Syntax, Input, Gguf::of_version(0).build()),
        one("version 4", Class::Unknown, Unsupported, Gguf::of_version(4).build()),
        one("big-endian", Class::Unknown, Unsupported, swapped),
        one("last byte missing", Class::Truncated, Input, {
            let bytes = Gguf::new().tensor_at(b"a", &[32], F32, 0).data(128).build();
            bytes[..bytes.len() - 1].to_vec()
        }),
        one("weights missing", Class::Truncated, Input, cut(384)),
        one("cut in the table", Class::Truncated, Input, cut(384 + 40)),
        one("pointer", Class::Pointer, Input, lfs_pointer()),
        one("2^63 tensors", Class::HugeWork, Limit, whole().counts(1 << 63, 1).build()),
        one("2^64-1 pairs", Class::HugeWork, Limit, whole().counts(2, u64::MAX).build()),
        one("a million tensors in no bytes", Class::BeyondFile, Input, whole().counts(1 << 20, 1).build()),
        one("65536 pairs in no bytes", Class::BeyondFile, Input, whole().counts(2, 1 << 16).build()),
        one("one tensor more than there is", Class::BeyondFile, Input, whole().counts(3, 1).build()),
        one("one pair more than there is", Class::Syntax, Limit, whole().counts(2, 2).build()),
        one("version 1 with lengths of version 3", Class::Syntax, Input, {
            let mut bytes = whole_bytes.clone();
            bytes[4] = 1;
            bytes
        }),
    ]
}

/// Arrays within one another: `depth` levels of one element.
fn nested(depth: usize) -> Vec<u8> {
    let level = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat();
    let innermost = [&4u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat();
    value(9, &[level.repeat(depth), innermost].concat())
}

fn values() -> Vec<Sample> {
    let with = |v: Vec<u8>| whole().pair("x", v).build();
    let long = |n: u64| value(8, &[&n.to_le_bytes()[..], b"abc"].concat());
    vec![
        one("string of 2^63 bytes", Class::Overflow, Limit, with(long(1 << 63))),
        one("string of 2^64-1 bytes", Class::Overflow, Limit, with(long(u64::MAX))),
        one("string of a gigabyte", Class::HugeWork, Limit, with(long(1 << 30))),
        one("string of 60 MiB in no bytes", Class::BeyondFile, Input, with(long(60 << 20))),
        one("key of 2^63 bytes", Class::Overflow, Limit, {
            let mut bytes = Gguf::new().counts(0, 1).build();
            bytes.extend((1u64 << 63).to_le_bytes());
            bytes.extend([b'k'; 64]);
            bytes
        }),
        one("array of 2^63 elements", Class::HugeWork, Limit, with(array(0, 1 << 63, b"x"))),
        one("array of 2^62 doubles", Class::Overflow, Limit, with(array(12, 1 << 62, b"x"))),
        one("array of 16 million strings in no bytes", Class::BeyondFile, Input, with(array(8, 16 << 20, b"x"))),
        one("array of 16 million arrays in no bytes", Class::BeyondFile, Input, with(array(9, 16 << 20, b"x"))),
        one("arrays 65 deep", Class::Recursion, Limit, with(nested(65))),
        one("arrays a million deep", Class::Recursion, Limit, with(nested(1 << 20))),
        one("value type 13", Class::Syntax, Input, with(value(13, &[0; 8]))),
        one("value type 2^32-1", Class::Syntax, Input, with(value(u32::MAX, &[0; 8]))),
        one("array of type 99", Class::Syntax, Input, with(array(99, 1, &[0; 8]))),
        one("flag that is 2", Class::Syntax, Input, with(value(7, &[2]))),
        one("array with a flag that is 255", Class::Syntax, Input, with(array(7, 2, &[1, 255]))),
        one("key of no bytes", Class::Syntax, Input, whole().pair("", number(1)).build()),
        one("key of 70000 bytes", Class::Syntax, Input, whole().pair(&"k".repeat(70_000), number(1)).build()),
        one("key that is not UTF-8", Class::Text, Input, whole().raw_pair(b"a\xff", number(1)).build()),
        one("string that is not UTF-8", Class::Text, Input, with(value(8, &string(b"\xc3\x28")))),
        one("surrogate in a string", Class::Text, Input, with(value(8, &string(b"\xed\xa0\x80")))),
        one("key twice", Class::Duplicate, Input, whole().pair("x", number(1)).pair("x", number(2)).build()),
        one("architecture twice", Class::Duplicate, Input, whole().pair("general.architecture", text("gpt2")).build()),
        one("architecture that is a number", Class::Contradiction, Input, Gguf::new().pair("general.architecture", number(3)).build()),
        one("alignment 0", Class::Alignment, Input, whole().pair("general.alignment", number(0)).build()),
        one("alignment 33", Class::Alignment, Input, whole().pair("general.alignment", number(33)).build()),
        one("alignment 2^31", Class::Alignment, Input, whole().pair("general.alignment", number(1 << 31)).build()),
        one("alignment of 64 bits", Class::Alignment, Input, whole().pair("general.alignment", value(10, &32u64.to_le_bytes())).build()),
        one("alignment that is text", Class::Alignment, Input, whole().pair("general.alignment", text("32")).build()),
    ]
}

fn tensors() -> Vec<Sample> {
    let at = |dimensions: &[u64], kind: u32, offset: u64| Gguf::new().tensor_at(b"a", dimensions, kind, offset).data(4096).build();
    let two = |a: u64, b: u64| Gguf::new().tensor_at(b"a", &[64], F32, a).tensor_at(b"b", &[64], F32, b).data(512).build();
    let raw_dimensions = |count: u32| {
        let mut bytes = Gguf::new().counts(1, 0).build();
        bytes.extend(string(b"a"));
        bytes.extend(count.to_le_bytes());
        bytes.extend([1; 256]);
        bytes
    };
    vec![
        one("5 dimensions", Class::Syntax, Input, at(&[1, 1, 1, 1, 1], F32, 0)),
        one("2^32-1 dimensions", Class::HugeWork, Input, raw_dimensions(u32::MAX)),
        one("dimension 2^63", Class::Overflow, Input, at(&[1 << 63], F32, 0)),
        one("dimension 2^64-1", Class::Overflow, Input, at(&[u64::MAX], F32, 0)),
        one("product of 2^64", Class::Overflow, Input, at(&[1 << 32, 1 << 32], F32, 0)),
        one("product that wraps to 2", Class::Overflow, Input, at(&[(1 << 63) + 1, 2], F32, 0)),
        one("product of 2^66 by four", Class::Overflow, Input, at(&[1 << 17, 1 << 17, 1 << 16, 1 << 16], F32, 0)),
        one("bytes that wrap", Class::Overflow, Input, at(&[1 << 62], F32, 0)),
        one("empty with impossible rows", Class::Overflow, Input, at(&[0, 1 << 62, 1 << 62], F32, 0)),
        one("an exabyte in a kilobyte", Class::BeyondFile, Input, at(&[1 << 20, 1 << 20, 1 << 18], Q4_0, 0)),
        one("row that is no whole block", Class::Contradiction, Input, at(&[33, 2], Q4_0, 0)),
        one("row of half a super block", Class::Contradiction, Input, at(&[128, 2], Q4_K, 0)),
        one("tensor type 99", Class::Unknown, Unsupported, at(&[32], 99, 0)),
        one("tensor type that was retired", Class::Unknown, Unsupported, at(&[32], 4, 0)),
        one("tensor type 2^32-1", Class::Unknown, Unsupported, at(&[32], u32::MAX, 0)),
        one("offset between alignments", Class::Alignment, Input, at(&[32], F32, 4)),
        one("offset past the end", Class::BeyondFile, Input, at(&[32], F32, 1 << 20)),
        one("offset that wraps", Class::Overflow, Input, at(&[32], F32, u64::MAX - 31)),
        one("offset and size that wrap to inside", Class::Overflow, Input, at(&[1 << 40], F32, (1u64 << 63) + (1 << 62))),
        one("sum of sizes that wraps", Class::Overflow, Input, {
            let huge = 1u64 << 58;
            (0..16u64)
                .fold(Gguf::new(), |g, i| g.tensor_at(format!("t{i}").as_bytes(), &[huge], F32, i.wrapping_mul(huge << 2)))
                .data(64)
                .build()
        }),
        one("two tensors on one place", Class::Overlap, Input, two(0, 0)),
        one("two tensors that overlap by half", Class::Overlap, Input, two(0, 128)),
        one("overlap in reverse order", Class::Overlap, Input, two(224, 0)),
        one("tensor name twice", Class::Duplicate, Input, whole().tensor("a", &[32], F32, 128).build()),
        one("name of no bytes", Class::Syntax, Input, whole().tensor("", &[32], F32, 128).build()),
        one("name of 256 bytes", Class::Syntax, Input, whole().tensor(&"n".repeat(256), &[32], F32, 128).build()),
        one("name that is not UTF-8", Class::Text, Input, Gguf::new().tensor_at(b"\xf0\x9f", &[1], F32, 0).data(64).build()),
    ]
}

/// A file with a vocabulary of three tokens, one key of which is replaced.
fn vocab(model: &str, key: &str, value: Vec<u8>) -> Vec<u8> {
    let mut keys = vec![
        ("model", text(model)),
        ("tokens", strings(&["a", "b", "ab"])),
        ("scores", floats(&[0.0; 3])),
        ("token_type", integers(&[1; 3])),
        ("merges", strings(&["a b"])),
        ("bos_token_id", number(0)),
    ];
    keys.retain(|(k, _)| *k != key);
    keys.push((key, value));
    let start = Gguf::new().pair("general.architecture", text("llama"));
    keys.into_iter().fold(start, |g, (k, v)| g.pair(&format!("tokenizer.ggml.{k}"), v)).build()
}

fn vocabulary() -> Vec<Sample> {
    let case = |name: &str, class: Class, bytes: Vec<u8>| one(&format!("vocabulary: {name}"), class, Input, bytes);
    let charsmap = |bytes: &[u8]| vocab("t5", "precompiled_charsmap", array(0, bytes.len() as u64, bytes));
    vec![
        case("model that is a number", Class::Contradiction, vocab("gpt2", "model", number(1))),
        case("tokens that are numbers", Class::Contradiction, vocab("gpt2", "tokens", integers(&[1, 2, 3]))),
        case("token twice", Class::Duplicate, vocab("gpt2", "tokens", strings(&["a", "b", "a"]))),
        case("fewer scores than tokens", Class::Contradiction, vocab("llama", "scores", floats(&[0.0]))),
        case("scores that are text", Class::Contradiction, vocab("llama", "scores", strings(&["0", "0", "0"]))),
        case("fewer kinds than tokens", Class::Contradiction, vocab("llama", "token_type", integers(&[1]))),
        case("kinds that are floats", Class::Contradiction, vocab("llama", "token_type", floats(&[1.0; 3]))),
        case("merge rule without a space", Class::Vocabulary, vocab("gpt2", "merges", strings(&["ab"]))),
        case("empty merge rule", Class::Vocabulary, vocab("gpt2", "merges", strings(&[""]))),
        case("merges that are numbers", Class::Contradiction, vocab("gpt2", "merges", integers(&[1]))),
        case("negative id", Class::Vocabulary, vocab("gpt2", "bos_token_id", value(5, &(-1i32).to_le_bytes()))),
        case("id of 2^40", Class::Vocabulary, vocab("gpt2", "eos_token_id", value(10, &(1u64 << 40).to_le_bytes()))),
        case("id that is text", Class::Vocabulary, vocab("gpt2", "bos_token_id", text("0"))),
        case("flag that is a number", Class::Contradiction, vocab("llama", "add_bos_token", number(1))),
        case("charsmap of three bytes", Class::Truncated, charsmap(&[1, 2, 3])),
        case("charsmap that claims 4 GiB", Class::BeyondFile, charsmap(&[0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
        case("charsmap with a trie of nothing", Class::Syntax, charsmap(&[2, 0, 0, 0, 1, 1])),
    ]
}

fn shard(index: u16, count: u16, tensors: i32, name: &str) -> Vec<u8> {
    Gguf::new()
        .pair("split.no", value(2, &index.to_le_bytes()))
        .pair("split.count", value(2, &count.to_le_bytes()))
        .pair("split.tensors.count", value(5, &tensors.to_le_bytes()))
        .tensor(name, &[32], F32, 128)
        .build()
}

fn shards() -> Vec<Sample> {
    let first = "m-00001-of-00002.gguf";
    let pair = |name: &str, class: Class, kind: ErrorKind, a: Vec<u8>, b: Vec<u8>| {
        let files = vec![(first.to_owned(), a), ("m-00002-of-00002.gguf".to_owned(), b)];
        Sample::folder(&format!("gguf: shards: {name}"), class, kind, files).opened_as(first)
    };
    let lone = |name: &str, class: Class, kind: ErrorKind, count: Vec<u8>| {
        one(&format!("shards: {name}"), class, kind, whole().pair("split.count", count).build())
    };
    vec![
        lone("three, under a name that says none", Class::Contradiction, Input, value(2, &3u16.to_le_bytes())),
        lone("2^32-1 of them", Class::HugeWork, Limit, number(u32::MAX)),
        lone("minus one of them", Class::Contradiction, Input, value(5, &(-1i32).to_le_bytes())),
        lone("their number is text", Class::Contradiction, Input, text("2")),
        pair("one tensor in both", Class::Duplicate, Input, shard(0, 2, 2, "a"), shard(1, 2, 2, "a")),
        pair("both are the first", Class::Contradiction, Input, shard(0, 2, 2, "a"), shard(0, 2, 2, "b")),
        pair("the second is one of three", Class::Contradiction, Input, shard(0, 2, 2, "a"), shard(1, 3, 2, "b")),
        pair("a lie about the number of tensors", Class::Contradiction, Input, shard(0, 2, 2, "a"), shard(1, 2, 9, "b")),
        pair("a negative number of tensors", Class::Contradiction, Input, shard(0, 2, -2, "a"), shard(1, 2, -2, "b")),
        pair("the second is no GGUF", Class::Syntax, Input, shard(0, 2, 2, "a"), b"PK\x03\x04".to_vec()),
        Sample::folder("gguf: shards: the second is missing", Class::Truncated, NotFound, vec![(first.into(), shard(0, 2, 2, "a"))])
            .opened_as(first),
    ]
}

/// Blocks that no quantizer writes: found when they are read, not when the file is opened.
fn weights() -> Vec<Sample> {
    let nan16 = 0x7e00u16.to_le_bytes();
    let infinite16 = 0x7c00u16.to_le_bytes();
    let block = |name: &str, kind: u32, elements: u64, bytes: Vec<u8>| {
        let file = Gguf::new().filled("blk.0.ffn_up.weight", &[elements, 2], kind, bytes.repeat(2)).build();
        one(&format!("weights: {name}"), Class::Number, Input, file).verb(Verb::Validate)
    };
    vec![
        block("f32 that is not a number", F32, 32, f32::NAN.to_le_bytes().repeat(32)),
        block("f16 that is infinite", 1, 32, infinite16.repeat(32)),
        block("bf16 that is not a number", 30, 32, 0x7fc0u16.to_le_bytes().repeat(32)),
        block("q4_0 scale that is not a number", Q4_0, 32, [&nan16[..], &[0; 16]].concat()),
        block("q8_0 scale that is infinite", 8, 32, [&infinite16[..], &[0; 32]].concat()),
        block("q4_k minimum that is not a number", Q4_K, 256, [&[0, 0], &nan16[..], &[0; 140]].concat()),
        block("q6_k scale that is infinite", 14, 256, [&[0; 208][..], &infinite16].concat()),
    ]
}

/// Files that are mostly a hole: terabytes that take no space, in which a row fits in no memory.
fn holes() -> Vec<Sample> {
    let row = |name: &str, kind: u32, elements: u64, length: u64| {
        one(&format!("hole: {name}"), Class::HugeWork, Limit, Gguf::new().tensor_at(b"a", &[elements], kind, 0).data(32).build())
            .stretched(length)
            .verb(Verb::Convert)
    };
    vec![row("a row of a terabyte", F32, 1 << 38, 1 << 41), row("a row of a terabyte in blocks", Q4_0, 1 << 40, 1 << 41)]
}
