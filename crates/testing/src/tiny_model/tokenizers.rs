//! Small tokenizers: byte-level BPE cut out of gravure-tiny's, a SentencePiece model and a
//! WordPiece vocabulary made of a few words.

use std::path::Path;

use gravure_base::{Error, Result};
use serde_json::{Map, Value, json};

use super::{write_bytes, write_json};
use crate::workspace_root;

/// Words whose beginnings become tokens.
const WORDS: &[&str] = &["the", "and", "of", "to", "in", "was", "he", "that", "his", "it", "with"];

/// Writes the tokenizer that goes with a design.
pub(super) fn write(design: &str, config: &Map<String, Value>, folder: &Path) -> Result<()> {
    let vocabulary = config.get("vocab_size").and_then(Value::as_u64).unwrap_or(0);
    let vocabulary = usize::try_from(vocabulary).map_err(|_| Error::request("the vocabulary is too large"))?;
    match design {
        "bert" => word_piece(vocabulary, config.get("hidden_size"), folder),
        "gemma2" | "gemma3" => {
            let specials = [("<pad>", CONTROL), ("<eos>", CONTROL), ("<bos>", CONTROL), ("<unk>", UNKNOWN)];
            sentence_piece(&specials, false, vocabulary, folder)?;
            write_json(
                folder,
                "tokenizer_config.json",
                &json!({"tokenizer_class": "GemmaTokenizer", "add_bos_token": true, "add_eos_token": false, "bos_token": "<bos>",
                    "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": 512}),
            )
        }
        "mistral" | "phi3" => {
            sentence_piece(&[("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)], true, vocabulary, folder)?;
            write_json(
                folder,
                "tokenizer_config.json",
                &json!({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": false, "bos_token": "<s>",
                    "eos_token": "</s>", "unk_token": "<unk>", "legacy": false, "model_max_length": 512}),
            )
        }
        "qwen2" | "qwen3" => byte_level(Dialect::Qwen, vocabulary, folder),
        "gpt2" => byte_level(Dialect::Gpt2, vocabulary, folder),
        _ => byte_level(Dialect::Llama3, vocabulary, folder),
    }
}

/// Whose special tokens and rule for splitting text a byte-level tokenizer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Words of the vocabulary are taken whole, whatever the merges say.
    Llama3,
    /// One digit at a time; `<|endoftext|>` ends a text.
    Qwen,
    /// The built-in rule of byte-level tokenizers.
    Gpt2,
}

/// The first tokens of gravure-tiny's vocabulary: two special ones, 256 bytes, then one token for
/// each merge.
fn byte_level(dialect: Dialect, vocabulary: usize, folder: &Path) -> Result<()> {
    let path = workspace_root().join("models/gravure-tiny/tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let mut text = String::from_utf8(bytes).map_err(|e| Error::input("is not text").in_file(&path).caused_by(e))?;
    let mut end = "<|end_of_text|>";
    if dialect == Dialect::Qwen {
        text = text.replace(end, "<|endoftext|>").replace("{N}{1,3}", "{N}");
        end = "<|endoftext|>";
    }
    let mut tokenizer: Value = serde_json::from_str(&text).map_err(|e| Error::input("is not JSON").in_file(&path).caused_by(e))?;
    let broken = || Error::input("is not the tokenizer that was expected").in_file(&path);
    let vocab = tokenizer.pointer_mut("/model/vocab").and_then(Value::as_object_mut).ok_or_else(broken)?;
    vocab.retain(|_, id| id.as_u64().is_some_and(|id| id < vocabulary as u64));
    let merges = tokenizer.pointer_mut("/model/merges").and_then(Value::as_array_mut).ok_or_else(broken)?;
    merges.truncate(vocabulary.saturating_sub(258));
    tokenizer["model"]["ignore_merges"] = json!(dialect == Dialect::Llama3);
    if dialect == Dialect::Gpt2 {
        tokenizer["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    }
    write_json(folder, "tokenizer.json", &tokenizer)?;
    write_json(
        folder,
        "tokenizer_config.json",
        &json!({"bos_token": "<|begin_of_text|>", "eos_token": end, "model_max_length": 512,
            "tokenizer_class": "PreTrainedTokenizerFast"}),
    )
}

const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const BYTE: u64 = 6;

/// A SentencePiece BPE model: special pieces, 256 bytes, merges with falling scores, letters.
fn sentence_piece(specials: &[(&str, u64)], dummy_prefix: bool, vocabulary: usize, folder: &Path) -> Result<()> {
    let mut pieces: Vec<(String, f32, u64)> = specials.iter().map(|&(name, kind)| (name.to_owned(), 0.0, kind)).collect();
    pieces.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, BYTE)));
    let mut normal = word_beginnings("\u{2581}");
    normal.push("\u{2581}".to_owned());
    normal.extend(('a'..='z').map(String::from));
    pieces.extend(normal.into_iter().enumerate().map(|(i, piece)| (piece, -(i as f32), NORMAL)));
    pieces.truncate(vocabulary);

    let mut model = Vec::new();
    for (piece, score, kind) in &pieces {
        let mut entry = Vec::new();
        text(&mut entry, 1, piece);
        key(&mut entry, 2, 5);
        entry.extend(score.to_le_bytes());
        number(&mut entry, 3, *kind);
        message(&mut model, 1, &entry);
    }
    let at = |wanted: &str| specials.iter().position(|(name, _)| *name == wanted).map_or(u64::MAX, |i| i as u64);
    let either = |a: &str, b: &str| at(a).min(at(b));
    let mut trainer = Vec::new();
    number(&mut trainer, 3, 2);
    number(&mut trainer, 4, pieces.len() as u64);
    number(&mut trainer, 35, 1);
    number(&mut trainer, 40, at("<unk>"));
    number(&mut trainer, 41, either("<s>", "<bos>"));
    number(&mut trainer, 42, either("</s>", "<eos>"));
    number(&mut trainer, 43, at("<pad>"));
    message(&mut model, 2, &trainer);
    let mut normalizer = Vec::new();
    text(&mut normalizer, 1, "identity");
    number(&mut normalizer, 3, u64::from(dummy_prefix));
    number(&mut normalizer, 4, 0);
    number(&mut normalizer, 5, 1);
    message(&mut model, 3, &normalizer);
    write_bytes(folder, "tokenizer.model", &model)
}

/// Beginnings of the words with `mark` in front, of two characters and more, without repetition:
/// each is one before it and a letter.
fn word_beginnings(mark: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in WORDS {
        for end in 1..=word.len() {
            let piece = format!("{mark}{}", &word[..end]);
            if piece.chars().count() > 1 && !out.contains(&piece) {
                out.push(piece);
            }
        }
    }
    out
}

/// A WordPiece tokenizer in the manner of BERT.
fn word_piece(vocabulary: usize, width: Option<&Value>, folder: &Path) -> Result<()> {
    let mut pieces: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned).to_vec();
    pieces.extend((0..20).map(|i| format!("[unused{i}]")));
    let letters = || ('0'..='9').chain('a'..='z');
    pieces.extend(letters().map(String::from));
    pieces.extend(".,;:!?'\"-()".chars().map(String::from));
    pieces.extend(letters().map(|c| format!("##{c}")));
    pieces.extend(word_beginnings(""));
    pieces.extend(["ing", "ed", "er", "ly", "s"].iter().filter(|p| p.len() > 1).map(|p| format!("##{p}")));
    pieces.truncate(vocabulary);
    let special = |id: usize| json!({"id": id, "content": pieces[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let vocab: Map<String, Value> = pieces.iter().enumerate().map(|(i, p)| (p.clone(), json!(i))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..5).map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": json!([
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
            ]),
            "pair": json!([
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
            ]),
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}
            }
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab}
    });
    write_json(folder, "tokenizer.json", &tokenizer)?;
    write_bytes(folder, "vocab.txt", (pieces.join("\n") + "\n").as_bytes())?;
    write_json(
        folder,
        "tokenizer_config.json",
        &json!({"tokenizer_class": "BertTokenizer", "do_lower_case": true, "cls_token": "[CLS]", "sep_token": "[SEP]",
            "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]", "model_max_length": 128}),
    )?;
    write_json(
        folder,
        "modules.json",
        &json!([
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
        ]),
    )?;
    let pooling = folder.join("1_Pooling");
    std::fs::create_dir_all(&pooling).map_err(|e| Error::io("create the folder", &pooling, e))?;
    write_json(
        &pooling,
        "config.json",
        &json!({"word_embedding_dimension": width, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true,
            "pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false}),
    )
}

// Protobuf, as little of it as a model file needs.

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, 0);
    varint(out, value);
}

fn message(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(out, field, 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn text(out: &mut Vec<u8>, field: u64, value: &str) {
    message(out, field, value.as_bytes());
}
