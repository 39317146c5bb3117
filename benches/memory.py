#!/usr/bin/env python3
"""Peak memory on a model far larger than memory: sparse files (holes read as zeros) under a hard limit.

    python benches/memory.py --gravure target/release/gravure --folder /big/disk [--gigabytes 40] [--limit-mib 1024] [--type q4_0]
        [--source gguf|huggingface] [--convert]

Prints the peak resident memory of `gravure quantize` (or `convert`, whose output is as large as its source); fails
where it goes over the limit of address space.
"""

import argparse
import json
import os
import resource
import shutil
import struct
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFWriter

from measure import timed

DIM, FFN, VOCAB = 8192, 28672, 128256
LAYER = [("attn_q", "self_attn.q_proj", DIM, DIM), ("attn_k", "self_attn.k_proj", 1024, DIM),
         ("attn_v", "self_attn.v_proj", 1024, DIM), ("attn_output", "self_attn.o_proj", DIM, DIM),
         ("ffn_gate", "mlp.gate_proj", FFN, DIM), ("ffn_up", "mlp.up_proj", FFN, DIM), ("ffn_down", "mlp.down_proj", DIM, FFN)]


def shapes_of(size):
    """Names in GGUF and at Hugging Face, rows and columns of a Llama of as many layers as fill `size` bytes of f16."""
    per_layer = sum(rows * columns * 2 for _, _, rows, columns in LAYER)
    layers = max(1, (size - 2 * VOCAB * DIM * 2) // per_layer)
    shapes = [("token_embd", "model.embed_tokens", VOCAB, DIM), ("output", "lm_head", VOCAB, DIM)]
    return layers, shapes + [(f"blk.{i}.{gguf}", f"model.layers.{i}.{hf}", rows, columns)
                             for i in range(layers) for gguf, hf, rows, columns in LAYER]


def make_folder(folder, size):
    """The Hugging Face folder, which needs the vectors of the norms too."""
    folder.mkdir(exist_ok=True)
    layers, shapes = shapes_of(size)
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": DIM, "intermediate_size": FFN,
        "num_attention_heads": 64, "num_key_value_heads": 8, "num_hidden_layers": layers, "vocab_size": VOCAB,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "tie_word_embeddings": False, "hidden_act": "silu"}))
    tensors = {hf: [rows, columns] for _, hf, rows, columns in shapes} | {"model.norm": [DIM]}
    for i in range(layers):
        tensors |= {f"model.layers.{i}.{norm}": [DIM] for norm in ("input_layernorm", "post_attention_layernorm")}
    header, at = {}, 0
    for name, shape in tensors.items():
        end = at + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[f"{name}.weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + at)


def make(path, size):
    """The GGUF, none of whose weights takes room on disk."""
    layers, shapes = shapes_of(size)
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(DIM)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(64)
    writer.add_head_count_kv(8)
    writer.add_layer_norm_rms_eps(1e-5)
    total = 0
    for name, _, rows, columns in shapes:
        writer.add_tensor_info(f"{name}.weight", (rows, columns), "float16", rows * columns * 2, raw_dtype=GGMLQuantizationType.F16)
        total += rows * columns * 2
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.stat().st_size
    os.truncate(path, (header + 31) // 32 * 32 + total)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=40)
    parser.add_argument("--limit-mib", type=int, default=1024)
    parser.add_argument("--type", default="q4_0")
    parser.add_argument("--source", choices=["gguf", "huggingface"], default="gguf")
    parser.add_argument("--convert", action="store_true")
    args = parser.parse_args()
    target, size = args.folder / "sparse-out.gguf", int(args.gigabytes * 1e9)
    if args.source == "gguf":
        source = weights = args.folder / "sparse.gguf"
        make(source, size)
    else:
        source = args.folder / "sparse-hf"
        weights = source / "model.safetensors"
        make_folder(source, size)
    work = ["convert", source, "-o", target] if args.convert else ["quantize", source, "-o", target, "--type", args.type]
    limit = args.limit_mib << 20
    run = timed(
        [args.gravure, "-q", "-t", "2", *work],
        before_start=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    print(f"source {weights.stat().st_size / 1e9:.1f} GB, output {target.stat().st_size / 1e9:.1f} GB, limit {args.limit_mib} MiB of "
          f"address space, peak resident {run['rss']:.0f} MiB, {run['wall']:.0f} s")
    shutil.rmtree(source) if source.is_dir() else source.unlink()
    target.unlink()


if __name__ == "__main__":
    main()
