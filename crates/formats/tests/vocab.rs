//! llama.cpp's own expectations: for each GGUF vocabulary, texts and the tokens that they become.

#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

use gravure_base::Limits;
use gravure_core::{Catalog, Format, ReadRequest};
use gravure_formats::Gguf;
use gravure_text::{Around, SpecialText, Tokenizer};

fn tokenizer(path: &Path) -> Tokenizer {
    let catalog = Catalog::EMPTY;
    let limits = Limits::default();
    let model = Gguf.read(&ReadRequest { path, catalog: &catalog, limits: &limits, lenient: false, tokenizer_later: false }).unwrap();
    Tokenizer::clone(&model.tokenizer.unwrap())
}

/// Texts and their tokens.
fn expectations(path: &Path) -> Vec<(String, Vec<u32>)> {
    let texts = std::fs::read_to_string(path.with_extension("gguf.inp")).unwrap();
    let tokens = std::fs::read_to_string(path.with_extension("gguf.out")).unwrap();
    let texts: Vec<&str> = texts.strip_suffix('\n').unwrap_or(&texts).split("\n__ggml_vocab_test__\n").collect();
    let tokens: Vec<Vec<u32>> = tokens.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect()).collect();
    // The last text is empty where the file ends in a separator.
    let texts: Vec<String> = texts.into_iter().map(|text| text.trim_end_matches("\n__ggml_vocab_test__").to_owned()).collect();
    assert!(texts.len() >= tokens.len() && !tokens.is_empty(), "{} texts, {} lines of tokens", texts.len(), tokens.len());
    texts.into_iter().zip(tokens).collect()
}

#[test]
fn tokens_are_those_of_llama_cpp() {
    let Some(folder) = gravure_testing::test_data("vocab-gguf") else { return };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    paths.sort();
    assert!(paths.len() >= 6);
    let mut wrong = Vec::new();
    for path in &paths {
        let tokenizer = tokenizer(path);
        let cases = expectations(path);
        let mut right = 0;
        for (text, expected) in &cases {
            let found = tokenizer.encode_with(text, Around::Nothing, SpecialText::Text).unwrap();
            if &found == expected {
                right += 1;
            } else {
                wrong.push(format!("{}: {text:?}\n  found    {found:?}\n  expected {expected:?}", path.display()));
            }
        }
        println!("{}: {right} of {} texts", path.display(), cases.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
