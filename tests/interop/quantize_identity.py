#!/usr/bin/env python3
"""Byte identity with llama-quantize: every model, mixture and option, output against output.

    quantize_identity.py --gravure BIN --peer LLAMA_QUANTIZE --split LLAMA_GGUF_SPLIT --models DIR [--work DIR]
                         [--only SUBSTRING ...] [--quick] [--jobs N] [--hf DIR --hf-gguf FILE]

DIR comes from scripts/random_gguf.py. Of each pair of outputs the files' names, the tensors' order, names, shapes, types and
bytes and the metadata must be equal, apart from the keys in ALLOWED. Where the peer refuses, gravure must refuse for the same
reason. The peer's results are kept in WORK, so that a second run only runs gravure. Standard library only.
"""

import argparse
import concurrent.futures
import hashlib
import json
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

MIXTURES = """q1_0 q2_0 q4_0 q4_1 mxfp4_moe q5_0 q5_1 iq2_xxs iq2_xs iq2_s iq2_m iq1_s iq1_m tq1_0 tq2_0 q2_k q2_k_s iq3_xxs iq3_s
iq3_m iq3_xs q3_k_s q3_k_m q3_k_l iq4_nl iq4_xs q4_k_s q4_k_m q5_k_s q5_k_m q6_k q8_0 f16 bf16 f32 copy""".split()
QUICK = ["q4_k_m", "q3_k_m", "iq3_xxs", "iq4_xs", "q8_0", "mxfp4_moe", "copy"]

# Metadata that may differ. From a GGUF none does. From a Hugging Face folder: the reference converter leaves away
# whether the tokenizer adds a first and a last token, and engines then guess from the kind of vocabulary.
ALLOWED = {"gguf": set(), "hf": {"tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"}}

# What the peer's refusal says, and what ours must say.
REASONS = [
    ("requires an imatrix", "importance matrix"),
    ("Missing importance matrix", "importance matrix"),
    ("imatrix size", "importance matrix has"),
    ("requantizing from type", "quantized already"),
    ("no tensor type fallback", "no fallback"),
    ("non-finite", "not finite"),
    ("Bad layer", "layer"),
    ("Failed to determine layer", "layer"),
    ("wrong array length", "has a value for each of"),
    ("key not found in model", "after which its other keys are named"),
]

# Type number: (elements, bytes) of a block.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110), 12: (256, 144),
    13: (256, 176), 14: (256, 210), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}
SCALARS = ["<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?", None, None, "<Q", "<q", "<d"]


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        size = self.number("<Q")
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8", "surrogateescape")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.number("<I"), self.number("<Q")
            values = [self.value(inner) for _ in range(count)]
            return values if count <= 32 else [inner, count, hashlib.sha256(repr(values).encode()).hexdigest()]
        value = self.number(SCALARS[kind])
        return repr(value) if isinstance(value, float) else value


