//! Honest files as unusual as their formats allow: strictness must not refuse them.

use gravure_core::ErrorKind::Bug;
use serde_json::json;

use super::gguf::{Gguf, array, integers, number, strings, text, value};
use super::pickle::{dict, honest, int, pickle, state, storage, tensor, text as pickled};
use super::zip::{Entry, Zip};
use super::{Class, Sample, Verb, design_folder, imatrix, importance_target, plans, safetensors, tiny_folder, torch, with};
use crate::tiny_model::{DESIGNS, Dtype, Options, Spelling};

/// All honest samples.
pub fn samples() -> Vec<Sample> {
    [ggufs(), encodings(), weights(), folders(), checkpoints(), others()].into_iter().flatten().collect()
}

fn one(name: &str, extension: &str, bytes: Vec<u8>) -> Sample {
    Sample::file(&format!("honest: {name}"), extension, Class::Honest, Bug, bytes).honest()
}

fn ggufs() -> Vec<Sample> {
    let case = |name: &str, file: Gguf| one(&format!("gguf: {name}"), "gguf", file.build());
    let plain = |g: Gguf| g.tensor("a", &[32, 2], 0, 256).tensor("b", &[32], 0, 128);
    let nested = {
        let level = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat();
        let innermost = [&4u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat();
        value(9, &[level.repeat(20), innermost].concat())
    };
    let scalars = [(0u32, 1usize), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8), (11, 8), (12, 8)];
    let all_types = scalars.iter().fold(Gguf::new(), |g, (kind, bytes)| {
        g.pair(&format!("scalar.{kind}"), value(*kind, &vec![1; *bytes]))
            .pair(&format!("array.{kind}"), array(*kind, 3, &vec![1; 3 * bytes]))
    });
    vec![
        case("no pairs and no tensors", Gguf::new()),
        case("pairs alone", Gguf::new().pair("general.architecture", text("llama"))),
        case("version 1", Gguf::of_version(1).tensor("a", &[32], 0, 128)),
        case("version 2", plain(Gguf::of_version(2))),
        case("version 3", plain(Gguf::new())),
        case("alignment 8", plain(Gguf::new().aligned(8))),
        case("alignment 4096", plain(Gguf::new().aligned(4096))),
        case("every type of value", all_types),
        case("arrays 20 deep", Gguf::new().pair("x", nested)),
        case("empty strings and arrays", Gguf::new().pair("a", text("")).pair("b", strings(&[])).pair("c", strings(&["", ""]))),
        case("text of many scripts", Gguf::new().pair("κλειδί", text("ключ 鍵 🗝 \u{202e}"))),
        case("a scalar tensor", Gguf::new().tensor("a", &[], 0, 4)),
        case("an empty tensor", Gguf::new().tensor("a", &[0], 0, 0).tensor("b", &[32], 0, 128)),
        case("an empty tensor of a million rows", Gguf::new().tensor("a", &[0, 1 << 20], 0, 0)),
        case("tensors in another order than their bytes", Gguf::new().tensor_at(b"a", &[8], 0, 32).tensor_at(b"b", &[8], 0, 0).data(64)),
        case("no padding behind the last tensor", Gguf::new().tensor_at(b"a", &[1], 0, 0).data(4)),
        case("an unknown architecture", plain(Gguf::new().pair("general.architecture", text("novel")))),
        case("an unknown vocabulary", plain(Gguf::new().pair("tokenizer.ggml.model", text("novel")))),
        case("a long tensor name", Gguf::new().tensor(&"n".repeat(255), &[8], 0, 32)),
        case("a special id past the vocabulary", {
            Gguf::new()
                .pair("tokenizer.ggml.model", text("gpt2"))
                .pair("tokenizer.ggml.tokens", strings(&["a", "b"]))
                .pair("tokenizer.ggml.bos_token_id", number(u32::MAX))
        }),
        case("a byte token of a negative number", {
            Gguf::new()
                .pair("tokenizer.ggml.model", text("llama"))
                .pair("tokenizer.ggml.tokens", strings(&["<0x-1>", "<0xFFF>", "<0x00>"]))
                .pair("tokenizer.ggml.token_type", integers(&[6, 6, 6]))
        }),
        case("a merge rule of unknown tokens", {
            Gguf::new()
                .pair("tokenizer.ggml.model", text("gpt2"))
                .pair("tokenizer.ggml.tokens", strings(&["a", "b"]))
                .pair("tokenizer.ggml.merges", strings(&["x y", "a b"]))
        }),
        case("three hundred tensors", (0..300).fold(Gguf::new(), |g, i| g.tensor(&format!("t{i}"), &[8], 0, 32))),
        case(
            "layers past all counts",
            Gguf::new().pair("general.architecture", text("llama")).pair("llama.block_count", number(u32::MAX)).tensor(
                "blk.4294967295.ffn_up.weight",
                &[32],
                0,
                128,
            ),
        ),
    ]
}

