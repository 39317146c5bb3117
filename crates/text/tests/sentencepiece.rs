//! `tokenizer.model` of a real model: the ids are those of the `sentencepiece` package
//! (`scripts/sentencepiece_fixture.py` made the fixture), and its GGUF view gives the same.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use gravure_base::Limits;
use gravure_text::{Around, Model, SpecialText, SpecialToken, huggingface, llama, prove};

fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("GRAVURE_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let folder = data.join("models/stories260k-llama");
    if folder.join("tokenizer.model").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is not there; set GRAVURE_TEST_DATA", folder.display());
    None
}

/// The lines of the corpus, unescaped by rules of its own page.
fn corpus() -> Vec<String> {
    let text = include_str!("../src/prove/corpus.txt");
    let lines = text.lines().filter(|line| !line.starts_with("== "));
    lines
        .map(|line| {
            let mut out = String::new();
            let mut chars = line.chars();
            while let Some(c) = chars.next() {
                if c != '\\' {
                    out.push(c);
                    continue;
                }
                match chars.next() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('u') => {
                        let code: String = chars.by_ref().skip(1).take_while(|&c| c != '}').collect();
                        out.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
                    }
                    Some(other) => out.push(other),
                    None => {}
                }
            }
            out
        })
        .collect()
}

#[test]
fn ids_are_those_of_sentencepiece() {
    let Some(folder) = folder() else { return };
    let tokenizer = huggingface::read_folder(&folder, &Limits::default()).unwrap().unwrap();
    assert_eq!(tokenizer.model(), Model::ScoredBpe);
    assert_eq!(tokenizer.vocabulary().len(), 512);
    assert_eq!((tokenizer.special(SpecialToken::Bos), tokenizer.special(SpecialToken::Eos)), (Some(1), Some(2)));
    let lines = corpus();
    let fixture = include_str!("fixtures/stories260k.txt");
    assert_eq!(fixture.lines().count(), lines.len());
    let mut tokens = 0;
    for (line, expected) in lines.iter().zip(fixture.lines()) {
        let expected: Vec<u32> = expected.split(' ').skip(1).map(|id| id.parse().unwrap()).collect();
        assert_eq!(tokenizer.encode(line).unwrap(), expected, "{line:?}");
        tokens += expected.len();
    }
    assert!(tokens > 14_000);
    assert_eq!(tokenizer.encode_with("a", Around::Specials, SpecialText::Token).unwrap()[0], 1);
}

#[test]
fn the_written_view_agrees() {
    let Some(folder) = folder() else { return };
    let source = huggingface::read_folder(&folder, &Limits::default()).unwrap().unwrap();
    let proof = prove(&source, &llama::from_source(&source).unwrap()).unwrap();
    assert!(proof.texts > 6000, "{proof:?}");
}
