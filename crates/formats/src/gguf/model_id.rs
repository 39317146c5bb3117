//! What the name of a model says: `Mistral-7B-Instruct-v0.2` has a base name, a size, a finetune and
//! a version.
//!
//! The rules are those of gguf-py's `metadata.py`, so that a converted file has the same
//! `general.*` keys. Parts between hyphens are told apart by their shape; what stands before the
//! first part that is no plain word is the base name, what is left over is the finetune.

/// Number of weights, against which a size in a name is checked; 0 where it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Of the model itself: a size that is far from it is none.
    Model(u64),
    /// Of those matrices that an adapter changes: a size may be larger.
    Adapted(u64),
}

/// The parts of a name, each where it was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ModelId {
    pub(crate) name: Option<String>,
    pub(crate) organization: Option<String>,
    pub(crate) basename: Option<String>,
    pub(crate) finetune: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) size_label: Option<String>,
}

/// What a part may be; several at once.
#[derive(Debug, Default, Clone, Copy)]
struct Kinds {
    basename: bool,
    size: bool,
    finetune: bool,
    version: bool,
    file_type: bool,
}

impl Kinds {
    fn count(self) -> usize {
        [self.basename, self.size, self.finetune, self.version, self.file_type].into_iter().filter(|k| *k).count()
    }
}

impl ModelId {
    /// Takes `organization/name` or a name apart.
    pub(crate) fn parse(id: &str, weights: Weights) -> Self {
        if id.contains(' ') {
            return Self { name: Some(id.to_owned()), ..Self::default() };
        }
        let (organization, full) = match id.split_once('/') {
            Some((organization, rest)) => (Some(organization).filter(|o| !o.starts_with('.')), rest),
            None => (None, id),
        };
        let mut parts: Vec<String> = full.split('-').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let mut kinds = annotate(&mut parts, weights);
        drop_word_sizes(&parts, &mut kinds);
        find_basename(&parts, &mut kinds);

        let join = |wanted: &dyn Fn(Kinds) -> bool| {
            let chosen: Vec<&str> = parts.iter().zip(&kinds).filter(|(_, k)| wanted(**k)).map(|(p, _)| p.as_str()).collect();
            (!chosen.is_empty()).then_some(chosen)
        };
        let size_label = join(&|k| k.size).map(|sizes| {
            let mut unique: Vec<&str> = Vec::new();
            for size in sizes {
                if !unique.contains(&size) {
                    unique.push(size);
                }
            }
            unique.join("-")
        });
        let finetune = join(&|k| k.finetune).map(|p| p.join("-"));
        let version = join(&|k| k.version && !k.basename).map(|p| p.join("-"));
        let basename = join(&|k| k.basename).map(|p| p.join("-"));
        // A base name alone says nothing that the name does not.
        let told = size_label.is_some() || finetune.is_some() || version.is_some();
        Self {
            name: Some(full.to_owned()),
            organization: organization.map(str::to_owned),
            basename: basename.filter(|_| told),
            finetune,
            version,
            size_label,
        }
    }
}

/// Tells parts apart by their shape, and brings some into their usual spelling.
fn annotate(parts: &mut [String], weights: Weights) -> Vec<Kinds> {
    let mut out = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter_mut().enumerate() {
        let mut kinds = Kinds::default();
        if is_version(part) {
            kinds.version = true;
        } else if is_file_type(part) {
            kinds.file_type = true;
            *part = part.to_uppercase();
        } else if index > 0 && is_size(part) {
            if let Some(context) = normalize_size(part, weights) {
                *part = context;
                kinds.finetune = true;
            } else {
                kinds.size = true;
            }
        } else if index > 0 && matches!(weights, Weights::Adapted(1..)) && part.eq_ignore_ascii_case("lora") {
            // Says of an adapter what it is, and nothing about how it was trained.
            kinds.file_type = true;
        } else if index > 0 && ["chat", "instruct", "vision", "lora"].iter().any(|w| part.eq_ignore_ascii_case(w)) {
            kinds.finetune = true;
        }
        out.push(kinds);
    }
    out
}

