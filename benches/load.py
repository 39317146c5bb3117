#!/usr/bin/env python3
"""Loading against llama.cpp: seconds from the start of a process to its end after one token of a prompt of one.

Takes the model of `benches/run.py` (the shape of Llama-3.2-1B, random weights) with a vocabulary of 128,256 tokens: of random
merges, which are hard on llama.cpp, or with `--vocabulary` that of another GGUF (llama.cpp's sources have Llama 3's as
models/ggml-vocab-llama-bpe.gguf). Files are in the page cache; llama-completion does not warm up, and has 512 positions.

    pip install numpy gguf
    python benches/load.py --gravure target/release/gravure --llama-cli PATH_OF_LLAMA_COMPLETION --folder /big/disk \\
        [--types q4_0,q4_k_m,q6_k,q8_0] [--vocabulary GGUF] [--threads 2] [--runs 5] [--json out.json] [--taken-back]

The programs take turns; figures are medians. Before each start as much memory as a model takes is written to and given back,
so that the system has it at hand: a virtual machine whose host takes free memory away waits for it otherwise, more than a
second for each gigabyte, which a program that copies weights pays and one that maps the file does not. `--taken-back` waits
six seconds instead, until the host has it.
"""

import argparse
import json
import mmap
import statistics
import time
from pathlib import Path

from measure import output
from quantize import quantized, running_model

BLOCK = 64 << 20
# Seconds after which a host has taken free memory.
PAUSE = 6


def at_hand(size):
    """Leaves the system with so much free memory that is really there."""
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        room.madvise(mmap.MADV_HUGEPAGE)
    written = bytes([1]) * BLOCK
    for _ in range(size // BLOCK):
        room.write(written)
    room.close()


def in_cache(model):
    with model.open("rb") as file:
        while file.read(BLOCK):
            pass


def first_token(command):
    start = time.monotonic()
    output(command)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--llama-cli", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--types", default="q4_0,q4_k_m,q6_k,q8_0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--taken-back", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    source = running_model(arguments.folder, arguments.layers, arguments.vocabulary)
    results = {}
    print("| type | start to first token, s: llama.cpp | gravure | ratio |\n|---|---|---|---|", flush=True)
    for kind in arguments.types.split(","):
        model = quantized(arguments.gravure, source, arguments.folder, kind)
        asked = ["-t", arguments.threads, "-p", "a", "-n", 1, "-c", 512]
        commands = {
            "gravure": [arguments.gravure, "run", model, "-q", *asked],
            "llama.cpp": [arguments.llama_cli, "-m", model, "--no-warmup", "-no-cnv", *asked],
        }
        in_cache(model)
        samples = {name: [] for name in commands}
        for _ in range(arguments.runs):
            for program, command in commands.items():
                if arguments.taken_back:
                    time.sleep(PAUSE)
                else:
                    at_hand(model.stat().st_size + (1 << 30))
                samples[program].append(first_token(command))
        a, b = (statistics.median(samples[p]) for p in ("gravure", "llama.cpp"))
        results[kind] = samples
        print(f"| {kind} | {b:.2f} | {a:.2f} | {a / b:.2f} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
