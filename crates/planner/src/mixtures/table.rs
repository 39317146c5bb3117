//! The named mixtures: what users type, the number that a GGUF carries for it, and the encoding that
//! most tensors get.
//!
//! Names and numbers are llama.cpp's (`llama-quantize --help`, `enum llama_ftype` in `llama.h`); the
//! command line's choices and the documentation are made from this table.

use gravure_core::{Error, Result};

/// Which mixture, for rules to branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Kind {
    Q1_0,
    Q2_0,
    Q4_0,
    Q4_1,
    Mxfp4Moe,
    Q5_0,
    Q5_1,
    Iq2Xxs,
    Iq2Xs,
    Iq2S,
    Iq2M,
    Iq1S,
    Iq1M,
    Tq1_0,
    Tq2_0,
    Q2K,
    Q2KS,
    Iq3Xxs,
    Iq3S,
    Iq3M,
    Iq3Xs,
    Q3KS,
    Q3KM,
    Q3KL,
    Iq4Nl,
    Iq4Xs,
    Q4KS,
    Q4KM,
    Q5KS,
    Q5KM,
    Q6K,
    Q8_0,
    F16,
    Bf16,
    F32,
    Copy,
}

/// A named mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mixture {
    /// For rules.
    pub kind: Kind,
    /// Lower-case name as users type it.
    pub id: &'static str,
    /// Other spellings.
    pub aliases: &'static [&'static str],
    /// Its number (`general.file_type`); `None` where the source's own is kept.
    pub file_type: Option<u32>,
    /// Encoding id of the tensors that no rule singles out; `None` where tensors stay as they are.
    pub base: Option<&'static str>,
    /// One line for tables.
    pub doc: &'static str,
}

const fn row(
    kind: Kind,
    id: &'static str,
    aliases: &'static [&'static str],
    file_type: u32,
    base: &'static str,
    doc: &'static str,
) -> Mixture {
    Mixture { kind, id, aliases, file_type: Some(file_type), base: Some(base), doc }
}

/// Every mixture, in the order of llama-quantize's own list.
pub static MIXTURES: &[Mixture] = &[
    row(Kind::Q1_0, "q1_0", &[], 40, "q1_0", "one bit and a scale: for models trained that way"),
    row(Kind::Q2_0, "q2_0", &[], 41, "q2_0", "two bits and a scale for 64 weights: for models trained that way"),
    row(Kind::Q4_0, "q4_0", &[], 2, "q4_0", "4 bits, blocks of 32 with one scale: the portable choice for NPUs and ARM"),
    row(Kind::Q4_1, "q4_1", &[], 3, "q4_1", "4 bits, blocks of 32 with scale and minimum"),
    row(Kind::Mxfp4Moe, "mxfp4_moe", &[], 38, "mxfp4", "experts in 4-bit floats, everything else in 8 bits: for models trained that way"),
    row(Kind::Q5_0, "q5_0", &[], 8, "q5_0", "5 bits, blocks of 32 with one scale"),
    row(Kind::Q5_1, "q5_1", &[], 9, "q5_1", "5 bits, blocks of 32 with scale and minimum"),
    row(Kind::Iq2Xxs, "iq2_xxs", &[], 19, "iq2_xxs", "codebook, 2.06 bits; needs an importance matrix"),
    row(Kind::Iq2Xs, "iq2_xs", &[], 20, "iq2_xs", "codebook, 2.31 bits; needs an importance matrix"),
    row(Kind::Iq2S, "iq2_s", &[], 28, "iq2_xs", "codebook, 2.5 bits; needs an importance matrix"),
    row(Kind::Iq2M, "iq2_m", &[], 29, "iq2_s", "codebook, 2.7 bits; needs an importance matrix"),
    row(Kind::Iq1S, "iq1_s", &[], 24, "iq1_s", "codebook, 1.56 bits: the smallest; needs an importance matrix"),
    row(Kind::Iq1M, "iq1_m", &[], 31, "iq1_m", "codebook, 1.75 bits; needs an importance matrix"),
    row(Kind::Tq1_0, "tq1_0", &[], 36, "tq1_0", "ternary, 1.69 bits: for models trained that way"),
    row(Kind::Tq2_0, "tq2_0", &[], 37, "tq2_0", "ternary, 2.06 bits: for models trained that way"),
    row(Kind::Q2K, "q2_k", &[], 10, "q2_k", "2 bits in blocks of 256, sensitive tensors in 3 and 4"),
    row(Kind::Q2KS, "q2_k_s", &[], 21, "q2_k", "2 bits in blocks of 256, few exceptions; needs an importance matrix"),
    row(Kind::Iq3Xxs, "iq3_xxs", &[], 23, "iq3_xxs", "codebook, 3.06 bits; needs an importance matrix"),
    row(Kind::Iq3S, "iq3_s", &[], 26, "iq3_s", "codebook, 3.44 bits"),
    row(Kind::Iq3M, "iq3_m", &[], 27, "iq3_s", "codebook, 3.66 bits, sensitive tensors in 4"),
    row(Kind::Iq3Xs, "iq3_xs", &[], 22, "iq3_s", "codebook, 3.3 bits; needs an importance matrix"),
    row(Kind::Q3KS, "q3_k_s", &[], 11, "q3_k", "3 bits in blocks of 256"),
    row(Kind::Q3KM, "q3_k_m", &["q3_k"], 12, "q3_k", "3 bits in blocks of 256, sensitive tensors in 4 and 5"),
    row(Kind::Q3KL, "q3_k_l", &[], 13, "q3_k", "3 bits in blocks of 256, sensitive tensors in 5"),
    row(Kind::Iq4Nl, "iq4_nl", &[], 25, "iq4_nl", "16 uneven values in blocks of 32, 4.5 bits"),
    row(Kind::Iq4Xs, "iq4_xs", &[], 30, "iq4_xs", "16 uneven values in blocks of 256, 4.25 bits"),
    row(Kind::Q4KS, "q4_k_s", &[], 14, "q4_k", "4 bits in blocks of 256, a few tensors in 5"),
    row(Kind::Q4KM, "q4_k_m", &["q4_k"], 15, "q4_k", "4 bits in blocks of 256, sensitive tensors in 6: the usual choice"),
    row(Kind::Q5KS, "q5_k_s", &[], 16, "q5_k", "5 bits in blocks of 256"),
    row(Kind::Q5KM, "q5_k_m", &["q5_k"], 17, "q5_k", "5 bits in blocks of 256, sensitive tensors in 6"),
    row(Kind::Q6K, "q6_k", &[], 18, "q6_k", "6 bits in blocks of 256: next to no loss"),
    row(Kind::Q8_0, "q8_0", &[], 7, "q8_0", "8 bits, blocks of 32 with one scale: no loss that can be measured on most models"),
    row(Kind::F16, "f16", &[], 1, "f16", "16-bit floats"),
    row(Kind::Bf16, "bf16", &[], 32, "bf16", "16-bit floats with the range of 32-bit ones"),
    row(Kind::F32, "f32", &[], 0, "f32", "32-bit floats"),
    Mixture {
        kind: Kind::Copy,
        id: "copy",
        aliases: &[],
        file_type: None,
        base: None,
        doc: "every tensor as it is: only the metadata, the split or the layers change",
    },
];