/// Brings a size into its usual spelling; where the model is of another size altogether, returns it
/// as what it then probably is, the length of a context.
fn normalize_size(part: &mut String, weights: Weights) -> Option<String> {
    let mut text: Vec<char> = part.replace('_', ".").chars().collect();
    // `7b1` is 7.1 billion.
    if let [.., unit, digit] = text[..]
        && digit.is_ascii_digit()
    {
        text.truncate(text.len() - 2);
        text.extend(['.', digit, unit]);
    }
    if let [.., digit, unit] = &mut text[..]
        && digit.is_ascii_digit()
        && "kmbt".contains(*unit)
    {
        *unit = unit.to_ascii_uppercase();
    }
    *part = text.iter().collect();
    let (unit, number) = text.split_last()?;
    let exponent = " KMBT".find(*unit).and_then(|e| i32::try_from(e).ok());
    let number: f64 = number.iter().collect::<String>().parse().ok()?;
    let label = number * exponent.map_or(1e-3, |e| 1000f64.powi(e));
    let far = match weights {
        Weights::Model(0) => false,
        Weights::Model(count) => (label - count as f64).abs() > (u128::from(count) * 7 / 8) as f64,
        Weights::Adapted(count) => label < (count / 8) as f64,
    };
    far.then(|| {
        let mut out: String = text[..text.len() - 1].iter().collect();
        out.push(unit.to_ascii_lowercase());
        out
    })
}

/// Words such as `small` are no sizes beside one with a number.
fn drop_word_sizes(parts: &[String], kinds: &mut [Kinds]) {
    let numbered = parts.iter().zip(kinds.iter()).any(|(p, k)| k.size && p.contains(|c: char| c.is_ascii_digit()));
    if numbered {
        for (part, kinds) in parts.iter().zip(kinds) {
            kinds.size &= !part.chars().all(char::is_alphabetic);
        }
    }
}

fn find_basename(parts: &[String], kinds: &mut [Kinds]) {
    let mut at_start = true;
    for (part, kinds) in parts.iter().zip(kinds.iter_mut()) {
        let plain = kinds.count() == 0;
        if at_start && ((plain && part.starts_with(char::is_alphabetic)) || kinds.version) {
            kinds.basename = true;
        } else {
            at_start = false;
            kinds.finetune |= plain;
        }
    }
    // A version at the end of the base name is a version.
    for kinds in kinds.iter_mut().rev() {
        if !(kinds.basename && kinds.count() > 1) {
            break;
        }
        kinds.basename = false;
    }
}

