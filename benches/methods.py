#!/usr/bin/env python3
"""What each method is worth: divergence and perplexity of the bundled model with all its linear maps in one encoding.

    python benches/methods.py --gravure target/release/gravure --folder /big/disk \\
        [--encodings q4_k,iq4_xs,...] [--methods rtn,hqq,...] [--source models/gravure-tiny] [--markdown out.md] [--json out.json]

Embedding and output matrix stay as they are. Calibrated on the first 300,000 bytes of `--calibration` (the model's own
eval.txt), evaluated on the last 150,000 of `--evaluation` (the same file; they do not overlap), by the native engine with inputs of matrices in 32 bits.
Every method sees the same importance and the same text. `+in-turn` behind a method rounds layer by layer, each for the
inputs that the rounded ones before it give; `+awq` and `+rotate` change the weights first.
"""

import argparse
import json
import time
from pathlib import Path

from measure import output as run

ENCODINGS = "q6_k,q4_k,iq4_xs,q3_k,iq3_s,q2_k,iq2_xs"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--source", default=Path("models/gravure-tiny"), type=Path)
    parser.add_argument("--calibration", default=Path("models/gravure-tiny/eval.txt"), type=Path)
    parser.add_argument("--evaluation", default=Path("models/gravure-tiny/eval.txt"), type=Path)
    parser.add_argument("--encodings", default=ENCODINGS)
    parser.add_argument("--methods", default="rtn,hqq,scale-estimation,gptq,gptq+in-turn,descent,descent+in-turn")
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    seen, unseen = folder / "seen.txt", folder / "unseen.txt"
    seen.write_bytes(arguments.calibration.read_bytes()[:300_000])
    unseen.write_bytes(arguments.evaluation.read_bytes()[-150_000:])
    importance, artifact = folder / "imatrix.gguf", folder / "model.gguf"
    run([arguments.gravure, "-q", "calibrate", arguments.source, "--data", seen, "--chunks", 128, "-o", importance])
    rows = []
    for encoding in arguments.encodings.split(","):
        for method in arguments.methods.split(","):
            rounding, *more = method.split("+")
            command = [arguments.gravure, "-q", "quantize", arguments.source, "-T", encoding, "--pure", "--method", rounding]
            command += ["--token-embedding-type", "f16", "--output-tensor-type", "f16"]
            if "in-turn" in more:
                command.append("--in-turn")
            passes = [p for p in more if p != "in-turn"]
            # Behind a pass the inputs are others: importance is measured again on the same windows.
            command += ["--pass", ",".join(passes)] if passes else ["--imatrix", importance]
            command += ["--calibration-data", seen, "-o", artifact]
            start = time.monotonic()
            run(command)
            seconds = time.monotonic() - start
            command = [arguments.gravure, "-q", "eval", artifact, "--reference", arguments.source, "--data", unseen, "--json"]
            scores = json.loads(run([*command, "--exact", "--chunks", arguments.chunks]))
            row = {
                "encoding": encoding,
                "method": method,
                "kld": scores["kl_divergence"]["value"],
                "kld_error": scores["kl_divergence"]["stderr"],
                "perplexity": scores["perplexity"]["value"],
                "top1": scores["top1_agreement"]["value"],
                "seconds": seconds,
            }
            rows.append(row)
            first = next(r["kld"] for r in rows if r["encoding"] == encoding)
            row["less"] = 1 - row["kld"] / first
            print(
                f"{encoding:8} {method:24} {row['kld']:.5f} ±{row['kld_error']:.5f} {100 * row['less']:5.1f} % less"
                f"  ppl {row['perplexity']:.3f}  top1 {100 * row['top1']:.2f} %  {seconds:.1f} s",
                flush=True,
            )
            artifact.unlink()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.markdown:
        methods = arguments.methods.split(",")
        lines = ["| encoding | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
        for encoding in arguments.encodings.split(","):
            cells = []
            for method in methods:
                row = next(r for r in rows if (r["encoding"], r["method"]) == (encoding, method))
                share = "" if method == methods[0] else f" ({-100 * row['less']:+.0f} %)"
                cells.append(f"{row['kld']:.5f}{share} / {row['perplexity']:.2f}")
            lines.append(f"| {encoding} | " + " | ".join(cells) + " |")
        arguments.markdown.write_text("\n".join(lines) + "\n")


main()
