#!/usr/bin/env python3
"""A certified Hugging Face folder, read by the `safetensors` package, and its certificate computed again by other code.

    safetensors_reader.py FOLDER

The package must open the weights; the metadata must hold the certificate; its seal and the digests of tensors and plan are
computed here from what the package read. Where `transformers` is installed it loads the folder, too, and continues a text.
Exit status 0 where all is well. Needs `pip install safetensors`.
"""

import argparse
import hashlib
import importlib.util
import json
import math
import sys
from pathlib import Path

import safetensors

KEY = "gravure.certificate"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    path = folder / "model.safetensors"
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    faults = []

    def same(what, found, expected):
        if found != expected:
            faults.append(f"{what}: {found}, not {expected}")

    same("whose tensors", metadata["format"], "pt")
    text = metadata[KEY]
    body, seal = text.rstrip(" ").rsplit(',"seal":"', 1)
    certificate = json.loads(body + "}")
    same("seal", seal, hashlib.sha256(body.encode()).hexdigest() + '"}')

    tensors, plan, total = hashlib.sha256(), hashlib.sha256(), 0
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    offsets = {name: entry["data_offsets"] for name, entry in json.loads(data[8:start]).items() if name != "__metadata__"}
    found = dict(safetensors.deserialize(data))
    for name in sorted(found, key=lambda name: offsets[name]):
        tensor = found[name]
        encoding, shape = tensor["dtype"].lower(), tensor["shape"]
        row_length = shape[-1] if shape else 1
        rows = math.prod(shape) // row_length
        tensors.update(f"{name} {encoding} {rows} {row_length}\n".encode())
        tensors.update(tensor["data"])
        plan.update(f"{name} {encoding}\n".encode())
        total += len(tensor["data"])
    same("tensors", tensors.hexdigest(), certificate["tensors_sha256"])
    same("plan", plan.hexdigest(), certificate["plan_sha256"])
    same("bytes", total, certificate["tensor_bytes"])

    if all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        faults += load_by_transformers(folder)
    else:
        print("transformers is not installed: only the weights were read")
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    print(f"{len(found)} tensors, {total} bytes, {len(faults)} faults")
    sys.exit(bool(faults))


def load_by_transformers(folder):
    """Loads the folder as it stands and continues a text: nothing missing, nothing unexpected, numbers that are numbers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    tokens = AutoTokenizer.from_pretrained(folder)("The king of England", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(tokens).logits
    faults = [f"{kind}: {info[kind]}" for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[kind]]
    if not torch.isfinite(logits).all():
        faults.append("logits are no numbers")
    loss = torch.nn.functional.cross_entropy(logits[0, :-1].float(), tokens[0, 1:]).item()
    print(f"transformers: {loss:.3f} nats for each token")
    return faults


if __name__ == "__main__":
    main()
