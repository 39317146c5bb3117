#!/usr/bin/env python3
"""Quantized Hugging Face checkpoints in the native engine: the same weights as MLX and GPTQ store them, and as GGUF.

    python benches/checkpoints.py --gravure target/release/gravure --folder /big/disk [--llama-bench PATH]

The shape of Llama-3.2-1B with random weights, four bits: MLX's affine mode in groups of 64, GPTQ in groups of 128, Q4_1 (groups
of 32) by llama.cpp where its benchmark is given. `exact` decodes the checkpoint to 32-bit floats. Medians over the rounds, in which
all take turns. Needs numpy and the gguf package.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from measure import output
from quantize import make_hugging_face, quantized, running_model, tensors, values

BITS = 4


def affine(matrix, group):
    """Codes, scales and minima of `matrix`, to the nearest."""
    grouped = matrix.astype(np.float32).reshape(matrix.shape[0], -1, group)
    low, high = grouped.min(axis=2, keepdims=True), grouped.max(axis=2, keepdims=True)
    scale = np.maximum((high - low) / 15, 1e-8).astype(np.float16).astype(np.float32)
    codes = np.clip(np.rint((grouped - low) / scale), 0, 15).astype(np.uint32)
    return codes.reshape(matrix.shape), scale[..., 0], low[..., 0]


def mlx(base, matrix):
    codes, scale, low = affine(matrix, 64)
    words = sum(codes[:, i::8] << np.uint32(BITS * i) for i in range(8))
    return {f"{base}.weight": words, f"{base}.scales": scale.astype(np.float16), f"{base}.biases": low.astype(np.float16)}


def gptq(base, matrix):
    codes, scale, low = affine(matrix, 128)
    zeros = np.clip(np.rint(-low / scale), 0, 15).astype(np.uint32)
    pack = lambda rows: sum(rows[i::8] << np.uint32(BITS * i) for i in range(8)).astype(np.int32)
    columns = np.arange(matrix.shape[1]) // 128
    return {
        f"{base}.qweight": pack(np.ascontiguousarray(codes.T)),
        f"{base}.qzeros": np.ascontiguousarray(pack(zeros).T),
        f"{base}.scales": np.ascontiguousarray(scale.T.astype(np.float16)),
        f"{base}.g_idx": columns.astype(np.int32),
    }


SCHEMES = {
    "mlx": (mlx, "quantization", {"group_size": 64, "bits": BITS}),
    "gptq": (gptq, "quantization_config", {"quant_method": "gptq", "group_size": 128, "bits": BITS, "desc_act": False, "checkpoint_format": "gptq_v2"}),
}
TYPES = {"uint32": "U32", "int32": "I32", "float16": "F16"}


def checkpoint(folder, kind, layers):
    """The model quantized so, made where it is not in `folder` yet."""
    path = folder / f"run-{layers}-{kind}"
    if path.exists():
        return path
    partial = folder / f".{path.name}"
    make_hugging_face(partial, layers)
    quantize, key, settings = SCHEMES[kind]
    config = json.loads((partial / "config.json").read_text())
    config[key] = settings
    (partial / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    data = partial / "data"
    with open(data, "wb") as out:
        for name, hugging_face, shape in tensors(layers):
            array = values(name, shape).astype(np.float16)
            # GPTQ leaves embeddings as they are.
            packed = len(shape) == 2 and (kind == "mlx" or "embed" not in hugging_face)
            for stored, part in (quantize(hugging_face.removesuffix(".weight"), array) if packed else {hugging_face: array}).items():
                part = np.ascontiguousarray(part)
                header[stored] = {"dtype": TYPES[str(part.dtype)], "shape": list(part.shape), "data_offsets": [at, at + part.nbytes]}
                at += part.nbytes
                part.tofile(out)
    text = json.dumps(header).encode()
    with open(partial / "model.safetensors", "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        with open(data, "rb") as source:
            while piece := source.read(1 << 24):
                out.write(piece)
    data.unlink()
    partial.rename(path)
    return path


def ours(arguments, model, *more):
    command = [arguments.gravure, "bench", model, "--json", "-q", "-t", arguments.threads, "-p", 512, "-n", arguments.generate, "-r", 2, *more]
    report = json.loads(output(command))
    speed = lambda phase: report[phase]["tokens_per_second"]["median"]
    return {"prefill": speed("prefill"), "decode": speed("decode"), "load": report["load_seconds"], "peak": report["peak_resident_bytes"] / 2**20}


def theirs(arguments, model):
    rows = json.loads(output([arguments.llama_bench, "-m", model, "-t", arguments.threads, "-p", 512, "-n", arguments.generate, "-r", 2, "-o", "json"]))
    speed = {"prefill" if r["n_prompt"] else "decode": r["avg_ts"] for r in rows}
    return {**speed, "load": float("nan"), "peak": float("nan")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--llama-bench")
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--generate", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=16)
    arguments = parser.parse_args()
    gguf = quantized(arguments.gravure, running_model(arguments.folder, arguments.layers), arguments.folder, "q4_1")
    made = {kind: checkpoint(arguments.folder, kind, arguments.layers) for kind in SCHEMES}
    runs = {
        "MLX, groups of 64": lambda: ours(arguments, made["mlx"]),
        "GPTQ, groups of 128": lambda: ours(arguments, made["gptq"]),
        "Q4_1": lambda: ours(arguments, gguf),
    }
    if arguments.llama_bench:
        runs["Q4_1, llama.cpp"] = lambda: theirs(arguments, gguf)
    results = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            results[name].append(run())
    results["MLX, exact"] = [ours(arguments, made["mlx"], "--exact")]
    print("| | prefill t/s | decode t/s | load s | peak MiB |")
    print("|---|---|---|---|---|")
    for name, samples in results.items():
        median = lambda key: statistics.median(s[key] for s in samples)
        print(f"| {name} | {median('prefill'):.1f} | {median('decode'):.1f} | {median('load'):.2f} | {median('peak'):.0f} |")


if __name__ == "__main__":
    main()
