//! The proof that a written vocabulary gives the tokens of its source.
//!
//! Both views encode the same texts: a multilingual corpus, line by line and each section as a
//! whole; all pairs of some eighty pieces that tokenizers treat differently; each special token.
//! The first difference is an error that shows it.
//!
//! llama.cpp cannot follow every tokenizer everywhere, and never will be able to for some: it does
//! not compose characters, it drops what BERT's normalizer keeps of Indic scripts. A tokenizer is
//! not refused for that, because nobody could convert it then; the proof names what it left out and
//! why ([`Proof::left_out`]).

use std::collections::BTreeMap;

use gravure_base::{Error, Result};
use unicode_normalization::UnicodeNormalization;

use crate::encode::{Around, SpecialText};
use crate::pipeline::{Cut, Normalizer, Pattern, Splitter};
use crate::pretokenizers::PreTokenizer;
use crate::tokenizer::{Model, Tokenizer};
use crate::unicode::{self, Class, Table, bit};
use crate::vocabulary::{TokenKind, shown};

/// What was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Texts whose tokens are equal.
    pub texts: usize,
    /// Tokens of these texts.
    pub tokens: usize,
    /// What was left out: the reason, and the number of texts.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// A part of the corpus.
struct Section {
    name: &'static str,
    lines: Vec<String>,
}

/// Shows that `written` gives the tokens that `source` gives.
///
/// # Errors
/// `Unsupported` with the first difference, and the errors of [`Tokenizer::encode`].
pub fn prove(source: &Tokenizer, written: &Tokenizer) -> Result<Proof> {
    let mut proof = Proof::default();
    for section in corpus() {
        for line in &section.lines {
            compare(source, written, section.name, line, &mut proof)?;
        }
        compare(source, written, section.name, &section.lines.join("\n"), &mut proof)?;
    }
    for text in pairs() {
        compare(source, written, "pairs of pieces", &text, &mut proof)?;
    }
    compare_special_tokens(source, written, &mut proof)?;
    for text in ["", "Hello world", " a", "\n"] {
        compare_tokens(source, written, "what is put around a text", text, Around::Specials, &mut proof)?;
    }
    Ok(proof)
}

fn compare(source: &Tokenizer, written: &Tokenizer, section: &str, text: &str, proof: &mut Proof) -> Result<()> {
    if let Some(reason) = beyond_llama_cpp(source, written, text)? {
        *proof.left_out.entry(reason).or_default() += 1;
        return Ok(());
    }
    compare_tokens(source, written, section, text, Around::Nothing, proof)
}

fn compare_tokens(source: &Tokenizer, written: &Tokenizer, section: &str, text: &str, around: Around, proof: &mut Proof) -> Result<()> {
    let expected = source.encode_with(text, around, SpecialText::Token)?;
    let found = written.encode_with(text, around, SpecialText::Token)?;
    if expected == found {
        proof.texts += 1;
        proof.tokens += found.len();
        return Ok(());
    }
    Err(difference(source, written, section, text, &expected, &found))
}

/// Each token that is cut out of the text, by itself. What it does to the text beside it (taking
/// whitespace with it, standing only between words) is not in a GGUF.
fn compare_special_tokens(source: &Tokenizer, written: &Tokenizer, proof: &mut Proof) -> Result<()> {
    for (id, text) in source.vocabulary.texts().enumerate() {
        if matches!(source.vocabulary.kinds()[id], TokenKind::Control | TokenKind::UserDefined) {
            if source.model == Model::ScoredBpe && source.encode(text)? != [id as u32] {
                // A token that the source itself does not find, such as `▁` in a user-defined one.
                *proof.left_out.entry("special tokens that the source does not find in a text").or_default() += 1;
                continue;
            }
            compare_tokens(source, written, "special tokens", text, Around::Nothing, proof)?;
        }
    }
    Ok(())
}

