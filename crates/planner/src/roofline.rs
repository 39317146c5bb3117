//! What a model costs on a device, without running it: a roofline.
//!
//! Decoding one token reads every weight that takes part once, and the keys and values of all positions so
//! far: it takes as long as the memory needs for these bytes, or the multipliers for the products, whichever
//! is longer. Prefill does the products of many tokens for one reading of the weights: it is bound by the
//! multipliers. Neither reaches the peak that a data sheet promises; which share they do reach is measured
//! and stands in the target's files.
//!
//! S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
//! architectures", Communications of the ACM 52 (4), 2009.

use gravure_core::values::{HyperKey, Model, Part, Role};

/// Tokens of the prompt that prefill is predicted for: as `llama-bench` has it.
pub const PROMPT: u64 = 512;

/// How a weight takes part in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// One row is looked up.
    Lookup,
    /// Multiplied with the activations of every token.
    EveryToken,
    /// Multiplied only where logits are wanted: in decoding, not for the tokens of a prompt.
    Logits,
}

/// One tensor of a model as the roofline sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Its neutral name.
    pub name: String,
    /// Number of weights.
    pub elements: u64,
    /// How it takes part.
    pub usage: Use,
    /// Share of it that one token meets: experts used of all experts, 1 for the rest.
    pub share: f64,
    /// Whether it is a matrix (two and more dimensions).
    pub matrix: bool,
    /// Whether it is the token embedding or the output matrix.
    pub vocabulary: bool,
}

/// What running a model takes, whatever the device and the encodings.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The tensors, in the model's order.
    pub weights: Vec<Weight>,
    /// Keys and values of each position: numbers, not bytes.
    pub cache_numbers: u64,
    /// Operations of attention for one token and each position that it looks at.
    pub attention_operations: f64,
    /// Number of layers.
    pub layers: u64,
    /// Whether it continues texts; otherwise it encodes whole ones.
    pub decodes: bool,
    /// Longest text that it was made for, where it says so.
    pub context: Option<u64>,
}

impl Workload {
    /// The workload of `model`, which is in the neutral naming. Sizes that the model does not state count
    /// as nothing, and [`Workload::is_complete`] says so.
    pub fn of(model: &Model) -> Self {
        let size = |key| model.hyperparameters.u64(key).ok();
        let heads = size(HyperKey::HeadCount).unwrap_or(0);
        let width = size(HyperKey::EmbeddingLength).unwrap_or(0);
        let head = width.checked_div(heads).unwrap_or(0);
        let (key, value) = (size(HyperKey::KeyLength).unwrap_or(head), size(HyperKey::ValueLength).unwrap_or(head));
        let kv_heads = size(HyperKey::HeadCountKv).unwrap_or(heads);
        let layers = size(HyperKey::BlockCount).unwrap_or(0);
        let decodes = model.hyperparameters.get(HyperKey::CausalAttention).and_then(|v| v.as_bool()).unwrap_or(true);
        let experts = size(HyperKey::ExpertCount).filter(|n| *n > 0);
        let used = size(HyperKey::ExpertUsedCount);
        let expert_share = experts.zip(used).map_or(1.0, |(all, used)| (used as f64 / all as f64).min(1.0));
        let tied = !model.tensors.iter().any(|t| t.id.is_some_and(|id| id.role == Role::Output && id.part == Part::Weight));
        let weights = model.tensors.iter().map(|tensor| {
            let role = tensor.id.map_or(Role::Other, |id| id.role);
            let expert = matches!(role, Role::ExpertGate | Role::ExpertUp | Role::ExpertDown | Role::ExpertGateUp);
            let usage = match role {
                Role::Output => Use::Logits,
                Role::TokenEmbedding if tied && decodes => Use::Logits,
                Role::TokenEmbedding | Role::PositionEmbedding | Role::TokenTypes | Role::PerLayerTokenEmbedding => Use::Lookup,
                _ => Use::EveryToken,
            };
            Weight {
                name: tensor.name.clone(),
                elements: tensor.shape.elements(),
                usage,
                share: if expert { expert_share } else { 1.0 },
                matrix: tensor.shape.dimensions().len() >= 2,
                vocabulary: matches!(role, Role::Output | Role::TokenEmbedding),
            }
        });
        Self {
            weights: weights.collect(),
            cache_numbers: if decodes { layers * kv_heads * (key + value) } else { 0 },
            attention_operations: 2.0 * layers as f64 * heads as f64 * (key + value) as f64,
            layers,
            decodes,
            context: size(HyperKey::ContextLength),
        }
    }

