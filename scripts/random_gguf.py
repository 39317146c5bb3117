#!/usr/bin/env python3
"""Random GGUF models of many architectures, and importance matrices for them.

Small (a few MB each), deterministic, and complete enough for a quantizer: tensors with the names, shapes and
sizes that rules look at, hyperparameters, a token list. They are no working models: nothing is trained, and rows
are few. Needs numpy and gguf (PyPI).

    random_gguf.py OUT_DIR [NAME ...]     write NAME.gguf, NAME.imatrix.gguf and NAME.imatrix.dat
    random_gguf.py --list
"""

import argparse
import struct
import zlib
from pathlib import Path

import gguf
import numpy as np

VOCABULARY = 64
TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
}


class Model:
    """Hyperparameters and tensor shapes (outermost dimension first). `scalar`: one number of heads for all layers, as the
    shapes say."""

    scalar = False

    def __init__(self, arch, layers, heads=4, kv_heads=None, experts=0, dtype="f32", **extra):
        self.arch, self.layers, self.heads, self.kv_heads = arch, layers, heads, kv_heads
        self.experts, self.dtype, self.extra = experts, dtype, extra
        self.tensors = {}
        self.importance = {}

    def add(self, name, *shape, calibrated=None):
        """A tensor; matrices of layers and the output get an importance unless told otherwise."""
        self.tensors[name] = shape
        if calibrated is None:
            calibrated = len(shape) >= 2 and name.endswith(".weight") and ("blk." in name or name == "output.weight")
        if calibrated:
            self.importance[name] = (shape[0] if len(shape) == 3 else 1, shape[-1])

    def vectors(self, prefix, names, size):
        for name in names:
            self.add(f"{prefix}{name}.weight", size)


def embeddings(m, d, tied=False, norm=True):
    m.add("token_embd.weight", VOCABULARY, d)
    if norm:
        m.add("output_norm.weight", d)
    if not tied:
        m.add("output.weight", VOCABULARY, d)


def attention(m, p, d, kv, rows=32):
    m.add(f"{p}attn_q.weight", rows, d)
    m.add(f"{p}attn_k.weight", max(1, rows * kv // 8), d)
    m.add(f"{p}attn_v.weight", max(1, rows * kv // 8), d)
    m.add(f"{p}attn_output.weight", rows, d)


def dense(m, p, d, ff, gate=True, rows=16):
    if gate:
        m.add(f"{p}ffn_gate.weight", rows, d)
    m.add(f"{p}ffn_up.weight", rows, d)
    m.add(f"{p}ffn_down.weight", rows, ff)


def experts(m, p, d, ff, count, rows=8):
    m.add(f"{p}ffn_gate_inp.weight", count, d)
    m.add(f"{p}ffn_gate_exps.weight", count, rows, d)
    m.add(f"{p}ffn_up_exps.weight", count, rows, d)
    m.add(f"{p}ffn_down_exps.weight", count, rows, ff)


def llama(layers=9, d=256, ff=512, heads=4, kv_heads=2, tied=False, arch="llama", norms=("attn_norm", "ffn_norm"), **extra):
    m = Model(arch, layers, heads, kv_heads, **extra)
    embeddings(m, d, tied)
    for i in range(layers):
        p = f"blk.{i}."
        m.vectors(p, norms, d)
        attention(m, p, d, kv_heads)
        dense(m, p, d, ff)
    return m


def llama_scalar():
    """As converters write it, numbers of heads as one number each: attention has all its rows."""
    d, heads, kv_heads, m = 256, 8, 2, Model("llama", 16, 8, 2)
    m.scalar = True
    embeddings(m, d)
    for i in range(m.layers):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), d)
        attention(m, p, d, 8 * kv_heads // heads, rows=d)
        dense(m, p, d, 512)
    return m


def mixtral(merged=True, **extra):
    m = Model("llama", 9, 8, 2, experts=8, **extra)
    embeddings(m, 256)
    for i in range(9):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), 256)
        attention(m, p, 256, 2)
        if merged:
            experts(m, p, 256, 512, 8)
            continue
        m.add(f"{p}ffn_gate_inp.weight", 8, 256)
        for e in range(8):
            for name, columns in (("ffn_gate", 256), ("ffn_up", 256), ("ffn_down", 512)):
                m.add(f"{p}{name}.{e}.weight", 8, columns)
    return m


def qwen3moe():
    m = Model("qwen3moe", 8, 8, 1, experts=16, dtype="bf16")
    embeddings(m, 256)
    for i in range(8):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), 256)
        m.vectors(p, ("attn_q_norm", "attn_k_norm"), 32)
        attention(m, p, 256, 1)
        experts(m, p, 256, 256, 16, rows=4)
    return m


