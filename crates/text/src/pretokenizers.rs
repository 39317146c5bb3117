//! Which pre-tokenizer of llama.cpp is the one that a `tokenizer.json` spells out.
//!
//! A GGUF cannot hold regexes: it holds a name, and llama.cpp has the regexes of each name. The
//! reference converter finds the name by a hash of what a test string becomes, so that it knows
//! only the tokenizers that somebody ran it on. Here the name is found by the regexes themselves,
//! and [`crate::prove`] then shows on text that it was the right one.
//!
//! The regexes are facts of `llama-vocab.cpp` (<https://github.com/ggml-org/llama.cpp>) and of the
//! models' own `tokenizer.json`.

use gravure_base::{Error, Result};

use crate::pipeline::{Behavior, Pattern, Splitter};
use crate::vocabulary::shown;

/// The regex of GPT-2, which the byte-level pre-tokenizer has built in.
pub(crate) const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const CL100K_POSSESSIVE: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const ONE_DIGIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const ONE_DIGIT_MARKS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const BAILING_WRITTEN: &str =
    r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K_WRITTEN: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN_WRITTEN: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_PUNCTUATION: &str = r"\s?[!-/:-~！-／：-～‘-‟　-。]+";
const DEEPSEEK_CJK: &str = "[一-龥ࠀ-一가-퟿]+";
const DEEPSEEK_3_WORDS: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const UFAKZEKA: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const MINICPM_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
/// Steps that are no regex.
const PUNCTUATION_CONTIGUOUS: &str = "<punctuation, contiguous>";
const FALCON_PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";

/// A pre-tokenizer that llama.cpp knows.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    /// Its names; the first is the one that is written.
    names: &'static [&'static str],
    /// The sequences of steps that a source spells it by.
    sources: &'static [&'static [&'static str]],
    /// The regexes that are applied one after the other to what the one before left.
    pub(crate) regexes: &'static [&'static str],
    /// Whether a word that is a token is taken whole, whatever the merge rules say.
    pub(crate) ignore_merges: bool,
    /// Whether a beginning of sequence is added where the file does not say.
    pub(crate) add_bos: bool,
    /// Whether spaces before punctuation are dropped when text is made of tokens.
    pub(crate) clean_spaces: bool,
}

const PLAIN: PreTokenizer =
    PreTokenizer { names: &[], sources: &[], regexes: &[], ignore_merges: false, add_bos: false, clean_spaces: false };