    /// Whether the model said enough to know its cache and attention.
    pub fn is_complete(&self) -> bool {
        self.attention_operations > 0.0
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.weights.iter().map(|w| w.elements).sum()
    }

    /// Operations of the products of one token with every matrix, `logits` too or not.
    fn operations(&self, logits: bool) -> f64 {
        let taking_part = self.weights.iter().filter(|w| w.matrix && (w.usage == Use::EveryToken || logits && w.usage == Use::Logits));
        taking_part.map(|w| 2.0 * w.elements as f64 * w.share).sum()
    }
}

/// Where the weights of a candidate are, and how fast they are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Bytes of each of [`Workload::weights`], in order.
    pub bytes: Vec<f64>,
    /// How many times slower each is than on a fast path; 1 where it is on one.
    pub slowdown: Vec<f64>,
    /// Bytes in a second that decoding reads.
    pub bandwidth: f64,
    /// Operations in a second that prefill does.
    pub operations: f64,
    /// Seconds that each layer takes for a step beside reading and products.
    pub layer_seconds: f64,
    /// Bytes of a number in the cache of keys and values.
    pub cache_bytes: f64,
    /// Watts of the device.
    pub watts: f64,
}

/// What the roofline says.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Tokens in a second of a prompt (of [`PROMPT`] tokens), or of a text that is encoded.
    pub prefill_tokens_per_second: f64,
    /// Tokens in a second of decoding with half the context filled; `None` for a model that does not decode.
    pub decode_tokens_per_second: Option<f64>,
    /// Joules for each decoded token; for each encoded token where the model does not decode.
    pub joules_per_token: f64,
}

