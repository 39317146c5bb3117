//! The view of a vocabulary that a GGUF holds and llama.cpp reads.
//!
//! [`from_source`] turns a Hugging Face or SentencePiece tokenizer into it by the rules of
//! `convert_hf_to_gguf.py`; [`from_parts`] builds it from what a file holds.

use std::sync::Arc;

use gravure_base::{Error, Result, Texts};

use crate::added::LongestFirst;
use crate::charsmap::Charsmap;
use crate::decode::Decoder;
use crate::engine::{self, Bpe, Engine, Scored, Symbols, Unigram, Unmatched, WordPiece};
use crate::merges::{Merges, Repeated, UnknownParts};
use crate::normalize::SentencePieceSpaces;
use crate::pipeline::{AddedToken, Behavior, Cut, Normalizer, Pattern, Pipeline, Splitter};
use crate::pretokenizers::PreTokenizer;
use crate::regex::{Flavor, Regex};
use crate::tokenizer::{ChatTemplate, Model, Settings, SpecialToken, Tokenizer};
use crate::vocabulary::{TokenKind, Vocabulary};

/// What a file of this view holds.
#[derive(Debug)]
pub struct Parts<'a> {
    /// How it finds the tokens of a word.
    pub model: Model,
    /// Token texts by id; unique.
    pub tokens: &'a Texts,
    /// Scores by id, or empty.
    pub scores: &'a [f32],
    /// Kinds by id, or empty where all are normal.
    pub kinds: &'a [TokenKind],
    /// Merge rules: two texts with a space between.
    pub merges: &'a Texts,
    /// Roles of tokens.
    pub specials: Vec<(SpecialToken, u32)>,
    /// What else it states.
    pub settings: Settings,
    /// Chat templates, the default one first.
    pub templates: Vec<ChatTemplate>,
    /// The name of the model, by which llama.cpp knows that some tokens take whitespace with them.
    pub model_name: Option<&'a str>,
}

/// Builds the tokenizer.
///
/// # Errors
/// `Input` where texts repeat, lengths differ, an id is out of range, or a merge rule has no space.
pub fn from_parts(parts: Parts<'_>) -> Result<Tokenizer> {
    let count = parts.tokens.len();
    for (what, len) in [("scores", parts.scores.len()), ("token types", parts.kinds.len())] {
        if len != 0 && len < count {
            return Err(Error::input(format!("there are {count} tokens, but {len} {what}")));
        }
    }
    let mut vocabulary = Vocabulary::with_capacity(count, parts.tokens.text_bytes());
    for (id, text) in parts.tokens.iter().enumerate() {
        let score = parts.scores.get(id).copied().unwrap_or(0.0);
        let kind = parts.kinds.get(id).copied().unwrap_or(TokenKind::Normal);
        // llama.cpp gives a token without a text this one.
        let filled = if text.is_empty() { Some(format!("[EMPTY_{id}]")) } else { None };
        vocabulary.push(filled.as_deref().unwrap_or(text), score, kind)?;
    }
    let mut pairs = Vec::with_capacity(parts.merges.len());
    for (rank, line) in parts.merges.iter().enumerate() {
        // A space may stand at the very start, as the first half.
        let first = line.chars().next().map_or(0, char::len_utf8);
        let space = line.get(first..).and_then(|rest| rest.find(' ')).map(|at| at + first);
        let space = space.ok_or_else(|| Error::input(format!("merge rule {rank} has no space between two texts")))?;
        pairs.push((&line[..space], &line[space + 1..]));
    }
    let merges = Merges::new(&vocabulary, pairs.into_iter(), UnknownParts::Keep, Repeated::FirstCounts)?;
    let mut tokenizer = Tokenizer {
        model: parts.model,
        vocabulary,
        merges,
        specials: Vec::new(),
        settings: parts.settings,
        templates: parts.templates,
        pipeline: None,
    };
    for (role, id) in parts.specials {
        tokenizer.set_special(role, id)?;
    }
    tokenizer.pipeline = pipeline(&tokenizer, parts.model_name.unwrap_or_default())?.map(Arc::new);
    Ok(tokenizer)
}

