#!/usr/bin/env python3
"""llama.cpp's logits on the GGUFs that Gravure writes, against those of transformers.

    python tests/interop/logits.py --gravure PATH --tiny PATH --logits PATH --work FOLDER

For each fixture of tests/fixtures/logits (tokens, and what transformers computes for some positions in 32 bits) the tiny
model is made, converted to f32, and run by llama.cpp. Compared are positions inside the sliding window, where the models
have one and llama.cpp's ring cache or its own reading of the window is no part of the file. Bar: 2e-3 of the largest
logit, the error of the 16-bit tables and products in llama.cpp.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

BAR = 2e-3

# What a GGUF holds and llama.cpp does not follow; each has a neighbour that it does.
NOT_FOLLOWED = {
    "llama_yarn": "llama.cpp computes the factor of sines and cosines by itself, whatever the file says",
    "phi3_transformers4": "llama.cpp takes the long factors by the size of its context, transformers by the length of the text",
    "gemma2": "llama.cpp divides scores by the root of the head's length; GGUF has no key for another divisor",
    "gemma2_window": "llama.cpp divides scores by the root of the head's length; GGUF has no key for another divisor",
}


def window(folder):
    config = json.loads((folder / "config.json").read_text())
    return config.get("sliding_window") or 1 << 30


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gravure", "tiny", "logits"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    failed = compared = 0
    for path in sorted(Path("tests/fixtures/logits").glob("*.json")):
        fixture = json.loads(path.read_text())
        if path.stem in NOT_FOLLOWED:
            print(f"skipped {path.stem}: {NOT_FOLLOWED[path.stem]}")
            continue
        # Not named after the design: llama.cpp expects Phi-3's own tokens of a model with that word in its name.
        folder, model = arguments.work / "tiny", arguments.work / "tiny.gguf"
        shutil.rmtree(folder, ignore_errors=True)
        model.unlink(missing_ok=True)
        subprocess.run([arguments.tiny, fixture["design"], folder, json.dumps(fixture["options"])], check=True)
        subprocess.run([arguments.gravure, "-q", "convert", folder, "-o", model, "--dtype", "f32"], check=True)
        tokens, inside = fixture["tokens"], window(folder)
        # An encoder sees all tokens from every position.
        if fixture.get("token_types") and any(fixture["token_types"]):
            print(f"skipped {path.stem}: llama.cpp gives every token the first type")
            continue
        wanted = [(p, row) for p, row in zip(fixture["positions"], fixture["rows"]) if p < inside]
        command = [arguments.logits, model, " ".join(map(str, tokens)), " ".join(str(p) for p, _ in wanted)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            failed += 1
            print(f"FAILED  {path.stem}: llama.cpp does not run it: {result.stderr[-500:]}")
            continue
        worst = 0.0
        for (position, row), line in zip(wanted, result.stdout.splitlines(), strict=True):
            got = [float(v) for v in line.split()]
            scale = max(abs(v) for v in row)
            worst = max(worst, max(abs(a - b) for a, b in zip(got, row, strict=True)) / scale)
        compared += len(wanted)
        good = worst < BAR
        failed += not good
        print(f"{'ok     ' if good else 'FAILED '} {path.stem}: {worst:.1e} of the largest, {len(wanted)} positions")
    print(f"logits: {compared} positions compared, {failed} models failed")
    sys.exit(1 if failed or compared == 0 else 0)


if __name__ == "__main__":
    main()