def gpt_oss():
    """Rows that are multiples of 32 and not of 256, biases, sinks."""
    d, m = 288, Model("gpt-oss", 8, 8, 2, experts=32, dtype="bf16")
    embeddings(m, d)
    for i in range(8):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "post_attention_norm"), d)
        m.add(f"{p}attn_sinks.weight", 8)
        attention(m, p, d, 2)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            m.add(f"{p}{name}.bias", 32)
        experts(m, p, d, d, 32, rows=2)
        for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
            m.add(f"{p}{name}.bias", 32, 2)
        m.add(f"{p}ffn_gate_inp.bias", 32)
    return m


def falcon(layers=32):
    m = Model("falcon", layers, 8, 1, dtype="f16")
    embeddings(m, 256)
    m.add("output_norm.bias", 256)
    for i in range(layers):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "attn_norm_2"), 256)
        m.add(f"{p}attn_qkv.weight", 24, 256)
        m.add(f"{p}attn_output.weight", 16, 256)
        dense(m, p, 256, 512, gate=False)
    return m


def phi3():
    m = Model("phi3", 8, 4, 4)
    embeddings(m, 256)
    m.add("rope_factors_long.weight", 16)
    m.add("rope_factors_short.weight", 16)
    for i in range(8):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), 256)
        m.add(f"{p}attn_qkv.weight", 48, 256)
        m.add(f"{p}attn_output.weight", 16, 256)
        dense(m, p, 256, 512, gate=False)
    return m


def gpt2():
    m = Model("gpt2", 8, 4, 4, dtype="f16")
    embeddings(m, 256)
    m.add("output_norm.bias", 256)
    m.add("position_embd.weight", 32, 256)
    for i in range(8):
        p = f"blk.{i}."
        for name, size in (("attn_norm", 256), ("ffn_norm", 256)):
            m.add(f"{p}{name}.weight", size)
            m.add(f"{p}{name}.bias", size)
        m.add(f"{p}attn_qkv.weight", 48, 256)
        m.add(f"{p}attn_qkv.bias", 48)
        m.add(f"{p}attn_output.weight", 16, 256)
        m.add(f"{p}attn_output.bias", 16)
        dense(m, p, 256, 512, gate=False)
        m.add(f"{p}ffn_up.bias", 16)
        m.add(f"{p}ffn_down.bias", 16)
    return m


def bert():
    d, m = 384, Model("bert", 6, 4, 4)
    embeddings(m, d, tied=True, norm=False)
    m.add("token_embd_norm.weight", d)
    m.add("token_embd_norm.bias", d)
    m.add("token_types.weight", 2, d)
    m.add("position_embd.weight", 32, d)
    for i in range(6):
        p = f"blk.{i}."
        attention(m, p, d, 4)
        m.vectors(p, ("attn_output_norm", "layer_output_norm"), d)
        dense(m, p, d, 2 * d, gate=False)
    m.add("cls.weight", 16, d)
    m.add("cls.output.weight", 1, d)
    return m


