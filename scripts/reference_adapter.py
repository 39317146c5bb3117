#!/usr/bin/env python3
"""Records what llama.cpp's own converter makes of random low-rank adapters of the tiny models.

As scripts/reference_conversion.py, with convert_lora_to_gguf.py: for each case a tiny model and an adapter of it are made
by the `tiny_model` example of gravure-testing, the converter makes a GGUF of the adapter in each type, and a JSON file in
tests/fixtures/adapters/ says what came out. The folders are called `base` and `Tiny-7M-chat-lora`, of which the converter
makes names.

    cargo build -p gravure-testing --example tiny_model
    python scripts/reference_adapter.py LLAMA_CPP [CASE ...]

No case for GPT-2: the converter turns its factors as it turns the weights, which PEFT does not store that way, so that
llama.cpp refuses to load what comes out. None for `invocation_string`: the converter looks for the tokenizer at the name
that the base's configuration gives.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from reference_conversion import ROOT, record

TYPES = ["f32", "f16", "bf16", "q8_0"]
# Name of a case: (design, options of the model, options of the adapter).
CASES = {
    "llama": ("llama", {}, {}),
    "llama_wide": ("llama", {"wide": True, "dtype": "bf16"}, {"dtype": "bf16", "rank": 32, "alpha": 16.5}),
    "llama_attention": ("llama", {"layers": 12}, {"targets": ["q_proj", "v_proj"], "dtype": "f16", "rank": 2}),
    "llama_output": ("llama", {}, {"targets": ["lm_head", "o_proj"]}),
    "llama_embedding": ("llama", {}, {"embedding": True, "gains": True}),
    "llama_activated": ("llama", {}, {"targets": ["q_proj"], "config": {"alora_invocation_tokens": [7, 8, 300]}}),
    "mistral": ("mistral", {}, {"dtype": "bf16"}),
    "qwen2": ("qwen2", {}, {"rank": 8}),
    "qwen3": ("qwen3", {}, {}),
    "phi3": ("phi3", {}, {}),
    "gemma2": ("gemma2", {}, {"gains": True}),
    "gemma2_f16": ("gemma2", {}, {"gains": True, "dtype": "f16"}),
    "gemma3": ("gemma3", {}, {}),
    "bert": ("bert", {}, {}),
}


def convert(llama_cpp, base, folder, outtype, target):
    command = [sys.executable, str(llama_cpp / "convert_lora_to_gguf.py"), str(folder), "--base", str(base), "--outtype", outtype,
               "--outfile", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the converter failed on {folder}:\n{done.stderr[-4000:]}")


def main():
    llama_cpp = Path(sys.argv[1]).resolve()
    wanted = sys.argv[2:] or list(CASES)
    sys.path.insert(0, str(llama_cpp / "gguf-py"))
    import gguf

    tiny = os.environ.get("TINY_MODEL", str(ROOT / "target/debug/examples/tiny_model"))
    for case in wanted:
        design, model, adapter = CASES[case]
        out = {}
        with tempfile.TemporaryDirectory() as scratch:
            base, folder = Path(scratch) / "base", Path(scratch) / "Tiny-7M-chat-lora"
            subprocess.run([tiny, design, str(base), json.dumps(model)], check=True)
            subprocess.run([tiny, "--adapter", design, str(folder), json.dumps(model), json.dumps(adapter)], check=True)
            for outtype in TYPES:
                target = Path(scratch) / f"{outtype}.gguf"
                convert(llama_cpp, base, folder, outtype, target)
                out[outtype] = record(target, gguf)
        lines = ["{", f'"design": {json.dumps(design)},', f'"model": {json.dumps(model)},', f'"adapter": {json.dumps(adapter)},']
        for outtype in TYPES:
            lines.append(f'"{outtype}": {{')
            for part in ["metadata", "tensors"]:
                entries = ",\n".join(json.dumps(e, ensure_ascii=False) for e in out[outtype][part])
                lines.append(f'"{part}": [\n{entries}\n]' + ("," if part == "metadata" else ""))
            lines.append("}" + ("," if outtype != TYPES[-1] else ""))
        lines.append("}")
        target = ROOT / "tests/fixtures/adapters" / f"{case}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{case}: {len(out['f32']['metadata'])} keys, {len(out['f32']['tensors'])} tensors", flush=True)


if __name__ == "__main__":
    main()
