#!/usr/bin/env python3
"""Prefill and decode against llama-bench: tokens in a second, on the same file with the same threads.

Makes the model of `benches/quantize.py` (the shape of Llama-3.2-1B, random weights), quantizes it to each type, and
runs both programs on each file, alternately.

    pip install numpy gguf
    python benches/run.py --gravure target/release/gravure --llama-bench PATH --folder /big/disk \\
        --types q4_0,q4_k_m,q6_k,q8_0 [--threads 2] [--runs 3] [--prompt 512] [--generate 48] [--json out.json] \\
        [--openvino PYTHON] [--vocabulary GGUF]

Figures are medians over the runs of each program's own median or mean; ratios are gravure / peer. `share` is the part of
the memory bandwidth, as `gravure bench` measures it, that decoding reaches. Of types whose weights are points of lattices (iq1,
iq2, iq3) the matrices are random bits, the embeddings in q5_k.

The files have a tokenizer of 128,256 tokens, as the real model has: of random merges, or with `--vocabulary` that of another
GGUF. `benches/load.py` times loading. `--openvino` (a Python with openvino-genai) runs
the same GGUF by OpenVINO GenAI, the best of `--runs`; it reads q4_0, q4_k_m and q8_0.
"""

import argparse
import json
import statistics
import subprocess
from pathlib import Path

from measure import output
from quantize import quantized, random_blocks, running_model

# Run by the Python of --openvino: a GGUF's prefill and decode as JSON.
OPENVINO = """
import json, sys
import numpy, openvino, openvino_genai
model, (threads, prompt, generate, runs) = sys.argv[1], map(int, sys.argv[2:])
pipe = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
random = numpy.random.default_rng(0)
config = openvino_genai.GenerationConfig(max_new_tokens=generate + 1, ignore_eos=True, do_sample=False)
best = {"prefill": 0.0, "decode": 0.0}
for _ in range(runs + 1):
    # Another prompt each time: it keeps keys and values of what it has seen.
    ids = openvino.Tensor(random.integers(0, 100000, (1, prompt)))
    metrics = pipe.generate(ids, config).perf_metrics
    best["prefill"] = max(best["prefill"], prompt / metrics.get_ttft().mean * 1e3)
    best["decode"] = max(best["decode"], 1e3 / metrics.get_tpot().mean)
print(json.dumps(best))
"""


def ours(arguments, model):
    command = [arguments.gravure, "bench", model, "--json", "-q", "-t", arguments.threads, "-p", arguments.prompt, "-n", arguments.generate, "-r", 2]
    report = json.loads(output(command))
    return {
        "prefill": report["prefill"]["tokens_per_second"]["median"],
        "decode": report["decode"]["tokens_per_second"]["median"],
        "share": report["bandwidth_share"],
        "bandwidth": report["read_bandwidth"],
        "load": report["load_seconds"],
        "rss": report["peak_resident_bytes"],
        "weights": report["weight_bytes"],
        "file": model.stat().st_size,
        "kernels": report["kernels"],
    }


def peer(arguments, model):
    command = [arguments.llama_bench, "-m", model, "-t", arguments.threads, "-p", arguments.prompt, "-n", arguments.generate, "-r", 2, "-o", "json"]
    tests = json.loads(output(command))
    return {
        "prefill": next(t["avg_ts"] for t in tests if t["n_prompt"] > 0),
        "decode": next(t["avg_ts"] for t in tests if t["n_gen"] > 0),
    }


def openvino(arguments, model):
    numbers = [str(n) for n in (arguments.threads, arguments.prompt, arguments.generate, arguments.runs)]
    result = subprocess.run([arguments.openvino, "-c", OPENVINO, str(model), *numbers], capture_output=True, text=True)
    return json.loads(result.stdout.splitlines()[-1]) if result.returncode == 0 else None


def median(samples, key):
    return statistics.median(s[key] for s in samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--openvino")
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--types", default="q4_0,q4_k_m,q6_k,q8_0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=48)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    lattices = [kind for kind in arguments.types.split(",") if kind.startswith(("iq1", "iq2", "iq3"))]
    source = None
    if len(lattices) < len(arguments.types.split(",")):
        source = running_model(arguments.folder, arguments.layers, arguments.vocabulary)
    results = {}
    for kind in arguments.types.split(","):
        if kind in lattices:
            model = random_blocks(arguments.folder, arguments.layers, kind)
        else:
            model = quantized(arguments.gravure, source, arguments.folder, kind)
        ours_runs, peer_runs = [], []
        for _ in range(arguments.runs):
            peer_runs.append(peer(arguments, model))
            ours_runs.append(ours(arguments, model))
        results[kind] = {
            "gravure": {k: ours_runs[0][k] if k == "kernels" else median(ours_runs, k) for k in ours_runs[0]},
            "llama-bench": {k: median(peer_runs, k) for k in peer_runs[0]},
        }
        if arguments.openvino:
            results[kind]["openvino"] = openvino(arguments, model)
    print("| type | prefill t/s: llama-bench | gravure | ratio | decode t/s: llama-bench | gravure | ratio | share of bandwidth | load s | peak MiB | beside the file MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for kind, result in results.items():
        a, b = result["gravure"], result["llama-bench"]
        print(
            f"| {kind} | {b['prefill']:.1f} | {a['prefill']:.1f} | {a['prefill'] / b['prefill']:.2f} | {b['decode']:.2f} | {a['decode']:.2f} "
            f"| {a['decode'] / b['decode']:.2f} | {100 * a['share']:.0f} % | {a['load']:.2f} | {a['rss'] / 2**20:.0f} | {(a['rss'] - a['file']) / 2**20:.0f} |"
        )
    if arguments.openvino:
        print("\n| type | OpenVINO GenAI: prefill t/s | decode t/s |\n|---|---|---|")
        for kind, result in results.items():
            o = result["openvino"]
            print(f"| {kind} | {o['prefill']:.1f} | {o['decode']:.2f} |" if o else f"| {kind} | not read | |")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