/// Digits, then `.` and digits any number of times, after `v`, `iter` or nothing.
fn is_version(part: &str) -> bool {
    let lower = part.to_ascii_lowercase();
    let number = lower.strip_prefix("iter").or_else(|| lower.strip_prefix('v')).unwrap_or(&lower);
    number.split('.').all(is_digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `q4_k_m`, `iq2`, `f16`, `bf16`, `fp32` and the like.
fn is_file_type(part: &str) -> bool {
    let lower = part.to_ascii_lowercase();
    let float = lower.strip_prefix('b').unwrap_or(&lower).strip_prefix('f').map(|r| r.strip_prefix('p').unwrap_or(r));
    if matches!(float, Some("16" | "32")) {
        return true;
    }
    let Some(rest) = lower.strip_prefix('i').unwrap_or(&lower).strip_prefix('q') else { return false };
    let mut rest = rest.chars();
    if !rest.next().is_some_and(|c| c.is_ascii_digit()) {
        return false;
    }
    loop {
        match (rest.next(), rest.next()) {
            (None, None) => return true,
            (Some('_'), Some(c)) if c.is_alphanumeric() || c == '_' => {}
            _ => return false,
        }
    }
}

/// `7B`, `1.5b`, `8x22B`, `A3B`, `7b1`, `360M`, or a word for a size.
fn is_size(part: &str) -> bool {
    let lower = part.to_ascii_lowercase();
    if ["small", "mini", "medium", "large", "xl", "xxl"].contains(&lower.as_str()) {
        return true;
    }
    let without_experts = lower.split_once('x').filter(|(n, _)| is_digits(n)).map(|(_, rest)| rest);
    let rest = lower.strip_prefix('a').or(without_experts).unwrap_or(&lower);
    let rest = rest.strip_suffix(|c: char| c.is_ascii_digit()).filter(|r| r.ends_with(['k', 'm', 'b', 't'])).unwrap_or(rest);
    let Some(number) = rest.strip_suffix(['k', 'm', 'b', 't']) else { return false };
    match number.split_once(['.', '_']) {
        Some((whole, part)) => is_digits(whole) && is_digits(part),
        None => is_digits(number),
    }
}

/// Words capitalized, apart from acronyms, versions and those that start with a digit.
pub(crate) fn title(id: &str) -> String {
    let spaced = id.trim().replace('-', " ");
    let words: Vec<String> = spaced
        .split_whitespace()
        .map(|word| {
            let lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
            let version = word.strip_prefix('v').is_some_and(|v| v.split('.').all(is_digits));
            if lower && !version && !word.starts_with(|c: char| c.is_ascii_digit()) { capitalize(word) } else { word.to_owned() }
        })
        .collect();
    words.join(" ")
}

/// Letters after a letter stay small, others become capitals.
fn capitalize(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut after_letter = false;
    for c in word.chars() {
        if after_letter {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        after_letter = c.is_alphabetic();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name | organization | basename | finetune | version | size`, `-` for nothing.
    fn told(id: &str, parameters: u64) -> String {
        let m = ModelId::parse(id, Weights::Model(parameters));
        [m.name, m.organization, m.basename, m.finetune, m.version, m.size_label].map(|p| p.unwrap_or("-".into())).join(" | ")
    }

    #[test]
    fn names_are_taken_apart_as_the_reference_does() {
        // Expected values were made by gguf-py's `Metadata.get_model_id_components`.
        let cases = [
            ("Mistral-7B-Instruct-v0.2", 0, "Mistral-7B-Instruct-v0.2 | - | Mistral | Instruct | v0.2 | 7B"),
            ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400, "Llama-3.2-1B-Instruct | meta-llama | Llama-3.2 | Instruct | - | 1B"),
            ("gravure-tiny", 7_300_000, "gravure-tiny | - | - | - | - | -"),
            ("Qwen1.5-MoE-A2.7B-Chat", 14_300_000_000, "Qwen1.5-MoE-A2.7B-Chat | - | Qwen1.5-MoE | Chat | - | A2.7B"),
            ("Mixtral-8x7B-v0.1", 46_700_000_000, "Mixtral-8x7B-v0.1 | - | Mixtral | - | v0.1 | 8x7B"),
            ("Yi-9B-200k", 8_830_000_000, "Yi-9B-200k | - | Yi | 200k | - | 9B"),
            ("bloom-7b1-petals", 0, "bloom-7b1-petals | - | bloom | petals | - | 7.1B"),
            ("Phi-3-mini-4k-instruct", 3_820_000_000, "Phi-3-mini-4k-instruct | - | Phi-3 | 4k-instruct | - | mini"),
            ("stories260k-llama", 260_000, "stories260k-llama | - | - | - | - | -"),
            ("My Model", 5, "My Model | - | - | - | - | -"),
            ("./model-1B", 0, "model-1B | - | model | - | - | 1B"),
            ("all-MiniLM-L6-v2", 22_000_000, "all-MiniLM-L6-v2 | - | all-MiniLM-L6 | - | v2 | -"),
            (
                "DeepSeek-R1-Distill-Qwen-1.5B-q4_k_m",
                1_500_000_000,
                "DeepSeek-R1-Distill-Qwen-1.5B-q4_k_m | - | DeepSeek-R1-Distill-Qwen | - | - | 1.5B",
            ),
            ("gpt2", 3, "gpt2 | - | - | - | - | -"),
            ("x-q8_-a7x", 0, "x-q8_-a7x | - | - | - | - | -"),
            ("m-1_5b-A3B-xl-LoRA", 0, "m-1_5b-A3B-xl-LoRA | - | m | xl-LoRA | - | 1.5B-A3B"),
            ("SmolLM2-135M-Instruct-iter3-bf16", 135_000_000, "SmolLM2-135M-Instruct-iter3-bf16 | - | SmolLM2 | Instruct | iter3 | 135M"),
            ("a-1.5t", 2, "a-1.5t | - | a | 1.5t | - | -"),
        ];
        for (id, parameters, expected) in cases {
            assert_eq!(told(id, parameters), expected, "{id}");
        }
    }

    #[test]
    fn an_adapter_may_be_named_after_a_larger_model() {
        // As above, with a negative number of weights.
        let told = |id| {
            let m = ModelId::parse(id, Weights::Adapted(8_000_000));
            (m.basename.unwrap_or_default(), m.finetune.unwrap_or_default(), m.size_label.unwrap_or_default())
        };
        let expected = |basename: &str, finetune: &str, size: &str| (basename.to_owned(), finetune.to_owned(), size.to_owned());
        assert_eq!(told("Llama-7B-LoRA-chat"), expected("Llama", "chat", "7B"));
        assert_eq!(told("Llama-900K-lora"), expected("Llama", "900k", ""));
        assert_eq!(told("Llama-1M"), expected("Llama", "", "1M"));
    }

    #[test]
    fn titles_leave_acronyms_and_numbers_alone() {
        assert_eq!(title("gravure-tiny"), "Gravure Tiny");
        assert_eq!(title("gpt2x-v1.0-7b LLaMA"), "Gpt2X v1.0 7b LLaMA");
    }
}
