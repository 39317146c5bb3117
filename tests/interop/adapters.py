#!/usr/bin/env python3
"""llama.cpp with the adapters that Gravure writes, against the models into which the same adapters are merged.

    python tests/interop/adapters.py --gravure PATH --tiny PATH --perplexity PATH --work FOLDER

For each design a tiny model and a random low-rank adapter are made. The perplexity of a text under llama.cpp's base model
with `--lora` must be that of the model with the products added to its weights (within 1e-3, the error of the 16-bit
cache), another than the base's, and `gravure run` must take the file too. Needs numpy.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

# Name: (design, options of the adapter).
CASES = {
    "llama": ("llama", {}),
    "llama, output and embedding": ("llama", {"targets": ["lm_head", "q_proj"], "embedding": True}),
    "mistral": ("mistral", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "phi3": ("phi3", {}),
    "gemma2": ("gemma2", {}),
    "gemma3": ("gemma3", {}),
    "gpt2": ("gpt2", {}),
    "llama, rank-stabilized": ("llama", {"config": {"use_rslora": True}}),
}
# Long enough to tell the models apart, and within every tiny context.
CONTEXT = 64
TEXT = "The king went down to the river and asked an old fisherman whether the water would rise again before winter. " * 30


def read(path):
    """Tensors of a safetensors file of 32-bit floats, by name."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    out = {}
    for name, info in header.items():
        if name != "__metadata__":
            assert info["dtype"] == "F32", name
            start, end = info["data_offsets"]
            out[name] = np.frombuffer(data[8 + size + start : 8 + size + end], "<f4").reshape(info["shape"]).copy()
    return out


def write(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def merge(model, adapter):
    weights, pairs = read(model / "model.safetensors"), read(adapter / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text())
    for name, a in pairs.items():
        for end, other, turned in (("lora_A.weight", "lora_B.weight", False), ("lora_embedding_A", "lora_embedding_B", True)):
            if not name.endswith(end):
                continue
            module = name.removesuffix("." + end)
            weight = module.removeprefix("base_model.model.") + ".weight"
            rank = a.shape[0] ** 0.5 if config["use_rslora"] else a.shape[0]
            product = config["lora_alpha"] / rank * (pairs[f"{module}.{other}"] @ a)
            # GPT-2 stores its matrices with inputs as rows.
            turned = turned or any(part in weight for part in (".c_attn.", ".c_proj.", ".c_fc."))
            weights[weight] += product.T if turned else product
    write(model / "model.safetensors", weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gravure", "tiny", "perplexity"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--only", action="append", default=[], help="a case by its name; may be repeated")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    text = arguments.work / "text.txt"
    text.write_text(TEXT)

    def convert(source, target, *options):
        subprocess.run([arguments.gravure, "-q", "convert", source, "-o", target, "--dtype", "f32", *options], check=True)

    def perplexity(model, *options):
        command = [arguments.perplexity, "-m", model, "-f", text, "-c", str(CONTEXT), "-b", str(CONTEXT), "--no-warmup", "-t", "2", *options]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace")
        # One after each chunk, over all so far. The program may end before it has printed the last ones.
        found = {int(chunk): float(value) for chunk, value in re.findall(r"\[(\d+)\]([0-9]+\.[0-9]{4}),", done.stdout)}
        if done.returncode or not found:
            sys.exit(f"no perplexity of {model} {options}:\n{(done.stdout + done.stderr)[-3000:]}")
        return found

    failed = 0
    for name, (design, options) in CASES.items():
        if arguments.only and name not in arguments.only:
            continue
        # Not named after the design: llama.cpp expects Phi-3's own tokens of a model with that word in its name.
        base, merged, adapter = (arguments.work / part for part in ("tiny", "merged", "adapter"))
        for folder in (base, merged, adapter):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (base, merged):
            subprocess.run([arguments.tiny, design, folder, "{}"], check=True)
        subprocess.run([arguments.tiny, "--adapter", design, adapter, "{}", json.dumps(options)], check=True)
        merge(merged, adapter)
        files = [arguments.work / f"{part}.gguf" for part in ("tiny", "merged", "adapter")]
        convert(base, files[0])
        convert(merged, files[1])
        convert(adapter, files[2], "--base", base)
        runs = [perplexity(files[0]), perplexity(files[1]), perplexity(files[0], "--lora", files[2])]
        last = min(max(run) for run in runs)
        plain, expected, found = (run[last] for run in runs)
        good = abs(found / expected - 1) < 1e-3 and abs(plain - expected) > 100 * abs(found - expected) and plain != expected
        if not options.get("embedding"):
            command = [arguments.gravure, "-q", "run", files[0], "-p", "the king", "-n", "4", "--temp", "0", "--lora", files[2]]
            good &= subprocess.run(command, capture_output=True).returncode == 0
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}: perplexity {plain} alone, {found} with the adapter, {expected} merged", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
