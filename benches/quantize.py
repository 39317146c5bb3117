#!/usr/bin/env python3
"""Quantization against llama-quantize: CPU time, wall time, peak memory, and whether the bytes are equal.

Makes a file of the shape of Llama-3.2-1B (1.24 B parameters, tied embeddings, f16, seeded random weights) as GGUF
and as a Hugging Face folder, then runs both programs on it, alternately, with the same number of threads.

    pip install numpy gguf
    python benches/quantize.py --gravure target/release/gravure --llama-quantize PATH --folder /big/disk \\
        --types q4_k_m,q6_k,q4_0,q8_0 [--threads 2] [--runs 3] [--layers 16] [--imatrix] [--json out.json]

`copy` is a plain read and write of as many bytes as the result has, with fsync. Files are in the page cache
before each run. Figures are medians; ratios are of medians, peer / gravure.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import struct
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFWriter

from measure import output, timed

DIM, FFN, HEADS, KV_HEADS, HEAD, VOCAB = 2048, 8192, 32, 8, 64, 128256


def tensors(layers):
    yield "token_embd.weight", "model.embed_tokens.weight", (VOCAB, DIM)
    for i in range(layers):
        b, h = f"blk.{i}", f"model.layers.{i}"
        yield f"{b}.attn_norm.weight", f"{h}.input_layernorm.weight", (DIM,)
        yield f"{b}.ffn_down.weight", f"{h}.mlp.down_proj.weight", (DIM, FFN)
        yield f"{b}.ffn_gate.weight", f"{h}.mlp.gate_proj.weight", (FFN, DIM)
        yield f"{b}.ffn_up.weight", f"{h}.mlp.up_proj.weight", (FFN, DIM)
        yield f"{b}.ffn_norm.weight", f"{h}.post_attention_layernorm.weight", (DIM,)
        yield f"{b}.attn_k.weight", f"{h}.self_attn.k_proj.weight", (KV_HEADS * HEAD, DIM)
        yield f"{b}.attn_output.weight", f"{h}.self_attn.o_proj.weight", (DIM, HEADS * HEAD)
        yield f"{b}.attn_q.weight", f"{h}.self_attn.q_proj.weight", (HEADS * HEAD, DIM)
        yield f"{b}.attn_v.weight", f"{h}.self_attn.v_proj.weight", (KV_HEADS * HEAD, DIM)
    yield "output_norm.weight", "model.norm.weight", (DIM,)


def values(name, shape):
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    return (rng.standard_normal(shape, dtype=np.float32) * 0.02).astype(np.float16)


def byte_letters():
    """The letters that stand for bytes 0 to 255 in a byte-level BPE vocabulary."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (b for b in range(256) if b not in kept)
    letters = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [letters[b] for b in range(256)]


def add_vocabulary(writer):
    """A byte-level BPE vocabulary of Llama-3's size: 128,000 tokens of random merges, 256 reserved ones."""
    random = Random(0)
    tokens = byte_letters()
    known, merges = set(tokens), []
    parts = [t for t in tokens if t.isascii() and t.isalpha()]
    while len(tokens) < VOCAB - 256:
        left, right = random.choice(parts), random.choice(parts)
        merged = left + right
        if len(merged) <= 12 and merged not in known:
            known.add(merged)
            merges.append(f"{left} {right}")
            tokens.append(merged)
            parts.append(merged)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens + [f"<|reserved_{i}|>" for i in range(256)])
    writer.add_token_types([1] * len(tokens) + [3] * 256)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(VOCAB - 256)
    writer.add_eos_token_id(VOCAB - 247)


def copy_vocabulary(writer, source):
    """The vocabulary of another GGUF of byte-level BPE, of the same size."""
    fields = GGUFReader(source).fields
    content = lambda name: fields[f"tokenizer.ggml.{name}"].contents()
    if len(content("tokens")) != VOCAB:
        sys.exit(f"{source} has {len(content('tokens'))} tokens, the model {VOCAB}")
    writer.add_tokenizer_model(content("model"))
    writer.add_tokenizer_pre(content("pre"))
    writer.add_token_list(content("tokens"))
    writer.add_token_types(content("token_type"))
    writer.add_token_merges(content("merges"))
    writer.add_bos_token_id(content("bos_token_id"))
    writer.add_eos_token_id(content("eos_token_id"))


