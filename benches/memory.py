#!/usr/bin/env python3
"""Peak memory on a model far larger than memory: a sparse GGUF (holes read as zeros) under a hard limit.

    python benches/memory.py --gravure target/release/gravure --folder /big/disk [--gigabytes 40] [--limit-mib 1024] [--type q4_0]

Prints the peak resident memory of `gravure quantize`; fails where it goes over the limit of address space.
"""

import argparse
import os
import resource
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFWriter

from measure import timed

DIM, FFN, VOCAB = 8192, 28672, 128256


def make(path, size):
    """A Llama of as many layers as fill `size` bytes of f16, none of which takes room on disk."""
    layer = [("attn_q", DIM, DIM), ("attn_k", 1024, DIM), ("attn_v", 1024, DIM), ("attn_output", DIM, DIM),
             ("ffn_gate", FFN, DIM), ("ffn_up", FFN, DIM), ("ffn_down", DIM, FFN)]
    per_layer = sum(rows * columns * 2 for _, rows, columns in layer)
    layers = max(1, (size - 2 * VOCAB * DIM * 2) // per_layer)
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(DIM)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(64)
    writer.add_head_count_kv(8)
    writer.add_layer_norm_rms_eps(1e-5)
    total = 0
    shapes = [("token_embd.weight", VOCAB, DIM), ("output.weight", VOCAB, DIM)]
    shapes += [(f"blk.{i}.{name}.weight", rows, columns) for i in range(layers) for name, rows, columns in layer]
    for name, rows, columns in shapes:
        writer.add_tensor_info(name, (rows, columns), "float16", rows * columns * 2, raw_dtype=GGMLQuantizationType.F16)
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
    args = parser.parse_args()
    source, target = args.folder / "sparse.gguf", args.folder / "sparse-out.gguf"
    make(source, int(args.gigabytes * 1e9))
    limit = args.limit_mib << 20
    run = timed(
        [args.gravure, "-q", "-t", "2", "quantize", source, "-o", target, "--type", args.type],
        before_start=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    print(f"source {source.stat().st_size / 1e9:.1f} GB, output {target.stat().st_size / 1e9:.1f} GB, limit {args.limit_mib} MiB of "
          f"address space, peak resident {run['rss']:.0f} MiB, {run['wall']:.0f} s")
    source.unlink()
    target.unlink()


if __name__ == "__main__":
    main()