/// The written view of a source tokenizer.
///
/// # Errors
/// `Unsupported` for what llama.cpp cannot do: a pre-tokenizer or a normalizer that it does not
/// have.
pub fn from_source(source: &Tokenizer) -> Result<Tokenizer> {
    let Some(pipeline) = source.pipeline.as_deref() else { return Ok(source.clone()) };
    if matches!(pipeline.cut, Cut::LongestFirst(_)) {
        return Ok(source.clone());
    }
    let mut settings = source.settings.clone();
    settings.pre = Some(match source.model {
        Model::ByteLevelBpe => {
            let ignore_merges = matches!(&pipeline.engine, Engine::Bpe(bpe) if bpe.ignore_merges);
            let clean_spaces = settings.clean_spaces == Some(true);
            let known = PreTokenizer::of_splitters(&pipeline.splitters, ignore_merges, clean_spaces)?;
            // The same regexes, but with separators around texts.
            let name = if known.name() == "gpt-2" && settings.add_sep == Some(true) { "roberta-bpe" } else { known.name() };
            name.to_owned()
        }
        // What llama.cpp does with these words does not depend on the name.
        Model::WordPiece => "bert-bge".to_owned(),
        Model::CharacterBpe | Model::ScoredBpe | Model::Unigram => "default".to_owned(),
    });
    if source.model == Model::WordPiece && pipeline.splitters != [Splitter::Bert] {
        return Err(Error::unsupported("llama.cpp splits a WordPiece text as BERT does; this tokenizer does not"));
    }
    let mut vocabulary = Vocabulary::with_capacity(source.vocabulary.len(), source.vocabulary.heap_bytes() / 4);
    let mut spelled = String::new();
    for (id, text) in source.vocabulary.texts().enumerate() {
        let id = id as u32;
        let kind = source.vocabulary.kind(id).unwrap_or_default();
        spelled.clear();
        match kind {
            // Tokens that are cut out of the text are spelled as the text has them.
            TokenKind::UserDefined => spelled.push_str(&text.replace('▁', " ")),
            TokenKind::Control => spelled.push_str(text),
            _ => spelled.push_str(text),
        }
        if source.model == Model::WordPiece && kind != TokenKind::Control {
            // The start of a word is marked instead of its continuation.
            spelled = match spelled.strip_prefix("##") {
                Some(rest) => rest.to_owned(),
                None => format!("▁{spelled}"),
            };
        }
        vocabulary.push(&spelled, source.vocabulary.score(id).unwrap_or(0.0), kind)?;
    }
    let merges = match source.model {
        Model::ByteLevelBpe | Model::CharacterBpe => source.merges.clone(),
        Model::ScoredBpe | Model::Unigram | Model::WordPiece => Merges::default(),
    };
    let mut written = Tokenizer {
        model: source.model,
        vocabulary,
        merges,
        specials: source.specials.clone(),
        settings,
        templates: source.templates.clone(),
        pipeline: None,
    };
    written.pipeline = self::pipeline(&written, "")?.map(Arc::new);
    Ok(written)
}

/// Tokens that llama.cpp takes for control tokens by their texts, whatever their kinds.
const CONTROL_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// The steps; `None` where the pre-tokenizer is not known.
fn pipeline(tokenizer: &Tokenizer, model_name: &str) -> Result<Option<Pipeline>> {
    let settings = &tokenizer.settings;
    let vocabulary = &tokenizer.vocabulary;
    let known = match (tokenizer.model, settings.pre.as_deref()) {
        (Model::ByteLevelBpe, pre) => match PreTokenizer::named(pre.unwrap_or("default")) {
            Some(known) => Some(known),
            None => return Ok(None),
        },
        _ => None,
    };
    let spaces = || Normalizer::Replace { pattern: Pattern::Text(" ".to_owned()), content: "▁".to_owned() };
    let split = |regex: &str| -> Result<Splitter> {
        let pattern = Pattern::Regex(Regex::new(regex, Flavor::LlamaCpp)?);
        Ok(Splitter::Split { pattern, behavior: Behavior::Isolated, invert: false })
    };
    let bpe = |symbols| Bpe {
        symbols,
        ignore_merges: known.is_some_and(|known| known.ignore_merges),
        whole_line_feeds: false,
        unknown: None,
        fuse_unknown: false,
        fallback: None,
        unmatched: Unmatched::Barrier,
    };
    let (normalizers, splitters, engine) = match tokenizer.model {
        Model::ByteLevelBpe => {
            let mut splitters = Vec::new();
            for regex in known.map_or(&[][..], |known| known.regexes) {
                splitters.push(split(regex)?);
            }
            (Vec::new(), splitters, Engine::Bpe(bpe(Bpe::bytes(vocabulary, &tokenizer.merges))))
        }
        Model::CharacterBpe => {
            let bpe = Bpe { whole_line_feeds: true, fallback: engine::byte_tokens(vocabulary), ..bpe(Symbols::Chars) };
            (vec![spaces()], vec![split("[^\\n]+|[\\n]+")?], Engine::Bpe(bpe))
        }
        Model::ScoredBpe => {
            (vec![spaces()], Vec::new(), Engine::Scored(Scored { fallback: engine::byte_tokens(vocabulary), unknown: None }))
        }
        Model::Unigram => {
            let prefix = settings.add_space_prefix.unwrap_or(true);
            let merge = settings.remove_extra_whitespaces.unwrap_or(false);
            let mut normalizers = Vec::new();
            if !settings.charsmap.is_empty() {
                normalizers.push(Normalizer::Charsmap(Charsmap::new(&settings.charsmap)?));
            }
            normalizers.push(Normalizer::SentencePieceSpaces(SentencePieceSpaces { prefix, suffix: false, merge, escape: true }));
            let unknown = tokenizer.special(SpecialToken::Unk).or_else(|| default_id(vocabulary, 2));
            (normalizers, Vec::new(), Engine::Unigram(Unigram::new(vocabulary, unknown, None, true)))
        }
        Model::WordPiece => {
            let lowercase = settings.lowercase.unwrap_or(true);
            let strip_accents = settings.strip_accents.unwrap_or(lowercase);
            let pieces = WordPiece {
                unknown: tokenizer.special(SpecialToken::Unk).or_else(|| default_id(vocabulary, 100)),
                first: "▁".to_owned(),
                rest: String::new(),
                longest_word: usize::MAX,
                longest_token: vocabulary.texts().map(str::len).max().unwrap_or(0),
            };
            (vec![Normalizer::BertWords { strip_accents, lowercase }], vec![Splitter::WhitespaceSplit], Engine::WordPiece(pieces))
        }
    };
    let (prefix, suffix) = around(tokenizer, known);
    let space_prefix = tokenizer.model == Model::ScoredBpe && settings.add_space_prefix.unwrap_or(true);
    Ok(Some(Pipeline {
        cut: Cut::LongestFirst(LongestFirst::new(cut_tokens(tokenizer, model_name))),
        space_prefix,
        normalizers,
        splitters,
        engine,
        prefix,
        suffix,
        decoder: Decoder::Pieces { drop_space: space_prefix || tokenizer.model == Model::WordPiece },
    }))
}