def running_model(folder, layers, vocabulary=None):
    """The model as a GGUF with a vocabulary, made where it is not in `folder` yet: its own, or that of another GGUF."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"run-{layers}" + (f"-{vocabulary.stem}" if vocabulary else "") + ".gguf")
    if not path.exists():
        make_gguf(path, layers, vocabulary=vocabulary or "made")
    return path


def quantized(gravure, source, folder, kind):
    """A source in a type, made where it is not in `folder` yet."""
    path = folder / f"{source.stem}-{kind}.gguf"
    if not path.exists():
        output([gravure, "-q", "quantize", source, "--type", kind, "-o", path])
    return path


def random_blocks(folder, layers, kind):
    """The model as a GGUF whose matrices, but the embeddings, are blocks of random bits with small scales, made where it is not in
    `folder` yet: to find the nearest points of lattices for a billion weights takes long, and speed does not depend on them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"random-{layers}-{kind}.gguf"
    if path.exists():
        return path
    types = {"matrix": GGMLQuantizationType[kind.upper()], "token_embd.weight": GGMLQuantizationType.Q5_K}
    writer = GGUFWriter(path, "llama")
    describe(writer, layers, "made")
    kinds = [(name, shape, types.get(name, types["matrix"])) for name, _, shape in tensors(layers) if len(shape) == 2]
    for name, _, shape in tensors(layers):
        if len(shape) == 1:
            writer.add_tensor(name, values(name, shape))
    for name, shape, type in kinds:
        weights, size = GGML_QUANT_SIZES[type]
        rng = np.random.default_rng(len(name))
        blocks = rng.integers(0, 256, (shape[0], shape[1] // weights, size), np.uint8)
        if type == GGMLQuantizationType.IQ1_M:
            # The scale is in the upper halves of bytes.
            blocks[..., 49::2] &= 15
            blocks[..., 55] |= 0x20
        else:
            scales = 2 if type == GGMLQuantizationType.Q5_K else 1
            blocks[..., : 2 * scales] = np.full(scales, 1e-4, np.float16).view(np.uint8)
        writer.add_tensor(name, blocks.reshape(shape[0], -1), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def make_gguf(path, layers, vocabulary=None):
    """The model as a GGUF; `vocabulary` is none, "made", or the GGUF whose own it gets."""
    writer = GGUFWriter(path, "llama")
    describe(writer, layers, vocabulary)
    for name, _, shape in tensors(layers):
        writer.add_tensor_info(name, shape, np.float32 if len(shape) == 1 else np.float16, int(np.prod(shape)) * (4 if len(shape) == 1 else 2))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, _, shape in tensors(layers):
        writer.write_tensor_data(values(name, shape))
    writer.close()


def describe(writer, layers, vocabulary):
    """Hyperparameters and vocabulary; see `make_gguf`."""
    writer.add_block_count(layers)
    writer.add_context_length(131072)
    writer.add_embedding_length(DIM)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_rope_dimension_count(HEAD)
    writer.add_file_type(1)
    if vocabulary == "made":
        add_vocabulary(writer)
    elif vocabulary:
        copy_vocabulary(writer, vocabulary)
    else:
        writer.add_tokenizer_model("none")


def make_hugging_face(folder, layers):
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": DIM, "intermediate_size": FFN,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "num_hidden_layers": layers,
        "vocab_size": VOCAB, "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
        "max_position_embeddings": 131072, "torch_dtype": "float16", "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for _, name, shape in tensors(layers):
        size = int(np.prod(shape)) * 2
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for gguf_name, _, shape in tensors(layers):
            out.write(values(gguf_name, shape).astype(np.float16).tobytes())


def make_imatrix(path, layers):
    writer = GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["random"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, _, shape in tensors(layers):
        if len(shape) == 2 and name != "token_embd.weight":
            rng = np.random.default_rng(len(name) + shape[1])
            writer.add_tensor(f"{name}.in_sum2", (rng.random((1, shape[1]), dtype=np.float32) + 0.01) * 512)
            writer.add_tensor(f"{name}.counts", np.full((1, 1), 512, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def warm(path):
    files = [path] if path.is_file() else [f for f in path.iterdir() if f.is_file()]
    for file in files:
        with open(file, "rb", buffering=0) as f:
            while f.read(1 << 24):
                pass


def copy_with_fsync(source, target, count):
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    with open(source, "rb", buffering=0) as src, open(target, "wb", buffering=0) as dst:
        left = count
        while left > 0:
            block = src.read(min(left, 8 << 20))
            if not block:
                src.seek(0)
                continue
            dst.write(block)
            left -= len(block)
        os.fsync(dst.fileno())
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.monotonic() - start, "cpu": cpu, "rss": 0}


def same_tensors(a, b):
    left = {t.name: (t.tensor_type, t.data.tobytes()) for t in GGUFReader(a).tensors}
    right = {t.name: (t.tensor_type, t.data.tobytes()) for t in GGUFReader(b).tensors}
    return left == right


def median(runs, key):
    return statistics.median(r[key] for r in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", type=Path, required=True)
    parser.add_argument("--llama-quantize", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--types", default="q4_k_m,q6_k,q4_0,q8_0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--imatrix", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    gguf, folder = args.folder / f"shape-{args.layers}.gguf", args.folder / f"shape-{args.layers}-hf"
    imatrix = args.folder / f"shape-{args.layers}.imatrix.gguf"
    for path, make in ((gguf, make_gguf), (folder, make_hugging_face), (imatrix, make_imatrix)):
        if not path.exists():
            partial = path.with_name(path.name + ".making")
            shutil.rmtree(partial, ignore_errors=True)
            partial.unlink(missing_ok=True)
            make(partial, args.layers)
            partial.rename(path)
    importance = ["--imatrix", imatrix] if args.imatrix else []
    print(f"{'type':10} {'who':22} {'wall s':>8} {'cpu s':>8} {'rss MiB':>8} {'cpu ratio':>10} {'wall ratio':>10}  bytes")
    results = []
    for kind in args.types.split(","):
        peer_out, our_out, hf_out, copy_out = (args.folder / f"out-{who}.gguf" for who in ("peer", "ours", "hf", "copy"))
        runs = {"peer": [], "ours": [], "hf": [], "copy": []}
        for _ in range(args.runs):
            for path in (gguf, folder):
                warm(path)
            for out in (peer_out, our_out, hf_out, copy_out):
                out.unlink(missing_ok=True)
            runs["peer"].append(timed([args.llama_quantize, *importance, gguf, peer_out, kind, args.threads]))
            runs["ours"].append(timed([args.gravure, "-q", "-t", args.threads, "quantize", gguf, "-o", our_out, "--type", kind, *importance]))
            runs["hf"].append(timed([args.gravure, "-q", "-t", args.threads, "quantize", folder, "-o", hf_out, "--type", kind, *importance]))
            runs["copy"].append(copy_with_fsync(gguf, copy_out, our_out.stat().st_size))
        equal = same_tensors(peer_out, our_out)
        names = {"peer": "llama-quantize", "ours": "gravure (GGUF)", "hf": "gravure (Hugging Face)", "copy": "copy + fsync"}
        row = {"type": kind, "identical": equal, "threads": args.threads}
        for who, name in names.items():
            wall, cpu, rss = (median(runs[who], key) for key in ("wall", "cpu", "rss"))
            row[who] = {"wall_s": wall, "cpu_s": cpu, "rss_mib": rss}
            ratio = lambda key, own: f"{median(runs['peer'], key) / max(own, 1e-9):10.2f}"
            same = ("identical" if equal else "DIFFERENT") if who == "ours" else ""
            print(f"{kind:10} {name:22} {wall:8.2f} {cpu:8.2f} {rss:8.0f} {ratio('cpu', cpu)} {ratio('wall', wall)}  {same}", flush=True)
        results.append(row)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2))
    return 0 if all(r["identical"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
