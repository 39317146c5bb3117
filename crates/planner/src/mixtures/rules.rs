//! The heuristics behind the named mixtures: which tensors get more, or fewer, bits than the base.
//!
//! Facts, not taste: they reproduce llama-quantize (`src/llama-quant.cpp`), whose choices were measured on
//! models of the Llama family and are kept so that files of one name are the same everywhere. The
//! planner's own policies beat them. Rules count layers by the tensors of a category met so far, in
//! output order; where the model has experts, by the layer in the name.

use gravure_core::{Error, Result};

use super::categories::Category;
use super::facts::Facts;
use super::table::{Kind, Mixture};

/// An encoding id, and why.
pub(super) type Choice = (&'static str, String);

/// What the rules see of a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) category: Category,
    /// Layer in a name that begins with `blk.N`.
    pub(super) layer: Option<i64>,
    /// Weights in a row.
    pub(super) columns: u64,
    /// Matrices in the tensor: more than one where experts share it.
    pub(super) matrices: u64,
}

/// The rules for one model, and how far they have counted.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) mixture: &'static Mixture,
    pub(super) facts: &'a Facts,
    /// Whether rounding will be weighted: some exceptions only make up for its absence.
    pub(super) has_importance: bool,
    /// Whether the token embedding is the output matrix too.
    pub(super) tied: bool,
    /// Encoding asked for the output matrix.
    pub(super) output_type: Option<&'static str>,
    /// Attention value tensors in the model.
    pub(super) values: i64,
    /// Weights in a block of the base encoding.
    pub(super) base_block: u64,
    pub(super) seen: Seen,
}

/// Tensors of a category met so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    values: i64,
    downs: i64,
    gates: i64,
    ups: i64,
}

/// Which part of the model a tensor is in when the mixture favours "more bits" layers.
fn favoured(index: i64, count: i64) -> Option<&'static str> {
    if index < count / 8 {
        Some("the first eighth of the layers")
    } else if index >= 7 * count / 8 {
        Some("the last eighth of the layers")
    } else if (index - count / 8) % 3 == 2 {
        Some("every third layer")
    } else {
        None
    }
}