/// Why llama.cpp cannot give the source's tokens of this text, where that is known.
fn beyond_llama_cpp(source: &Tokenizer, written: &Tokenizer, text: &str) -> Result<Option<&'static str>> {
    let normalizers = source.pipeline.as_ref().filter(|p| matches!(p.cut, Cut::Leftmost { .. })).map_or(&[][..], |p| &p.normalizers);
    if source.model == Model::ByteLevelBpe {
        let composes = |n: &&Normalizer| matches!(n, Normalizer::Nfc | Normalizer::Nfd | Normalizer::Nfkc | Normalizer::Nfkd);
        for normalizer in normalizers.iter().filter(composes) {
            if crate::normalize::normalize(std::slice::from_ref(normalizer), text)? != text {
                return Ok(Some("llama.cpp does not compose or decompose characters"));
            }
        }
    }
    let pre = written.settings.pre.as_deref().and_then(PreTokenizer::named);
    let marks_join = source.pipeline.as_ref().is_some_and(|p| p.splitters.iter().any(joins_marks));
    if marks_join
        && pre.is_some_and(|pre| !pre.joins_marks())
        && text.chars().any(|c| unicode::traits(c, Table::LlamaCpp) & unicode::MARK != 0)
    {
        return Ok(Some("for this pre-tokenizer, llama.cpp ends a word at a combining mark"));
    }
    if source.model == Model::WordPiece && normalizers.iter().any(|n| matches!(n, Normalizer::Bert(bert) if bert.strip_accents)) {
        let mark = |c: char| unicode::traits(c, Table::Categories) & bit(Class::Mn) != 0;
        let other_mark = |c: char| !mark(c) && unicode::traits(c, Table::LlamaCpp) & unicode::MARK != 0;
        let long = |c: char| c.nfd().skip(1).any(|c| !mark(c));
        if text.chars().any(|c| other_mark(c) || long(c)) {
            return Ok(Some("where accents are stripped, llama.cpp strips spacing marks and the vowels of Korean as well"));
        }
    }
    if text.chars().any(|c| unicode::traits(c, Table::Oniguruma) != unicode::traits(c, Table::LlamaCpp)) {
        return Ok(Some("characters that are newer than llama.cpp's Unicode tables"));
    }
    Ok(None)
}

/// Whether a splitter lets combining marks be part of a word.
fn joins_marks(splitter: &Splitter) -> bool {
    matches!(splitter, Splitter::Split { pattern: Pattern::Regex(regex), .. } if regex.source().contains(r"\p{M}"))
}

fn difference(source: &Tokenizer, written: &Tokenizer, section: &str, text: &str, expected: &[u32], found: &[u32]) -> Error {
    let at = expected.iter().zip(found).position(|(a, b)| a != b).unwrap_or(expected.len().min(found.len()));
    let show = |tokenizer: &Tokenizer, ids: &[u32]| -> String {
        let around = ids.iter().skip(at.saturating_sub(2)).take(6);
        let shown: Vec<String> = around.map(|&id| format!("{id} {}", shown(tokenizer.vocabulary.text(id).unwrap_or_default()))).collect();
        shown.join(", ")
    };
    let context = match source.decode(&expected[..at.min(expected.len())]) {
        Ok(before) if !before.is_empty() => {
            format!(" after {:?}", before.chars().rev().take(30).collect::<Vec<char>>().iter().rev().collect::<String>())
        }
        _ => String::new(),
    };
    Error::unsupported(format!(
        "the written vocabulary does not give the source's tokens ({section}): token {at} of {}{context}\n  source:  {}\n  written: {}",
        shown(text),
        show(source, expected),
        show(written, found)
    ))
    .help("llama.cpp cannot tokenize as this model does; convert to safetensors instead")
}

