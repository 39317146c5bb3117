//! What the rules distinguish in a tensor: its category, and whether it may be quantized at all.
//!
//! Both follow from its role. For a tensor whose identity no table knows (image and sound encoders,
//! architectures that came later) llama-quantize goes by parts of the name, and identical results for
//! any file mean doing the same here: [`of_name`] and [`kept_by_name`] are that fallback, and nothing
//! else in Gravure looks at parts of names.

use gravure_core::{Part, Role, Tensor};

/// Groups of roles that share their rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Embedding,
    Query,
    /// Attention values, alone or fused with others: the most sensitive matrices of a layer.
    Value,
    Key,
    AttentionOutput,
    Up,
    Gate,
    Down,
    Output,
    Other,
}

/// The category of a tensor.
pub(super) fn of(tensor: &Tensor) -> Category {
    match tensor.id {
        Some(id) if id.role != Role::Other => of_role(id.role, id.part),
        _ => of_name(&tensor.name),
    }
}

fn of_role(role: Role, part: Part) -> Category {
    if part != Part::Weight {
        return Category::Other;
    }
    match role {
        Role::Output => Category::Output,
        Role::TokenEmbedding | Role::PerLayerTokenEmbedding => Category::Embedding,
        Role::AttentionQkv
        | Role::AttentionKeyValueUp
        | Role::AttentionValue
        | Role::EncoderAttentionValue
        | Role::DecoderAttentionValue
        | Role::CrossAttentionValue => Category::Value,
        Role::AttentionKey
        | Role::EncoderAttentionKey
        | Role::DecoderAttentionKey
        | Role::CrossAttentionKey
        | Role::IndexerAttentionKey => Category::Key,
        Role::AttentionQuery | Role::EncoderAttentionQuery | Role::DecoderAttentionQuery | Role::CrossAttentionQuery => Category::Query,
        Role::AttentionOutput => Category::AttentionOutput,
        Role::FeedForwardUp
        | Role::ExpertUp
        | Role::SharedExpertUp
        | Role::ChunkExpertUp
        | Role::EncoderFeedForwardUp
        | Role::DecoderFeedForwardUp => Category::Up,
        Role::FeedForwardGate
        | Role::ExpertGate
        | Role::ExpertGateUp
        | Role::SharedExpertGate
        | Role::SharedExpertRouter
        | Role::ChunkExpertGate
        | Role::EncoderFeedForwardGate
        | Role::DecoderFeedForwardGate => Category::Gate,
        Role::FeedForwardDown
        | Role::ExpertDown
        | Role::SharedExpertDown
        | Role::ChunkExpertDown
        | Role::EncoderFeedForwardDown
        | Role::DecoderFeedForwardDown => Category::Down,
        _ => Category::Other,
    }
}

/// The category of a tensor that no table knows, as llama-quantize finds it.
fn of_name(name: &str) -> Category {
    const PARTS: &[(&str, Category)] = &[
        ("attn_qkv.weight", Category::Value),
        ("attn_kv_b.weight", Category::Value),
        ("attn_v.weight", Category::Value),
        ("attn_k.weight", Category::Key),
        ("attn_q.weight", Category::Query),
        ("attn_output.weight", Category::AttentionOutput),
        ("ffn_up", Category::Up),
        ("ffn_gate", Category::Gate),
        ("ffn_down", Category::Down),
    ];
    match name {
        "output.weight" => Category::Output,
        "token_embd.weight" | "per_layer_token_embd.weight" => Category::Embedding,
        _ => PARTS.iter().find(|(part, _)| name.contains(part)).map_or(Category::Other, |(_, category)| *category),
    }
}

/// Why a tensor stays as it is whatever the mixture, `None` where it may be quantized.
pub(super) fn kept(tensor: &Tensor, architecture: &str) -> Option<&'static str> {
    if tensor.encoding.is_integer() {
        return Some("integers, not weights");
    }
    if dimensions(tensor) < 2 {
        return Some("a vector: kept exact");
    }
    let known = tensor.id.filter(|id| id.role != Role::Other);
    // One architecture keeps more tensors than roles tell apart.
    if architecture == "glm5-next"
        && let Some(reason) = kept_in_glm5_next(&tensor.name)
    {
        return Some(reason);
    }
    match known {
        Some(id) if id.part != Part::Weight => Some("a bias: kept exact"),
        Some(id) => kept_by_role(id.role),
        None => kept_by_name(&tensor.name),
    }
}

