//! `tokenizer.json`, read without a tree of values for its large parts.
//!
//! A vocabulary of 128 thousand tokens and 280 thousand merge rules as `serde_json::Value` takes 60
//! MiB; here both are appended to one string each while they are parsed.

use std::fmt;

use gravure_base::json::{self, Budget, Strict};
use gravure_base::{Error, Limits, Result};
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The parts of the file, not yet understood.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) model: Map<String, Value>,
    pub(crate) vocabulary: RawVocabulary,
    pub(crate) merges: RawMerges,
    pub(crate) added_tokens: Value,
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) post_processor: Value,
    pub(crate) decoder: Value,
}

/// Tokens in file order: text, id, score.
#[derive(Debug, Default)]
pub(crate) struct RawVocabulary {
    text: String,
    entries: Vec<(u32, u32, f64)>,
}

impl RawVocabulary {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Text, id and score of the entry at a place.
    pub(crate) fn get(&self, at: usize) -> Option<(&str, u32, f64)> {
        let (end, id, score) = *self.entries.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.entries[before].0);
        Some((self.text.get(start as usize..end as usize)?, id, score))
    }

    /// Ends the text that was appended last.
    pub(crate) fn close(&mut self, id: u32, score: f64) -> Result<()> {
        let end = u32::try_from(self.text.len()).map_err(|_| Error::limit("the vocabulary has more than 4 GiB of text"))?;
        self.entries.push((end, id, score));
        Ok(())
    }

    pub(crate) fn push(&mut self, text: &str, id: u32, score: f64) -> Result<()> {
        self.text.push_str(text);
        self.close(id, score)
    }
}

/// Pairs in file order.
#[derive(Debug, Default)]
pub(crate) struct RawMerges {
    text: String,
    /// Where each half ends.
    ends: Vec<u32>,
}

impl RawMerges {
    fn close(&mut self) -> Result<()> {
        self.ends.push(u32::try_from(self.text.len()).map_err(|_| Error::limit("the merge rules have more than 4 GiB of text"))?);
        Ok(())
    }

    pub(crate) fn push(&mut self, left: &str, right: &str) -> Result<()> {
        self.text.push_str(left);
        self.close()?;
        self.text.push_str(right);
        self.close()
    }

    /// Adds a pair spelled with one space between its halves.
    pub(crate) fn push_line(&mut self, line: &str) -> Result<()> {
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => self.push(left, right),
            _ => Err(Error::input(format!("merge rule {} is {line:?}, not two texts with a space between", self.ends.len() / 2))),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let half = |at: usize| {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
            self.text.get(start as usize..self.ends[at] as usize).unwrap_or_default()
        };
        (0..self.ends.len() / 2).map(move |pair| (half(2 * pair), half(2 * pair + 1)))
    }
}

/// Parses the file into its parts.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Raw> {
    let budget = Budget::default();
    json::read(bytes, Top { limits, budget: &budget }).map_err(|e| budget.explain(e))
}

/// The vocabulary alone: the content of `vocab.json`.
pub(crate) fn parse_vocabulary(bytes: &[u8], limits: &Limits) -> Result<RawVocabulary> {
    json::read(bytes, Vocab { limits })
}

#[derive(Clone, Copy)]
struct Top<'a> {
    limits: &'a Limits,
    budget: &'a Budget,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Raw;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Raw, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tokenizer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Raw, A::Error> {
        let strict = Strict::new(self.limits, self.budget);
        let mut raw = Raw::default();
        let mut seen: Vec<String> = Vec::new();
        let mut has_model = false;
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(de::Error::custom(format!("the key {key:?} stands twice")));
            }
            match key.as_str() {
                "model" => {
                    map.next_value_seed(ModelSeed { limits: self.limits, budget: self.budget, raw: &mut raw })?;
                    has_model = true;
                }
                "added_tokens" => raw.added_tokens = map.next_value_seed(strict)?,
                "normalizer" => raw.normalizer = map.next_value_seed(strict)?,
                "pre_tokenizer" => raw.pre_tokenizer = map.next_value_seed(strict)?,
                "post_processor" => raw.post_processor = map.next_value_seed(strict)?,
                "decoder" => raw.decoder = map.next_value_seed(strict)?,
                // How batches are cut and filled, not which tokens a text has.
                "version" | "truncation" | "padding" => drop(map.next_value_seed(strict)?),
                other => return Err(de::Error::custom(format!("the key {other:?} is not known"))),
            }
            seen.push(key);
        }
        if !has_model {
            return Err(de::Error::custom("it has no \"model\""));
        }
        Ok(raw)
    }
}