/// In order of preference where one source fits several.
static KNOWN: &[PreTokenizer] = &[
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        sources: &[&[CL100K]],
        regexes: &[CL100K],
        ignore_merges: true,
        add_bos: true,
        clean_spaces: true,
    },
    PreTokenizer {
        names: &["dbrx", "smaug-bpe"],
        sources: &[&[CL100K], &[CL100K_POSSESSIVE]],
        regexes: &[CL100K],
        clean_spaces: true,
        ..PLAIN
    },
    PreTokenizer { names: &["glm4", "glm5"], regexes: &[CL100K], ignore_merges: true, clean_spaces: true, ..PLAIN },
    PreTokenizer { names: &["chatglm-bpe"], regexes: &[CL100K], clean_spaces: true, ..PLAIN },
    PreTokenizer {
        names: &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
        ],
        sources: &[&[GPT_2]],
        regexes: &[GPT_2],
        clean_spaces: true,
        ..PLAIN
    },
    PreTokenizer { names: &["roberta-bpe", "jina-v1-en", "jina-v2-code"], regexes: &[GPT_2], clean_spaces: true, ..PLAIN },
    PreTokenizer { names: &["mpt", "olmo", "jais"], regexes: &[GPT_2], clean_spaces: true, ..PLAIN },
    PreTokenizer { names: &["trillion", "granite-docling"], regexes: &[GPT_2], ..PLAIN },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "hunyuan", "solar-open", "grok-2"],
        sources: &[&[ONE_DIGIT]],
        regexes: &[ONE_DIGIT],
        ..PLAIN
    },
    PreTokenizer { names: &["stablelm2", "megrez"], regexes: &[ONE_DIGIT], clean_spaces: true, ..PLAIN },
    PreTokenizer { names: &["qwen35"], sources: &[&[ONE_DIGIT_MARKS]], regexes: &[ONE_DIGIT_MARKS], ..PLAIN },
    PreTokenizer { names: &["smollm", "command-r"], sources: &[&[r"\p{N}", GPT_2]], regexes: &[r"\p{N}", GPT_2], ..PLAIN },
    PreTokenizer {
        names: &["starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        sources: &[&[r"\p{N}", GPT_2]],
        regexes: &[r"\p{N}", GPT_2],
        clean_spaces: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        sources: &[&[O200K]],
        regexes: &[O200K_WRITTEN],
        ..PLAIN
    },
    PreTokenizer { names: &["tekken"], sources: &[&[TEKKEN]], regexes: &[TEKKEN_WRITTEN], ignore_merges: true, add_bos: true, ..PLAIN },
    PreTokenizer {
        names: &["deepseek-llm"],
        sources: &[
            &[r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", DEEPSEEK_CJK, r"\p{N}"],
            &[r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", DEEPSEEK_CJK, r"\p{N}+"],
        ],
        regexes: &[r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", DEEPSEEK_CJK, r"\p{N}+"],
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-coder"],
        sources: &[&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"]],
        regexes: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"],
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        sources: &[&[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_3_WORDS]],
        regexes: &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_3_WORDS],
        ..PLAIN
    },
    PreTokenizer {
        names: &["falcon"],
        sources: &[&[PUNCTUATION_CONTIGUOUS, GPT_2, THREE_DIGITS], &[PUNCTUATION_CONTIGUOUS, GPT_2, r"\p{N}+", THREE_DIGITS]],
        regexes: &[FALCON_PUNCTUATION, GPT_2, THREE_DIGITS],
        clean_spaces: true,
        ..PLAIN
    },
    PreTokenizer { names: &["bailingmoe", "bailingmoe2", "llada-moe"], sources: &[&[BAILING]], regexes: &[BAILING_WRITTEN], ..PLAIN },
    PreTokenizer { names: &["seed-coder"], sources: &[&[SEED_CODER]], regexes: &[SEED_CODER], ..PLAIN },
    PreTokenizer { names: &["ufakzeka"], sources: &[&[UFAKZEKA]], regexes: &[UFAKZEKA], ..PLAIN },
    PreTokenizer { names: &["exaone-moe"], sources: &[&[EXAONE_MOE]], regexes: &[EXAONE_MOE], clean_spaces: true, ..PLAIN },
    PreTokenizer {
        names: &["minicpm5"],
        sources: &[&[r"\p{N}{1,3}", MINICPM_WORDS]],
        regexes: &[r"\p{N}{1,3}", MINICPM_WORDS],
        ignore_merges: true,
        clean_spaces: true,
        ..PLAIN
    },
    PreTokenizer { names: &["poro-chat"], sources: &[&[BLOOM]], regexes: &[BLOOM], ..PLAIN },
    PreTokenizer { names: &["bloom", "gpt3-finnish"], sources: &[&[BLOOM]], regexes: &[BLOOM], clean_spaces: true, ..PLAIN },
    PreTokenizer { names: &["viking"], sources: &[&[BLOOM, r"\p{N}"]], regexes: &[BLOOM, r"\p{N}"], ..PLAIN },
    PreTokenizer { names: &["default"], regexes: &[r"[\p{P}\$\+<=>\^~\|]+", GPT_2, r"\p{N}+", THREE_DIGITS], clean_spaces: true, ..PLAIN },
];

impl PreTokenizer {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.names.contains(&name))
    }

    /// Whether combining marks are part of words.
    pub(crate) fn joins_marks(&self) -> bool {
        self.regexes.iter().any(|regex| regex.contains(r"\p{M}"))
    }

    /// The name that is written.
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// The one whose regexes are the source's.
    ///
    /// # Errors
    /// `Unsupported`, naming the regexes, where there is none.
    pub(crate) fn of_splitters(splitters: &[Splitter], ignore_merges: bool, clean_spaces: bool) -> Result<&'static Self> {
        let steps: Vec<String> = splitters.iter().filter_map(step).collect();
        let fits = |known: &&PreTokenizer| known.sources.iter().any(|source| source.iter().eq(steps.iter()));
        let same_merging = |known: &&PreTokenizer| known.ignore_merges == ignore_merges;
        let fitting = || KNOWN.iter().filter(fits).filter(same_merging);
        fitting().find(|known| known.clean_spaces == clean_spaces).or_else(|| fitting().next()).ok_or_else(|| {
            let steps: Vec<String> = steps.iter().map(|step| shown(step)).collect();
            let merging = if ignore_merges { ", whole words first" } else { "" };
            Error::unsupported(format!("llama.cpp has no pre-tokenizer that splits by {}{merging}", steps.join(", then by ")))
                .help("a GGUF can only name a pre-tokenizer that llama.cpp has; convert to safetensors instead")
        })
    }
}