/// One block of every type of tensor, all zero.
fn encodings() -> Vec<Sample> {
    let types: [(u32, u64, usize); 31] = [
        (0, 1, 4),
        (1, 1, 2),
        (2, 32, 18),
        (3, 32, 20),
        (6, 32, 22),
        (7, 32, 24),
        (8, 32, 34),
        (10, 256, 84),
        (11, 256, 110),
        (12, 256, 144),
        (13, 256, 176),
        (14, 256, 210),
        (16, 256, 66),
        (17, 256, 74),
        (18, 256, 98),
        (19, 256, 50),
        (20, 32, 18),
        (21, 256, 110),
        (22, 256, 82),
        (23, 256, 136),
        (24, 1, 1),
        (25, 1, 2),
        (26, 1, 4),
        (27, 1, 8),
        (28, 1, 8),
        (29, 256, 56),
        (30, 1, 2),
        (34, 256, 54),
        (35, 256, 66),
        (39, 32, 17),
        (40, 64, 36),
    ];
    types
        .iter()
        .map(|&(kind, elements, bytes)| {
            one(&format!("gguf: tensor type {kind}"), "gguf", Gguf::new().tensor("a", &[elements, 3], kind, 3 * bytes).build())
                .verb(Verb::Validate)
        })
        .collect()
}

