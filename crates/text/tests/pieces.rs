//! The bytes of tokens, one after the other, are the text.

use std::path::Path;

use gravure_base::Limits;
use gravure_text::{SpecialToken, Tokenizer, huggingface, llama};

fn bundled() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/gravure-tiny");
    huggingface::read_folder(&folder, &Limits::default()).unwrap().unwrap()
}

#[test]
fn bytes_of_tokens_are_the_text() {
    let source = bundled();
    let written = llama::from_source(&source).unwrap();
    let texts = ["Once upon a time, there was a little girl.", "  two spaces\n\n\ttab", "naïve 😀 漢字 Ω", "", "1234567 x"];
    for (view, tokenizer) in [("source", &source), ("written", &written)] {
        for text in texts {
            let tokens = tokenizer.encode(text).unwrap();
            let bytes: Vec<u8> = tokens.iter().flat_map(|t| tokenizer.token_bytes(*t)).collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), text, "{view}");
        }
        assert!(tokenizer.token_bytes(u32::MAX).is_empty());
        let bos = tokenizer.special(SpecialToken::Bos).unwrap();
        assert!(tokenizer.token_bytes(bos).is_empty(), "{view}: a control token has no text");
    }
}

#[test]
fn a_sentencepiece_decoder_keeps_spaces_in_the_middle() {
    let file = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "byte_fallback": true, "vocab": {"▁a": 0, "b": 1, "<0xC3>": 2, "<0xA9>": 3, "▁": 4}, "merges": []}}"#;
    let tokenizer = huggingface::from_json(file.as_bytes(), &Limits::default()).unwrap();
    let bytes: Vec<u8> = [0, 1, 2, 3, 4].into_iter().flat_map(|t| tokenizer.token_bytes(t)).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), " abé ");
    assert_eq!(tokenizer.decode(&[0, 1, 2, 3, 4]).unwrap(), "abé ", "a text loses its first space, the middle of one does not");
}

#[test]
fn endings_are_found_by_role_and_by_spelling() {
    let tokenizer = bundled();
    let eos = tokenizer.special(SpecialToken::Eos).unwrap();
    assert_eq!(tokenizer.endings(), [eos]);
    let added = |id: u32, text: &str| {
        format!(
            r#"{{"id": {id}, "content": "{text}", "special": true, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false}}"#
        )
    };
    let file = |second: &str| {
        format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{}, {}, {}], "normalizer": null,
            "pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}}, "post_processor": null,
            "decoder": {{"type": "ByteLevel"}}, "model": {{"type": "BPE", "vocab": {{"<eos>": 0, "a": 1, "<EOT>": 2}}, "merges": []}}}}"#,
            added(3, "<|end|>"),
            added(4, second),
            added(5, "<|call|>")
        )
    };
    let read = |text: String| huggingface::from_json(text.as_bytes(), &Limits::default()).unwrap();
    // A word of the vocabulary that is spelled like an ending is a word.
    assert_eq!(read(file("<|im_end|>")).endings(), [3, 4, 5]);
    assert_eq!(read(file("<|return|>")).endings(), [4, 5], "between calls and returns, an end is that of a part");
}
