#!/usr/bin/env python3
"""Records what llama.cpp's own converter makes of tiny random models.

For each case below: a tiny model is made by the `tiny_model` example of gravure-testing (the same
bytes on every machine), llama.cpp's convert_hf_to_gguf.py converts it to f32 and to f16, and a JSON
file in tests/fixtures/conversion/ says what came out: each metadata key with its type and value
(long lists as a count and a SHA-256), each tensor with its name, shape (outermost dimension first),
type and the SHA-256 of its data, all in file order.

The converter recognises byte-level pre-tokenizers by the hash of a test string and knows none of
the tiny tokenizers; its `get_vocab_base_pre` is replaced by one that returns the right name. The folder is called `tiny`, which
the converter makes a name of (`general.name`).

    cargo build -p gravure-testing --example tiny_model
    python scripts/reference_conversion.py LLAMA_CPP [CASE ...]

LLAMA_CPP is a source tree of llama.cpp. Needs Python with torch, transformers, sentencepiece and
safetensors; gguf is taken from the tree. The environment variable TINY_MODEL names the built example
where it is not in target/debug/examples.

How a list is hashed: strings as UTF-8 bytes, each after its length as 8 little-endian bytes; numbers
as the bytes that the GGUF holds.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"factor": 4.0, "original_max_position_embeddings": 128, "attention_factor": 1.1, "beta_fast": 24.0, "beta_slow": 2.0}

# Name of a case: (design, options of the example, name of the pre-tokenizer).
CASES = {
    "llama": ("llama", {}, "llama-bpe"),
    "llama_bf16_shards": ("llama", {"dtype": "bf16", "shards": 3}, "llama-bpe"),
    "llama_f16_wide": ("llama", {"dtype": "f16", "wide": True}, "llama-bpe"),
    "llama_scaled": ("llama", {"transformers4": True, "config": {
        "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", **LLAMA3}, "tie_word_embeddings": True}}, "llama-bpe"),
    "llama_biases": ("llama", {"config": {"attention_bias": True, "mlp_bias": True}}, "llama-bpe"),
    "llama_yarn": ("llama", {"config": {
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, **YARN}}}, "llama-bpe"),
    # What llama.cpp follows: it computes the factor of sines and cosines by itself.
    "llama_yarn_plain": ("llama", {"config": {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}}}, "llama-bpe"),
    "llama_linear": ("llama", {"transformers4": True, "config": {"rope_scaling": {"type": "linear", "factor": 2.0}}}, "llama-bpe"),
    "llama_no_head_dim": ("llama", {"config": {"head_dim": None, "num_key_value_heads": 4}}, "llama-bpe"),
    "mistral": ("mistral", {"dtype": "bf16"}, None),
    "qwen2": ("qwen2", {"dtype": "bf16"}, "qwen2"),
    "qwen2_untied": ("qwen2", {"transformers4": True, "config": {"tie_word_embeddings": False, "sliding_window": 64}}, "qwen2"),
    "qwen3": ("qwen3", {"dtype": "bf16"}, "qwen2"),
    "phi3": ("phi3", {"dtype": "bf16"}, None),
    "phi3_transformers4": ("phi3", {"transformers4": True, "dtype": "f16"}, None),
    "phi3_plain": ("phi3", {"config": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "max_position_embeddings": 128,
        "sliding_window": None}}, None),
    "gemma2": ("gemma2", {"dtype": "bf16"}, None),
    # What llama.cpp follows: it divides scores by the root of the head's length.
    "gemma2_head_scale": ("gemma2", {"dtype": "bf16", "config": {"query_pre_attn_scalar": 32}}, None),
    "gemma2_f16": ("gemma2", {"dtype": "f16", "transformers4": True}, None),
    "gemma3": ("gemma3", {"dtype": "bf16", "layers": 7}, None),
    "gemma3_scaled": ("gemma3", {"transformers4": True, "config": {
        "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "final_logit_softcapping": 30.0}}, None),
    "gpt2": ("gpt2", {}, "gpt-2"),
    "gpt2_f16": ("gpt2", {"dtype": "f16"}, "gpt-2"),
    "bert": ("bert", {}, "bert-bge"),
    "bert_one_type": ("bert", {}, "bert-bge"),
    "bert_labels": ("bert", {"dtype": "f16", "config": {
        "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}, "bert-bge"),
}


def convert(llama_cpp, folder, outtype, target, pre):
    """Runs the converter in a process of its own, with the pre-tokenizer's name put in."""
    program = (
        "import sys, runpy\n"
        "root, pre = sys.argv[1], sys.argv[2]\n"
        "sys.path.insert(0, root); sys.path.insert(0, root + '/gguf-py')\n"
        "import conversion.base as base\n"
        "if pre != '-':\n"
        "    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre\n"
        "sys.argv = ['convert_hf_to_gguf.py'] + sys.argv[3:]\n"
        "runpy.run_path(root + '/convert_hf_to_gguf.py', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", program, str(llama_cpp), pre or "-", str(folder), "--outtype", outtype, "--outfile", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the converter failed on {folder}:\n{done.stderr[-4000:]}")


def plain(value):
    """A number that JSON can hold, exactly."""
    return float(value) if isinstance(value, float) else value


def record(path, gguf):
    reader = gguf.GGUFReader(path)
    metadata = []
    for field in reader.fields.values():
        if field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        entry = {"key": field.name, "type": kind.name.lower()}
        if kind == gguf.GGUFValueType.ARRAY:
            entry["of"] = field.types[-1].name.lower()
            parts = [bytes(field.parts[i]) for i in field.data]
            entry["count"] = len(parts)
            if len(parts) <= 8:
                entry["value"] = field.contents()
            else:
                text = field.types[-1] == gguf.GGUFValueType.STRING
                hashed = b"".join((struct.pack("<Q", len(p)) if text else b"") + p for p in parts)
                entry["sha256"] = hashlib.sha256(hashed).hexdigest()
        else:
            entry["value"] = plain(field.contents())
        metadata.append(entry)
    tensors = [
        {
            "name": t.name,
            "shape": [int(n) for n in reversed(t.shape)],
            "type": t.tensor_type.name.lower(),
            "sha256": hashlib.sha256(t.data.tobytes()).hexdigest(),
        }
        for t in reader.tensors
    ]
    return {"metadata": metadata, "tensors": tensors}


def main():
    llama_cpp = Path(sys.argv[1]).resolve()
    wanted = sys.argv[2:] or list(CASES)
    sys.path.insert(0, str(llama_cpp / "gguf-py"))
    import gguf

    tiny = os.environ.get("TINY_MODEL", str(ROOT / "target/debug/examples/tiny_model"))
    for case in wanted:
        design, options, pre = CASES[case]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "tiny"
            subprocess.run([tiny, design, str(folder), json.dumps(options)], check=True)
            out = {"design": design, "options": options}
            for outtype in ["f32", "f16"]:
                target = Path(scratch) / f"{outtype}.gguf"
                convert(llama_cpp, folder, outtype, target, pre)
                out[outtype] = record(target, gguf)
        target = ROOT / "tests/fixtures/conversion" / f"{case}.json"
        lines = ["{", f'"design": {json.dumps(design)},', f'"options": {json.dumps(options)},']
        for outtype in ["f32", "f16"]:
            lines.append(f'"{outtype}": {{')
            for part in ["metadata", "tensors"]:
                entries = ",\n".join(json.dumps(e, ensure_ascii=False) for e in out[outtype][part])
                lines.append(f'"{part}": [\n{entries}\n]' + ("," if part == "metadata" else ""))
            lines.append("}" + ("," if outtype == "f32" else ""))
        lines.append("}")
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{case}: {len(out['f32']['metadata'])} keys, {len(out['f32']['tensors'])} tensors", flush=True)


if __name__ == "__main__":
    main()