def gemma3n():
    m = llama(arch="gemma3n", layers=8, tied=True, norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"))
    m.add("per_layer_token_embd.weight", VOCABULARY, 512)
    m.add("per_layer_model_proj.weight", 16, 256)
    m.add("per_layer_proj_norm.weight", 32)
    m.add("altup_proj.weight", 3, 8, 256)
    m.add("altup_unembd_proj.weight", 3, 8, 256)
    for i in range(8):
        p = f"blk.{i}."
        m.add(f"{p}altup_correct_coef.weight", 4, 4)
        m.add(f"{p}altup_correct_scale.weight", 256)
        m.add(f"{p}altup_predict_coef.weight", 16, 4)
        m.add(f"{p}altup_router.weight", 4, 256)
        m.add(f"{p}altup_router_norm.weight", 256)
        m.add(f"{p}laurel_l.weight", 8, 256)
        m.add(f"{p}laurel_r.weight", 8, 64)
        m.add(f"{p}laurel_post_norm.weight", 256)
        m.add(f"{p}inp_gate.weight", 8, 256)
        m.add(f"{p}proj.weight", 8, 32)
        m.add(f"{p}post_norm.weight", 256)
    return m


def deepseek2():
    """Low-rank attention, a dense first layer, shared experts."""
    m = Model("deepseek2", 9, 8, 1, experts=8, dtype="bf16")
    embeddings(m, 256)
    for i in range(9):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm", "attn_q_a_norm", "attn_kv_a_norm"), 256)
        m.add(f"{p}attn_q_a.weight", 16, 256)
        m.add(f"{p}attn_q_b.weight", 16, 256)
        m.add(f"{p}attn_kv_a_mqa.weight", 16, 256)
        m.add(f"{p}attn_kv_b.weight", 16, 256)
        m.add(f"{p}attn_k_b.weight", 8, 4, 128)
        m.add(f"{p}attn_v_b.weight", 8, 4, 256)
        m.add(f"{p}attn_output.weight", 16, 256)
        if i == 0:
            dense(m, p, 256, 512)
            continue
        experts(m, p, 256, 256, 8, rows=4)
        m.add(f"{p}exp_probs_b.bias", 8)
        for name in ("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"):
            m.add(f"{p}{name}.weight", 8, 256)
    return m


def jamba():
    """State-space layers, attention in every fourth one: no key-value heads in the first."""
    m = Model("jamba", 8, 4, [0, 0, 0, 2, 0, 0, 0, 2], experts=4)
    embeddings(m, 256)
    for i in range(8):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), 256)
        if i % 4 == 3:
            attention(m, p, 256, 2)
        else:
            m.add(f"{p}ssm_in.weight", 16, 256)
            m.add(f"{p}ssm_conv1d.weight", 256, 4)
            m.add(f"{p}ssm_conv1d.bias", 256)
            m.add(f"{p}ssm_x.weight", 8, 256)
            m.add(f"{p}ssm_dt.weight", 8, 32)
            m.add(f"{p}ssm_dt_norm.weight", 8)
            m.add(f"{p}ssm_a", 16, 256)
            m.add(f"{p}ssm_d", 16)
            m.add(f"{p}ssm_out.weight", 8, 256)
        if i % 2:
            experts(m, p, 256, 256, 4, rows=4)
        else:
            dense(m, p, 256, 512)
    return m


def rwkv7():
    m = Model("rwkv7", 6, 0, None)
    embeddings(m, 256)
    m.add("token_embd_norm.weight", 256)
    for i in range(6):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "attn_norm_2", "time_mix_ln", "time_mix_w0", "time_mix_a0"), 256)
        for name in ("w1", "a1", "v1", "g1"):
            m.add(f"{p}time_mix_{name}.weight", 8, 256)
        for name in ("w2", "a2", "v2", "g2"):
            m.add(f"{p}time_mix_{name}.weight", 16, 32)
        m.add(f"{p}time_mix_lerp_fused.weight", 6, 1, 256)
        m.add(f"{p}time_mix_r_k.weight", 4, 64)
        for name in ("key", "value", "receptance", "output"):
            m.add(f"{p}time_mix_{name}.weight", 16, 256)
        m.add(f"{p}channel_mix_key.weight", 16, 256)
        m.add(f"{p}channel_mix_value.weight", 16, 512)
    return m


