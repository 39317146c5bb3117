//! Tokenizers of folders without `tokenizer.json`: `vocab.json` with `merges.txt` (GPT-2) and
//! `vocab.txt` (BERT). They become the `tokenizer.json` that transformers makes of them.

use std::collections::HashSet;

use gravure_base::{Error, Limits, Result};
use serde_json::{Map, Value, json};

use super::Side;
use super::tokenizer_json::{Raw, RawMerges, RawVocabulary, parse_vocabulary};

fn config<'a>(side: &'a Side, key: &str) -> Option<&'a Value> {
    side.tokenizer_config.as_ref().and_then(|config| config.get(key)).filter(|value| !value.is_null())
}

/// `vocab.json` and `merges.txt`.
pub(crate) fn from_merges(vocabulary: &[u8], merges: &[u8], side: &Side, limits: &Limits) -> Result<Raw> {
    let class = config(side, "tokenizer_class").and_then(Value::as_str).unwrap_or("GPT2Tokenizer");
    let class = class.strip_suffix("Fast").unwrap_or(class);
    let roberta = match class {
        "GPT2Tokenizer" => false,
        "RobertaTokenizer" => true,
        other => {
            return Err(Error::unsupported(format!("a {other} splits text by a rule that its files do not hold"))
                .help("load and save the tokenizer once with transformers; that writes tokenizer.json"));
        }
    };
    let vocabulary = parse_vocabulary(vocabulary, limits)?;
    let text = std::str::from_utf8(merges).map_err(|e| Error::input("merges.txt is not UTF-8").caused_by(e))?;
    let mut rules = RawMerges::default();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || number == 0 && line.starts_with("#version") {
            continue;
        }
        rules.push_line(line)?;
    }
    let special = if roberta { &["<s>", "</s>", "<pad>", "<unk>", "<mask>"][..] } else { &["<|endoftext|>"] };
    let id = |text: &str| find(&vocabulary, text);
    let post_processor = match (roberta, id("<s>"), id("</s>")) {
        (true, Some(cls), Some(sep)) => json!({"type": "RobertaProcessing", "cls": ["<s>", cls], "sep": ["</s>", sep]}),
        (true, ..) => return Err(Error::input("the vocabulary has no <s> or no </s>")),
        (false, ..) => json!({"type": "ByteLevel"}),
    };
    let prefix = config(side, "add_prefix_space").and_then(Value::as_bool).unwrap_or(false);
    Ok(Raw {
        model: object(json!({"type": "BPE"})),
        added_tokens: added(&vocabulary, special, side)?,
        pre_tokenizer: json!({"type": "ByteLevel", "add_prefix_space": prefix}),
        post_processor,
        decoder: json!({"type": "ByteLevel"}),
        merges: rules,
        vocabulary,
        ..Raw::default()
    })
}

/// `vocab.txt`.
pub(crate) fn from_lines(lines: &[u8], side: &Side, limits: &Limits) -> Result<Raw> {
    let text = std::str::from_utf8(lines).map_err(|e| Error::input("vocab.txt is not UTF-8").caused_by(e))?;
    let mut vocabulary = RawVocabulary::default();
    for line in text.lines() {
        Limits::check(vocabulary.len() as u64 + 1, limits.array_elements, "tokens")?;
        vocabulary.push(line, vocabulary.len() as u32, 0.0)?;
    }
    let (Some(cls), Some(sep)) = (find(&vocabulary, "[CLS]"), find(&vocabulary, "[SEP]")) else {
        return Err(Error::input("vocab.txt has no [CLS] or no [SEP]"));
    };
    let flag = |key: &str| config(side, key).and_then(Value::as_bool);
    Ok(Raw {
        model: object(
            json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        ),
        added_tokens: added(&vocabulary, &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], side)?,
        normalizer: json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars").unwrap_or(true),
            "strip_accents": flag("strip_accents"),
            "lowercase": flag("do_lower_case").unwrap_or(true),
        }),
        pre_tokenizer: json!({"type": "BertPreTokenizer"}),
        post_processor: json!({"type": "BertProcessing", "cls": ["[CLS]", cls], "sep": ["[SEP]", sep]}),
        decoder: json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        vocabulary,
        ..Raw::default()
    })
}

/// The added tokens that the side files list, and the special tokens that such a tokenizer has.
fn added(vocabulary: &RawVocabulary, special: &[&str], side: &Side) -> Result<Value> {
    let mut out: Vec<Value> = Vec::new();
    let listed = config(side, "added_tokens_decoder").and_then(Value::as_object);
    for (id, token) in listed.into_iter().flatten() {
        let id: u32 = id.parse().map_err(|_| Error::input(format!("{id:?} in \"added_tokens_decoder\" is no id")))?;
        let mut token = token.as_object().cloned().unwrap_or_default();
        token.remove("__type");
        token.insert("id".to_owned(), id.into());
        out.push(Value::Object(token));
    }
    let mut known: HashSet<String> =
        out.iter().filter_map(|token| token.get("content").and_then(Value::as_str)).map(str::to_owned).collect();
    for (text, id) in side.added_tokens.iter().flatten() {
        if known.insert(text.clone()) {
            out.push(json!({"id": id, "content": text, "special": false, "normalized": true}));
        }
    }
    for &text in special {
        if let Some(id) = find(vocabulary, text).filter(|_| !known.contains(text)) {
            let lstrip = text == "<mask>";
            out.push(json!({"id": id, "content": text, "special": true, "normalized": false, "lstrip": lstrip}));
        }
    }
    Ok(Value::Array(out))
}

fn find(vocabulary: &RawVocabulary, text: &str) -> Option<u32> {
    (0..vocabulary.len()).filter_map(|at| vocabulary.get(at)).find(|(known, ..)| *known == text).map(|(_, id, _)| id)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