impl Placement {
    /// Predicts speed and energy of `workload` here, with `context` positions.
    pub fn predict(&self, workload: &Workload, context: u64) -> Prediction {
        let parts = || workload.weights.iter().zip(&self.bytes).zip(&self.slowdown);
        let slow = |usage: Use| {
            let (mut own, mut all) = (0.0, 0.0);
            for ((weight, _), slowdown) in parts().filter(|((w, _), _)| w.matrix && w.usage == usage) {
                let operations = weight.elements as f64 * weight.share;
                own += operations * slowdown;
                all += operations;
            }
            if all > 0.0 { own / all } else { 1.0 }
        };
        let positions = context.clamp(1, PROMPT) as f64;
        let attention = workload.attention_operations * positions / 2.0;
        let prefill = (workload.operations(false) * slow(Use::EveryToken) + attention) / self.operations;
        // A prompt reads the weights once for all its tokens.
        let read: f64 = parts().filter(|((w, _), _)| w.usage == Use::EveryToken).map(|((_, bytes), slowdown)| bytes * slowdown).sum();
        let waiting = workload.layers as f64 * self.layer_seconds;
        let prefill = prefill.max(read / self.bandwidth / positions) + waiting / positions;
        let decode = workload.decodes.then(|| {
            let middle = context as f64 / 2.0;
            let weights: f64 =
                parts().filter(|((w, _), _)| w.usage != Use::Lookup).map(|((w, bytes), slowdown)| bytes * w.share * slowdown).sum();
            let cache = workload.cache_numbers as f64 * self.cache_bytes * middle;
            let operations = workload.operations(true) + workload.attention_operations * middle;
            ((weights + cache) / self.bandwidth).max(operations / self.operations) + waiting
        });
        let seconds = decode.unwrap_or(prefill);
        Prediction {
            prefill_tokens_per_second: 1.0 / prefill,
            decode_tokens_per_second: decode.map(|s| 1.0 / s),
            joules_per_token: self.watts * seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(elements: u64, usage: Use, share: f64) -> Weight {
        Weight { name: "w".into(), elements, usage, share, matrix: true, vocabulary: usage != Use::EveryToken }
    }

    /// A billion weights in layers, an embedding and an output matrix of a tenth of that.
    fn workload() -> Workload {
        Workload {
            weights: vec![
                weight(100_000_000, Use::Lookup, 1.0),
                weight(1_000_000_000, Use::EveryToken, 1.0),
                weight(100_000_000, Use::Logits, 1.0),
            ],
            cache_numbers: 10_000,
            attention_operations: 40_000.0,
            layers: 10,
            decodes: true,
            context: None,
        }
    }

    fn placement() -> Placement {
        let bytes = vec![0.1e9, 1e9, 0.1e9];
        Placement { bytes, slowdown: vec![1.0; 3], bandwidth: 11e9, operations: 1e12, layer_seconds: 0.0, cache_bytes: 2.0, watts: 5.0 }
    }

    #[test]
    fn decoding_reads_what_takes_part_and_the_cache() {
        let p = placement().predict(&workload(), 2000);
        // 1.1 GB of weights and 1000 positions of 20 kB: the looked-up table is not read.
        let expected = 11e9 / (1.1e9 + 1000.0 * 20_000.0);
        assert!((p.decode_tokens_per_second.unwrap() / expected - 1.0).abs() < 1e-9, "{p:?}");
        assert!((p.joules_per_token - 5.0 / expected).abs() < 1e-9);
        // 2 GOP a token and 256 positions on average: the output matrix is left out.
        assert!((p.prefill_tokens_per_second - 1e12 / (2e9 + 40_000.0 * 256.0)).abs() < 1e-6, "{p:?}");
    }

    #[test]
    fn slow_multipliers_bound_decoding_and_a_slow_memory_bounds_prefill() {
        let slow = Placement { operations: 1e9, ..placement() };
        let p = slow.predict(&workload(), 2);
        assert!((p.decode_tokens_per_second.unwrap() - 1e9 / (2.2e9 + 40_000.0)).abs() < 1e-9, "{p:?}");
        let starved = Placement { bandwidth: 1e6, ..placement() };
        let p = starved.predict(&workload(), 512);
        assert!((p.prefill_tokens_per_second - 512.0 * 1e6 / 1e9).abs() < 1e-9, "{p:?}");
    }

    #[test]
    fn experts_count_by_their_share_and_fallbacks_by_their_slowdown() {
        let mut experts = workload();
        experts.weights[1].share = 0.25;
        let sparse = placement().predict(&experts, 2);
        assert!((sparse.decode_tokens_per_second.unwrap() - 11e9 / (0.35e9 + 20_000.0)).abs() < 1e-3, "{sparse:?}");
        let fallback = Placement { slowdown: vec![1.0, 4.0, 1.0], ..placement() };
        let p = fallback.predict(&workload(), 2);
        assert!((p.decode_tokens_per_second.unwrap() - 11e9 / (4.1e9 + 20_000.0)).abs() < 1e-3, "{p:?}");
        assert!(p.prefill_tokens_per_second < 1e12 / 8e9);
    }

    #[test]
    fn a_layer_takes_its_time_whatever_its_size() {
        let (fast, p) = (placement().predict(&workload(), 512), Placement { layer_seconds: 1e-3, ..placement() }.predict(&workload(), 512));
        let more = 1.0 / p.decode_tokens_per_second.unwrap() - 1.0 / fast.decode_tokens_per_second.unwrap();
        assert!((more - 0.01).abs() < 1e-9, "{p:?}");
        let more = 1.0 / p.prefill_tokens_per_second - 1.0 / fast.prefill_tokens_per_second;
        assert!((more - 0.01 / 512.0).abs() < 1e-9, "{p:?}");
    }

    #[test]
    fn an_encoder_does_not_decode() {
        let encoder = Workload { decodes: false, cache_numbers: 0, ..workload() };
        let p = placement().predict(&encoder, 512);
        assert_eq!(p.decode_tokens_per_second, None);
        assert!((p.joules_per_token - 5.0 / p.prefill_tokens_per_second).abs() < 1e-12);
    }
}
