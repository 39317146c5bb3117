//! GGUF's tensor names and the identities that they stand for.
//!
//! A name is a stem and a suffix (`weight` or `bias`); stems of layers start with `blk.N.`, in an
//! encoder beside a decoder with `enc.blk.N.` and `dec.blk.N.`:
//!
//! ```text
//! token_embd.weight   blk.3.attn_q.bias   blk.3.ffn_down.7.weight   dec.blk.0.cross_attn_v.weight
//! └─ stem ─┘ └suffix┘     │ └ stem                       └ expert, in files from before 2024
//!                         └ layer
//! ```
//!
//! The table has the names of language models and of embedding models. Others (image and sound
//! encoders, one-off tensors, suffixes such as `scale`) have no identity here; they are carried
//! through under their own name. Normative: gguf-py `constants.py`, llama.cpp `llama-arch.cpp`.

use gravure_core::{Part, Role, TensorId};

/// Outside the layers: the whole stem.
const GLOBAL: &[(Role, &str)] = &[
    (Role::TokenEmbedding, "token_embd"),
    (Role::TokenEmbeddingNorm, "token_embd_norm"),
    (Role::TokenTypes, "token_types"),
    (Role::PositionEmbedding, "position_embd"),
    (Role::OutputNorm, "output_norm"),
    (Role::Output, "output"),
    (Role::RopeFrequencies, "rope_freqs"),
    (Role::RopeFactorsLong, "rope_factors_long"),
    (Role::RopeFactorsShort, "rope_factors_short"),
    (Role::Classifier, "cls"),
    (Role::ClassifierOutput, "cls.output"),
    (Role::ClassifierNorm, "cls.norm"),
    (Role::PerLayerTokenEmbedding, "per_layer_token_embd"),
    (Role::PerLayerModelProjection, "per_layer_model_proj"),
    (Role::PerLayerProjectionNorm, "per_layer_proj_norm"),
    (Role::AltupUnembeddingProjection, "altup_unembd_proj"),
    (Role::AltupProjection, "altup_proj"),
    (Role::EncoderOutputNorm, "enc.output_norm"),
    (Role::DecoderOutputNorm, "dec.output_norm"),
    (Role::SentenceDense2, "dense_2"),
    (Role::SentenceDense3, "dense_3"),
    (Role::NextTokenPreProjection, "nextn.pre_projection"),
    (Role::NextTokenPostProjection, "nextn.post_projection"),
];

