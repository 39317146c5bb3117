#!/usr/bin/env python3
"""Time and memory of `gravure optimize` for a model of a billion weights, stage by stage.

Takes the model of `benches/run.py` (the shape of Llama-3.2-1B, random weights, f16), or `--model`, and makes it `--bits` for each
weight. Memory is the most that the process has had resident by the end of each stage, as its report says.

    pip install numpy gguf
    python benches/optimize_large.py --gravure target/release/gravure --folder /big/disk [--bits 4.5] [--method rtn] [--threads 2]

Bars: up to the artifact 15 minutes and 2 GB. Exit status 1 where one is missed.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from measure import output
from quantize import running_model

# The last stage before the artifact is measured.
MADE = "quantize"
SECONDS, BYTES = 15 * 60, 2e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--bits", type=float, default=4.5)
    parser.add_argument("--method", default="rtn")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eval-chunks", type=int, default=4)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--evaluation", type=Path)
    arguments = parser.parse_args()
    source = arguments.model or running_model(arguments.folder, arguments.layers)
    out = arguments.folder / "optimized-large"
    shutil.rmtree(out, ignore_errors=True)
    command = [arguments.gravure, "-q", "optimize", source, "-o", out, "--bits-per-weight", arguments.bits, "--method", arguments.method]
    command += ["--eval-chunks", arguments.eval_chunks, "--no-gates", "-t", arguments.threads]
    for option, text in [("--calibration-data", arguments.calibration), ("--eval-data", arguments.evaluation)]:
        command += [option, text] if text else []
    output(command)
    report = json.loads((out / "report.json").read_text())
    seconds, peak, made = 0.0, 0, False
    print("| stage | seconds | memory by its end, MB |\n|---|---|---|")
    for stage in report["stages"]:
        print(f"| {stage['name']} | {stage['seconds']:.0f} | {stage['peak_resident_bytes'] / 1e6:.0f} |")
        if not made:
            seconds, peak = seconds + stage["seconds"], stage["peak_resident_bytes"]
        made |= stage["name"] == MADE
    divergence = report["evaluation"]["kl_divergence"]["value"]
    print(f"\n{seconds:.0f} s and {peak / 1e6:.0f} MB up to the artifact, of {report['evaluation']['bits_per_weight']:.3f} bits for each weight;")
    print(f"divergence predicted {report['predicted_kl_divergence']:.4f}, measured {divergence:.4f}")
    sys.exit(seconds > SECONDS or peak > BYTES)


if __name__ == "__main__":
    main()