fn weights() -> Vec<Sample> {
    let case = |name: &str, header: &str, data: usize| one(&format!("safetensors: {name}"), "safetensors", safetensors::file(header, data));
    let types = ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"];
    let sizes = [8, 4, 2, 2, 8, 4, 2, 1, 1, 1];
    let mut at = 0;
    let entries: Vec<String> = types
        .iter()
        .zip(sizes)
        .map(|(dtype, size)| {
            at += 4 * size;
            format!(r#""t.{dtype}":{{"dtype":"{dtype}","shape":[2,2],"data_offsets":[{},{at}]}}"#, at - 4 * size)
        })
        .collect();
    vec![
        case("no tensors", "{}", 0),
        case("metadata alone", r#"{"__metadata__":{"format":"pt"}}"#, 0),
        case("a header with spaces behind it", "{}          ", 0),
        case("ten types", &format!("{{{}}}", entries.join(",")), at),
        case("a scalar", r#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4),
        case("an empty tensor", r#"{"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}"#, 0),
        case(
            "an empty tensor between two",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[0],"data_offsets":[1,1]},"c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            2,
        ),
        case("names of many scripts", r#"{"重み\u00e9":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
        case("a name that steers the terminal, escaped", r#"{"a\u001b[2J":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
        case(
            "entries in another order than their bytes",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
            2,
        ),
    ]
}

fn folders() -> Vec<Sample> {
    let case = |name: &str, files: Vec<(String, Vec<u8>)>| {
        Sample::folder(&format!("honest: folder: {name}"), Class::Honest, Bug, files).honest().verb(Verb::Convert)
    };
    let small = Options { layers: 1, ..Options::default() };
    let mut out: Vec<Sample> = DESIGNS.iter().map(|design| case(design, design_folder(design, &small))).collect();
    out.extend([
        case("in shards", design_folder("qwen2", &Options { shards: 3, ..small.clone() })),
        case("in f16", design_folder("llama", &Options { dtype: Dtype::F16, shards: 2, ..small.clone() })),
        case("of transformers 4", design_folder("qwen3", &Options { spelling: Spelling::Transformers4, shards: 2, ..small.clone() })),
        case("with files that nobody knows", with(tiny_folder(), "notes.txt", b"hello".to_vec())),
        case("with a card that is no text", with(tiny_folder(), "README.md", b"---\nlicense: mit\n---\n\xff\xfe".to_vec())),
        case(
            "with generation defaults of every kind",
            with(
                tiny_folder(),
                "generation_config.json",
                json!({"a": 1, "b": [1, 2], "c": null, "d": {"e": 1}, "f": "x"}).to_string().into_bytes(),
            ),
        ),
        case(
            "with a chat template",
            with(tiny_folder(), "chat_template.jinja", b"{% for m in messages %}{{ m.content }}{% endfor %}".to_vec()),
        ),
    ]);
    out
}

fn checkpoints() -> Vec<Sample> {
    let case = |name: &str, bytes: Vec<u8>| one(&format!("torch: {name}"), "pt", bytes);
    let archive = |object: Vec<u8>| Zip::new(torch::entries(object)).build();
    let of = |size: &[i64], stride: &[i64]| tensor(storage("FloatStorage", "0", 4), 0, size, stride);
    let mut with_comment = Zip::new(torch::entries(honest()));
    with_comment.comment = b"made by hand".to_vec();
    let mut more = torch::entries(honest());
    more.push(Entry::new("model/.data/serialization_id", b"123".to_vec()));
    vec![
        case("zip", archive(honest())),
        case("zip with a comment", with_comment.build()),
        case("zip with more files", Zip::new(more).build()),
        case("legacy stream", torch::stream(honest(), &["0"], &[4], 16)),
        case("a scalar", archive(state(of(&[], &[])))),
        case("an empty tensor", archive(state(of(&[0, 4], &[4, 1])))),
        case("a matrix", archive(state(of(&[2, 2], &[2, 1])))),
        case("a transposed matrix", archive(state(of(&[2, 2], &[1, 2])))),
        case("two views of one storage", archive(pickle(&dict(&[(pickled("a"), of(&[2], &[1])), (pickled("b"), of(&[4], &[1]))])))),
        case(
            "weights under a key, other things beside",
            archive(pickle(&dict(&[(pickled("epoch"), int(3)), (pickled("state_dict"), dict(&[(pickled("a"), of(&[4], &[1]))]))]))),
        ),
        case("numbers among the weights", archive(pickle(&dict(&[(pickled("a"), of(&[4], &[1])), (pickled("step"), int(7))])))),
    ]
}

fn others() -> Vec<Sample> {
    let up = "blk.0.ffn_up.weight";
    let sums = |g: Gguf| g.tensor(&format!("{up}.in_sum2"), &[256], 0, 1024).tensor(&format!("{up}.counts"), &[1], 0, 4);
    let older = |tail: &[u8]| [&1i32.to_le_bytes()[..], &imatrix::dat_entry(up.as_bytes(), 1, 256, &[1.0; 256]), tail].concat();
    let importance = |name: &str, bytes: Vec<u8>| one(&format!("imatrix: {name}"), "imatrix", bytes).verb(Verb::Importance);
    let honest_plan = plans::sample("honest", Class::Honest, super::Expect::Accepted, &|_| ());
    let mixed = plans::sample("honest, of several encodings", Class::Honest, super::Expect::Accepted, &|p| {
        p.tensors[0].encoding = "q6_k".into();
        p.tensors[1].encoding = "f16".into();
    });
    vec![
        importance("gguf", sums(imatrix::head()).build()),
        importance("dat", older(&[&7i32.to_le_bytes()[..], &1i32.to_le_bytes(), b"d"].concat())),
        importance("dat of the oldest kind", older(b"")),
        one("target of matrices", "gguf", importance_target()).verb(Verb::Convert),
        honest_plan,
        mixed,
    ]
}
