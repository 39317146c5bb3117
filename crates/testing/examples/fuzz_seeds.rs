//! `fuzz_seeds FOLDER`: writes small files of the hostile corpus, and honest ones, into a folder for each
//! fuzz target.

use std::path::Path;

use gravure_testing::hostile::{self, Sample};
use gravure_testing::tiny_model::{AdapterOptions, Options, write_adapter};
use serde_json::{Value, json};

/// Longer inputs are cut by the fuzzer.
const LONGEST: usize = 4096;

/// The target that reads files of this name.
fn target(name: &str) -> Option<&'static str> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let extension = name.rsplit('.').next().unwrap_or_default();
    match (name, extension) {
        ("config.json", _) => Some("config"),
        ("tokenizer.json", _) => Some("tokenizer"),
        ("tokenizer.model", _) => Some("sentencepiece"),
        (name, _) if name.ends_with(".index.json") => Some("index"),
        (_, "gguf") => Some("gguf"),
        (_, "imatrix") => Some("imatrix"),
        (_, "safetensors") => Some("safetensors"),
        (_, "pt" | "bin") => Some("pytorch"),
        _ => None,
    }
}

/// Tokenizers of every kind with a component of every kind, far smaller than real ones.
fn tokenizers() -> Vec<Value> {
    let of = |model: Value, normalizer: Value, splitter: Value, processor: Value, decoder: Value| {
        json!({"version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": true, "special": true}],
            "normalizer": normalizer, "pre_tokenizer": splitter, "post_processor": processor, "decoder": decoder, "model": model})
    };
    let bpe = json!({"type": "BPE", "dropout": null, "unk_token": "<s>", "fuse_unk": true, "byte_fallback": true, "ignore_merges": true,
        "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3, "\u{2581}": 4, "<0x0A>": 5}, "merges": ["a b"]});
    let words = json!({"type": "WordPiece", "unk_token": "<s>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"<s>": 0, "he": 1, "##llo": 2, "w": 3, "!": 4}});
    let unigram =
        json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": [["<s>", 0.0], ["\u{2581}H", -1.0], ["ello", -2.5]]});
    let template = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}});
    let split = json!({"type": "Split", "pattern": {"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+"}, "behavior": "Isolated", "invert": false});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let sequence = |key: &str, items: Value| {
        let mut value = json!({"type": "Sequence"});
        value[key] = items;
        value
    };
    let space = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": true});
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    let null = Value::Null;
    vec![
        of(bpe.clone(), null.clone(), sequence("pretokenizers", json!([split, bytes])), template.clone(), bytes.clone()),
        of(
            bpe,
            sequence("normalizers", json!([{"type": "Prepend", "prepend": "\u{2581}"}, replace])),
            null.clone(),
            template,
            sequence(
                "decoders",
                json!([replace, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]),
            ),
        ),
        of(
            words,
            json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}),
            json!({"type": "BertPreTokenizer"}),
            json!({"type": "BertProcessing", "sep": ["<s>", 0], "cls": ["<s>", 0]}),
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        ),
        of(
            unigram,
            sequence("normalizers", json!([{"type": "NFKC"}, {"type": "Strip", "strip_left": true, "strip_right": true}])),
            space.clone(),
            null,
            space,
        ),
    ]
}

fn seeds(sample: &Sample) -> impl Iterator<Item = (&'static str, &[u8])> {
    sample.files.iter().filter_map(|(name, bytes)| Some((target(name)?, bytes.as_slice())))
}

fn write(folder: &Path, target: &str, number: usize, bytes: &[u8]) -> std::io::Result<()> {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("seed-{number:04}")), bytes)
}

/// A small adapter, as the target `adapter` takes it: as below.
fn adapter() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let options = AdapterOptions { rank: 1, targets: vec!["q_proj".into()], gains: true, ..AdapterOptions::default() };
    write_adapter("llama", &Options { layers: 1, ..Options::default() }, &options, folder.path())?;
    let config = std::fs::read(folder.path().join("adapter_config.json"))?;
    let weights = std::fs::read(folder.path().join("adapter_model.safetensors"))?;
    Ok([&u16::try_from(config.len())?.to_le_bytes()[..], &config, &weights].concat())
}

/// The small quantized checkpoints that the reader is tested with, as the target `quantized` takes them: two
/// bytes, the length of the configuration; that; the weights.
fn quantized() -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/src/safetensors/quantized/fixtures");
    let mut folders: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    folders.sort_by_key(std::fs::DirEntry::file_name);
    let mut inputs = Vec::new();
    for folder in folders.iter().map(std::fs::DirEntry::path).filter(|path| path.is_dir()) {
        let config = std::fs::read(folder.join("config.json"))?;
        let weights = std::fs::read(folder.join("model.safetensors"))?;
        let length = u16::try_from(config.len())?.to_le_bytes();
        inputs.push([&length[..], &config, &weights].concat());
    }
    Ok(inputs)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder")?;
    let folder = Path::new(&folder);
    let (hostile, honest) = (hostile::samples(), hostile::valid_samples());
    let mut seen = std::collections::BTreeSet::new();
    let mut number = 0;
    for (target, bytes) in honest.iter().chain(&hostile).flat_map(seeds).filter(|(_, bytes)| bytes.len() <= LONGEST) {
        if seen.insert((target, bytes)) {
            write(folder, target, number, bytes)?;
            if target == "gguf" {
                // Its first byte chooses what becomes of the rest.
                write(folder, "quantize", number, &[&[number as u8][..], bytes].concat())?;
            }
            number += 1;
        }
    }
    for tokenizer in tokenizers() {
        write(folder, "tokenizer", number, tokenizer.to_string().as_bytes())?;
        number += 1;
    }
    write(folder, "adapter", number, &adapter()?)?;
    number += 1;
    for input in quantized()? {
        write(folder, "quantized", number, &input)?;
        number += 1;
    }
    let state = hostile::pickle::honest();
    write(folder, "pickle", number, &state)?;
    // Mixed forms that only a scan of opcodes sees.
    for opcodes in [&b"\x80\x02}q\0X\x01\0\0\0aK\x01s."[..], b"(dp0\nS'a'\np1\nI1\ns.", b"\x80\x04\x95\x05\0\0\0\0\0\0\0}\x94(\x8c\x01a]u."]
    {
        number += 1;
        write(folder, "pickle", number, opcodes)?;
    }
    Ok(())
}
