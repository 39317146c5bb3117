#!/usr/bin/env python3
"""Records what llama-quantize decides for random models: the golden plans of the planner's tests.

    record_plans.py LLAMA_QUANTIZE MODELS_DIR OUT_DIR

MODELS_DIR comes from scripts/random_gguf.py. For each model one JSON file: its hyperparameters and tensors, and
for each choice of options the encodings in output order, one letter a tensor (`letters` says which; `=` where they
are those of the case before), or the error. Needs gguf (PyPI).
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import gguf

MIXTURES = """q1_0 q2_0 q4_0 q4_1 mxfp4_moe q5_0 q5_1 iq2_xxs iq2_xs iq2_s iq2_m iq1_s iq1_m tq1_0 tq2_0 q2_k q2_k_s iq3_xxs iq3_s
iq3_m iq3_xs q3_k_s q3_k_m q3_k_l iq4_nl iq4_xs q4_k_s q4_k_m q5_k_s q5_k_m q6_k q8_0 f16 bf16 f32 copy""".split()
OPTIONS = [
    ("q4_k_m", "--pure"),
    ("iq3_xxs", "--pure"),
    ("q4_k_m", "--leave-output-tensor"),
    ("q4_k_m", "--leave-output-tensor", "--output-tensor-type", "q5_1"),
    ("q4_k_m", "--output-tensor-type", "q8_0"),
    ("q2_k", "--token-embedding-type", "q4_1"),
    ("f16", "--token-embedding-type", "q8_0", "--output-tensor-type", "q4_0"),
    ("f16", "--tensor-type", "attn=q8_0"),
    ("q3_k_m", "--tensor-type", "attn_v=Q8_0", "--tensor-type", r"blk\.[0-3]\.ffn_(up|down)=IQ4_NL", "--tensor-type", "ffn=bf16"),
    ("q4_k_s", "--tensor-type", "^output=f16", "--tensor-type", "embd=q5_k"),
    ("q4_k_m", "--token-embedding-type", "q6_k", "--tensor-type", "per_layer=q5_1", "--tensor-type", "embd=q5_0"),
    ("q4_k_m", "--tensor-type", r"\.(0|1|[57])\.attn_[qkv]\.=q6_k", "--pure"),
    ("q4_k_m", "--prune-layers", "1,3"),
    ("iq3_xs", "--prune-layers", "2"),
]
LINE = re.compile(r"^\[ *\d+/ *\d+\] (\S+) +- \[.*?\], type = +(\S+), size = .*?(?:\((\S+)\))?$")


def dry_run(binary, model, mixture, flags, importance):
    """(name, encoding) pairs and whether an importance matrix is needed; or the error."""
    command = [binary, "--dry-run", *flags, *(["--imatrix", importance] if importance else []), model, mixture]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    text = done.stdout + done.stderr
    if done.returncode != 0:
        found = re.search(r"failed to quantize: (.*)", text)
        return {"error": found.group(1).strip() if found else f"exit {done.returncode}"}
    # Warnings may share a line with nothing else; progress lines are whole.
    pairs = [(m[1], (m[3] or m[2]).lower()) for m in map(LINE.match, text.splitlines()) if m]
    return {"pairs": pairs, "needs_importance": "will require an imatrix" in text}


def misfits(tensors, pairs):
    """The first tensor whose rows are no whole blocks: a dry run does not notice."""
    columns = {name: shape[-1] for name, shape, _ in tensors}
    for name, kind in pairs:
        block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.upper()]] if kind.upper() in gguf.GGMLQuantizationType.__members__ else (64, 0)
        if columns.get(name, 0) % block:
            return name
    return None


def value(field):
    return field.contents() if hasattr(field, "contents") else field.parts[field.data[0]].tolist()[0]


def record(binary, path):
    reader = gguf.GGUFReader(path)
    metadata = {k: value(f) for k, f in reader.fields.items() if not k.startswith(("GGUF.", "tokenizer."))}
    arch = metadata["general.architecture"]
    keys = ("block_count", "attention.head_count", "attention.head_count_kv", "expert_count", "nextn_predict_layers")
    model = {
        "architecture": arch,
        "metadata": {k: v for k, v in metadata.items() if k == "general.file_type" or k in [f"{arch}.{key}" for key in keys]},
        "tensors": [[t.name, [int(d) for d in reversed(t.shape)], t.tensor_type.name.lower()] for t in reader.tensors],
    }
    letters, cases = {}, []
    for mixture, *flags in [(m,) for m in MIXTURES] + OPTIONS:
        for importance in (None, path.with_suffix(".imatrix.gguf")):
            result = dry_run(binary, path, mixture, flags, importance)
            case = {"type": mixture, "flags": flags, "importance": importance is not None}
            if "error" in result:
                case["error"] = result["error"]
            elif misfit := misfits(model["tensors"], result["pairs"]):
                case["error"] = f"{misfit}: planned, but the real run aborts: rows do not fit the type"
            else:
                for _, kind in result["pairs"]:
                    letters.setdefault(kind, chr(ord("a") + len(letters)) if len(letters) < 26 else chr(ord("A") + len(letters) - 26))
                case["plan"] = "".join(letters[kind] for _, kind in result["pairs"])
                if result["needs_importance"]:
                    case["needs_importance"] = True
                if importance and cases and cases[-1].get("plan") == case["plan"]:
                    case["plan"] = "="
                if "--prune-layers" in flags or not cases:
                    case["names"] = [name for name, _ in result["pairs"]]
            cases.append(case)
    model["letters"] = {letter: kind for kind, letter in letters.items()}
    model["cases"] = cases
    return model


def dump(model):
    """JSON with one line for each tensor and each case."""
    lines = ["{"]
    for key in ("architecture", "metadata", "letters"):
        lines.append(f'  "{key}": {json.dumps(model[key])},')
    for key in ("tensors", "cases"):
        lines.append(f'  "{key}": [')
        lines.append(",\n".join(f"    {json.dumps(item)}" for item in model[key]))
        lines.append("  ]" + ("," if key == "tensors" else ""))
    return "\n".join(lines + ["}"]) + "\n"


def main():
    binary, models, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(models.glob("*.gguf")):
        if not path.name.endswith(".imatrix.gguf"):
            (out / f"{path.stem}.json").write_text(dump(record(binary, path)))
            print(path.stem)


if __name__ == "__main__":
    main()