/// Of a layer: `blk.{layer}.`.
const LAYER: &[(Role, &str)] = &[
    (Role::AttentionNorm, "attn_norm"),
    (Role::AttentionNorm2, "attn_norm_2"),
    (Role::AttentionQuery, "attn_q"),
    (Role::AttentionKey, "attn_k"),
    (Role::AttentionValue, "attn_v"),
    (Role::AttentionQkv, "attn_qkv"),
    (Role::AttentionOutput, "attn_output"),
    (Role::AttentionGate, "attn_gate"),
    (Role::AttentionQueryNorm, "attn_q_norm"),
    (Role::AttentionKeyNorm, "attn_k_norm"),
    (Role::AttentionPostNorm, "post_attention_norm"),
    (Role::AttentionOutputNorm, "attn_output_norm"),
    (Role::AttentionSubNorm, "attn_sub_norm"),
    (Role::AttentionSinks, "attn_sinks"),
    (Role::AttentionRotary, "attn_rot_embd"),
    (Role::AttentionQueryDown, "attn_q_a"),
    (Role::AttentionQueryUp, "attn_q_b"),
    (Role::AttentionQueryDownNorm, "attn_q_a_norm"),
    (Role::AttentionKeyValue, "attn_kv"),
    (Role::AttentionKeyValueDown, "attn_kv_a_mqa"),
    (Role::AttentionKeyValueDownNorm, "attn_kv_a_norm"),
    (Role::AttentionKeyValueUp, "attn_kv_b"),
    (Role::AttentionKeyUp, "attn_k_b"),
    (Role::AttentionValueUp, "attn_v_b"),
    (Role::FeedForwardNorm, "ffn_norm"),
    (Role::FeedForwardPostNorm, "post_ffw_norm"),
    (Role::FeedForwardPostNorm1, "post_ffw_norm_1"),
    (Role::FeedForwardPostNorm2, "post_ffw_norm_2"),
    (Role::FeedForwardPreNorm2, "pre_ffw_norm_2"),
    (Role::FeedForwardSubNorm, "ffn_sub_norm"),
    (Role::FeedForwardGate, "ffn_gate"),
    (Role::FeedForwardUp, "ffn_up"),
    (Role::FeedForwardDown, "ffn_down"),
    (Role::FeedForwardActivation, "ffn.act"),
    (Role::ExpertRouter, "ffn_gate_inp"),
    (Role::ExpertRouterBias, "exp_probs_b"),
    (Role::ExpertTokenTable, "ffn_gate_tid2eid"),
    (Role::ExpertNorm, "ffn_norm_exps"),
    (Role::ExpertGate, "ffn_gate_exps"),
    (Role::ExpertUp, "ffn_up_exps"),
    (Role::ExpertDown, "ffn_down_exps"),
    (Role::ExpertGateUp, "ffn_gate_up_exps"),
    (Role::SharedExpertRouter, "ffn_gate_inp_shexp"),
    (Role::SharedExpertGate, "ffn_gate_shexp"),
    (Role::SharedExpertUp, "ffn_up_shexp"),
    (Role::SharedExpertDown, "ffn_down_shexp"),
    (Role::ChunkExpertGate, "ffn_gate_chexps"),
    (Role::ChunkExpertUp, "ffn_up_chexps"),
    (Role::ChunkExpertDown, "ffn_down_chexps"),
    (Role::LatentDown, "ffn_latent_down"),
    (Role::LatentUp, "ffn_latent_up"),
    (Role::LayerOutputNorm, "layer_output_norm"),
    (Role::LayerOutputScale, "layer_output_scale"),
    (Role::PerLayerInputGate, "inp_gate"),
    (Role::PerLayerProjection, "proj"),
    (Role::PerLayerPostNorm, "post_norm"),
    (Role::AltupCorrectCoefficients, "altup_correct_coef"),
    (Role::AltupCorrectScale, "altup_correct_scale"),
    (Role::AltupPredictCoefficients, "altup_predict_coef"),
    (Role::AltupRouter, "altup_router"),
    (Role::AltupRouterNorm, "altup_router_norm"),
    (Role::LaurelLeft, "laurel_l"),
    (Role::LaurelRight, "laurel_r"),
    (Role::LaurelPostNorm, "laurel_post_norm"),
    (Role::StateIn, "ssm_in"),
    (Role::StateConvolution, "ssm_conv1d"),
    (Role::StateConvolutionQuery, "ssm_conv1d_q"),
    (Role::StateConvolutionKey, "ssm_conv1d_k"),
    (Role::StateConvolutionValue, "ssm_conv1d_v"),
    (Role::StateX, "ssm_x"),
    (Role::StateStep, "ssm_dt"),
    (Role::StateStepNorm, "ssm_dt_norm"),
    (Role::StateBNorm, "ssm_b_norm"),
    (Role::StateCNorm, "ssm_c_norm"),
    (Role::StateNorm, "ssm_norm"),
    (Role::StateOut, "ssm_out"),
    (Role::StateAlpha, "ssm_alpha"),
    (Role::StateBeta, "ssm_beta"),
    (Role::StateBetaAlpha, "ssm_ba"),
    (Role::StateForgetDown, "ssm_f_a"),
    (Role::StateForgetUp, "ssm_f_b"),
    (Role::StateGateDown, "ssm_g_a"),
    (Role::StateGateUp, "ssm_g_b"),
    (Role::TimeMixW0, "time_mix_w0"),
    (Role::TimeMixW1, "time_mix_w1"),
    (Role::TimeMixW2, "time_mix_w2"),
    (Role::TimeMixA0, "time_mix_a0"),
    (Role::TimeMixA1, "time_mix_a1"),
    (Role::TimeMixA2, "time_mix_a2"),
    (Role::TimeMixV0, "time_mix_v0"),
    (Role::TimeMixV1, "time_mix_v1"),
    (Role::TimeMixV2, "time_mix_v2"),
    (Role::TimeMixG1, "time_mix_g1"),
    (Role::TimeMixG2, "time_mix_g2"),
    (Role::TimeMixKeyKey, "time_mix_k_k"),
    (Role::TimeMixKeyA, "time_mix_k_a"),
    (Role::TimeMixReceptanceKey, "time_mix_r_k"),
    (Role::TimeMixLerpX, "time_mix_lerp_x"),
    (Role::TimeMixLerpW, "time_mix_lerp_w"),
    (Role::TimeMixLerpK, "time_mix_lerp_k"),
    (Role::TimeMixLerpV, "time_mix_lerp_v"),
    (Role::TimeMixLerpR, "time_mix_lerp_r"),
    (Role::TimeMixLerpG, "time_mix_lerp_g"),
    (Role::TimeMixLerpFused, "time_mix_lerp_fused"),
    (Role::TimeMixFirst, "time_mix_first"),
    (Role::TimeMixDecay, "time_mix_decay"),
    (Role::TimeMixDecayW1, "time_mix_decay_w1"),
    (Role::TimeMixDecayW2, "time_mix_decay_w2"),
    (Role::TimeMixKey, "time_mix_key"),
    (Role::TimeMixValue, "time_mix_value"),
    (Role::TimeMixReceptance, "time_mix_receptance"),
    (Role::TimeMixGate, "time_mix_gate"),
    (Role::TimeMixNorm, "time_mix_ln"),
    (Role::TimeMixOutput, "time_mix_output"),
    (Role::ChannelMixLerpK, "channel_mix_lerp_k"),
    (Role::ChannelMixLerpR, "channel_mix_lerp_r"),
    (Role::ChannelMixKey, "channel_mix_key"),
    (Role::ChannelMixValue, "channel_mix_value"),
    (Role::ChannelMixReceptance, "channel_mix_receptance"),
    (Role::ShortConvolution, "shortconv.conv"),
    (Role::ShortConvolutionIn, "shortconv.in_proj"),
    (Role::ShortConvolutionOut, "shortconv.out_proj"),
    (Role::IndexerQuery, "indexer.q_proj"),
    (Role::IndexerKey, "indexer.k_proj"),
    (Role::IndexerQueryNorm, "indexer.q_norm"),
    (Role::IndexerKeyNorm, "indexer.k_norm"),
    (Role::IndexerProjection, "indexer.proj"),
    (Role::IndexerAttentionKey, "indexer.attn_k"),
    (Role::IndexerAttentionQueryUp, "indexer.attn_q_b"),
    (Role::NextTokenProjection, "nextn.eh_proj"),
    (Role::NextTokenEmbedding, "nextn.embed_tokens"),
    (Role::NextTokenEmbeddingNorm, "nextn.enorm"),
    (Role::NextTokenHiddenNorm, "nextn.hnorm"),
    (Role::NextTokenHead, "nextn.shared_head_head"),
    (Role::NextTokenHeadNorm, "nextn.shared_head_norm"),
];