impl Rules<'_> {
    /// The choice for the next tensor.
    ///
    /// # Errors
    /// `Unsupported` where a model with experts has a feed-forward tensor outside its layers.
    pub(super) fn choose(&mut self, base: &'static str, subject: &Subject<'_>) -> Result<Choice> {
        let (kind, category) = (self.mixture.kind, subject.category);
        if let Some(choice) = self.glm5_next(base, subject.name) {
            return Ok(choice);
        }
        if category == Category::Output || (self.tied && category == Category::Embedding) {
            return Ok(self.output(base, subject));
        }
        if kind == Kind::Mxfp4Moe {
            return Ok(self.float_experts(subject));
        }
        Ok(match category {
            Category::Embedding => embedding(kind).unwrap_or_else(|| self.plain(base)),
            _ if very_low(kind) => self.very_low(subject).unwrap_or_else(|| self.plain(base)),
            Category::Value => self.value(base),
            Category::Key => self.key().unwrap_or_else(|| self.plain(base)),
            Category::Query => query(kind).unwrap_or_else(|| self.plain(base)),
            Category::Down => self.down(subject)?.unwrap_or_else(|| self.plain(base)),
            Category::AttentionOutput => self.attention_output().unwrap_or_else(|| self.plain(base)),
            Category::Gate | Category::Up => self.gate_or_up(subject)?.unwrap_or_else(|| self.plain(base)),
            Category::Output | Category::Other => self.plain(base),
        })
    }

    fn plain(&self, base: &'static str) -> Choice {
        (base, format!("what {} gives by default", self.mixture.id))
    }

    fn is_falcon(&self) -> bool {
        self.facts.architecture == "falcon"
    }

    fn eight_experts(&self) -> bool {
        self.facts.experts == 8
    }

    /// Whether at least four query heads share a key-value head, which makes values and keys small.
    fn values_are_small(&self) -> bool {
        self.facts.query_heads_per_key_head >= 4
    }

    /// The layer that a counted tensor stands for.
    fn layer(&self, counted: i64, subject: &Subject<'_>) -> Result<i64> {
        if self.facts.experts <= 1 {
            return Ok(counted);
        }
        let place = |text: String| Error::unsupported(text).at_item(subject.name);
        let layer =
            subject.layer.ok_or_else(|| place("in a model with experts, layers are told by name, and this name has none".into()))?;
        if layer >= self.facts.layers {
            return Err(place(format!("the tensor is of layer {layer}, but the model has {} layers", self.facts.layers)));
        }
        Ok(layer)
    }

    fn glm5_next(&self, base: &'static str, name: &str) -> Option<Choice> {
        let sensitive = ["attn_q_a", "attn_q_b", "nextn.eh_proj"].iter().any(|part| name.contains(part));
        let floats = matches!(base, "f32" | "f16" | "bf16");
        (self.facts.architecture == "glm5-next" && sensitive && !floats)
            .then(|| ("q8_0", "this architecture keeps its low-rank projections in 8 bits".to_owned()))
    }

    fn output(&self, base: &'static str, subject: &Subject<'_>) -> Choice {
        let what = if subject.category == Category::Output { "the output matrix" } else { "the embedding, which is the output matrix too" };
        if let Some(asked) = self.output_type {
            return (asked, format!("{what}: asked for"));
        }
        match self.mixture.kind {
            Kind::Mxfp4Moe => ("q8_0", format!("{what}: 8 bits")),
            _ if self.is_falcon() => ("q8_0", format!("{what}: this architecture needs 8 bits")),
            _ if !subject.columns.is_multiple_of(self.base_block) => {
                ("q8_0", format!("{what}: its rows are no multiple of {}", self.base_block))
            }
            kind if very_low(kind) || kind == Kind::Iq3Xxs => ("q5_k", format!("{what}: 5 bits in the smallest mixtures")),
            _ if base != "q8_0" => ("q6_k", format!("{what}: 6 bits, its errors go straight into the logits")),
            _ => self.plain(base),
        }
    }

    fn float_experts(&self, subject: &Subject<'_>) -> Choice {
        let feed_forward = matches!(subject.category, Category::Up | Category::Gate | Category::Down);
        if subject.matrices > 1 && (self.facts.architecture != "bailingmoe3" || feed_forward) {
            ("mxfp4", "experts".into())
        } else {
            ("q8_0", "outside the experts: 8 bits".into())
        }
    }

    /// Mixtures below 3 bits have rules of their own.
    fn very_low(&mut self, subject: &Subject<'_>) -> Option<Choice> {
        let kind = self.mixture.kind;
        let larger = matches!(kind, Kind::Iq2S | Kind::Iq2M);
        match subject.category {
            Category::Value => {
                self.seen.values += 1;
                Some(if self.values_are_small() || self.facts.experts >= 4 {
                    ("q4_k", "attention value, small beside the rest: 4 bits".into())
                } else {
                    (if larger { "iq3_s" } else { "q2_k" }, "attention value: one step up".into())
                })
            }
            Category::Key if self.eight_experts() => Some(("q4_k", "attention key, small beside eight experts: 4 bits".into())),
            Category::Down => {
                let early = self.seen.downs < self.facts.layers / 8;
                self.seen.downs += 1;
                early.then(|| {
                    (if larger { "iq3_s" } else { "q2_k" }, "down projection of the first eighth of the layers: one step up".into())
                })
            }
            Category::AttentionOutput if self.eight_experts() => {
                Some(("q5_k", "attention output, small beside eight experts: 5 bits".into()))
            }
            Category::AttentionOutput => match kind {
                Kind::Iq1S | Kind::Iq1M => Some(("iq2_xxs", "attention output: one step up".into())),
                Kind::Iq2S | Kind::Iq2M => Some(("iq3_s", "attention output: one step up".into())),
                _ => None,
            },
            _ => None,
        }
    }

    fn value(&mut self, base: &'static str) -> Choice {
        let (index, small) = (self.seen.values, self.values_are_small());
        self.seen.values += 1;
        let shared = || "attention value, shared by four or more heads: small, and worth more bits".to_owned();
        let step = || "attention value: one step up".to_owned();
        let (mut encoding, mut reason) = match self.mixture.kind {
            Kind::Q2K if small => ("q4_k", shared()),
            Kind::Q2K => ("q3_k", step()),
            Kind::Q2KS | Kind::Iq3Xxs | Kind::Iq3Xs | Kind::Iq3S if small => ("q4_k", shared()),
            Kind::Iq3Xxs if !self.has_importance => ("iq3_s", "attention value, without an importance matrix: one step up".into()),
            Kind::Iq3M => ("q4_k", step()),
            Kind::Q3KM if index < 2 => ("q5_k", "attention value of the first two layers: two steps up".into()),
            Kind::Q3KM => ("q4_k", step()),
            Kind::Q3KL => ("q5_k", "attention value: two steps up".into()),
            Kind::Iq4Nl | Kind::Iq4Xs if small => ("q5_k", shared()),
            Kind::Q4KM | Kind::Q5KM => match favoured(index, self.values) {
                Some(place) => ("q6_k", format!("attention value of {place}: 6 bits")),
                None => self.plain(base),
            },
            Kind::Q4KS if index < 4 => ("q5_k", "attention value of the first four layers: one step up".into()),
            _ => self.plain(base),
        };
        if self.facts.is_70b && matches!(encoding, "q3_k" | "q4_k") {
            (encoding, reason) = ("q5_k", "attention value of a 70 B model: shared by eight heads, 5 bits cost next to nothing".into());
        }
        if self.eight_experts() {
            (encoding, reason) = ("q8_0", "attention value, small beside eight experts: 8 bits".into());
        }
        (encoding, reason)
    }

    fn key(&self) -> Option<Choice> {
        if self.eight_experts() {
            return Some(("q8_0", "attention key, small beside eight experts: 8 bits".into()));
        }
        query(self.mixture.kind)
    }

    fn down(&mut self, subject: &Subject<'_>) -> Result<Option<Choice>> {
        let (layer, layers) = (self.layer(self.seen.downs, subject)?, self.facts.layers);
        self.seen.downs += 1;
        let early = layer < layers / 8;
        let first = "down projection of the first eighth of the layers";
        let favoured = favoured(layer, layers);
        let choice = |encoding: &'static str, reason: String| Some((encoding, reason));
        Ok(match self.mixture.kind {
            Kind::Q2K => choice("q3_k", "down projection: one step up".into()),
            Kind::Q2KS if early => choice("q4_k", format!("{first}: two steps up")),
            Kind::Iq3Xxs if !self.has_importance && early => choice("q4_k", format!("{first}, without an importance matrix: one step up")),
            Kind::Iq3Xxs if !self.has_importance => choice("q3_k", "down projection, without an importance matrix".into()),
            Kind::Q3KM if layer < layers / 16 => {
                choice("q5_k", "down projection of the first sixteenth of the layers: two steps up".into())
            }
            Kind::Q3KM if self.is_falcon() => favoured.map(|place| ("q4_k", format!("down projection of {place}: one step up"))),
            Kind::Q3KM => choice("q4_k", "down projection: one step up".into()),
            Kind::Iq3M if early => choice("q4_k", format!("{first}: one step up")),
            Kind::Iq3M if self.eight_experts() => favoured.map(|place| ("q4_k", format!("down projection of {place}: one step up"))),
            Kind::Q3KL if self.is_falcon() => choice("q4_k", "down projection: one step up".into()),
            Kind::Q3KL => choice("q5_k", "down projection: two steps up".into()),
            Kind::Q4KM if self.is_falcon() && layer < layers / 16 => {
                choice("q6_k", "down projection of the first sixteenth of the layers: 6 bits".into())
            }
            Kind::Q4KM if self.is_falcon() => favoured.map(|place| ("q5_k", format!("down projection of {place}: one step up"))),
            Kind::Q4KM | Kind::Q5KM => favoured.map(|place| ("q6_k", format!("down projection of {place}: 6 bits"))),
            Kind::Iq4Nl | Kind::Iq4Xs if early && !self.has_importance => {
                choice("q5_k", format!("{first}, without an importance matrix: one step up"))
            }
            Kind::Q4KS if early && !self.is_falcon() => choice("q5_k", format!("{first}: one step up")),
            Kind::Q4_0 if early && self.has_importance => {
                choice("q4_1", format!("{first}: a minimum guards the weighted search against outliers"))
            }
            Kind::Q5_0 if early && self.has_importance => {
                choice("q5_1", format!("{first}: a minimum guards the weighted search against outliers"))
            }
            _ => None,
        })
    }

    fn attention_output(&self) -> Option<Choice> {
        use Kind::{Iq3M, Iq3S, Iq3Xs, Iq3Xxs, Iq4Nl, Iq4Xs, Q2K, Q3KL, Q3KM, Q3KS, Q4KM, Q4KS};
        let kind = self.mixture.kind;
        let step = |encoding| Some((encoding, "attention output: one step up".to_owned()));
        if self.is_falcon() {
            return if kind == Q3KL { step("q4_k") } else { None };
        }
        if self.eight_experts() {
            let raised = matches!(kind, Q2K | Iq3Xs | Iq3Xxs | Q3KS | Q3KM | Iq4Nl | Q4KS | Q4KM | Iq3S | Iq3M | Iq4Xs);
            return raised.then(|| ("q5_k", "attention output, small beside eight experts: 5 bits".into()));
        }
        match kind {
            Q2K => step("q3_k"),
            Iq3Xxs => step("iq3_s"),
            Q3KM | Iq3M => step("q4_k"),
            Q3KL => Some(("q5_k", "attention output: two steps up".into())),
            _ => None,
        }
    }

    fn gate_or_up(&mut self, subject: &Subject<'_>) -> Result<Option<Choice>> {
        let is_gate = subject.category == Category::Gate;
        let layer = self.layer(if is_gate { self.seen.gates } else { self.seen.ups }, subject)?;
        *(if is_gate { &mut self.seen.gates } else { &mut self.seen.ups }) += 1;
        let layers = self.facts.layers;
        let middle = layer >= layers / 8 && layer < 7 * layers / 8;
        Ok((self.mixture.kind == Kind::Iq3Xs && middle)
            .then(|| ("iq3_xxs", "feed-forward matrix between the first and last eighth of the layers: one step down".into())))
    }
}

fn very_low(kind: Kind) -> bool {
    matches!(kind, Kind::Iq2Xxs | Kind::Iq2Xs | Kind::Iq2S | Kind::Iq2M | Kind::Iq1S | Kind::Iq1M)
}

/// The token embedding where it is not the output matrix too.
fn embedding(kind: Kind) -> Option<Choice> {
    let encoding = match kind {
        Kind::Iq2Xxs | Kind::Iq2Xs | Kind::Iq1S | Kind::Iq1M => "q2_k",
        Kind::Iq2S | Kind::Iq2M | Kind::Iq3Xxs => "iq3_s",
        Kind::Tq1_0 | Kind::Tq2_0 | Kind::Q2_0 => "q4_k",
        _ => return None,
    };
    Some((encoding, "token embedding: one step up".into()))
}

/// Query, and key of a model without eight experts.
fn query(kind: Kind) -> Option<Choice> {
    match kind {
        Kind::Iq3Xs => Some(("iq3_xxs", "query or key: one step down".into())),
        Kind::Iq3Xxs => Some(("iq2_s", "query or key: one step down".into())),
        _ => None,
    }
}
