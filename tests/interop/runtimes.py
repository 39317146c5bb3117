#!/usr/bin/env python3
"""Artifacts in llama.cpp's Python package, as `--runtime llama.cpp` and `optimize` run it, against llama.cpp's own tools.

    tests/interop/runtimes.py --gravure PATH --peers FOLDER --work FOLDER

The interpreter that runs this one has the package. Perplexity and divergence come from the same library as
llama-perplexity's, so they differ by its 16-bit store of logits alone.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from checks import check, finish

sys.path.insert(0, str(Path(__file__).parents[2] / "benches"))
from measure import figures  # noqa: E402

MODEL = Path("models/gravure-tiny")
THERE = ["--runtime", "llama.cpp"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--peers", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    whole = (MODEL / "eval.txt").read_bytes()
    text, seen = work / "text.txt", work / "seen.txt"
    text.write_bytes(whole[-40_000:])
    seen.write_bytes(whole[:40_000])

    def gravure(*words, python=sys.executable, expected=0):
        environment = {**os.environ, "GRAVURE_PYTHON": str(python)}
        done = subprocess.run([arguments.gravure, *map(str, words)], capture_output=True, text=True, errors="replace", env=environment)
        if done.returncode != expected:
            sys.exit(f"{words} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout, done.stderr

    def answer(*words, **rest):
        return json.loads(gravure("-q", "--json", *words, **rest)[0])

    found = {c["name"]: c for c in answer("doctor")["checks"]}
    check(found["runtime llama.cpp"]["found"].startswith("llama-cpp-python 0."), found["runtime llama.cpp"]["found"])

    original, base = work / "original.gguf", work / "base.dat"
    gravure("-q", "convert", MODEL, "-o", original, "--dtype", "f16")
    perplexity = [arguments.peers / "llama-perplexity", "-f", text, "-c", 512, "-t", 2, "--kl-divergence-base", base]
    figures([*perplexity, "-m", original], r"Final estimate: PPL = ([0-9.]+)")
    for kind in ("q4_k_m", "q8_0", "iq4_xs", "q2_k"):
        model = work / f"{kind}.gguf"
        gravure("-q", "quantize", MODEL, "--type", kind, "-o", model)
        against = ["--data", text, "--reference", original]
        both = answer("eval", model, *against, *THERE, "--reference-runtime", "llama.cpp")
        ppl, kld, top = figures([*perplexity, "-m", model, "--kl-divergence"], r"Mean PPL\(Q\)\s*:\s*([0-9.]+)", r"Mean    KLD:\s*(-?[0-9.]+)", r"Same top p:\s*([0-9.]+)")
        own, divergence = both["perplexity"]["value"], both["kl_divergence"]["value"]
        check(both["runtime"] == both["reference_runtime"] == "llama.cpp", f"{kind}: both ran there")
        check(abs(own / ppl - 1) < 1e-4, f"{kind}: perplexity {own:.4f} in the package, {ppl:.4f} by llama-perplexity")
        check(abs(divergence - kld) < 0.01 * kld + 2e-5, f"{kind}: divergence {divergence:.6f} in the package, {kld:.6f} by llama-perplexity")
        check(abs(both["top1_agreement"]["value"] * 100 - top) < 0.2, f"{kind}: agreement {both['top1_agreement']['value']:.4f}, {top:.2f} %")
        there = answer("eval", model, *against, *THERE)
        here = answer("eval", model, *against)
        near = abs(there["kl_divergence"]["value"] - here["kl_divergence"]["value"])
        check(near < 0.02 * here["kl_divergence"]["value"] + 3e-4, f"{kind}: {here['kl_divergence']['value']:.6f} in the native engine")

    model = work / "q8_0.gguf"
    for cache in ("f32", "q8_0"):
        kept = answer("eval", model, "--data", text, "--chunks", 4, *THERE, "--cache-type", cache)
        check(10 < kept["perplexity"]["value"] < 1000, f"keys and values in {cache}: perplexity {kept['perplexity']['value']:.3f}")
    words = ["run", original, "-p", "The king of England", "-n", 24, "--temp", 0]
    here, there, guessed = (answer(*words, *more)["tokens"] for more in ([], THERE, [*THERE, "--lookup"]))
    check(len(here) == 24 and here == there, "24 greedy tokens are the native engine's")
    check(there == guessed, "and they are the same where tokens are guessed, and sequences cut back")
    timed = answer("bench", model, "-p", 64, "-n", 8, "--parallel", "1,4", "--depth", "0,128", *THERE)
    check(len(timed["scaling"]) == 4 and timed["peak_resident_bytes"] > 5e6, "several sequences and depths are timed there")
    gravure("embed", model, "-p", "text", expected=69)
    refused = gravure("eval", MODEL, "--data", text, *THERE, expected=69)[1]
    check("reads gguf" in refused, "a Hugging Face folder is refused by name")

    # The whole job: the artifact is measured where it will run, and a promise holds there, too.
    made = ["optimize", MODEL, "--max-size", "5MB", "--max-kld", 0.02, "--target", "raspberry-pi-5", "--calibration-data", seen, "--eval-data", text, "--method", "rtn"]
    few = ["--calibration-chunks", 16, "--eval-chunks", 8, "--no-gates", "-o", work / "optimized"]
    report = answer(*made, *few)
    row = {r["runtime"]: r for r in report["runtimes"]}["llama.cpp"]
    check(row["standing"] == "measured" and row["planned_for"], f"the artifact was measured in {row['found'][:30]}")
    held = [p for p in report["promises"] if p["subject"] == "KL divergence in llama.cpp"]
    check(len(held) == 1 and held[0]["met"] and held[0]["found"] <= 0.02, "what was promised holds in llama.cpp")
    again = answer("eval", work / "optimized/model.gguf", "--data", text, "--chunks", 8, "--reference", MODEL, *THERE)
    same = abs(again["kl_divergence"]["value"] / row["evaluation"]["kl_divergence"]["value"] - 1)
    check(same < 1e-3, f"and what was reported is measured again within {same:.1e}")
    page = (work / "optimized/report.html").read_text(encoding="utf-8")
    check("In each runtime" in page and "llama-cpp-python 0." in page, "the page says so")

    absent = answer(*made, *few, python="/nowhere/python3")
    row = {r["runtime"]: r for r in absent["runtimes"]}["llama.cpp"]
    check(row["standing"] == "missing" and "pip install" in row["note"], f"without it: {row['note'][:60]}")
    check(absent["artifact"]["files"][0]["sha256"] == report["artifact"]["files"][0]["sha256"], "and the artifact is the same")

    finish("runtimes")


if __name__ == "__main__":
    main()
