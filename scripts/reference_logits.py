#!/usr/bin/env python3
"""Records the logits that transformers computes, in 32 bits, for tiny random models.

For each case below a tiny model is made by the `tiny_model` example of gravure-testing; transformers
runs it on a fixed text of tokens; tests/fixtures/logits/CASE.json holds the tokens and the logits
(hidden states for an encoder) of some positions.

    cargo build -p gravure-testing --example tiny_model
    python scripts/reference_logits.py [CASE ...]

Needs Python with torch and transformers. The environment variable TINY_MODEL names the built example
where it is not in target/debug/examples.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from reference_conversion import CASES, ROOT  # noqa: E402

# Longer than every window of the tiny models, shorter than most contexts; the phi3 cases go past the
# original context, so that the long factors count.
LENGTH = {"phi3": 140, "phi3_transformers4": 90}
# Windows that are no divisor of the cache's pages, left far behind: the text is several windows and several
# pages long.
WINDOWS = {
    "mistral_window": ("mistral", {"config": {"sliding_window": 70}}, 230),
    "phi3_window": ("phi3", {"config": {"sliding_window": 70}}, 230),
    "gemma2_window": ("gemma2", {"config": {"sliding_window": 70}}, 230),
    "gemma3_window": ("gemma3", {"layers": 7, "config": {"sliding_window": 70}}, 230),
}
SKIP = {"llama_bf16_shards", "qwen2_untied", "gemma2_f16", "gpt2_f16", "bert_labels"}


def tokens_of(length, vocabulary):
    """A fixed sequence: a linear congruential generator's upper bits."""
    state, out = 12345, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2**31
        out.append((state >> 8) % vocabulary)
    return out


def main():
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    tiny = os.environ.get("TINY_MODEL", str(ROOT / "target/debug/examples/tiny_model"))
    for case in sys.argv[1:] or [c for c in CASES if c not in SKIP] + list(WINDOWS):
        design, options = (WINDOWS.get(case) or CASES[case])[:2]
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run([tiny, design, scratch, json.dumps(options)], check=True)
            config = AutoConfig.from_pretrained(scratch)
            kind = AutoModel if design == "bert" else AutoModelForCausalLM
            model = kind.from_pretrained(scratch, dtype=torch.float32, attn_implementation="eager").eval()
            length = WINDOWS[case][2] if case in WINDOWS else LENGTH.get(case, 40)
            tokens = tokens_of(length, config.vocab_size)
            ones = 0 if case == "bert_one_type" else length - length // 2
            types = [0] * (length - ones) + [1] * ones
            extra = {"token_type_ids": torch.tensor([types])} if design == "bert" else {}
            with torch.no_grad():
                out = model(input_ids=torch.tensor([tokens]), use_cache=False, **extra) if design != "bert" else \
                    model(input_ids=torch.tensor([tokens]), **extra)
        rows = out.last_hidden_state[0] if design == "bert" else out.logits[0]
        positions = [0, 1, length // 2, length - 1]
        lines = [
            "{", f'"design": {json.dumps(design)},', f'"options": {json.dumps(options)},', f'"tokens": {tokens},',
        ]
        if design == "bert":
            lines.append(f'"token_types": {types},')
        lines.append(f'"positions": {positions},')
        lines.append('"rows": [')
        lines.append(",\n".join("[" + ", ".join(f"{v:.8g}" for v in rows[p].tolist()) + "]" for p in positions))
        lines.append("]\n}")
        (ROOT / "tests/fixtures/logits" / f"{case}.json").write_text("\n".join(lines) + "\n")
        print(f"{case}: {len(positions)} rows of {rows.shape[-1]}, largest {rows.abs().max():.3f}", flush=True)


if __name__ == "__main__":
    main()
