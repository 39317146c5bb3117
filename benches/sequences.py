#!/usr/bin/env python3
"""Several sequences at once against llama-batched-bench: tokens in a second of all together, on the same file with the same
threads.

    python benches/sequences.py --gravure target/release/gravure --llama-batched-bench PATH --model GGUF \\
        [--parallel 1,2,4,8,16] [--threads 2] [--prompt 128] [--generate 32] [--runs 2] [--json out.json]

Each sequence has a prompt of its own. Programs take turns; figures are medians over the runs.
"""

import argparse
import json
import statistics
from pathlib import Path

from measure import output


def ours(arguments):
    command = [arguments.gravure, "bench", arguments.model, "--json", "-q", "-t", arguments.threads, "-p", arguments.prompt]
    report = json.loads(output(command + ["-n", arguments.generate, "-r", 1, "--parallel", arguments.parallel]))
    median = lambda row, phase: row[phase]["tokens_per_second"]["median"]
    return {row["sequences"]: {phase: median(row, phase) for phase in ("prefill", "decode")} for row in report["scaling"]}


def peer(arguments):
    most = max(int(n) for n in arguments.parallel.split(","))
    context = most * (arguments.prompt + arguments.generate)
    command = [arguments.llama_batched_bench, "-m", arguments.model, "-t", arguments.threads, "-c", context, "-npp", arguments.prompt]
    lines = output(command + ["-ntg", arguments.generate, "-npl", arguments.parallel, "--output-format", "jsonl"]).splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    return {row["pl"]: {"prefill": row["speed_pp"], "decode": row["speed_tg"]} for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--llama-batched-bench", required=True)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--parallel", default="1,2,4,8,16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    peers, own = [], []
    for _ in range(arguments.runs):
        peers.append(peer(arguments))
        own.append(ours(arguments))
    results = {}
    print("| sequences | prefill t/s: llama.cpp | gravure | ratio | decode t/s: llama.cpp | gravure | ratio |")
    print("|---|---|---|---|---|---|---|")
    for count in (int(n) for n in arguments.parallel.split(",")):
        median = lambda runs, phase: statistics.median(run[count][phase] for run in runs)
        row = {phase: (median(peers, phase), median(own, phase)) for phase in ("prefill", "decode")}
        results[count] = {phase: {"llama-batched-bench": a, "gravure": b} for phase, (a, b) in row.items()}
        (pa, pb), (da, db) = row["prefill"], row["decode"]
        print(f"| {count} | {pa:.1f} | {pb:.1f} | {pb / pa:.2f} | {da:.1f} | {db:.1f} | {db / da:.2f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