/// Line breaks in a pattern are as good as their escapes.
fn spelled(regex: &str) -> String {
    regex.replace('\r', r"\r").replace('\n', r"\n").replace('\t', r"\t")
}

/// How a step is spelled in [`PreTokenizer::sources`]; `None` for a step that does not split.
fn step(splitter: &Splitter) -> Option<String> {
    Some(match splitter {
        Splitter::ByteLevel { add_prefix_space: false, regex: None } => return None,
        Splitter::ByteLevel { add_prefix_space: false, regex: Some(_) } => GPT_2.to_owned(),
        // What is removed is what no alternative matches, and these regexes match everything.
        Splitter::Split { pattern: Pattern::Regex(regex), behavior: Behavior::Isolated, invert: false }
        | Splitter::Split { pattern: Pattern::Regex(regex), behavior: Behavior::Removed, invert: true } => spelled(regex.source()),
        Splitter::Digits { individual: true } => r"\p{N}".to_owned(),
        Splitter::Digits { individual: false } => r"\p{N}+".to_owned(),
        Splitter::Punctuation(Behavior::Contiguous) => PUNCTUATION_CONTIGUOUS.to_owned(),
        other => format!("<{other:?}>"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regex::{Flavor, Regex};

    fn split(regex: &str) -> Splitter {
        Splitter::Split {
            pattern: Pattern::Regex(Regex::new(regex, Flavor::Oniguruma).unwrap()),
            behavior: Behavior::Isolated,
            invert: false,
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        let mut names: Vec<&str> = KNOWN.iter().flat_map(|known| known.names).copied().collect();
        for name in &names {
            assert!(PreTokenizer::named(name).is_some_and(|known| known.names.contains(name)));
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn regexes_give_the_name() {
        let bytes = Splitter::ByteLevel { add_prefix_space: false, regex: None };
        let gpt_2 = Splitter::ByteLevel { add_prefix_space: false, regex: Some(Regex::new(GPT_2, Flavor::Oniguruma).unwrap()) };
        let cases: [(&[Splitter], bool, bool, &str); 7] = [
            (&[split(CL100K), bytes.clone()], true, false, "llama-bpe"),
            (&[split(CL100K), bytes.clone()], false, false, "dbrx"),
            (&[split(ONE_DIGIT), bytes.clone()], false, false, "qwen2"),
            (std::slice::from_ref(&gpt_2), false, true, "gpt-2"),
            (&[Splitter::Digits { individual: true }, gpt_2.clone()], false, false, "smollm"),
            (&[Splitter::Digits { individual: true }, gpt_2.clone()], false, true, "starcoder"),
            (&[split(TEKKEN), bytes], true, false, "tekken"),
        ];
        for (splitters, ignore_merges, clean_spaces, name) in cases {
            assert_eq!(PreTokenizer::of_splitters(splitters, ignore_merges, clean_spaces).unwrap().name(), name);
        }
    }

    #[test]
    fn an_unknown_regex_is_shown() {
        let error = PreTokenizer::of_splitters(&[split("abc+")], false, false).unwrap_err();
        assert!(error.message().contains("\"abc+\""), "{error}");
    }
}
