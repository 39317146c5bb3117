#!/usr/bin/env python3
"""Perplexity, divergence and importance matrices against llama-perplexity and llama-imatrix.

    python tests/interop/evaluation.py --gravure PATH --peers FOLDER --work FOLDER [--full] [--types q4_0,..]

On the bundled model and the end of its evaluation text. Bars: perplexity within 0.1 %, mean divergence within
`--divergence` (default 2 %) where the encoding's own error is well above that of 8-bit activations, importance within
1e-3, llama-quantize accepts the matrix and gives the same bytes with ours as with its own within rounding.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from checks import check, finish
from gguf import GGUFReader

sys.path.insert(0, str(Path(__file__).parents[2] / "benches"))
from measure import figures  # noqa: E402
from measure import output as run  # noqa: E402

MODEL = Path("models/gravure-tiny")
QUICK = ["f16", "q8_0", "q4_0", "q4_k_m", "q6_k", "q2_k", "iq4_xs", "iq2_xs"]
FULL = QUICK + [
    "f32", "bf16", "q4_1", "q5_0", "q5_1", "q3_k_m", "q5_k_m", "iq4_nl", "iq3_s", "iq3_xxs", "iq2_s", "iq2_xxs", "iq1_s", "iq1_m",
    "tq1_0", "tq2_0", "mxfp4_moe", "q1_0", "q2_0", "nvfp4",
]
# What no mixture has as its own: layers in it, the rest in eight bits.
WITHIN = {"nvfp4": ["--type", "q8_0", "--tensor-type", "blk=nvfp4"]}
# Without an importance matrix llama-quantize refuses these.
NEED_IMPORTANCE = {"iq3_xxs", "iq2_xs", "iq2_xxs", "iq2_s", "iq1_s", "iq1_m"}


def importance(path):
    tensors = {t.name: np.array(t.data, dtype=np.float64) for t in GGUFReader(path).tensors}
    names = {n.removesuffix(".in_sum2") for n in tensors if n.endswith(".in_sum2")}
    return {n: (tensors[f"{n}.in_sum2"].ravel(), tensors[f"{n}.counts"].ravel()) for n in names}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--peers", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--bytes", type=int, default=150_000)
    parser.add_argument("--divergence", type=float, default=0.02)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--types", help="these alone, with commas between them")
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    text = work / "text.txt"
    text.write_bytes((MODEL / "eval.txt").read_bytes()[-arguments.bytes :])
    calibration = work / "calibration.txt"
    calibration.write_bytes((MODEL / "eval.txt").read_bytes()[: arguments.bytes])
    gravure = lambda *rest: run([arguments.gravure, "-q", *rest])
    perplexity = arguments.peers / "llama-perplexity"

    # Importance: the f32 file is the same for both.
    original = work / "original.gguf"
    gravure("convert", MODEL, "-o", original, "--dtype", "f32")
    own, theirs = work / "own.imatrix.gguf", work / "theirs.imatrix.gguf"
    gravure("calibrate", original, "--data", calibration, "-o", own, "--exact", "--cache-type", "f32")
    run([arguments.peers / "llama-imatrix", "-m", original, "-f", calibration, "-o", theirs, "-c", 512, "-t", 2, "--no-ppl", "-ctk", "f32", "-ctv", "f32"])
    a, b = importance(own), importance(theirs)
    check(a.keys() == b.keys(), f"importance of the same {len(b)} tensors")
    worst = 0.0
    for name in a.keys() & b.keys():
        mean_a, mean_b = a[name][0] / a[name][1], b[name][0] / b[name][1]
        worst = max(worst, float(np.max(np.abs(mean_a - mean_b) / np.maximum(mean_b, mean_b.mean() * 1e-3))))
    check(all(np.array_equal(a[n][1], b[n][1]) for n in a.keys() & b.keys()), "importance of as many rows")
    check(worst < 1e-3, f"importance within {worst:.2e} of llama-imatrix's")
    run([arguments.peers / "llama-quantize", "--imatrix", own, original, work / "with-ours.gguf", "iq2_xs", 2])
    check(True, "llama-quantize accepts the importance matrix")

    base = work / "base.dat"
    [reference] = figures([perplexity, "-m", original, "-f", text, "-c", 512, "-t", 2, "--kl-divergence-base", base], r"Final estimate: PPL = ([0-9.]+)")
    for kind in arguments.types.split(",") if arguments.types else FULL if arguments.full else QUICK:
        model = work / f"{kind}.gguf"
        imatrix = ["--imatrix", theirs] if kind in NEED_IMPORTANCE else []
        if kind in ("f32", "f16", "bf16"):
            gravure("convert", MODEL, "-o", model, "--dtype", kind)
        else:
            gravure("quantize", MODEL, *WITHIN.get(kind, ["--type", kind]), "-o", model, *imatrix)
        ours = json.loads(run([arguments.gravure, "-q", "eval", model, "--data", text, "--reference", original, "--json"]))
        command = [perplexity, "-m", model, "-f", text, "-c", 512, "-t", 2, "--kl-divergence-base", base, "--kl-divergence"]
        # A divergence of nothing can be below zero.
        ppl, kld, top = figures(command, r"Mean PPL\(Q\)\s*:\s*([0-9.]+)", r"Mean    KLD:\s*(-?[0-9.]+)", r"Same top p:\s*([0-9.]+)")
        own_ppl, own_kld = ours["perplexity"]["value"], ours["kl_divergence"]["value"]
        # Figures of the peer have four or six decimals.
        check(abs(own_ppl / ppl - 1) < 1e-3, f"{kind}: perplexity {own_ppl:.4f}, {ppl:.4f} there ({100 * (own_ppl / ppl - 1):+.3f} %)")
        line = f"{kind}: divergence {own_kld:.6f}, {kld:.6f} there; top-1 {100 * ours['top1_agreement']['value']:.2f} %, {top:.2f} % there"
        check(abs(own_kld - kld) <= arguments.divergence * abs(kld) + 3e-4, line)
        if kind == "f16":
            own_reference = ours["reference_perplexity"]["value"]
            check(abs(own_reference / reference - 1) < 1e-3, f"original: perplexity {own_reference:.4f}, {reference:.4f} there")
    finish("evaluation")


if __name__ == "__main__":
    main()