def describe(path):
    """Metadata and tensors of a GGUF, in file order, with a digest of each tensor's bytes."""
    data = path.read_bytes()
    c = Cursor(data)
    if data[:4] != b"GGUF":
        raise ValueError(f"{path} is no GGUF")
    c.at = 4
    version, tensors, pairs = c.number("<I"), c.number("<Q"), c.number("<Q")
    metadata = []
    for _ in range(pairs):
        key, kind = c.text(), c.number("<I")
        metadata.append([key, kind, c.value(kind)])
    infos = []
    for _ in range(tensors):
        name, dimensions = c.text(), c.number("<I")
        infos.append((name, [c.number("<Q") for _ in range(dimensions)], c.number("<I"), c.number("<Q")))
    alignment = next((v for k, _, v in metadata if k == "general.alignment"), 32)
    start = (c.at + alignment - 1) // alignment * alignment
    listed = []
    for name, shape, kind, offset in infos:
        elements, size = BLOCKS[kind]
        count = 1
        for d in shape:
            count *= d
        content = data[start + offset : start + offset + count // elements * size]
        listed.append([name, shape, kind, offset, hashlib.sha256(content).hexdigest()])
    return {"version": version, "metadata": metadata, "tensors": listed, "file": hashlib.sha256(data).hexdigest()}


def outputs(target):
    """The files that a run left: one, or numbered shards."""
    if target.exists():
        return [target]
    return sorted(target.parent.glob(f"{target.stem}-*-of-*.gguf"))


def run(command, target):
    """A description of each output file, or the reason of the refusal."""
    for old in outputs(target):
        old.unlink()
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")
    text = done.stdout + done.stderr
    if done.returncode != 0:
        left = [p.name for p in outputs(target)]
        for old in outputs(target):
            old.unlink()
        return {"refused": text[-3000:], "code": done.returncode, "left": left}
    result = {"files": [{"name": p.name.removeprefix(target.stem), **describe(p)} for p in outputs(target)]}
    for p in outputs(target):
        p.unlink()
    return result


def differences(peer, ours, allowed):
    """What differs, one line each. `allowed` are metadata keys that may."""
    if "refused" in peer:
        if "refused" not in ours:
            # A crash is no decision: whatever we do instead is better.
            return [] if peer["code"] < 0 else [f"written, but the peer refuses: {peer['refused'].strip().splitlines()[-1:]}"]
        if ours["left"]:
            return [f"a refused run left {ours['left']}"]
        if peer["code"] < 0:
            return []
        for theirs, wanted in REASONS:
            if theirs in peer["refused"]:
                return [] if wanted in ours["refused"] else [f"refused for another reason: {ours['refused'].strip()[:300]}"]
        return [f"the peer refuses for a reason that is not listed: {peer['refused'].strip()[-300:]}"]
    if "refused" in ours:
        return [f"refused: {ours['refused'].strip()[:400]}"]
    if len(peer["files"]) != len(ours["files"]):
        return [f"{len(ours['files'])} files instead of {len(peer['files'])}"]
    found = []
    for number, (p, o) in enumerate(zip(peer["files"], ours["files"])):
        place = f"file {number + 1}: " if len(peer["files"]) > 1 else ""
        if p["name"] != o["name"]:
            found.append(f"{place}the name ends in {o['name']} instead of {p['name']}")
        keep = lambda pairs: [pair for pair in pairs if pair[0] not in allowed]
        if keep(p["metadata"]) != keep(o["metadata"]):
            theirs, mine = {k: v for k, *v in keep(p["metadata"])}, {k: v for k, *v in keep(o["metadata"])}
            for key in dict.fromkeys([*theirs, *mine]):
                if theirs.get(key) != mine.get(key):
                    found.append(f"{place}{key} is {mine.get(key)} instead of {theirs.get(key)}")
            # From a folder to floats gravure writes as the converter does, which orders two keys otherwise than the quantizer.
            if theirs == mine and not allowed:
                found.append(f"{place}the order of the metadata")
        if [t[0] for t in p["tensors"]] != [t[0] for t in o["tensors"]]:
            found.append(f"{place}names or order of tensors")
            continue
        for a, b in zip(p["tensors"], o["tensors"]):
            what = [w for w, x, y in zip(("shape", "type", "offset", "bytes"), a[1:], b[1:]) if x != y]
            if what:
                found.append(f"{place}{a[0]} (type {a[2]}, shape {a[1]}): {', '.join(what)}")
    return found


class Case:
    """One pair of runs. `flags` are spelled the same on both sides."""

    def __init__(self, model, mixture, flags=(), source=None, importance=None, shards=False):
        self.model, self.mixture, self.flags, self.source, self.importance, self.shards = model, mixture, flags, source, importance, shards

    def name(self):
        with_ = f" imatrix={self.importance.name.removeprefix(self.model + '.imatrix.')}" if self.importance else ""
        return f"{self.model} {self.mixture}{with_}{''.join(' ' + (Path(str(f)).name if '/' in str(f) else str(f)) for f in self.flags)}"


def prepare(args, models):
    """Sources that the peer's tools make: quantized ones, and one in shards."""
    made = {}
    for model, mixture in (("llama", "q8_0"), ("mixtral", "q4_k_m"), ("qwen3", "iq4_nl"), ("llama-odd", "q5_1")):
        if model in models:
            made[model, mixture] = target = args.work / f"{model}.{mixture}.source.gguf"
            if not target.exists():
                subprocess.run([args.peer, models[model], target, mixture], check=True, capture_output=True)
    if "qwen2" in models and args.split:
        stem = args.work / "qwen2.shards"
        first = Path(f"{stem}-00001-of-00006.gguf")
        if not first.exists():
            subprocess.run([args.split, "--split-max-tensors", "20", models["qwen2"], stem], check=True, capture_output=True)
        made["shards"] = sorted(args.work.glob("qwen2.shards-*.gguf"))[0]
    return made


def cases(args, models):
    mixtures = QUICK if args.quick else MIXTURES
    for model in models:
        matrix = args.models / f"{model}.imatrix.gguf"
        for mixture in mixtures:
            yield Case(model, mixture)
            yield Case(model, mixture, importance=matrix)
    made = prepare(args, models)
    matrix = lambda model, kind="gguf": args.models / f"{model}.imatrix.{kind}"
    rules = args.work / "tensor-types.txt"
    rules.write_text("attn_q=q8_0\nffn_down=iq4_nl   blk\\.[02]\\.=q5_k\n")
    other_rules = args.work / "other-tensor-types.txt"
    other_rules.write_text("ffn_up=q4_1 attn=q5_0\n")
    optional = [
        ("q4_k_m", ["--pure"]),
        ("iq4_xs", ["--pure"]),
        ("q4_k_m", ["--leave-output-tensor"]),
        ("q4_k_m", ["--leave-output-tensor", "--output-tensor-type", "q5_1"]),
        ("q2_k", ["--output-tensor-type", "q8_0"]),
        ("q2_k", ["--token-embedding-type", "q4_1"]),
        ("f16", ["--token-embedding-type", "q8_0", "--output-tensor-type", "q4_0"]),
        ("q3_k_m", ["--tensor-type", "attn_v=Q8_0", "--tensor-type", r"blk\.[0-3]\.ffn_(up|down)=IQ4_NL", "--tensor-type", "ffn=bf16"]),
        ("q4_k_m", ["--tensor-type-file", rules]),
        # The first rule that matches decides: the order on the command line.
        ("q4_k_m", ["--tensor-type-file", rules, "--tensor-type", "attn_q=q6_k", "--tensor-type-file", other_rules, "--tensor-type", "ffn=q5_1"]),
        ("q4_k_m", ["--tensor-type", "attn_q=q6_k", "--tensor-type-file", other_rules, "--tensor-type-file", rules]),
        ("q4_k_m", ["--keep-split"]),
        ("copy", ["--keep-split"]),
        ("q4_k_m", ["--prune-layers", "1,3"]),
        ("q4_k_m", ["--override-kv", "general.name=str:another", "--override-kv", "test.integer=int:-7",
                    "--override-kv", "test.float=float:1.5", "--override-kv", "test.flag=bool:true"]),
    ]
    for model in ("llama", "llama-tied-gqa", "llama-odd", "mixtral", "mixtral-separate", "qwen3moe", "gpt-oss", "falcon", "gemma3n", "t5"):
        if model not in models:
            continue
        for mixture, flags in optional:
            yield Case(model, mixture, flags)
            if not args.quick:
                yield Case(model, mixture, flags, importance=matrix(model))
        for mixture in ("q4_k_m", "iq2_xs"):
            yield Case(model, mixture, importance=matrix(model, "dat"))
            yield Case(model, mixture, ["--include-weights", "attn"], importance=matrix(model))
            yield Case(model, mixture, ["--exclude-weights", "ffn_down", "--exclude-weights", "blk.1."], importance=matrix(model))
            yield Case(model, mixture, ["--include-weights", "nothing"], importance=matrix(model))
        yield Case(model, "iq3_xxs", ["--prune-layers", "2"], importance=matrix(model))
        other = "mixtral" if model != "mixtral" else "llama-odd"
        if other in models:
            yield Case(model, "q4_k_m", importance=matrix(other))
    yield from overridden(models)
    for key, source in made.items():
        if key == "shards":
            for mixture in ("q4_k_m", "copy", "iq4_nl"):
                yield Case("qwen2", mixture, source=source)
                yield Case("qwen2", mixture, ["--keep-split"], source=source, shards=True)
            yield Case("qwen2", "q4_k_m", ["--keep-split"], source=source, shards=True, importance=matrix("qwen2"))
            continue
        model, mixture = key
        for wanted in ("q4_0", "q4_k_m", "copy", mixture):
            yield Case(model, wanted, source=source)
            yield Case(model, wanted, ["--allow-requantize"], source=source, importance=matrix(model))
        for wanted in ("q6_k", "f16", "f32", "iq2_xs", "tq2_0"):
            yield Case(model, wanted, ["--allow-requantize"], source=source, importance=matrix(model))
    if args.hf:
        for mixture in mixtures:
            for importance in dict.fromkeys((None, args.hf_imatrix)):
                if mixture != "copy":
                    yield Case("hf", mixture, source=(args.hf, args.hf_gguf), importance=importance)


def overridden(models):
    """Hyperparameters set by hand: the rules go by them, the tensors stay."""
    number = lambda key, value: ["--override-kv", f"{key}=int:{value}"]
    wanted = [
        ("mixtral", ["q4_k_m", "iq3_m"], number("llama.expert_count", 4)),
        ("mixtral", ["q4_k_m"], ["--override-kv", "llama.expert_count=float:4"]),
        ("llama-scalar", ["q4_k_m"], number("llama.expert_count", 8) + number("llama.expert_used_count", 2)),
        ("llama", ["q4_k_m"], number("llama.attention.head_count_kv", 1)),
        ("llama", ["q5_k_m"], number("llama.block_count", 24)),
        ("llama", ["q5_k_m"], number("llama.block_count", 16)),
        ("llama", ["q5_k_m"], ["--override-kv", "llama.block_count=float:24"]),
        ("llama", ["q4_k_m", "copy"], number("general.file_type", 7)),
        ("llama", ["q4_k_m"], ["--override-kv", "general.architecture=str:qwen2"]),
        ("llama-70b", ["q3_k_m", "q4_k_m"], number("llama.nextn_predict_layers", 1)),
    ]
    for value in (1, 2, 4, 8):
        wanted.append(("llama-scalar", ["q4_k_m", "q2_k", "q3_k_l", "iq4_xs"], number("llama.attention.head_count_kv", value)))
        wanted.append(("llama-scalar", ["q4_k_m", "iq3_xs"], number("llama.attention.head_count", 2 * value)))
    for layers in (24, 3, 80):
        wanted.append(("llama-scalar", ["q5_k_m", "q4_k_s", "q3_k_m"], number("llama.block_count", layers)))
        wanted.append(("llama-scalar", ["q5_k_m"], number("llama.block_count", layers) + ["--prune-layers", "1,3"]))
    for model, mixtures, flags in wanted:
        if model in models:
            for mixture in mixtures:
                yield Case(model, mixture, flags)


def execute(args, models, case, number):
    """(differences, whole files equal)"""
    source = case.source or models[case.model]
    ours_source, peer_source = source if isinstance(source, tuple) else (source, source)
    importance = ["--imatrix", case.importance] if case.importance else []
    flags = [str(f) for f in case.flags]
    key = json.dumps(["with names", case.mixture, flags, str(peer_source), str(case.importance)])
    cached = args.work / "peer" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    stamp = [str(Path(p).stat().st_mtime_ns) for p in (peer_source, case.importance) if p]
    peer = json.loads(cached.read_text()) if cached.exists() else None
    if peer is None or peer["stamp"] != stamp:
        target = args.work / f"peer-{number}.gguf"
        peer = run([args.peer, *importance, *flags, peer_source, target, case.mixture, "1"], target)
        peer["stamp"] = stamp
        cached.write_text(json.dumps(peer))
    target = args.work / f"ours-{number}.gguf"
    ours = run([args.gravure, "quantize", ours_source, "-o", target, "--type", case.mixture, *importance, *flags, "--threads", str(1 + number % 3)], target)
    found = differences(peer, ours, ALLOWED["hf" if isinstance(source, tuple) else "gguf"])
    whole = "files" in peer and "files" in ours and [f["file"] for f in peer["files"]] == [f["file"] for f in ours["files"]]
    return found, whole, "refused" in peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True, help="llama-quantize")
    parser.add_argument("--split", type=Path, help="llama-gguf-split")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("target/interop"))
    parser.add_argument("--only", action="append", default=[], help="cases whose name contains all of these")
    parser.add_argument("--quick", action="store_true", help="a few mixtures, for continuous integration")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--hf", type=Path, help="a Hugging Face folder, quantized in one step")
    parser.add_argument("--hf-gguf", type=Path, help="the same as f32 GGUF by the reference converter")
    parser.add_argument("--hf-imatrix", type=Path)
    args = parser.parse_args()
    args.gravure, args.peer = args.gravure.resolve(), args.peer.resolve()
    (args.work / "peer").mkdir(parents=True, exist_ok=True)
    names = sorted(p.name.removesuffix(".gguf") for p in args.models.glob("*.gguf") if not p.name.endswith(".imatrix.gguf"))
    models = {name: args.models / f"{name}.gguf" for name in names}
    todo = [c for c in cases(args, models) if all(part in c.name() for part in args.only)]
    passed, whole, refusals, failures = Counter(), 0, 0, []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(execute, args, models, case, number) for number, case in enumerate(todo)]
        for case, future in zip(todo, futures):
            found, identical, refused = future.result()
            whole += identical
            refusals += refused
            if found:
                failures.append(case)
                print(f"FAIL {case.name()}", *(f"       {line}" for line in found[:6]), *([f"       and {len(found) - 6} more"] if len(found) > 6 else []), sep="\n", flush=True)
            else:
                passed[case.model] += 1
    failed = Counter(case.model for case in failures)
    print(f"\n{'model':<20} passed failed")
    for model in dict.fromkeys(case.model for case in todo):
        print(f"{model:<20} {passed[model]:>6} {failed[model]:>6}")
    print(f"{whole} outputs are the same file to the last byte; in {refusals} cases the peer refuses")
    print(f"{sum(passed.values())} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