/// Dimensions that count: outer ones of length 1 do not, so a matrix of one row is a vector.
fn dimensions(tensor: &Tensor) -> usize {
    let all = tensor.shape.dimensions();
    all.iter().position(|&d| d > 1).map_or(1, |outermost| all.len() - outermost)
}

fn kept_by_role(role: Role) -> Option<&'static str> {
    match role {
        // Normalization gains that llama-quantize does not recognise as such; only matrices get here.
        Role::AttentionNorm2
        | Role::FeedForwardPostNorm1
        | Role::FeedForwardPostNorm2
        | Role::FeedForwardPreNorm2
        | Role::ExpertNorm
        | Role::NextTokenEmbeddingNorm
        | Role::NextTokenHiddenNorm
        | Role::ClassifierNorm
        | Role::TimeMixNorm => None,
        role if role.is_norm() => Some("a normalization gain: kept exact"),
        Role::ExpertRouter => Some("an expert router: small, and errors change which expert runs"),
        Role::ExpertTokenTable => Some("a table of experts, not weights"),
        Role::PositionEmbedding => Some("position embeddings: kept exact"),
        Role::TokenTypes => Some("token type embeddings: kept exact"),
        Role::PerLayerModelProjection => Some("small: kept as it is"),
        Role::AltupProjection
        | Role::AltupUnembeddingProjection
        | Role::AltupCorrectCoefficients
        | Role::AltupCorrectScale
        | Role::AltupPredictCoefficients
        | Role::AltupRouter
        | Role::LaurelLeft
        | Role::LaurelRight => Some("small: kept as it is"),
        Role::StateConvolution
        | Role::StateConvolutionQuery
        | Role::StateConvolutionKey
        | Role::StateConvolutionValue
        | Role::ShortConvolution => Some("a short convolution: small, and every state depends on it"),
        Role::IndexerQuery | Role::IndexerKey => Some("an attention indexer: small"),
        Role::TimeMixW0
        | Role::TimeMixW1
        | Role::TimeMixW2
        | Role::TimeMixV0
        | Role::TimeMixV1
        | Role::TimeMixV2
        | Role::TimeMixA0
        | Role::TimeMixA1
        | Role::TimeMixA2
        | Role::TimeMixG1
        | Role::TimeMixG2
        | Role::TimeMixFirst
        | Role::TimeMixDecayW1
        | Role::TimeMixDecayW2
        | Role::TimeMixLerpFused => Some("a small matrix of time mixing: every state depends on it"),
        Role::EncoderAttentionBias | Role::DecoderAttentionBias | Role::CrossAttentionBias => Some("relative position bias: kept exact"),
        _ => None,
    }
}

/// The same for a tensor that no table knows.
fn kept_by_name(name: &str) -> Option<&'static str> {
    const PARTS: &[&str] = &[
        "_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_tid2eid.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        ".position_embd",
        "sam.pos_embd",
        "sam.neck.",
        "sam.net_",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "a.rvq.codebook",
        "mm.a.code_embd",
    ];
    // A name of five letters passes in llama-quantize too: its test for the ending wraps around there.
    if !name.ends_with("weight") && name.len() != 5 {
        return Some("not a weight: kept as it is");
    }
    if matches!(name, "position_embd.weight" | "token_types.weight") || PARTS.iter().any(|part| name.contains(part)) {
        return Some("small or sensitive: kept as it is");
    }
    None
}

fn kept_in_glm5_next(name: &str) -> Option<&'static str> {
    const PARTS: &[&str] = &[
        "hc_",
        "indexer.attn_q_b",
        "indexer.attn_k",
        "indexer.proj",
        "indexer_compressor_gate",
        "indexer_compressor_ape",
        "ssm_f_a.weight",
        "ssm_f_b.weight",
        "ssm_g_a.weight",
        "ssm_g_b.weight",
        "ssm_beta.weight",
        "attn_kv_a_mqa.weight",
        "attn_k_b.weight",
        "attn_v_b.weight",
    ];
    PARTS.iter().any(|part| name.contains(part)).then_some("this architecture keeps its small matrices exact")
}
