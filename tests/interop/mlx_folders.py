#!/usr/bin/env python3
"""Folders that mlx-lm writes, in the native engine, against MLX itself.

    python tests/interop/mlx_folders.py --gravure PATH --work FOLDER        by a Python with mlx-lm

The bundled model in MLX's affine mode with several numbers of bits and sizes of groups. MLX computes in 32-bit floats from the
same codes: perplexity by exact products must be its own within 0.01 %, by integer products within 0.5 %, and these must be
made of the codes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import mlx.core as mx  # noqa: E402
from checks import check, finish  # noqa: E402
from mlx_lm import convert, load  # noqa: E402

MODEL, CONTEXT, WINDOWS = Path("models/gravure-tiny"), 512, 3


def perplexity(folder, text):
    """By the protocol of `eval`: the second half of each window is scored. The vocabulary puts no token first."""
    model, tokenizer = load(str(folder))
    model.set_dtype(mx.float32)
    tokens = tokenizer._tokenizer.encode(text)
    scored = []
    for window in range(WINDOWS):
        part = tokens[window * CONTEXT : (window + 1) * CONTEXT]
        logits = model(mx.array([part]))[0]
        losses = mx.logsumexp(logits, axis=-1)[:-1] - mx.take_along_axis(logits[:-1], mx.array(part[1:])[:, None], axis=-1)[:, 0]
        scored.append(losses[CONTEXT // 2 :])
    return mx.exp(mx.concatenate(scored).mean()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    whole = (MODEL / "eval.txt").read_text(encoding="utf-8")
    text = work / "text.txt"
    text.write_text(whole[-40_000:], encoding="utf-8")

    def gravure(*words):
        command = [arguments.gravure, "-q", "--json", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            sys.exit(f"{command} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        return json.loads(done.stdout)

    for bits, group in [(4, 64), (2, 32), (3, 128), (6, 64), (8, 32)]:
        folder = work / f"{bits}-{group}"
        # It asks the folder to be new.
        convert(str(MODEL), str(folder), quantize=True, q_bits=bits, q_group_size=group)
        name, stored = f"{bits} bits in groups of {group}", gravure("inspect", folder)
        check(any(e["encoding"] == name for e in stored["encodings"]), f"{name}: {stored['bits_per_weight']:.3f} bits for each weight")
        kernels = gravure("bench", folder, "-p", 16, "-n", 4, "-r", 1)["kernels"]
        check(any(k.startswith(f"{name}: int8") for k in kernels), f"{name}: {kernels}")
        evaluate = ["eval", folder, "--data", text, "--chunks", WINDOWS, "-c", CONTEXT]
        expected = perplexity(folder, text.read_text(encoding="utf-8"))
        exact, fast = (gravure(*evaluate, *more)["perplexity"]["value"] for more in (["--exact"], []))
        check(abs(exact / expected - 1) < 1e-4, f"{name}: perplexity {exact:.4f} by exact products, {expected:.4f} by MLX")
        check(abs(fast / expected - 1) < 5e-3, f"{name}: perplexity {fast:.4f} by integer products")

    finish("mlx_folders")


if __name__ == "__main__":
    main()