/// The mixture with this name, alias or number, in any case.
///
/// # Errors
/// `Request`, with the nearest names, where there is none.
pub fn find(text: &str) -> Result<&'static Mixture> {
    let wanted = text.to_ascii_lowercase();
    let named = MIXTURES.iter().find(|m| m.id == wanted || m.aliases.contains(&&*wanted));
    let numbered = || {
        let number: u32 = wanted.parse().ok()?;
        MIXTURES.iter().find(|m| m.file_type == Some(number))
    };
    named.or_else(numbered).ok_or_else(|| {
        let similar: Vec<_> = MIXTURES.iter().map(|m| m.id).filter(|id| family(id) == family(&wanted)).collect();
        let help = if similar.is_empty() {
            format!("known types: {}", MIXTURES.iter().map(|m| m.id).collect::<Vec<_>>().join(", "))
        } else {
            format!("did you mean {}?", similar.join(", "))
        };
        Error::request(format!("unknown type `{text}`")).help(help)
    })
}

/// What comes before the first `_`: names of one family differ in size only.
fn family(id: &str) -> &str {
    id.split('_').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_numbers_are_unique() {
        let mut names: Vec<&str> = MIXTURES.iter().flat_map(|m| std::iter::once(m.id).chain(m.aliases.iter().copied())).collect();
        let mut numbers: Vec<u32> = MIXTURES.iter().filter_map(|m| m.file_type).collect();
        let (n, k) = (names.len(), numbers.len());
        names.sort_unstable();
        names.dedup();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!((names.len(), numbers.len()), (n, k));
        assert!(MIXTURES.iter().all(|m| !m.doc.is_empty() && m.id == m.id.to_lowercase()));
    }

    #[test]
    fn spellings() {
        for (text, id) in [("Q4_K", "q4_k_m"), ("q4_k_m", "q4_k_m"), ("15", "q4_k_m"), ("0", "f32"), ("COPY", "copy"), ("38", "mxfp4_moe")]
        {
            assert_eq!(find(text).unwrap().id, id, "{text}");
        }
    }

    #[test]
    fn unknown_names_get_neighbours() {
        let error = find("q4_k_x").unwrap_err();
        assert_eq!(error.help_text(), Some("did you mean q4_0, q4_1, q4_k_s, q4_k_m?"));
        assert!(find("4").unwrap_err().help_text().unwrap().starts_with("known types: q1_0, "));
    }
}