/// Of a layer of an encoder beside a decoder: `enc.blk.{layer}.`.
const ENCODER: &[(Role, &str)] = &[
    (Role::EncoderAttentionNorm, "attn_norm"),
    (Role::EncoderAttentionQuery, "attn_q"),
    (Role::EncoderAttentionKey, "attn_k"),
    (Role::EncoderAttentionValue, "attn_v"),
    (Role::EncoderAttentionOutput, "attn_o"),
    (Role::EncoderAttentionBias, "attn_rel_b"),
    (Role::EncoderFeedForwardNorm, "ffn_norm"),
    (Role::EncoderFeedForwardGate, "ffn_gate"),
    (Role::EncoderFeedForwardDown, "ffn_down"),
    (Role::EncoderFeedForwardUp, "ffn_up"),
];

/// Of a layer of a decoder beside an encoder: `dec.blk.{layer}.`.
const DECODER: &[(Role, &str)] = &[
    (Role::DecoderAttentionNorm, "attn_norm"),
    (Role::DecoderAttentionQuery, "attn_q"),
    (Role::DecoderAttentionKey, "attn_k"),
    (Role::DecoderAttentionValue, "attn_v"),
    (Role::DecoderAttentionOutput, "attn_o"),
    (Role::DecoderAttentionBias, "attn_rel_b"),
    (Role::DecoderFeedForwardNorm, "ffn_norm"),
    (Role::DecoderFeedForwardGate, "ffn_gate"),
    (Role::DecoderFeedForwardDown, "ffn_down"),
    (Role::DecoderFeedForwardUp, "ffn_up"),
    (Role::CrossAttentionNorm, "cross_attn_norm"),
    (Role::CrossAttentionQuery, "cross_attn_q"),
    (Role::CrossAttentionKey, "cross_attn_k"),
    (Role::CrossAttentionValue, "cross_attn_v"),
    (Role::CrossAttentionOutput, "cross_attn_o"),
    (Role::CrossAttentionBias, "cross_attn_rel_b"),
];

/// Experts as separate tensors: `blk.{layer}.ffn_gate.{expert}`.
const SEPARATE_EXPERTS: &[(Role, &str)] = &[(Role::ExpertGate, "ffn_gate"), (Role::ExpertUp, "ffn_up"), (Role::ExpertDown, "ffn_down")];

/// Prefixes before a layer's number, and the stems that may follow it.
const STACKS: &[(&str, &[(Role, &str)])] = &[("blk.", LAYER), ("enc.blk.", ENCODER), ("dec.blk.", DECODER)];