def lfm2():
    m = Model("lfm2", 8, 8, [0, 2, 0, 2, 0, 2, 0, 2])
    embeddings(m, 256, tied=True, norm=False)
    m.add("token_embd_norm.weight", 256)
    for i in range(8):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), 256)
        if i % 2:
            attention(m, p, 256, 2)
        else:
            m.add(f"{p}shortconv.conv.weight", 256, 3)
            m.add(f"{p}shortconv.in_proj.weight", 24, 256)
            m.add(f"{p}shortconv.out_proj.weight", 8, 256)
        dense(m, p, 256, 512)
    return m


def t5():
    """Encoder and decoder: names that the layer rules do not see."""
    m = Model("t5", 11, 4, 4)
    embeddings(m, 256, norm=False)
    m.add("enc.output_norm.weight", 256)
    m.add("dec.output_norm.weight", 256)
    for i in range(11):
        for side in ("enc", "dec"):
            p = f"{side}.blk.{i}."
            m.vectors(p, ("attn_norm", "ffn_norm"), 256)
            for name in ("attn_q", "attn_k", "attn_v", "attn_o"):
                m.add(f"{p}{name}.weight", 8, 256)
                if side == "dec":
                    m.add(f"{p}cross_{name}.weight", 8, 256)
            dense(m, p, 256, 512, rows=8)
        if i == 0:
            m.add("enc.blk.0.attn_rel_b.weight", 32, 4)
            m.add("dec.blk.0.attn_rel_b.weight", 32, 4)
    return m


def glm5_next():
    m = Model("glm5-next", 6, 8, 1, experts=16)
    embeddings(m, 256)
    m.add("output_hc_fn.weight", 4, 256)
    for i in range(6):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), 256)
        for name in ("attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_output", "hc_attn_fn", "hc_ffn_fn", "indexer.attn_q_b", "indexer.attn_k",
                     "indexer.proj", "indexer_compressor_gate", "ssm_f_a", "ssm_f_b", "ssm_g_a", "ssm_g_b", "ssm_beta", "attn_q", "attn_v"):
            m.add(f"{p}{name}.weight", 8, 256)
        m.add(f"{p}attn_k_b.weight", 8, 4, 256)
        m.add(f"{p}attn_v_b.weight", 8, 4, 256)
        experts(m, p, 256, 256, 16, rows=2)
    m.add("blk.5.nextn.eh_proj.weight", 8, 512)
    return m


def bailingmoe3():
    m = Model("bailingmoe3", 6, 8, 1, experts=8)
    embeddings(m, 256)
    for i in range(6):
        p = f"blk.{i}."
        m.vectors(p, ("attn_norm", "ffn_norm"), 256)
        m.add(f"{p}attn_k_b.weight", 8, 4, 256)
        m.add(f"{p}attn_v_b.weight", 8, 4, 256)
        m.add(f"{p}attn_output.weight", 8, 256)
        experts(m, p, 256, 256, 8, rows=2)
    return m


def clip():
    """An image encoder: no language model, other prefixes."""
    m = Model("clip", 0, 0, None)
    m.add("v.patch_embd.weight", 16, 256)
    m.add("v.position_embd.weight", 16, 256)
    m.add("v.post_ln.weight", 256)
    m.add("mm.0.weight", 16, 256)
    m.add("mm.input_projection.weight", 16, 256)
    for i in range(12):
        p = f"v.blk.{i}."
        m.vectors(p, ("ln1", "ln2"), 256)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up"):
            m.add(f"{p}{name}.weight", 8, 256)
        m.add(f"{p}ffn_down.weight", 8, 512)
        m.add(f"{p}attn_q.bias", 8)
    return m