/// The sections of the corpus. `\n`, `\t`, `\\` and `\u{..}` in it stand for what they stand for in
/// Rust.
fn corpus() -> Vec<Section> {
    let mut out: Vec<Section> = Vec::new();
    for line in include_str!("prove/corpus.txt").lines() {
        if let Some(name) = line.strip_prefix("== ") {
            out.push(Section { name, lines: Vec::new() });
        } else if let Some(section) = out.last_mut() {
            section.lines.push(unescape(line));
        }
    }
    out
}

fn unescape(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else { break };
        rest = &rest[c.len_utf8()..];
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'u' if rest.starts_with('{') => {
                let (code, after) = rest[1..].split_once('}').unwrap_or_default();
                out.extend(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
                rest = after;
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// Pieces that tokenizers treat differently.
const PIECES: &[&str] = &[
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    " \n",
    "\n ",
    "\u{a0}",
    "\u{3000}",
    "\u{200b}",
    "'s",
    "'S",
    "'ll",
    "'RE",
    "'x",
    "'",
    "''",
    "’s",
    "a",
    "ab",
    "B",
    "The",
    "hello",
    "HELLO",
    "Hello",
    "é",
    "Ünder",
    "ß",
    "я",
    "Мир",
    "λ",
    "中",
    "中文",
    "日本",
    "かな",
    "ไทย",
    "עם",
    "عرب",
    "0",
    "7",
    "42",
    "123",
    "1234",
    "²",
    "½",
    "٣",
    "Ⅷ",
    "!",
    "?",
    ".",
    "...",
    ",",
    "-",
    "--",
    "_",
    "(",
    ")",
    "[",
    "{",
    "}",
    "<",
    ">",
    "/",
    "\\",
    "\"",
    "#",
    "##",
    "$",
    "€",
    "+",
    "=",
    "*",
    "&",
    "@",
    "~",
    "`",
    "^",
    "|",
    "%",
    "…",
    "—",
    "。",
    "😀",
    "👍🏽",
    "▁",
    "Ġ",
];

fn pairs() -> impl Iterator<Item = String> {
    PIECES.iter().flat_map(|a| PIECES.iter().map(move |b| [*a, *b].concat())).chain(
        // Three in a row, each with its neighbours in the list.
        PIECES.windows(3).flat_map(|three| [three.concat(), three.iter().rev().copied().collect()]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{huggingface, llama};
    use gravure_base::Limits;
    use std::path::{Path, PathBuf};

    fn folders() -> Vec<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let data = std::env::var_os("GRAVURE_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
        let mut out = vec![root.join("models/gravure-tiny")];
        match std::fs::read_dir(data.join("tokenizers")) {
            Ok(entries) => out.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())),
            Err(_) => eprintln!("SKIPPED: the tokenizers in {} are not there; set GRAVURE_TEST_DATA", data.display()),
        }
        out.sort();
        out
    }

    #[test]
    fn the_corpus_is_large_and_mixed() {
        let sections = corpus();
        assert!(sections.len() > 30);
        assert!(sections.iter().all(|section| !section.lines.is_empty()));
        assert!(sections.iter().flat_map(|section| &section.lines).any(|line| line.contains("e\u{301}t")));
        assert!(sections.iter().flat_map(|section| &section.lines).any(|line| line.contains("\"a\\tb")));
    }

    #[test]
    fn real_tokenizers_are_proved() {
        for folder in folders() {
            let source = huggingface::read_folder(&folder, &Limits::default()).unwrap().unwrap();
            let written = llama::from_source(&source).unwrap();
            let proof = prove(&source, &written).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
            println!("{}: {proof:?}", folder.display());
            assert!(proof.texts > 6000, "{proof:?}");
        }
    }

    #[test]
    fn another_vocabulary_is_refused_with_the_difference() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/gravure-tiny");
        let source = huggingface::read_folder(&folder, &Limits::default()).unwrap().unwrap();
        let mut written = llama::from_source(&source).unwrap();
        written.merges = crate::Merges::default();
        let error = prove(&source, &written).unwrap_err();
        assert!(error.message().contains("(English)"), "{error}");
    }
}
