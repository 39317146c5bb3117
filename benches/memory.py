#!/usr/bin/env python3
"""Peak memory on a model far larger than memory: a sparse GGUF (holes read as zeros) under a hard limit.

    python benches/memory.py --gravure target/release/gravure --folder /big/disk [--gigabytes 40] [--limit-mib 1024] [--type q4_0]

Prints the peak resident memory of `gravure quantize`; fails where it goes over the limit of address space.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFWriter

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
    start = time.monotonic()
    process = subprocess.Popen(
        [args.gravure, "-q", "-t", "2", "quantize", source, "-o", target, "--type", args.type],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    _, status, usage = os.wait4(process.pid, 0)
    size = target.stat().st_size if target.exists() else 0
    print(f"source {source.stat().st_size / 1e9:.1f} GB, output {size / 1e9:.1f} GB, limit {args.limit_mib} MiB of address space, "
          f"peak resident {usage.ru_maxrss / 1024:.0f} MiB, {time.monotonic() - start:.0f} s, status {os.waitstatus_to_exitcode(status)}")
    source.unlink()
    target.unlink(missing_ok=True)
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