struct ModelSeed<'a> {
    limits: &'a Limits,
    budget: &'a Budget,
    raw: &'a mut Raw,
}

impl<'de> DeserializeSeed<'de> for ModelSeed<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ModelSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model of a tokenizer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut seen = [false; 2];
        while let Some(key) = map.next_key::<String>()? {
            let once = |seen: &mut bool| {
                if std::mem::replace(seen, true) { Err(de::Error::custom(format!("the key {key:?} stands twice"))) } else { Ok(()) }
            };
            match key.as_str() {
                "vocab" => {
                    once(&mut seen[0])?;
                    self.raw.vocabulary = map.next_value_seed(Vocab { limits: self.limits })?;
                }
                "merges" => {
                    once(&mut seen[1])?;
                    self.raw.merges = map.next_value_seed(MergeList { limits: self.limits })?;
                }
                _ => {
                    let value = map.next_value_seed(Strict::new(self.limits, self.budget))?;
                    if self.raw.model.insert(key.clone(), value).is_some() {
                        return Err(de::Error::custom(format!("the key {key:?} stands twice")));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Appends a string to another without a copy in between.
struct Append<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, v: &str) -> std::result::Result<(), E> {
        self.0.push_str(v);
        Ok(())
    }
}

fn check_count<E: de::Error>(count: usize, limits: &Limits, what: &str) -> std::result::Result<(), E> {
    if count as u64 >= limits.array_elements {
        return Err(E::custom(format!("there are more than {} {what}", limits.array_elements)));
    }
    Ok(())
}

struct Vocab<'a> {
    limits: &'a Limits,
}

impl<'de> DeserializeSeed<'de> for Vocab<'_> {
    type Value = RawVocabulary;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<RawVocabulary, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Vocab<'_> {
    type Value = RawVocabulary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vocabulary: an object of ids, or a list of texts and scores")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawVocabulary, A::Error> {
        let mut out = RawVocabulary::default();
        while map.next_key_seed(Append(&mut out.text))?.is_some() {
            check_count(out.len(), self.limits, "tokens")?;
            let id = map.next_value::<u32>()?;
            out.close(id, 0.0).map_err(de::Error::custom)?;
        }
        Ok(out)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<RawVocabulary, A::Error> {
        let mut out = RawVocabulary::default();
        loop {
            check_count(out.len(), self.limits, "tokens")?;
            let Some(score) = seq.next_element_seed(Piece(&mut out.text))? else { return Ok(out) };
            let id = out.len() as u32;
            out.close(id, score).map_err(de::Error::custom)?;
        }
    }
}

/// `["text", score]`; appends the text, gives the score.
struct Piece<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Piece<'_> {
    type Value = f64;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<f64, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Piece<'_> {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text and its score")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<f64, A::Error> {
        seq.next_element_seed(Append(self.0))?.ok_or_else(|| de::Error::invalid_length(0, &"a text and its score"))?;
        let score = seq.next_element::<f64>()?.ok_or_else(|| de::Error::invalid_length(1, &"a text and its score"))?;
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(de::Error::invalid_length(3, &"a text and its score"));
        }
        Ok(score)
    }
}

struct MergeList<'a> {
    limits: &'a Limits,
}

impl<'de> DeserializeSeed<'de> for MergeList<'_> {
    type Value = RawMerges;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<RawMerges, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for MergeList<'_> {
    type Value = RawMerges;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of merge rules")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<RawMerges, A::Error> {
        let mut out = RawMerges::default();
        while seq.next_element_seed(MergeRule(&mut out))?.is_some() {
            check_count(out.ends.len() / 2, self.limits, "merge rules")?;
        }
        Ok(out)
    }
}

/// `"left right"` or `["left", "right"]`.
struct MergeRule<'a>(&'a mut RawMerges);

impl<'de> DeserializeSeed<'de> for MergeRule<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MergeRule<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge rule: two texts")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> std::result::Result<(), E> {
        self.0.push_line(v).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<(), A::Error> {
        for half in 0..2 {
            seq.next_element_seed(Append(&mut self.0.text))?.ok_or_else(|| de::Error::invalid_length(half, &"two texts"))?;
            self.0.close().map_err(de::Error::custom)?;
        }
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(de::Error::invalid_length(3, &"two texts"));
        }
        Ok(())
    }
}
