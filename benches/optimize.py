#!/usr/bin/env python3
"""`gravure optimize` against llama.cpp's mixtures at their exact size, by llama-perplexity and by the native engine.

    python benches/optimize.py --gravure target/release/gravure --peers FOLDER_OF_LLAMA_TOOLS --folder /big/disk \\
        [--mixtures Q2_K,Q3_K_M,Q4_K_M,Q5_K_M,Q6_K] [--source models/gravure-tiny] [--calibration FILE] [--evaluation FILE] \\
        [--method descent] [--json out.json] [--markdown out.md]

The mixture is llama-quantize's with llama-imatrix's importance. The plan has at most the bytes that the mixture's tensors
have together. Both were shown the first 300,000 bytes of the calibration text and are evaluated on the last 150,000 of
the evaluation text, in windows of 512 tokens.
"""

import argparse
import json
import time
from pathlib import Path

from gguf import GGUFReader

from measure import figures
from measure import output as run


def tensor_bytes(path):
    return sum(int(t.n_bytes) for t in GGUFReader(path).tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--peers", required=True, type=Path)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--source", default=Path("models/gravure-tiny"), type=Path)
    parser.add_argument("--calibration", default=Path("models/gravure-tiny/eval.txt"), type=Path)
    parser.add_argument("--evaluation", default=Path("models/gravure-tiny/eval.txt"), type=Path)
    parser.add_argument("--mixtures", default="Q2_K,Q3_K_M,Q4_K_M,Q5_K_M,Q6_K")
    parser.add_argument("--method")
    parser.add_argument("--bytes", type=int, default=150_000, help="of the evaluation text, its end")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    seen, unseen = folder / "seen.txt", folder / "unseen.txt"
    seen.write_bytes(arguments.calibration.read_bytes()[:300_000])
    unseen.write_bytes(arguments.evaluation.read_bytes()[-arguments.bytes :])
    original, importance, logits = folder / "original.gguf", folder / "imatrix.gguf", folder / "logits.dat"
    run([arguments.gravure, "-q", "convert", arguments.source, "--dtype", "f16", "-o", original])
    run([arguments.peers / "llama-imatrix", "-m", original, "-f", seen, "-o", importance, "-c", 512, "--no-ppl", "--process-output"])
    perplexity = arguments.peers / "llama-perplexity"
    run([perplexity, "-m", original, "-f", unseen, "-c", 512, "--kl-divergence-base", logits])

    def judged(model):
        command = [perplexity, "-m", model, "-c", 512, "--kl-divergence-base", logits, "--kl-divergence"]
        patterns = [r"Mean\s+KLD:\s+(-?[\d.]+)", r"Mean PPL\(Q\)\s*:\s+([\d.]+)", r"Mean PPL\(Q\)-PPL\(base\)\s*:\s+-?[\d.]+ ±\s+([\d.]+)"]
        divergence, of_model, paired_error = figures(command, *patterns)
        native = json.loads(
            run([arguments.gravure, "-q", "eval", model, "--reference", original, "--data", unseen, "--metrics", "ppl,kld,top1", "--json"])
        )
        return {
            "kld": divergence,
            "perplexity": of_model,
            "perplexity_error": paired_error,
            "native_kld": native["kl_divergence"]["value"],
            "bytes": tensor_bytes(model),
        }

    rows = []
    for mixture in arguments.mixtures.split(","):
        fixed, out = folder / f"{mixture}.gguf", folder / "out"
        run([arguments.peers / "llama-quantize", "--imatrix", importance, original, fixed, mixture])
        theirs = judged(fixed)
        command = [arguments.gravure, "-q", "optimize", arguments.source, "--max-tensor-bytes", f"{theirs['bytes']}B", "-o", out]
        command += ["--calibration-data", seen, "--eval-data", unseen, "--no-gates"]
        if arguments.method:
            command += ["--method", arguments.method]
        start = time.monotonic()
        run(command)
        report = json.loads((out / "report.json").read_text())
        ours = judged(out / "model.gguf") | {"seconds": time.monotonic() - start, "predicted_kld": report["predicted_kl_divergence"]}
        ours["less"] = 1 - ours["kld"] / theirs["kld"]
        worse = (ours["perplexity"] - theirs["perplexity"]) / max(ours["perplexity_error"], 1e-9)
        rows.append({"mixture": mixture, "theirs": theirs, "ours": ours})
        print(
            f"{mixture:7} {theirs['bytes']} bytes, ours {ours['bytes']} ({ours['bytes'] / theirs['bytes'] - 1:+.3%});"
            f" KLD {theirs['kld']:.5f} -> {ours['kld']:.5f} ({100 * ours['less']:.1f} % less;"
            f" native {theirs['native_kld']:.5f} -> {ours['native_kld']:.5f});"
            f" ppl {theirs['perplexity']:.3f} -> {ours['perplexity']:.3f} ({worse:+.1f} paired errors);"
            f" KLD predicted {ours['predicted_kld']:.5f}; {ours['seconds']:.0f} s",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.markdown:
        lines = ["| size of | tensor bytes | llama-quantize | gravure | less | perplexity | by the native engine |", "|---|---|---|---|---|---|---|"]
        for row in rows:
            theirs, ours = row["theirs"], row["ours"]
            lines.append(
                f"| {row['mixture']} | {theirs['bytes']:,} | {theirs['kld']:.5f} | {ours['kld']:.5f} | {100 * ours['less']:.0f} %"
                f" | {theirs['perplexity']:.2f} / {ours['perplexity']:.2f} | {theirs['native_kld']:.5f} / {ours['native_kld']:.5f} |"
            )
        arguments.markdown.write_text("\n".join(lines) + "\n")


main()