/// The identity of a tensor name, `None` where the table does not have it.
///
/// [`name_of`] gives back exactly `name` for every identity that comes from here.
pub(crate) fn identify(name: &str) -> Option<TensorId> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let part = match suffix {
        "weight" => Part::Weight,
        "bias" => Part::Bias,
        _ => return None,
    };
    for (prefix, stems) in STACKS {
        let Some(rest) = stem.strip_prefix(prefix) else { continue };
        let (layer, stem) = rest.split_once('.')?;
        let layer = Some(number(layer)?);
        if let Some(role) = role_of(stems, stem) {
            return Some(TensorId { role, layer, expert: None, part });
        }
        let (stem, expert) = stem.rsplit_once('.')?;
        let role = if *prefix == "blk." { role_of(SEPARATE_EXPERTS, stem)? } else { return None };
        return Some(TensorId { role, layer, expert: Some(number(expert)?), part });
    }
    Some(TensorId { role: role_of(GLOBAL, stem)?, layer: None, expert: None, part })
}

/// The name of an identity, `None` for a role that has no GGUF name in this place (a role of a layer
/// without a layer, an expert of a role that has none).
pub fn name_of(id: &TensorId) -> Option<String> {
    let suffix = match id.part {
        Part::Weight => "weight",
        Part::Bias => "bias",
    };
    match (id.layer, id.expert) {
        (None, None) => Some(format!("{}.{suffix}", stem_of(GLOBAL, id.role)?)),
        (Some(layer), Some(expert)) => Some(format!("blk.{layer}.{}.{expert}.{suffix}", stem_of(SEPARATE_EXPERTS, id.role)?)),
        (Some(layer), None) => {
            let (prefix, stem) = STACKS.iter().find_map(|(prefix, stems)| Some((prefix, stem_of(stems, id.role)?)))?;
            Some(format!("{prefix}{layer}.{stem}.{suffix}"))
        }
        (None, Some(_)) => None,
    }
}

fn role_of(stems: &[(Role, &str)], stem: &str) -> Option<Role> {
    stems.iter().find(|(_, s)| *s == stem).map(|(role, _)| *role)
}

fn stem_of(stems: &[(Role, &'static str)], role: Role) -> Option<&'static str> {
    stems.iter().find(|(r, _)| *r == role).map(|(_, stem)| *stem)
}

/// A decimal number as it is written in names: digits alone, no leading zero.
fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        let mut names: Vec<String> = GLOBAL.iter().map(|(_, s)| (*s).to_owned()).collect();
        for (prefix, stems) in STACKS {
            names.extend(stems.iter().map(|(_, s)| format!("{prefix}12.{s}")));
        }
        names.extend(SEPARATE_EXPERTS.iter().map(|(_, s)| format!("blk.0.{s}.7")));
        let mut seen = std::collections::BTreeSet::new();
        for stem in names {
            for suffix in ["weight", "bias"] {
                let name = format!("{stem}.{suffix}");
                let id = identify(&name).unwrap_or_else(|| panic!("{name} has no identity"));
                assert_eq!(name_of(&id).as_deref(), Some(&*name));
                assert!(seen.insert(id), "{name} shares its identity with another name");
            }
        }
    }

    #[test]
    fn names_that_are_not_in_the_table_have_no_identity() {
        for name in [
            "",
            "weight",
            ".weight",
            "output",
            "output.scale",
            "blk.weight",
            "blk.0.weight",
            "blk..attn_q.weight",
            "blk.00.attn_q.weight",
            "blk.+1.attn_q.weight",
            "blk.99999999999.attn_q.weight",
            "blk.0.attn_qq.weight",
            "blk.0.attn_q.1.weight",
            "blk.0.ffn_gate.01.weight",
            "enc.blk.0.ffn_gate.1.weight",
            "attn_q.weight",
            "v.blk.0.attn_q.weight",
            "blk.0.ssm_a",
            "blk.0.attn_q.weight.lora_a",
        ] {
            assert_eq!(identify(name), None, "{name}");
        }
    }

    #[test]
    fn an_identity_out_of_place_has_no_name() {
        assert_eq!(name_of(&TensorId::global(Role::AttentionQuery, Part::Weight)), None);
        assert_eq!(name_of(&TensorId::layer(Role::Output, 0, Part::Weight)), None);
        assert_eq!(name_of(&TensorId { role: Role::AttentionQuery, layer: Some(0), expert: Some(1), part: Part::Weight }), None);
        assert_eq!(name_of(&TensorId::global(Role::Other, Part::Weight)), None);
    }
}
