//! From Hugging Face's tensor names to neutral identities and back.

use std::borrow::Cow;

use crate::{Error, Part, Result, Role, Shape, TensorId};

/// How a stored tensor differs from the neutral one. Each has an inverse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Transform {
    /// Taken as it is.
    Identity,
    /// Rows of a query or key projection are moved from halves-of-a-head order (Hugging Face's
    /// rotary convention) to interleaved pairs: within each of `heads` heads of `d` rows, neutral
    /// row `2i + j` is stored row `j * d/2 + i`.
    InterleaveRope {
        /// Heads in this tensor.
        heads: u64,
    },
    /// Stored with inputs as rows (GPT-2's `Conv1D`).
    Transpose,
    /// The neutral value is the stored one plus a constant (norms stored as an offset from one).
    /// Where the stored type is F16, the reference adds in F16: the sum is rounded to it.
    Add(f32),
}

/// One rule: `{layer}` and `{expert}` in the name stand for numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorRule {
    /// Name with placeholders, for example `model.layers.{layer}.mlp.up_proj.weight`.
    pub name: String,
    /// Its job.
    pub role: Role,
    /// Weight or bias.
    pub part: Part,
    /// How its values differ.
    pub transform: Transform,
    /// Whether a model without it is complete.
    pub optional: bool,
}

/// A tensor that no checkpoint holds and that is computed from the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedTensor {
    /// Its place.
    pub id: TensorId,
    /// Its values, a vector.
    pub values: Vec<f32>,
}

/// The rules of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorMap {
    /// Rules in the order of the architecture's file.
    pub rules: Vec<TensorRule>,
    /// Names with placeholders of stored tensors that carry nothing (masks, cached tables).
    pub ignored: Vec<String>,
    /// Optional prefixes that some checkpoints put before, or leave away from, every name.
    pub prefixes: Vec<String>,
    /// Tensors to add; the reference converter writes them before all stored ones.
    pub generated: Vec<GeneratedTensor>,
}

impl TensorMap {
    /// The identity and rule of a Hugging Face name.
    pub fn identify(&self, name: &str) -> Option<(TensorId, &TensorRule)> {
        self.spellings(name).find_map(|name| {
            self.rules.iter().find_map(|rule| {
                let (layer, expert) = match_pattern(&rule.name, &name)?;
                Some((TensorId { role: rule.role, layer, expert, part: rule.part }, rule))
            })
        })
    }

    /// Whether a stored tensor is known to carry nothing.
    pub fn is_ignored(&self, name: &str) -> bool {
        self.spellings(name).any(|name| self.ignored.iter().any(|pattern| match_pattern(pattern, &name).is_some()))
    }

    /// The Hugging Face name of an identity.
    pub fn name_of(&self, id: &TensorId) -> Option<(String, &TensorRule)> {
        let rule =
            self.rules.iter().find(|r| r.role == id.role && r.part == id.part && r.name.contains("{layer}") == id.layer.is_some())?;
        let mut name = rule.name.clone();
        if let Some(layer) = id.layer {
            name = name.replace("{layer}", &layer.to_string());
        }
        if let Some(expert) = id.expert {
            name = name.replace("{expert}", &expert.to_string());
        }
        Some((name, rule))
    }

    /// `name` itself, with each prefix taken off, and with each prefix put on.
    fn spellings<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        let without = self.prefixes.iter().filter_map(move |p| name.strip_prefix(p.as_str()).map(Cow::Borrowed));
        let with = self.prefixes.iter().map(move |p| Cow::Owned(format!("{p}{name}")));
        std::iter::once(Cow::Borrowed(name)).chain(without).chain(with)
    }
}

/// Matches `{layer}` and `{expert}` against decimal numbers without leading zeros.
fn match_pattern(pattern: &str, name: &str) -> Option<(Option<u32>, Option<u32>)> {
    let (mut layer, mut expert) = (None, None);
    let (mut pattern, mut name) = (pattern, name);
    while let Some(at) = pattern.find('{') {
        name = name.strip_prefix(&pattern[..at])?;
        let (slot, rest) = match pattern[at..].strip_prefix("{layer}") {
            Some(rest) => (&mut layer, rest),
            None => (&mut expert, pattern[at..].strip_prefix("{expert}")?),
        };
        let digits = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
        let text = &name[..digits];
        if text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
            return None;
        }
        *slot = Some(text.parse().ok()?);
        name = &name[digits..];
        pattern = rest;
    }
    (pattern == name).then_some((layer, expert))
}

impl Transform {
    /// The neutral shape of a stored one.
    pub fn neutral_shape(self, stored: &Shape) -> Result<Shape> {
        match self {
            Self::Transpose => match stored.dimensions() {
                [rows, columns] => Shape::new([*columns, *rows]),
                _ => Err(Error::input(format!("a tensor of shape {stored} cannot be transposed"))),
            },
            Self::InterleaveRope { heads } => {
                let rows = stored.dimensions().first().copied().unwrap_or(0);
                if heads == 0 || rows % heads != 0 || (rows / heads) % 2 != 0 {
                    return Err(Error::input(format!("{rows} rows are not {heads} heads of an even size")));
                }
                Ok(stored.clone())
            }
            Self::Identity | Self::Add(_) => Ok(stored.clone()),
        }
    }

    /// For [`Transform::InterleaveRope`]: the stored row of a neutral row.
    pub fn stored_row(self, neutral: u64, rows: u64) -> u64 {
        match self {
            Self::InterleaveRope { heads } => {
                let d = rows / heads;
                let (head, within) = (neutral / d, neutral % d);
                head * d + (within % 2) * (d / 2) + within / 2
            }
            _ => neutral,
        }
    }

    /// For [`Transform::InterleaveRope`]: the neutral row of a stored row.
    pub fn neutral_row(self, stored: u64, rows: u64) -> u64 {
        match self {
            Self::InterleaveRope { heads } => {
                let d = rows / heads;
                let (head, within) = (stored / d, stored % d);
                head * d + (within % (d / 2)) * 2 + within / (d / 2)
            }
            _ => stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_both_ways() {
        let rule =
            |name: &str, role| TensorRule { name: name.into(), role, part: Part::Weight, transform: Transform::Identity, optional: false };
        let map = TensorMap {
            rules: vec![
                rule("model.embed_tokens.weight", Role::TokenEmbedding),
                rule("model.layers.{layer}.mlp.experts.{expert}.w1.weight", Role::ExpertGate),
            ],
            ..TensorMap::default()
        };
        let (id, _) = map.identify("model.layers.12.mlp.experts.3.w1.weight").unwrap();
        assert_eq!((id.layer, id.expert), (Some(12), Some(3)));
        assert_eq!(map.name_of(&id).unwrap().0, "model.layers.12.mlp.experts.3.w1.weight");
        assert!(map.identify("model.layers.012.mlp.experts.3.w1.weight").is_none());
        assert!(map.identify("model.layers.1.mlp.experts.3.w1.weight.x").is_none());
    }

    #[test]
    fn rope_rows_have_an_inverse() {
        let t = Transform::InterleaveRope { heads: 4 };
        let moved: Vec<u64> = (0..8).map(|r| t.stored_row(r, 32)).collect();
        assert_eq!(moved, [0, 4, 1, 5, 2, 6, 3, 7]);
        for row in 0..32 {
            assert_eq!(t.neutral_row(t.stored_row(row, 32), 32), row);
        }
    }
}