MODELS = {
    "llama": lambda: llama(layers=16),
    "llama-scalar": llama_scalar,
    "llama-tied-gqa": lambda: llama(layers=8, heads=8, kv_heads=2, tied=True, dtype="f16"),
    "llama-odd": lambda: llama(layers=4, d=288, ff=172, dtype="bf16"),
    "llama-long-rows": lambda: llama(layers=4, d=2304, ff=4352),
    "llama-70b": lambda: llama(layers=80, heads=16, kv_heads=2),
    "mixtral": mixtral,
    "mixtral-separate": lambda: mixtral(merged=False, dtype="f16"),
    "qwen2": lambda: llama(arch="qwen2", layers=12, heads=8, kv_heads=1),
    "qwen3": lambda: llama(arch="qwen3", layers=12, heads=8, kv_heads=4, tied=True, dtype="bf16"),
    "qwen3moe": qwen3moe,
    "gpt-oss": gpt_oss,
    "falcon": falcon,
    "phi3": phi3,
    "gemma2": lambda: llama(arch="gemma2", layers=10, tied=True, dtype="bf16",
                            norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")),
    "gemma3": lambda: llama(arch="gemma3", layers=10, heads=4, kv_heads=1, tied=True,
                            norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")),
    "gemma3n": gemma3n,
    "gpt2": gpt2,
    "bert": bert,
    "deepseek2": deepseek2,
    "jamba": jamba,
    "rwkv7": rwkv7,
    "lfm2": lfm2,
    "t5": t5,
    "glm5-next": glm5_next,
    "bailingmoe3": bailingmoe3,
    "clip": clip,
}

# Architectures whose tensors gravure compares with their configuration. Matrices here have fewer rows than one number of
# heads for all layers would say: a list of them, and no length of the feed-forward block, says nothing about rows.
SIZED = {"llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2", "bert"}

# Keys that some architecture insists on; the others ignore them.
COMMON = {
    "context_length": 128, "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.layer_norm_epsilon": 1e-5, "attention.sliding_window": 64, "attention.q_lora_rank": 16, "attention.kv_lora_rank": 16,
    "attention.key_length_mla": 32, "attention.value_length_mla": 32, "ssm.conv_kernel": 4, "ssm.inner_size": 256, "ssm.state_size": 16,
    "ssm.time_step_rank": 32, "wkv.head_size": 64, "shortconv.l_cache": 3, "attention.relative_buckets_count": 32,
    "expert_feed_forward_length": 256, "expert_shared_count": 1, "leading_dense_block_count": 1, "expert_gating_func": 2,
    "attention.decay_lora_rank": 8, "attention.iclr_lora_rank": 8, "attention.value_residual_mix_lora_rank": 8,
    "attention.gate_lora_rank": 8, "kda.head_dim": 32, "kda.gate_lower_bound": -5.0, "kda.safe_gate": True,
    "attention.indexer.head_count": 2, "attention.indexer.key_length": 32, "attention.indexer.top_k": 32, "attention.indexer.kpool": 4,
    "hyper_connection.count": 4, "hyper_connection.sinkhorn_iterations": 2, "hyper_connection.epsilon": 1e-5,
}


def values(rng, shape, vector):
    """Weights as models have them: normal, of a scale that differs from row to row, with a few outliers, ties and a row of zeros."""
    if vector:
        return (1 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    out = 0.02 * rng.standard_normal(shape, dtype=np.float32)
    rows = out.reshape(-1, shape[-1])
    rows *= np.exp(0.5 * rng.standard_normal((len(rows), 1), dtype=np.float32))
    rows.flat[rng.integers(0, rows.size, rows.size // 500 + 1)] *= 12
    if len(rows) > 7:
        rows[5] = np.round(rows[5] * 64) / 64
        rows[6, : shape[-1] // 2] = 0
    return out


def write_model(path, m, rng):
    quant, file_type = TYPES[m.dtype]
    w = gguf.GGUFWriter(path, m.arch)
    w.add_name(path.stem)
    w.add_file_type(file_type)
    key = lambda k: f"{m.arch}.{k}"
    if m.arch != "clip":
        w.add_uint32(key("block_count"), m.layers)
        for name, heads in (("attention.head_count", m.heads), ("attention.head_count_kv", m.kv_heads)):
            if heads and m.arch in SIZED and not m.scalar:
                heads = [heads] * m.layers
            if isinstance(heads, list):
                w.add_array(key(name), heads)
            elif heads:
                w.add_uint32(key(name), heads)
        if m.experts:
            w.add_uint32(key("expert_count"), m.experts)
            w.add_uint32(key("expert_used_count"), 2)
        w.add_uint32(key("embedding_length"), m.tensors["token_embd.weight"][1])
        for k, v in COMMON.items():
            add = w.add_bool if isinstance(v, bool) else w.add_uint32 if isinstance(v, int) else w.add_float32
            add(key(k), v)
        w.add_tokenizer_model("llama")
        w.add_token_list([f"t{i}" for i in range(VOCABULARY)])
        w.add_token_scores([0.0] * VOCABULARY)
        w.add_token_types([1] * VOCABULARY)
    for name, shape in m.tensors.items():
        data = values(rng, shape, len(shape) == 1)
        exact = len(shape) == 1 or name.endswith(("_norm.weight", ".bias")) or "ffn_gate_inp" in name
        kind = gguf.GGMLQuantizationType.F32 if exact else quant
        w.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def importance_values(rng, m):
    """Sums of squares and counts by tensor, as a run over 10 chunks of 512 tokens leaves them."""
    for name, (matrices, columns) in sorted(m.importance.items()):
        mean = np.exp(2 * rng.standard_normal((matrices, columns))).astype(np.float32)
        counts = np.full((matrices, 1), 5120, np.float32)
        if matrices > 1:
            counts[:, 0] = rng.integers(1, 2000, matrices)
            counts[matrices // 2] = 0
        yield name, (mean * np.maximum(counts, 0)).astype(np.float32), counts


def write_importance(path, m, rng):
    w = gguf.GGUFWriter(path, "")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["random.txt"])
    w.add_uint32("imatrix.chunk_count", 10)
    w.add_uint32("imatrix.chunk_size", 512)
    for name, sums, counts in importance_values(rng, m):
        w.add_tensor(f"{name}.in_sum2", sums)
        w.add_tensor(f"{name}.counts", counts)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_legacy_importance(path, m, rng):
    """Entries of (name, calls, values times calls); then the number of chunks and the name of the data set."""
    entries = list(importance_values(rng, m))
    with open(path, "wb") as f:
        f.write(struct.pack("<i", len(entries)))
        for name, sums, counts in entries:
            mean = sums / np.maximum(counts, 1)
            text = name.encode()
            f.write(struct.pack("<i", len(text)) + text + struct.pack("<ii", 10, mean.size))
            f.write((mean * 10).astype("<f4").tobytes())
        text = b"random.txt"
        f.write(struct.pack("<ii", 10, len(text)) + text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list or args.out is None:
        print("\n".join(MODELS))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or MODELS:
        model = MODELS[name]()
        seed = zlib.crc32(name.encode())
        write_model(args.out / f"{name}.gguf", model, np.random.default_rng(seed))
        write_importance(args.out / f"{name}.imatrix.gguf", model, np.random.default_rng(seed + 1))
        write_legacy_importance(args.out / f"{name}.imatrix.dat", model, np.random.default_rng(seed + 1))


if __name__ == "__main__":
    main()
