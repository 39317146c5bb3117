//! What holds for any input.

use std::path::Path;

use gravure_base::Limits;
use gravure_text::{Tokenizer, huggingface, llama};
use proptest::prelude::*;

fn bundled() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/gravure-tiny");
    huggingface::read_folder(&folder, &Limits::default()).unwrap().unwrap()
}

/// A small file that uses many components.
const SMALL: &str = r###"{
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 0, "content": "<s>", "special": true, "lstrip": true, "rstrip": false, "normalized": false, "single_word": false}],
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "a"}]},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+(?!\\S)"}, "behavior": "Isolated", "invert": false},
    {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3, "Ġ": 4, "Ġab": 5}, "merges": ["a b", ["Ġ", "ab"]]}
}"###;

#[test]
fn the_small_file_is_read() {
    let tokenizer = huggingface::from_json(SMALL.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(tokenizer.encode("aab <s> ab1").unwrap(), [3, 0, 4, 3]);
    assert_eq!(tokenizer.decode(&[3, 0, 4, 3]).unwrap(), "ab ab");
}

#[test]
fn contradictions_are_named() {
    let cases = [
        ("\"ab\": 3", "\"ab\": 2", "two tokens have the id 2"),
        ("\"ab\": 3", "\"a\": 3", "have the same text"),
        ("\"ab\": 3", "\"ab\": -3", "invalid value"),
        ("\"ab\": 3", "\"ab\": 4000000000", "more than the limit"),
        ("\"ab\": 3", "\"ab\": 900000", "ids without a token"),
        ("\"a b\"", "\"a c\"", "which is not in the vocabulary"),
        ("\"a b\"", "\"ab\"", "not two texts"),
        ("\"ids\": [0]", "\"ids\": [77]", "only 6 tokens"),
        ("\"NFC\"", "\"NFX\"", "the normalizer \"NFX\" is not known"),
        ("\"BPE\"", "\"WordLevel\"", "the model \"WordLevel\" is not known"),
        ("\"version\"", "\"verzion\"", "the key \"verzion\" is not known"),
        ("\\\\s+(?!\\\\S)", "(?<=a)b", "the group (?<="),
        ("\"content\": \"<s>\"", "\"content\": \"<t>\"", "among the added tokens"),
        ("\"individual_digits\": true", "\"individual_digits\": 1", "should be true or false"),
    ];
    for (from, to, message) in cases {
        assert!(SMALL.contains(from), "{from}");
        let changed = SMALL.replacen(from, to, 1);
        let error = huggingface::from_json(changed.as_bytes(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains(message), "{to}: {error}");
    }
}

#[test]
fn cut_and_flipped_files_do_not_panic() {
    let bytes = SMALL.as_bytes();
    for end in 0..bytes.len() {
        let _ = huggingface::from_json(&bytes[..end], &Limits::default());
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(tokenizer) = huggingface::from_json(&flipped, &Limits::default()) {
            let _ = tokenizer.encode("aab <s> ab1 é\n\n").map(|ids| tokenizer.decode(&ids));
            let _ = llama::from_source(&tokenizer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_as_files(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = huggingface::from_json(&bytes, &Limits::default());
        let _ = huggingface::from_sentencepiece(&bytes, &Limits::default());
    }

    #[test]
    fn damaged_files(at in 0..SMALL.len(), with in proptest::collection::vec(any::<char>(), 0..4), length in 0usize..8) {
        let end = (at + length).min(SMALL.len());
        prop_assume!(SMALL.is_char_boundary(at) && SMALL.is_char_boundary(end));
        let changed = [&SMALL[..at], &with.into_iter().collect::<String>(), &SMALL[end..]].concat();
        if let Ok(tokenizer) = huggingface::from_json(changed.as_bytes(), &Limits::default()) {
            let _ = tokenizer.encode("aab <s> ab1 é\n\n").map(|ids| tokenizer.decode(&ids));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn byte_level_text_comes_back(text in any::<String>()) {
        let source = bundled_once();
        // The spelling of a control token is that token, which is no text.
        prop_assume!(!text.contains("<|"));
        let ids = source.0.encode(&text).unwrap();
        prop_assert_eq!(source.0.decode(&ids).unwrap(), text.clone());
        let written = source.1.encode(&text).unwrap();
        prop_assert_eq!(source.1.decode(&written).unwrap(), text);
    }
}

fn bundled_once() -> &'static (Tokenizer, Tokenizer) {
    static ONCE: std::sync::OnceLock<(Tokenizer, Tokenizer)> = std::sync::OnceLock::new();
    ONCE.get_or_init(|| {
        let source = bundled();
        let written = llama::from_source(&source).unwrap();
        (source, written)
    })
}