/// What is put around a text, where the file says so or where llama.cpp does so by default.
fn around(tokenizer: &Tokenizer, known: Option<&PreTokenizer>) -> (Vec<u32>, Vec<u32>) {
    let settings = &tokenizer.settings;
    // Whether they are added by default, and which tokens they are by default.
    let (bos, eos, bos_id, eos_id) = match tokenizer.model {
        Model::ScoredBpe => (true, false, Some(1), Some(2)),
        Model::ByteLevelBpe => (known.is_some_and(|known| known.add_bos), false, Some(11), Some(11)),
        Model::CharacterBpe => (true, false, None, None),
        Model::Unigram => (false, true, None, Some(1)),
        // Always, and a separator at the end.
        Model::WordPiece => (true, true, Some(101), Some(102)),
    };
    let always = tokenizer.model == Model::WordPiece;
    let end = if always { SpecialToken::Sep } else { SpecialToken::Eos };
    let id = |role, default: Option<u32>| tokenizer.special(role).or_else(|| default.and_then(|id| default_id(&tokenizer.vocabulary, id)));
    let prefix = if always || settings.add_bos.unwrap_or(bos) { id(SpecialToken::Bos, bos_id) } else { None };
    let suffix = if always || settings.add_eos.unwrap_or(eos) { id(end, eos_id) } else { None };
    (prefix.into_iter().collect(), suffix.into_iter().collect())
}

fn default_id(vocabulary: &Vocabulary, id: u32) -> Option<u32> {
    Some(id).filter(|&id| (id as usize) < vocabulary.len())
}

/// The tokens that are cut out of a text.
fn cut_tokens(tokenizer: &Tokenizer, model_name: &str) -> Vec<AddedToken> {
    let vocabulary = &tokenizer.vocabulary;
    let name = model_name.to_lowercase();
    let phi_3 = name.contains("phi-3") || name.contains("phi3");
    let pre = tokenizer.settings.pre.as_deref().unwrap_or_default();
    let mask = if ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(&pre) {
        Some("<mask>")
    } else if name.contains("modern-bert") {
        Some("[MASK]")
    } else {
        None
    };
    let by_text: Vec<u32> = CONTROL_TEXTS.iter().filter_map(|text| vocabulary.find(text)).collect();
    let mut out = Vec::new();
    for (id, text) in vocabulary.texts().enumerate() {
        let kind = vocabulary.kinds()[id];
        let by_text = by_text.contains(&(id as u32));
        let special = by_text || matches!(kind, TokenKind::Control | TokenKind::Unknown);
        if special || kind == TokenKind::UserDefined {
            out.push(AddedToken {
                id: id as u32,
                content: text.to_owned(),
                special,
                single_word: false,
                lstrip: mask == Some(text),
                rstrip: phi_3 && !["<unk>", "<s>", "<|endoftext|>"].contains(&text),
                normalized: false,
            });
        }
    }
    out
}
